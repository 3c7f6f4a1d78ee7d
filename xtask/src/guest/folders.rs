//! The folders under `target/vm`, one for each boot or run; only the newest are kept.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use crate::base::error::{Context, Error, Result};
use crate::base::scratch::Scratch;
use crate::base::workspace::Workspace;

/// Folders kept under `target/vm`.
const KEPT: usize = 24;

/// The link to the folder of the last run of `test-vm`.
pub const LATEST: &str = "latest";

/// The folder of all runs.
pub fn folder(root: &Path) -> PathBuf {
    Workspace::target_of(root).join("vm")
}

/// Makes the folder of all runs, if there is none.
pub fn make(root: &Path) -> Result<PathBuf> {
    let folder = folder(root);
    fs::create_dir_all(&folder)
        .context(|| format!("cannot create {}", folder.display()))
        .map_err(|error| error.help("set CARGO_TARGET_DIR to a folder that you may write"))?;
    Ok(folder)
}

/// Makes a folder for the channels of one boot; it is removed when this process ends, unless kept.
///
/// # Errors
/// When it cannot be made.
pub fn scratch(root: &Path) -> Result<Scratch> {
    let folder = make(root)?;
    prune(&folder)?;
    Scratch::new(&folder, "run-")
}

/// Removes the oldest folders of runs and of single commands, keeping the newest.
///
/// # Errors
/// When one cannot be listed or removed.
pub fn prune(folder: &Path) -> Result<()> {
    let failed = || format!("cannot list the results in {}", folder.display());
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder).context(failed)? {
        let entry = entry.context(failed)?;
        // Another command may be removing its folders at the same time.
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() && !Scratch::is_in_use(&entry.path()) {
            found.push((about.modified().context(failed)?, entry.path()));
        }
    }
    found.sort();
    for (_, path) in &found[..found.len().saturating_sub(KEPT)] {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(
                    Error::new(format!("cannot remove the old results {}", path.display())).because(error)
                );
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_folders_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..KEPT + 3 {
            fs::create_dir(folder.path().join(format!("{number:03}"))).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
            fs::File::open(folder.path().join(format!("{number:03}"))).unwrap().set_modified(time).unwrap();
        }
        std::os::unix::fs::symlink("002", folder.path().join("latest")).unwrap();
        prune(folder.path()).unwrap();
        assert!(!folder.path().join("002").exists());
        assert!(folder.path().join("003").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), KEPT + 1);
    }
}
