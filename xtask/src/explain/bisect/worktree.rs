//! A git worktree in which commits are checked out, so that the user's checkout is not changed. When git
//! fails, all its output is shown.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use rustix::process::Signal;

use crate::base::cache;
use crate::base::child::{self, Own};
use crate::base::digest::sha256;
use crate::base::error::{Context, Error, Result};
use crate::base::scratch::Doomed;

/// The date of files that count as older than any object: the first second of 2000.
const OLD: Timespec = Timespec { tv_sec: 946_684_800, tv_nsec: 0 };
/// Variables that would make git use another repository than that of its current folder.
const ELSEWHERE: [&str; 4] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"];

/// A git repository.
#[derive(Clone, Debug)]
pub struct Repository {
    /// A folder in it.
    path: PathBuf,
    /// The folder that all its worktrees share.
    common: PathBuf,
}

impl Repository {
    /// The repository that a folder belongs to.
    ///
    /// # Errors
    /// When it belongs to none.
    pub fn open(source: &Path) -> Result<Repository> {
        let failed = || format!("cannot open the git repository {}", source.display());
        let path = fs::canonicalize(source).context(failed)?;
        let common = git(&path, &["rev-parse", "--path-format=absolute", "--git-common-dir"])
            .map_err(|error| error.help("give the folder of a kernel's git repository"))?;
        let common = fs::canonicalize(common.trim()).context(failed)?;
        Ok(Repository { path, common })
    }

    /// The full hash of the commit that a revision names.
    ///
    /// # Errors
    /// When it names none.
    pub fn commit(&self, revision: &str) -> Result<String> {
        let commit = format!("{revision}^{{commit}}");
        let found = git(&self.path, &["rev-parse", "--verify", "--end-of-options", &commit]);
        let usage = |error: Error| error.help("give a tag, a branch or a commit of it").usage();
        found.map(|name| name.trim().to_owned()).map_err(usage)
    }

    /// Whether the repository has a commit of this name.
    pub fn has(&self, commit: &str) -> bool {
        git(&self.path, &["cat-file", "-e", &format!("{commit}^{{commit}}")]).is_ok()
    }

    /// A commit's short name and subject.
    ///
    /// # Errors
    /// When there is no such commit.
    pub fn title(&self, commit: &str) -> Result<String> {
        let said = git(&self.path, &["log", "-1", "--abbrev=12", "--format=%h %s", commit])?;
        Ok(said.trim_end().to_owned())
    }

    /// A commit's author and date, as text.
    ///
    /// # Errors
    /// When there is no such commit.
    pub fn author(&self, commit: &str) -> Result<String> {
        let said = git(&self.path, &["log", "-1", "--date=iso", "--format=%an <%ae>, %ad", commit])?;
        Ok(said.trim_end().to_owned())
    }

    /// Makes a worktree in `folder` with a commit checked out. First removes one that a killed process left
    /// there.
    ///
    /// # Errors
    /// When git fails, or the disk is full.
    pub fn worktree(&self, folder: &Path, commit: &str) -> Result<Worktree> {
        // Git's administrative files (`.git/worktrees/NAME`) have this name too, so it must be unique.
        let name = format!("snaptrace-{}", &sha256(folder.as_os_str().as_encoded_bytes())[..12]);
        let path = folder.join(&name);
        let notes = self.common.join("worktrees").join(&name);
        cache::remove(&path)?;
        cache::remove(&notes)?;
        let doomed = [Doomed::new(&path), Doomed::new(&notes)];
        let worktree = Worktree { path, notes, _doomed: doomed };
        let place = worktree.path.display().to_string();
        git(&self.path, &["worktree", "add", "--detach", "--force", &place, commit])?;
        Ok(worktree)
    }
}

/// A worktree that is removed when this value is dropped or a signal ends this process.
#[derive(Debug)]
pub struct Worktree {
    path: PathBuf,
    notes: PathBuf,
    _doomed: [Doomed; 2],
}

impl Worktree {
    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks a commit out.
    ///
    /// # Errors
    /// When git fails.
    pub fn check_out(&self, commit: &str) -> Result<()> {
        git(&self.path, &["checkout", "--quiet", "--detach", commit]).map(|_| ())
    }

    /// Gives every file an old date, so that make takes objects built earlier from the same contents as
    /// newer.
    ///
    /// # Errors
    /// When a date cannot be set.
    pub fn age(&self) -> Result<()> {
        let old = Timestamps { last_access: OLD, last_modification: OLD };
        for item in walkdir::WalkDir::new(&self.path) {
            let item = item.context(|| format!("cannot read {}", self.path.display()))?;
            if !item.file_type().is_dir() {
                utimensat(CWD, item.path(), &old, AtFlags::SYMLINK_NOFOLLOW)
                    .context(|| format!("cannot set the date of {}", item.path().display()))?;
            }
        }
        // Otherwise git would take every file as changed and write it again.
        git(&self.path, &["update-index", "--refresh"]).map(|_| ())
    }

    /// Removes it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(self) -> Result<()> {
        cache::remove(&self.path)?;
        cache::remove(&self.notes)
    }
}

impl Drop for Worktree {
    fn drop(&mut self) {
        // Another error is already being reported. The next worktree in this place removes the rest.
        let _ = cache::remove(&self.path).and_then(|()| cache::remove(&self.notes));
    }
}

/// A git command in a folder, with the options that all commands here need.
pub fn command(folder: &Path, arguments: &[&str]) -> duct::Expression {
    let mut words: Vec<String> = Vec::new();
    for setting in [
        // Root may work on a user's repository; no program in it is run.
        "safe.directory=*",
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "advice.detachedHead=false",
        "gc.auto=0",
    ] {
        words.extend(["-c".to_owned(), setting.to_owned()]);
    }
    words.extend(arguments.iter().map(|word| (*word).to_owned()));
    let mut command = duct::cmd("git", words).dir(folder).env("LC_ALL", "C").stdin_null();
    for name in ELSEWHERE {
        command = command.env_remove(name);
    }
    child::mortal(command, Signal::TERM, Own::Group)
}

/// Runs git and returns its standard output.
///
/// # Errors
/// With git's whole output.
pub fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let failed = || format!("cannot run `git {}` in {}", arguments.join(" "), folder.display());
    let command = command(folder, arguments).stdout_capture().stderr_capture().unchecked();
    let (handle, _group) = child::in_group(|| command.start(), |handle| handle.pids())
        .context(failed)
        .map_err(|error| error.help("git is needed: install the package git"))?;
    let output = handle.wait().context(failed)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let said = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    Err(Error::new(failed()).because(match said.trim() {
        "" => output.status.to_string(),
        said => said.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(folder: &Path) -> Repository {
        let run = |arguments: &[&str]| git(folder, arguments).unwrap();
        run(&["init", "--quiet"]);
        let me = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
        for text in ["one", "two"] {
            fs::write(folder.join("file"), text).unwrap();
            run(&["add", "."]);
            run(&[&me[..], &["commit", "--quiet", "-m", text]].concat());
        }
        Repository::open(folder).unwrap()
    }

    #[test]
    fn a_worktree_leaves_the_checkout_and_the_repository_as_they_are() {
        let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let repository = repository(source.path());
        let (one, two) = (repository.commit("HEAD~").unwrap(), repository.commit("HEAD").unwrap());
        assert!(repository.title(&one).unwrap().ends_with(" one"));
        let worktree = repository.worktree(folder.path(), &one).unwrap();
        let read = |folder: &Path| fs::read_to_string(folder.join("file")).unwrap();
        assert_eq!((read(worktree.path()).as_str(), read(source.path()).as_str()), ("one", "two"));
        worktree.check_out(&two).unwrap();
        assert_eq!(read(worktree.path()), "two");
        // The remains of a killed process do not prevent a new worktree.
        std::mem::forget(worktree);
        let again = repository.worktree(folder.path(), &one).unwrap();
        assert_eq!(read(again.path()), "one");
        again.remove().unwrap();
        let known = git(source.path(), &["worktree", "list"]).unwrap();
        assert_eq!(known.lines().count(), 1, "{known}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn aged_files_are_older_than_those_that_a_checkout_changes() {
        let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let repository = repository(source.path());
        let worktree = repository.worktree(folder.path(), "HEAD").unwrap();
        let date = || fs::metadata(worktree.path().join("file")).unwrap().modified().unwrap();
        worktree.age().unwrap();
        let aged = date();
        worktree.check_out("HEAD").unwrap();
        assert_eq!(date(), aged, "the same contents keep their date");
        worktree.check_out("HEAD~").unwrap();
        assert!(date() > aged);
    }

    #[test]
    fn what_git_says_is_shown() {
        let source = tempfile::tempdir().unwrap();
        let repository = repository(source.path());
        let error = repository.commit("nosuch").unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("fatal: "), "{error}");
        assert!(!repository.has(&"0".repeat(40)));
        let none = tempfile::tempdir().unwrap();
        let error = Repository::open(none.path()).unwrap_err().to_string();
        assert!(error.contains("not a git repository"), "{error}");
    }
}
