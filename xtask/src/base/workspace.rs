//! The workspace: the folder with kernel configurations, cases and snapshots, and for results.

use std::fs;
use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::cargo;
use super::error::Result;
use super::host::Host;

/// The variable that names another workspace than the source tree: a folder with `kernel-configs/`,
/// `tests/cases/` and `tests/snapshots/`. Results are stored in its `target/vm/`.
pub const WORKSPACE_VAR: &str = "SNAPTRACE_WORKSPACE";

/// If this variable is `1`, tests with guests run on all usual kernels, not only on the references.
pub const ALL_KERNELS_VAR: &str = "SNAPTRACE_ALL_KERNELS";

/// A workspace, and the host it is on.
#[derive(Debug)]
pub struct Workspace {
    /// The folder with kernel configurations, cases and snapshots, and for results.
    pub root: PathBuf,
    /// The source tree that this program was built from; the guest's programs are built from it, too.
    pub sources: PathBuf,
    /// The cache, and messages.
    pub host: Host,
}

impl Workspace {
    /// The workspace at `root`.
    pub fn new(root: PathBuf, cache: Cache, yes: bool) -> Workspace {
        Workspace { root, sources: Workspace::sources(), host: Host::new(cache, yes) }
    }

    /// The workspace at [`WORKSPACE_VAR`], else the source tree.
    ///
    /// # Errors
    /// No place for the cache is known.
    pub fn open(yes: bool) -> Result<Workspace> {
        let given = std::env::var_os(WORKSPACE_VAR).filter(|path| !path.is_empty());
        let root = given.map_or_else(Workspace::sources, PathBuf::from);
        Ok(Workspace::new(root, Cache::open()?, yes))
    }

    /// Whether [`ALL_KERNELS_VAR`] is set.
    pub fn wants_all_kernels() -> bool {
        std::env::var_os(ALL_KERNELS_VAR).is_some_and(|value| value == "1")
    }

    fn sources() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
    }

    /// The folder for results of the workspace at `root`: cargo's target folder for the source tree, else
    /// `target` in the workspace.
    pub fn target_of(root: &Path) -> PathBuf {
        let sources = Workspace::sources();
        let same = root == sources
            || fs::canonicalize(root)
                .is_ok_and(|root| fs::canonicalize(&sources).is_ok_and(|own| root == own));
        if same { cargo::target_dir(root) } else { root.join("target") }
    }

    /// The folder of the kernel matrix and the config fragments.
    pub fn configs(&self) -> PathBuf {
        self.root.join("kernel-configs")
    }
}
