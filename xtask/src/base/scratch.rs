//! Temporary folders and files. They are removed when this process ends, also by a signal. After SIGKILL, the
//! next command that makes such a folder in the same place removes them.
//!
//! Scratch folders are private: nobody else may read them, and their names cannot be guessed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tempfile::TempDir;

use super::error::{Context, Result};
use crate::base::{child, terminal};

/// The file in a folder that its process keeps locked while the folder is in use.
const ALIVE: &str = ".snaptrace-alive";

/// The paths that a signal's handler removes.
static DOOMED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn doomed() -> MutexGuard<'static, Vec<PathBuf>> {
    DOOMED.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Makes signals that end this process remove its temporary files first. Called once, by `main`.
///
/// # Errors
/// When the signals cannot be waited for.
pub fn go_with_signals() -> Result<()> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).context(|| "cannot wait for signals".to_owned())?;
    thread::spawn(move || {
        for signal in signals.forever() {
            terminal::restore();
            // Children must not write any more.
            child::end_groups();
            // Held to the end, so that no other thread makes new temporary files.
            let doomed = doomed();
            for path in doomed.iter() {
                // It may fail once if a process still writes there.
                for _ in 0..3 {
                    if remove(path) {
                        break;
                    }
                }
            }
            // End by the signal, so that the parent process sees it.
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(())
}

fn remove(path: &Path) -> bool {
    let done = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    done.is_ok() || !path.exists()
}

/// A path that signals remove while this value exists.
#[derive(Debug)]
pub struct Doomed(PathBuf);

impl Doomed {
    /// Registers a path, which need not exist yet.
    pub fn new(path: &Path) -> Doomed {
        doomed().push(path.to_owned());
        Doomed(path.to_owned())
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        doomed().retain(|path| *path != self.0);
    }
}

/// A private folder that is removed with this process unless it is kept.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
    _doomed: Doomed,
    _alive: File,
}

impl Scratch {
    /// Makes a folder `<prefix>…` in `within`; first removes those that killed processes left.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(within: &Path, prefix: &str) -> Result<Scratch> {
        let failed = || format!("cannot create a folder in {}", within.display());
        fs::create_dir_all(within).context(failed)?;
        // One process at a time: a folder that is not locked yet must not count as abandoned.
        let turn = File::open(within).context(failed)?;
        turn.lock().context(failed)?;
        sweep(within).context(failed)?;
        let mut builder = tempfile::Builder::new();
        let private = Permissions::from_mode(0o700);
        let dir = builder.prefix(prefix).permissions(private).tempdir_in(within).context(failed)?;
        let doomed = Doomed::new(dir.path());
        let alive = File::create(dir.path().join(ALIVE)).context(failed)?;
        alive.lock().context(failed)?;
        Ok(Scratch { dir, _doomed: doomed, _alive: alive })
    }

    /// Whether a folder is in use by a process.
    pub fn is_in_use(folder: &Path) -> bool {
        folder.join(ALIVE).exists()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Keeps the folder for good.
    pub fn keep(self) -> PathBuf {
        let Scratch { dir, .. } = self;
        let path = dir.keep();
        // Without this file the folder never counts as abandoned.
        let _ = fs::remove_file(path.join(ALIVE));
        path
    }
}

/// Removes the folders of processes that have ended.
fn sweep(within: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(within)? {
        let path = entry?.path();
        let Ok(alive) = OpenOptions::new().write(true).open(path.join(ALIVE)) else { continue };
        if alive.try_lock().is_ok() {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_private_and_goes_with_its_maker() {
        let within = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(within.path(), "run-").unwrap();
        let path = scratch.path().to_owned();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(doomed().contains(&path));
        drop(scratch);
        assert!(!path.exists());
        assert!(!doomed().contains(&path));
    }

    #[test]
    fn a_kept_folder_stays_and_holds_nothing_of_ours() {
        let within = tempfile::tempdir().unwrap();
        let path = Scratch::new(within.path(), "run-").unwrap().keep();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        drop(Scratch::new(within.path(), "run-").unwrap());
        assert!(path.exists());
        assert!(!doomed().contains(&path));
    }

    #[test]
    fn what_a_killed_process_left_goes_and_what_is_in_use_stays() {
        let within = tempfile::tempdir().unwrap();
        let left = within.path().join("run-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join(ALIVE), "").unwrap();
        let used = Scratch::new(within.path(), "run-").unwrap();
        assert!(!left.exists());
        let other = Scratch::new(within.path(), "run-").unwrap();
        assert!(used.path().exists() && other.path().exists());
    }
}
