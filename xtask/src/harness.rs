//! What every command of the harness is given: where things are and how to talk to the user.

use std::fs;
use std::path::{Path, PathBuf};

use crate::base::cache::Cache;
use crate::base::cargo;
use crate::base::error::Result;
use crate::base::ui::Ui;
use crate::matrix::Matrix;

/// The variable that names another workspace than the sources: a folder with `kernel-configs/`,
/// `tests/cases/` and `tests/snapshots/`, in which results go to `target/vm/`.
pub const WORKSPACE_VAR: &str = "SNAPTRACE_WORKSPACE";

/// The variable that, set to `1`, makes tests with guests run on all usual kernels, and not only on the
/// references.
pub const ALL_KERNELS_VAR: &str = "SNAPTRACE_ALL_KERNELS";

/// The context of one command.
#[derive(Debug)]
pub struct Harness {
    /// The workspace: the kernels' configurations, cases and snapshots, and where results go.
    pub root: PathBuf,
    /// The sources that this program was built from, and the guest's programs are.
    pub sources: PathBuf,
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
        Harness { root, sources: Harness::sources(), cache, yes, ui: Ui::new() }
    }

    /// The context of a command in the workspace at [`WORKSPACE_VAR`], else in the sources.
    ///
    /// # Errors
    /// No place for the cache is known.
    pub fn open(yes: bool) -> Result<Harness> {
        let given = std::env::var_os(WORKSPACE_VAR).filter(|path| !path.is_empty());
        let root = given.map_or_else(Harness::sources, PathBuf::from);
        Ok(Harness::new(root, Cache::open()?, yes))
    }

    /// Whether [`ALL_KERNELS_VAR`] is set.
    pub fn wants_all_kernels() -> bool {
        std::env::var_os(ALL_KERNELS_VAR).is_some_and(|value| value == "1")
    }

    fn sources() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
    }

    /// The folder of what is made in the workspace at `root`: where cargo's products are, or, of another
    /// workspace than the sources, `target` in it.
    pub fn target_of(root: &Path) -> PathBuf {
        let sources = Harness::sources();
        let same = root == sources
            || fs::canonicalize(root)
                .is_ok_and(|root| fs::canonicalize(&sources).is_ok_and(|own| root == own));
        if same { cargo::target_dir(root) } else { root.join("target") }
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
