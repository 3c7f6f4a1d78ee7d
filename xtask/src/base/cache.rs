//! The cache: kernels, tools, downloads and logs in the user's cache folder.
//!
//! An entry is a folder `<kind>/<key>`. It is complete or absent: it is filled under another name, flushed to
//! the disk and renamed. The process that fills it holds the advisory lock of the key, so that a second
//! command waits and then uses the entry. Readers take no lock and write nothing, so a cache that has all
//! entries works on a read-only file system.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::{Context, Error, Result};
use super::scratch::Doomed;
use super::ui::Ui;

/// The file that marks a folder as a cache, by the cache directory tagging convention. Nothing is deleted in
/// a folder without it.
const TAG: &str = "CACHEDIR.TAG";
const TAG_TEXT: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by snaptrace; `cargo xtask kernel --clean` empties it.\n";

/// Prefix of entries that are being filled.
const PARTIAL: &str = ".partial-";

/// The cache folder.
#[derive(Clone, Debug)]
pub struct Cache {
    path: PathBuf,
}

/// A held lock; released when dropped, or when the process ends.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file releases the lock as well.
        let _ = self.0.unlock();
    }
}

/// The folder for caches by the XDG base directory specification; relative paths are ignored.
fn user_cache(xdg: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    let usable = |path: &PathBuf| path.is_absolute();
    let xdg = xdg.map(PathBuf::from).filter(usable);
    xdg.or_else(|| Some(home.filter(usable)?.join(".cache")))
}

impl Cache {
    /// The cache at `$SNAPTRACE_CACHE`, else `snaptrace` in the user's cache folder.
    ///
    /// # Errors
    /// Neither the variable nor the user's home folder is known.
    pub fn open() -> Result<Cache> {
        let path = match std::env::var_os("SNAPTRACE_CACHE").filter(|path| !path.is_empty()) {
            Some(path) => std::path::absolute(PathBuf::from(path))
                .context(|| "cannot make an absolute path of SNAPTRACE_CACHE".to_owned())?,
            None => user_cache(std::env::var_os("XDG_CACHE_HOME"), std::env::home_dir())
                .ok_or_else(|| {
                    Error::new("cannot find the user's cache folder")
                        .because("neither XDG_CACHE_HOME nor HOME names a folder")
                        .help("set SNAPTRACE_CACHE to a folder")
                })?
                .join("snaptrace"),
        };
        Ok(Cache::at(path))
    }

    /// The cache at an absolute path, which need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Cache {
        Cache { path: path.into() }
    }

    /// The cache's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The entry `<kind>/<key>`, if it is there.
    pub fn entry(&self, kind: &str, key: &str) -> Option<PathBuf> {
        Some(self.path.join(kind).join(key)).filter(|path| path.is_dir())
    }

    /// The entry `<kind>/<key>`; if missing, `fill` makes it in the folder that it is given.
    ///
    /// # Errors
    /// `fill` fails, or the cache cannot be written; then there is no entry.
    pub fn fill(
        &self,
        ui: &Ui,
        kind: &str,
        key: &str,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(entry) = self.entry(kind, key) {
            return Ok(entry);
        }
        let _lock = self.lock(ui, &format!("{kind}-{key}"))?;
        if let Some(entry) = self.entry(kind, key) {
            return Ok(entry);
        }
        let folder = self.folder(kind)?;
        let partial = folder.join(format!("{PARTIAL}{key}"));
        // A killed command left it: this process holds the lock, so nobody is filling it.
        remove(&partial)?;
        let _doomed = Doomed::new(&partial);
        fs::create_dir(&partial).map_err(|e| denied("cannot create", &partial, &e))?;
        if let Err(error) = fill(&partial).and_then(|()| flush(&partial)) {
            // Report the first error, not that of the removal.
            let _ = remove(&partial);
            return Err(error);
        }
        let entry = folder.join(key);
        fs::rename(&partial, &entry).map_err(|e| denied("cannot create", &entry, &e))?;
        sync(&folder)?;
        Ok(entry)
    }

    /// Waits for the lock `name`, saying so if somebody else holds it.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn lock(&self, ui: &Ui, name: &str) -> Result<Lock> {
        let path = self.folder("locks")?.join(format!("{name}.lock"));
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| denied("cannot open", &path, &e))?;
        match file.try_lock() {
            Ok(()) => return Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => {
                ui.say(format!("waiting for another command that works on {name}"));
            }
            Err(TryLockError::Error(e)) => return Err(denied("cannot lock", &path, &e)),
        }
        file.lock().map_err(|e| denied("cannot lock", &path, &e))?;
        Ok(Lock(file))
    }

    /// The folder `name` of the cache, created with the cache itself if need be.
    ///
    /// # Errors
    /// The cache cannot be written, or the folder has other files and is no cache.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        self.create()?;
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(|e| denied("cannot create", &path, &e))?;
        Ok(path)
    }

    /// Reads the small file `name` of the cache, if it is there.
    ///
    /// # Errors
    /// It exists and cannot be read.
    pub fn load(&self, name: &str) -> Result<Option<String>> {
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(denied("cannot read", &path, &e)),
        }
    }

    /// Replaces the small file `name` of the cache as a whole.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn store(&self, name: &str, text: &str) -> Result<()> {
        self.create()?;
        let path = self.path.join(name);
        let folder = path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder).map_err(|e| denied("cannot create", folder, &e))?;
        let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|e| e.error)
        });
        written.map_err(|e| denied("cannot write", &path, &e))?;
        Ok(())
    }

    /// Removes the entry or file `name` of the cache, if it is there.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget(&self, name: &str) -> Result<()> {
        remove(&self.path.join(name))
    }

    /// Empties the cache.
    ///
    /// # Errors
    /// Another command is using it, or the folder is not a cache of ours.
    pub fn clean(&self) -> Result<()> {
        if !self.path.exists() {
            return Ok(());
        }
        if !self.path.join(TAG).is_file() {
            return Err(self.not_a_cache());
        }
        let _locks = self.lock_all()?;
        for item in read_dir(&self.path)? {
            if item.file_name().is_none_or(|name| name != TAG) {
                remove(&item)?;
            }
        }
        Ok(())
    }

    /// Takes all locks, without waiting.
    ///
    /// # Errors
    /// One is held by another command, which is named.
    pub fn lock_all(&self) -> Result<Vec<Lock>> {
        let folder = self.path.join("locks");
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let mut locks = Vec::new();
        for path in read_dir(&folder)? {
            let file =
                OpenOptions::new().write(true).open(&path).map_err(|e| denied("cannot open", &path, &e))?;
            match file.try_lock() {
                Ok(()) => locks.push(Lock(file)),
                Err(_) => {
                    let name = path.file_stem().unwrap_or_default().display().to_string();
                    return Err(Error::new(format!("cannot clean {}", self.path.display()))
                        .because(format!("another command works on {name}"))
                        .help("wait until it has ended"));
                }
            }
        }
        Ok(locks)
    }

    /// Creates the folder and marks it as a cache.
    fn create(&self) -> Result<()> {
        let tag = self.path.join(TAG);
        if tag.is_file() {
            return Ok(());
        }
        fs::create_dir_all(&self.path).map_err(|e| denied("cannot create", &self.path, &e))?;
        if !read_dir(&self.path)?.is_empty() && !tag.is_file() {
            return Err(self.not_a_cache());
        }
        fs::write(&tag, TAG_TEXT).map_err(|e| denied("cannot write", &tag, &e))
    }

    fn not_a_cache(&self) -> Error {
        Error::new(format!("cannot use {} as the cache", self.path.display()))
            .because(format!("it holds files but no {TAG}"))
            .help("set SNAPTRACE_CACHE to an empty folder, or to one that does not exist yet")
    }
}

/// An error of the file system, with help for a full disk and a read-only cache.
pub fn denied(operation: &str, path: &Path, cause: &io::Error) -> Error {
    let error = Error::new(format!("{operation} {}", path.display())).because(copy(cause));
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => error
            .help("free some space (a kernel build needs 1.5 GB), or run `cargo xtask kernel --clean`")
            .help("or set SNAPTRACE_CACHE to a folder on another disk"),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            error.help("set SNAPTRACE_CACHE to a folder that you may write")
        }
        _ => error,
    }
}

/// A copy of an error: number, kind and text.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// The paths in a folder, sorted.
pub fn read_dir(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut paths = fs::read_dir(folder)?.map(|item| Ok(item?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    };
    list().map_err(|e| denied("cannot read", folder, &e))
}

/// Removes a file, or a folder with its contents; a missing one is no error.
pub fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(denied("cannot remove", path, &e)),
        _ => Ok(()),
    }
}

/// Flushes everything in a folder to the disk, so that it is there before a rename.
fn flush(folder: &Path) -> Result<()> {
    for item in walkdir::WalkDir::new(folder) {
        let item = item.context(|| format!("cannot read {}", folder.display()))?;
        if item.file_type().is_file() || item.file_type().is_dir() {
            sync(item.path())?;
        }
    }
    Ok(())
}

fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| denied("cannot flush", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache"));
        (folder, cache)
    }

    #[test]
    fn the_cache_is_where_xdg_says_or_else_in_the_home_folder() {
        let of =
            |xdg: Option<&str>, home: Option<&str>| user_cache(xdg.map(Into::into), home.map(Into::into));
        assert_eq!(of(Some("/x"), Some("/home/u")), Some("/x".into()));
        for nothing in [None, Some(""), Some("x")] {
            assert_eq!(of(nothing, Some("/home/u")), Some("/home/u/.cache".into()));
            assert_eq!(of(nothing, Some("")), None);
            assert_eq!(of(nothing, None), None);
        }
    }

    #[test]
    fn an_entry_is_filled_once() {
        let (_folder, cache) = cache();
        let ui = Ui::new();
        let write = |text: &'static str| {
            move |path: &Path| fs::write(path.join("a"), text).context(|| "write".to_owned())
        };
        let entry = cache.fill(&ui, "kind", "key", write("one")).unwrap();
        let again = cache.fill(&ui, "kind", "key", write("two")).unwrap();
        assert_eq!(entry, again);
        assert_eq!(fs::read_to_string(entry.join("a")).unwrap(), "one");
    }

    #[test]
    fn a_failed_fill_leaves_no_entry_and_nothing_partial() {
        let (_folder, cache) = cache();
        let ui = Ui::new();
        let failed = cache.fill(&ui, "kind", "key", |path| {
            fs::write(path.join("a"), "half").unwrap();
            Err(Error::new("no"))
        });
        assert!(failed.is_err());
        assert!(read_dir(&cache.path().join("kind")).unwrap().is_empty());
        assert!(cache.fill(&ui, "kind", "key", |_| Ok(())).is_ok());
    }

    #[test]
    fn what_a_killed_command_left_is_not_taken_for_an_entry() {
        let (_folder, cache) = cache();
        let partial = cache.folder("kind").unwrap().join(".partial-key");
        fs::create_dir(&partial).unwrap();
        fs::write(partial.join("old"), "").unwrap();
        assert_eq!(cache.entry("kind", "key"), None);
        let entry = cache.fill(&Ui::new(), "kind", "key", |_| Ok(())).unwrap();
        assert!(read_dir(&entry).unwrap().is_empty());
    }

    #[test]
    fn a_folder_of_something_else_is_neither_used_nor_emptied() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("letter.txt"), "dear").unwrap();
        let cache = Cache::at(folder.path());
        assert!(cache.store("names/a", "b").unwrap_err().to_string().contains("CACHEDIR.TAG"));
        assert!(cache.clean().is_err());
        assert!(folder.path().join("letter.txt").exists());
    }

    #[test]
    fn cleaning_empties_it_but_not_under_a_lock() {
        let (_folder, cache) = cache();
        let ui = Ui::new();
        cache.store("names/a", "b").unwrap();
        let lock = cache.lock(&ui, "kernels-k").unwrap();
        let refused = cache.clean().unwrap_err().to_string();
        assert!(refused.contains("another command works on kernels-k"), "{refused}");
        assert_eq!(cache.load("names/a").unwrap().as_deref(), Some("b"));
        drop(lock);
        cache.clean().unwrap();
        assert_eq!(cache.load("names/a").unwrap(), None);
    }

    #[test]
    fn a_full_disk_is_told_with_what_helps() {
        let error = denied("cannot write", Path::new("a"), &io::ErrorKind::StorageFull.into());
        assert!(error.to_string().contains("help: free some space"));
    }
}
