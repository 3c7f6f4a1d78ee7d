//! The workspace: the folder of the kernels' configurations, cases and snapshots, in which results go.

use std::fs;
use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::cargo;
use super::error::Result;
use super::host::Host;

/// The variable that names another workspace than the sources: a folder with `kernel-configs/`,
/// `tests/cases/` and `tests/snapshots/`, in which results go to `target/vm/`.
pub const WORKSPACE_VAR: &str = "SNAPTRACE_WORKSPACE";

/// The variable that, set to `1`, makes tests with guests run on all usual kernels, and not only on the
/// references.
pub const ALL_KERNELS_VAR: &str = "SNAPTRACE_ALL_KERNELS";

/// A workspace, and the host it is on.
#[derive(Debug)]
pub struct Workspace {
    /// The workspace: the kernels' configurations, cases and snapshots, and where results go.
    pub root: PathBuf,
    /// The sources that this program was built from, and the guest's programs are.
    pub sources: PathBuf,
    /// The cache, and messages.
    pub host: Host,
}

impl Workspace {
    /// The workspace at `root`.
    pub fn new(root: PathBuf, cache: Cache, yes: bool) -> Workspace {
        Workspace { root, sources: Workspace::sources(), host: Host::new(cache, yes) }
    }

    /// The workspace at [`WORKSPACE_VAR`], else the sources.
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

    /// The folder of what is made in the workspace at `root`: where cargo's products are, or, of another
    /// workspace than the sources, `target` in it.
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
