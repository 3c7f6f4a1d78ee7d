//! What every command of the harness is given: where things are and how to talk to the user.

use std::path::PathBuf;

use crate::cache::Cache;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::ui::Ui;

/// The context of one command.
#[derive(Debug)]
pub struct Harness {
    /// The workspace's root folder.
    pub root: PathBuf,
    /// Where kernels, tools and downloads are kept.
    pub cache: Cache,
    /// Missing host packages may be installed without asking.
    pub yes: bool,
    /// Messages and progress.
    pub ui: Ui,
}

impl Harness {
    /// The context of a command in the workspace at `root`.
    pub fn new(root: PathBuf, cache: Cache, yes: bool) -> Harness {
        Harness { root, cache, yes, ui: Ui::new() }
    }

    /// The folder of the kernel matrix and the config fragments.
    pub fn configs(&self) -> PathBuf {
        self.root.join("kernel-configs")
    }

    /// Reads the kernel matrix of this workspace.
    ///
    /// # Errors
    /// The file cannot be read or does not follow the format.
    pub fn matrix(&self) -> Result<Matrix> {
        Matrix::load(&self.configs().join("kernels.toml"))
    }
}
