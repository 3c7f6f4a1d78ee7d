//! The digest of a source tree: of every file that a build may read, and of no other.
//!
//! A build reads files without asking git. So the digest includes every file of the folder, those of nested
//! repositories and submodules, and those behind links that lead out of the folder. It leaves out files that
//! the tree's own `.gitignore` files hide, unless they look like sources. It includes files that only the
//! user's settings hide (`.git/info/exclude`, `core.excludesFile`), since builds read those too.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::digest::{Keyed, hex};
use crate::base::error::{Context, Error, Result};

/// The number of files that a thread takes at a time.
const SHARE: usize = 64;

/// Endings of files that a build may read even if a `.gitignore` hides them: sources, tables, scripts,
/// configurations, and files that are put into an image unchanged (firmware, certificates, an initramfs).
const SOURCES: [&str; 62] = [
    "c", "h", "cc", "cpp", "hpp", "inc", "s", "rs", "y", "l", "asn", "asn1", "gperf", "lds", "ld", "dts",
    "dtsi", "dtso", "its", "tbl", "map", "uni", "reg", "seq", "bc", "rules", "def", "in", "conf", "config",
    "cfg", "mk", "include", "sh", "bash", "pl", "pm", "py", "awk", "sed", "m4", "cocci", "bin", "fw",
    "ucode", "hex", "ihex", "dtb", "dtbo", "cpio", "gz", "xz", "zst", "pem", "key", "priv", "crt", "cer",
    "der", "x509", "genkey", "hash",
];

/// The beginnings of file names that kbuild itself looks for.
const BY_NAME: [&str; 8] =
    ["makefile", "gnumakefile", "kbuild", "kconfig", "platform", "localversion", ".scmversion", "build."];

/// The digest of a tree: paths, kinds, executable bits and contents of the included files.
///
/// # Errors
/// The tree cannot be read, or holds something that is not a file, a folder or a link.
pub fn digest(root: &Path) -> Result<String> {
    let root = &fs::canonicalize(root).context(|| cannot_read(root))?;
    let mut files = counted(root)?;
    files.sort_unstable();
    // Contents are hashed in parallel, then joined in the order of their paths.
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Option<Vec<u8>>)>> {
        let mut done = Vec::new();
        loop {
            let first = next.fetch_add(SHARE, Ordering::Relaxed);
            if first >= files.len() {
                return Ok(done);
            }
            for (at, file) in files.iter().enumerate().skip(first).take(SHARE) {
                done.push((at, file_digest(root, file)?));
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    let parts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let mut digests = vec![None; files.len()];
    for part in parts {
        for (at, digest) in part.map_err(|_| Error::new(cannot_read(root)))?? {
            digests[at] = digest;
        }
    }
    let mut keyed = Keyed::new();
    for (file, digest) in files.iter().zip(digests) {
        if let Some(digest) = digest {
            keyed.add(file.as_os_str().as_bytes(), digest);
        }
    }
    Ok(keyed.finish())
}

fn cannot_read(root: &Path) -> String {
    format!("cannot read the source tree {}", root.display())
}

/// The included files and links of a tree, by their paths in it.
fn counted(root: &Path) -> Result<Vec<PathBuf>> {
    let mut walk = Walk { root, files: Vec::new(), repositories: Vec::new(), links: Vec::new() };
    let hidden = std::thread::scope(|scope| {
        let hidden = scope.spawn(|| ignored(root, Path::new("")));
        walk.folder(Path::new(""))?;
        walk.follow_links()?;
        hidden.join().map_err(|_| Error::new(cannot_read(root)))
    })?;
    let mut hidden: HashSet<PathBuf> = hidden.into_iter().collect();
    // Each nested repository has its own ignore rules.
    for repository in walk.repositories.iter().filter(|path| !path.as_os_str().is_empty()) {
        hidden.extend(ignored(root, repository));
    }
    let mut files = walk.files;
    if !hidden.is_empty() {
        let mut sources = Sources { root, makefiles: HashMap::new() };
        let is_hidden = |file: &Path| file.ancestors().any(|path| hidden.contains(path));
        files.retain(|file| !is_hidden(file) || sources.has(file));
    }
    Ok(files)
}

/// A walk through a tree.
struct Walk<'a> {
    root: &'a Path,
    /// Files and links.
    files: Vec<PathBuf>,
    /// Folders that are git repositories, the tree itself included.
    repositories: Vec<PathBuf>,
    /// Links that have not been followed yet.
    links: Vec<PathBuf>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path) -> Result<()> {
        let path = self.root.join(folder);
        let failed = || format!("cannot read {}", path.display());
        let items = fs::read_dir(&path).context(failed)?;
        let items = items.collect::<std::io::Result<Vec<_>>>().context(failed)?;
        if self.is_object_tree(&path, &items) {
            return Ok(());
        }
        for item in items {
            let name = item.file_name();
            if name == ".git" {
                self.repositories.push(folder.to_owned());
                continue;
            }
            let kind = item.file_type().context(failed)?;
            let within = folder.join(&name);
            if kind.is_dir() {
                self.folder(&within)?;
            } else if kind.is_symlink() {
                self.links.push(within.clone());
                self.files.push(within);
            } else if kind.is_file() {
                self.files.push(within);
            } else {
                return Err(special(&self.root.join(within), kind));
            }
        }
        Ok(())
    }

    /// Walks folders outside of the tree that links lead to, as if they were in it. Each is walked once,
    /// since such folders may link to each other.
    fn follow_links(&mut self) -> Result<()> {
        let mut read = HashSet::new();
        while !self.links.is_empty() {
            let mut links = std::mem::take(&mut self.links);
            links.sort_unstable();
            for link in links {
                let target = outside(self.root, &self.root.join(&link));
                if let Some(target) = target.filter(|target| target.is_dir())
                    && read.insert(target)
                {
                    self.folder(&link)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a folder is an object tree that `make O=` made from this tree.
    fn is_object_tree(&self, path: &Path, items: &[fs::DirEntry]) -> bool {
        let has = |name: &str| items.iter().any(|item| item.file_name() == name);
        has("source")
            && has(".config")
            && fs::canonicalize(path.join("source")).is_ok_and(|source| source == self.root)
    }
}

/// The target of a link, unless it is in the tree or is a folder that contains the tree.
fn outside(root: &Path, link: &Path) -> Option<PathBuf> {
    let target = fs::canonicalize(link).ok()?;
    (!target.starts_with(root) && !root.starts_with(&target)).then_some(target)
}

/// The error for a FIFO, socket or device: reading one may block for ever.
fn special(path: &Path, kind: fs::FileType) -> Error {
    let what = if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Error::new(format!("cannot build from a tree with {what} in it"))
        .because(path.display().to_string())
        .help("a source tree has files, folders and links only: remove it")
}

/// The kind of a file and the digest of its contents, as text; `None` if it was removed meanwhile.
fn file_digest(root: &Path, file: &Path) -> Result<Option<Vec<u8>>> {
    let path = &root.join(file);
    let failed = || format!("cannot read {}", path.display());
    let meta = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        meta => meta.context(failed)?,
    };
    let contents = |path: &Path| -> Result<String> {
        Ok(hex(&<sha2::Sha256 as sha2::Digest>::digest(fs::read(path).context(failed)?)))
    };
    if meta.is_symlink() {
        let target = fs::read_link(path).context(failed)?;
        let mut words = [b"link ", target.as_os_str().as_bytes()].concat();
        if let Some(target) = outside(root, path).filter(|target| target.is_file()) {
            words.extend_from_slice(format!(" to {}", contents(&target)?).as_bytes());
        }
        return Ok(Some(words));
    }
    let kind = if meta.permissions().mode() & 0o100 != 0 { "program" } else { "file" };
    Ok(Some(format!("{kind} {}", contents(path)?).into_bytes()))
}

/// The files that a repository's `.gitignore` files hide, by their paths in the tree. If git fails, no file
/// counts as hidden.
fn ignored(root: &Path, repository: &Path) -> Vec<PathBuf> {
    let folder = root.join(repository);
    if !folder.join(".git").exists() {
        return Vec::new();
    }
    let mut command = Command::new("git");
    // Git sets variables for a hook or `git rebase --exec` that name another repository.
    for (name, _) in std::env::vars_os() {
        if name.as_bytes().starts_with(b"GIT_") && name != "GIT_EXEC_PATH" {
            command.env_remove(name);
        }
    }
    let output = command
        // Git must not search for a repository in the folders above either.
        .env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(&folder))
        // Allow root to build from a user's tree.
        .arg("-c")
        .arg(format!("safe.directory={}", folder.display()))
        // Use no cached state, and run no program that the tree's configuration names.
        .args(["-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false"])
        .arg("-C")
        .arg(&folder)
        .args(["ls-files", "-z", "--others", "--ignored", "--exclude-per-directory=.gitignore"])
        .output();
    let listed = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let listed = listed.unwrap_or_default();
    let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| repository.join(OsStr::from_bytes(name))).collect()
}

/// The files that a build reads although a `.gitignore` hides them.
struct Sources<'a> {
    root: &'a Path,
    /// The words in the makefiles of a folder, for the folders read so far.
    makefiles: HashMap<PathBuf, HashSet<Vec<u8>>>,
}

impl Sources<'_> {
    /// Whether a hidden file counts as a source: by its name, as a script, or because a makefile in its
    /// folder or above names it.
    fn has(&mut self, file: &Path) -> bool {
        let Some(name) = file.file_name() else { return false };
        let lower = name.as_bytes().to_ascii_lowercase();
        let suffix = lower.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
        let by_suffix = suffix.len() < lower.len() && SOURCES.iter().any(|known| known.as_bytes() == suffix);
        by_suffix
            || lower == b"build"
            || lower.ends_with(b"_shipped")
            || lower.ends_with(b"defconfig")
            || BY_NAME.iter().any(|known| lower.starts_with(known.as_bytes()))
            || is_script(&self.root.join(file))
            || !self.is_made(file)
                && file.ancestors().skip(1).any(|folder| self.names(folder, name.as_bytes()))
    }

    /// Whether an object has its source beside it, so that the build makes it. An object without one is
    /// itself a source.
    fn is_made(&self, file: &Path) -> bool {
        let of = |suffix: &str| self.root.join(file.with_extension(suffix)).exists();
        file.extension().is_some_and(|suffix| suffix == "o") && ["c", "S", "s", "rs"].into_iter().any(of)
    }

    fn names(&mut self, folder: &Path, name: &[u8]) -> bool {
        let words = self.makefiles.entry(folder.to_owned()).or_insert_with(|| {
            let files = ["Makefile", "Kbuild", "Kconfig"].map(|file| self.root.join(folder).join(file));
            let text = files.iter().filter(|file| file.is_file()).filter_map(|file| fs::read(file).ok());
            let text = text.collect::<Vec<_>>().join(&b'\n');
            let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+.".contains(byte);
            text.split(|byte| !is_of_name(byte)).map(<[u8]>::to_vec).collect()
        });
        words.contains(name)
    }
}

fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    path.is_file()
        && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start == *b"#!"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a few files of a kernel tree.
    fn stand_in() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Kconfig"), "").unwrap();
        fs::write(folder.path().join("Makefile"), "VERSION = 5\n").unwrap();
        folder
    }

    fn git(folder: &Path, args: &[&str]) {
        let settings = ["user.name=a", "user.email=a", "protocol.file.allow=always"];
        let settings = settings.iter().flat_map(|setting| ["-c", setting]);
        let output = Command::new("git").arg("-C").arg(folder).args(settings).args(args).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Whether a change of a file changes the digest.
    fn counts(root: &Path, file: &str) -> bool {
        write(root, file, "one\n");
        let before = digest(root).unwrap();
        write(root, file, "two\n");
        digest(root).unwrap() != before
    }

    #[test]
    fn a_digest_sees_contents_modes_names_and_links() {
        let tree = stand_in();
        let file = tree.path().join("a");
        fs::write(&file, "one").unwrap();
        let mut seen = vec![digest(tree.path()).unwrap()];
        assert_eq!(digest(tree.path()).unwrap(), seen[0]);
        fs::write(&file, "two").unwrap();
        seen.push(digest(tree.path()).unwrap());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        seen.push(digest(tree.path()).unwrap());
        fs::rename(&file, tree.path().join("b")).unwrap();
        seen.push(digest(tree.path()).unwrap());
        std::os::unix::fs::symlink("b", &file).unwrap();
        seen.push(digest(tree.path()).unwrap());
        let mut distinct = seen.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), seen.len());
    }

    #[test]
    fn a_git_work_tree_counts_its_changes_but_not_ignored_files() {
        let tree = stand_in();
        let root = tree.path();
        let plain = digest(root).unwrap();
        git(root, &["init", "-q"]);
        git(root, &["add", "."]);
        assert_eq!(digest(root).unwrap(), plain, "git itself makes no difference");
        write(root, ".gitignore", "*.o\nforced.o\n/notes/\nbuilt\n");
        for hidden in ["a.o", "drivers/a.o", "notes/today", "drivers/built/log"] {
            assert!(!counts(root, hidden), "{hidden}");
        }
        write(root, "forced.o", "");
        git(root, &["add", "-f", "forced.o"]);
        for file in ["new.c", "any thing", "forced.o", "Kconfig", ".gitignore"] {
            assert!(counts(root, file), "{file}");
        }
        let before = digest(root).unwrap();
        fs::remove_file(root.join("Kconfig")).unwrap();
        assert_ne!(digest(root).unwrap(), before, "a tracked file is gone");
    }

    #[test]
    fn what_a_user_hides_from_git_counts() {
        let tree = stand_in();
        let root = tree.path();
        git(root, &["init", "-q"]);
        git(root, &["add", "."]);
        write(root, ".git/info/exclude", "/mine*\n");
        write(root, ".git/hidden", "/yours*\n");
        let hidden = root.join(".git/hidden");
        git(root, &["config", "core.excludesFile", hidden.to_str().unwrap()]);
        git(root, &["update-index", "--assume-unchanged", "Kconfig"]);
        for file in ["mine", "mine.d/x", "yours", "Kconfig"] {
            assert!(counts(root, file), "{file}");
        }
    }

    #[test]
    fn repositories_within_a_tree_are_read_like_it() {
        for outer in ["git", "plain"] {
            let (tree, other) = (stand_in(), stand_in());
            let root = tree.path();
            if outer == "git" {
                git(root, &["init", "-q"]);
                write(root, ".gitignore", "*.txt\n");
                git(root, &["add", "."]);
                let from = other.path();
                write(from, "sub.c", "");
                git(from, &["init", "-q"]);
                git(from, &["add", "."]);
                git(from, &["commit", "-qm", "first"]);
                git(root, &["submodule", "--quiet", "add", from.to_str().unwrap(), "lib/sub"]);
                for file in ["lib/sub/sub.c", "lib/sub/new"] {
                    assert!(counts(root, file), "{file} of a submodule");
                }
            }
            // A repository without a commit, one with a commit, and a folder that git does not take for one.
            for (folder, commit) in [("drivers/one", false), ("drivers/two", true)] {
                let nested = root.join(folder);
                write(&nested, "x.c", "");
                write(&nested, ".gitignore", "*.log\n");
                git(&nested, &["init", "-q"]);
                write(&nested, ".git/info/exclude", "excluded\n");
                git(&nested, &["add", "."]);
                if commit {
                    git(&nested, &["commit", "-qm", "first"]);
                }
            }
            write(root, "drivers/broken/.git", "gitdir: /nowhere\n");
            for file in ["one/x.c", "one/new", "two/x.c", "two/deep/new", "two/excluded", "broken/x"] {
                assert!(counts(root, &format!("drivers/{file}")), "{outer}: {file}");
            }
            assert!(!counts(root, "drivers/two/x.log"), "{outer}");
            // Git's own files do not change the digest.
            let before = digest(root).unwrap();
            git(&root.join("drivers/two"), &["commit", "--allow-empty", "-qm", "second"]);
            assert_eq!(digest(root).unwrap(), before, "{outer}");
        }
    }

    #[test]
    fn what_a_build_takes_for_source_counts_though_it_is_ignored() {
        let tree = stand_in();
        let root = tree.path();
        git(root, &["init", "-q"]);
        write(root, ".gitignore", "/drivers/mine/\n.*\n*.bin\n*.patch\nseries\n");
        write(root, "drivers/Makefile", "obj-y += made.o blob.o\n$(obj)/x.h: $(src)/mine/regs\n");
        for file in [
            "x.c",
            "x.h",
            "x.S",
            "x.rs",
            "x.lds",
            "x.dts",
            "x.dtsi",
            "Makefile",
            "Kbuild",
            "Kconfig",
            "Kconfig.debug",
            "x.mk",
            "x.sh",
            "x.pl",
            "x.py",
            "x.tbl",
            "x.uni",
            "x.config",
            "x_defconfig",
            "fw.bin",
            "x.o_shipped",
            "localversion-mine",
            "x.pem",
            "regs",
            "blob.o",
        ] {
            assert!(counts(root, &format!("drivers/mine/{file}")), "{file}");
        }
        assert!(counts(root, ".scmversion"));
        write(root, "drivers/mine/generate", "#!/bin/sh\n");
        let before = digest(root).unwrap();
        write(root, "drivers/mine/generate", "#!/bin/sh\ntrue\n");
        assert_ne!(digest(root).unwrap(), before, "a script without a suffix");
        write(root, "drivers/mine/made.c", "");
        for file in ["x.o", "made.o", "notes", "x.c.swp", "x.orig", "x.patch", "regs2"] {
            assert!(!counts(root, &format!("drivers/mine/{file}")), "{file}");
        }
        for file in ["series", "drivers/.x.o.d", ".cache"] {
            assert!(!counts(root, file), "{file}");
        }
    }

    #[test]
    fn links_out_of_a_tree_are_followed_and_those_within_are_not() {
        use std::os::unix::fs::symlink;
        let (tree, outside) = (stand_in(), stand_in());
        let root = tree.path();
        write(outside.path(), "driver/x.c", "");
        write(outside.path(), "file", "");
        symlink(outside.path().join("driver"), root.join("driver")).unwrap();
        symlink(outside.path().join("file"), root.join("file")).unwrap();
        assert!(counts(root, "driver/x.c") && counts(root, "driver/y.c") && counts(root, "file"));
        // Circular links and links back into the tree are not followed for ever.
        symlink(root, outside.path().join("driver/back")).unwrap();
        symlink(outside.path(), outside.path().join("driver/round")).unwrap();
        for (target, link) in [("..", "up"), (".", "here"), ("nowhere", "dangling"), ("/dev/zero", "zero")] {
            symlink(target, root.join(link)).unwrap();
        }
        assert!(counts(root, "Kconfig"));
    }

    #[test]
    fn an_object_tree_within_the_tree_is_no_source() {
        let tree = stand_in();
        let root = tree.path();
        let before = digest(root).unwrap();
        write(root, "out/.config", "");
        std::os::unix::fs::symlink(root, root.join("out/source")).unwrap();
        assert!(!counts(root, "out/include/generated/x.h"));
        assert_eq!(digest(root).unwrap(), before);
    }

    #[test]
    fn what_may_be_read_for_ever_is_refused() {
        let tree = stand_in();
        let root = tree.path();
        git(root, &["init", "-q"]);
        write(root, ".gitignore", "pipe\n");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let fifo = digest(root).unwrap_err().to_string();
        assert!(fifo.contains("a FIFO in it") && fifo.contains("/pipe"), "{fifo}");
        fs::remove_file(root.join("pipe")).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let socket = digest(root).unwrap_err().to_string();
        assert!(socket.contains("a socket in it"), "{socket}");
    }
}
