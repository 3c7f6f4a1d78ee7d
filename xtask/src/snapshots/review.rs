//! Reviews pending snapshots with insta's own program.

use std::env;
use std::path::{self, Path, PathBuf};
use std::process::Command;

use crate::base::error::{Error, Result};

/// Lets the user review each pending snapshot in a folder, on the terminal. An accepted one becomes a
/// snapshot, a rejected one is removed, and a skipped one stays pending.
///
/// # Errors
/// When the program is not installed or fails.
pub fn review(folder: &Path, otherwise: &str) -> Result<()> {
    let failed = |cause: String| {
        Error::new(format!("cannot review the pending snapshots in {}", folder.display()))
            .because(cause)
            .help("`cargo install cargo-insta` installs the reviewer")
            .help(format!("`{otherwise}` accepts everything without it"))
    };
    let Some(root) = workspace(folder) else {
        return Err(Error::new(format!("cannot review the pending snapshots in {}", folder.display()))
            .because("the folder is in no cargo workspace, and cargo-insta looks for them nowhere else")
            .help(format!("`{otherwise}` accepts everything")));
    };
    let Some(program) = reviewer() else { return Err(failed("cargo-insta is not installed".into())) };
    let status = Command::new(program).args(["review", "--workspace-root"]).arg(root).status();
    let status = status.map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(format!("cargo-insta ended with {status}"))) }
}

/// The innermost cargo package or workspace that contains a folder.
fn workspace(folder: &Path) -> Option<PathBuf> {
    let folder = path::absolute(folder).ok()?;
    folder.ancestors().find(|folder| folder.join("Cargo.toml").is_file()).map(Path::to_path_buf)
}

/// The program `cargo-insta`, where cargo would find it.
fn reviewer() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(home.map(|home| home.join("bin")));
    let folders = env::join_paths(folders).ok();
    which::which_in("cargo-insta", folders, env::current_dir().unwrap_or_default()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_no_workspace_is_told_and_what_to_type_instead() {
        let folder = tempfile::tempdir().unwrap();
        let error = review(folder.path(), "cargo xtask test-vm --stored --update").unwrap_err().to_string();
        assert!(error.contains(": the folder is in no cargo workspace, "), "{error}");
        assert!(error.ends_with("`cargo xtask test-vm --stored --update` accepts everything"), "{error}");
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = own.parent().unwrap();
        assert_eq!(workspace(&root.join("tests/snapshots")).as_deref(), Some(root));
    }
}
