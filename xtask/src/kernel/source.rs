//! Source trees: tarballs, be they kernel.org's, Debian's or local, and local trees of `--source`.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache;
use crate::download;
use crate::error::{Context, Error, Result};
use crate::harness::Harness;
use crate::kernel::{Keyed, hex};
use crate::matrix::Record;

/// The most that is read of a Makefile for the version at its head, in bytes.
const MAKEFILE_LIMIT: u64 = 64 << 10;

/// A source to build from, with the digest of all that is in it.
#[derive(Clone, Debug)]
pub struct Given {
    /// A folder or a tarball.
    pub path: PathBuf,
    /// What its contents amount to, for the key.
    pub digest: String,
    /// Where it came from, in words.
    pub provenance: String,
    /// Whether the user gave it, so that the name goes on standing for it.
    pub local: bool,
    /// What the user should know about it, a line each.
    pub notes: Vec<String>,
}

/// A source tree that can be built from.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Its folder.
    pub path: PathBuf,
    /// Its version, such as `5.4.286`.
    pub version: String,
}

/// Takes a local tree or tarball as a source.
///
/// # Errors
/// There is no such thing, it cannot be read, or it is no kernel tree of the record's line.
pub fn local(h: &Harness, record: &Record, path: &Path) -> Result<Given> {
    let path = fs::canonicalize(path)
        .context(|| format!("cannot open the source {}", path.display()))
        .map_err(|error| error.help("--source takes a kernel tree or a tarball of one"))?;
    if path.is_dir() {
        let version = check(record, &path)?.version;
        h.ui.say(format!("reading the source tree {} (Linux {version})", path.display()));
        let digest = tree_digest(&path)?;
        let provenance =
            format!("Linux {version} from the tree {}, digest {}", path.display(), &digest[..12]);
        Ok(Given { path, digest, provenance, local: true, notes: Vec::new() })
    } else {
        let digest = download::digest(&path)?;
        let provenance = format!("the tarball {}, SHA-256 {digest}", path.display());
        Ok(Given { path, digest, provenance, local: true, notes: Vec::new() })
    }
}

/// The version of a local tree or tarball. Of a tarball no more is read than up to its Makefile.
///
/// # Errors
/// It cannot be read, or is no kernel tree.
pub fn version_of(h: &Harness, path: &Path) -> Result<String> {
    let failed = || format!("cannot tell which Linux {} is", path.display());
    let mut makefile = Vec::new();
    if path.is_dir() {
        makefile = fs::read(path.join("Makefile")).context(failed)?;
    } else {
        let bar = h.ui.bytes("looking for the Makefile", None);
        let file = File::open(path).context(failed)?;
        let mut archive = tar::Archive::new(decoder(path, Counted { file, bar: &bar, done: 0 })?);
        for entry in archive.entries().context(failed)? {
            let entry = entry.context(failed)?;
            // At the top, or in the one folder that is there.
            let name = entry.path().context(failed)?.into_owned();
            if name.file_name().is_some_and(|name| name == "Makefile") && name.components().count() <= 2 {
                entry.take(MAKEFILE_LIMIT).read_to_end(&mut makefile).context(failed)?;
                break;
            }
        }
    }
    version(&String::from_utf8_lossy(&makefile))
        .ok_or_else(|| Error::new(failed()).because("no Makefile in it gives VERSION and PATCHLEVEL"))
}

/// Makes a tree of a source; a tarball is unpacked into `scratch`.
///
/// # Errors
/// The tarball is damaged or does not hold a kernel tree of the record's line.
pub fn tree(h: &Harness, record: &Record, given: &Given, scratch: &Path) -> Result<Tree> {
    if given.path.is_dir() {
        return check(record, &given.path);
    }
    h.ui.say(format!("unpacking {}", given.path.display()));
    fs::create_dir_all(scratch).map_err(|e| cache::denied("cannot create", scratch, &e))?;
    let total = fs::metadata(&given.path).ok().map(|meta| meta.len());
    let bar = h.ui.bytes("unpacking", total);
    let file = File::open(&given.path).context(|| format!("cannot open {}", given.path.display()))?;
    let decoder = decoder(&given.path, Counted { file, bar: &bar, done: 0 })?;
    let mut archive = tar::Archive::new(decoder);
    archive.set_preserve_mtime(true);
    archive.unpack(scratch).map_err(|e| {
        let error = cache::denied("cannot unpack", &given.path, &e);
        // What the system said stands at the end of a chain of what was attempted.
        let mut cause: &dyn std::error::Error = &e;
        while let Some(next) = cause.source() {
            cause = next;
        }
        error.because(cause)
    })?;
    // A tarball of a kernel has one folder at its top.
    let tops = cache::read_dir(scratch)?;
    match tops.as_slice() {
        [top] if top.is_dir() => check(record, top),
        _ => check(record, scratch),
    }
}

/// A file that moves a progress bar while it is read.
struct Counted<'a> {
    file: File,
    bar: &'a crate::ui::Bar,
    done: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.done += read as u64;
        self.bar.set(self.done);
        Ok(read)
    }
}

/// A decoder by what a tarball begins with.
fn decoder<'a>(path: &Path, file: Counted<'a>) -> Result<Box<dyn Read + 'a>> {
    let failed = || format!("cannot unpack {}", path.display());
    let mut file = BufReader::with_capacity(256 << 10, file);
    let magic = std::io::BufRead::fill_buf(&mut file).context(failed)?;
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(file))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(zstd::stream::read::Decoder::with_buffer(file).context(failed)?)
        }
        magic if magic.get(257..262) == Some(b"ustar") => Box::new(file),
        _ => {
            return Err(Error::new(failed())
                .because("it is neither a tar archive nor one in gzip, xz or zstd")
                .help("--source takes a kernel tree, .tar, .tar.gz, .tar.xz or .tar.zst"));
        }
    })
}

/// Checks that a folder is a kernel tree of the record's line that `O=` builds accept.
fn check(record: &Record, path: &Path) -> Result<Tree> {
    let no_tree = |cause: &str| {
        Error::new(format!("{} is not a Linux source tree", path.display()))
            .because(cause)
            .help("--source takes a kernel tree (the folder with its Makefile), or a tarball")
    };
    for part in ["Makefile", "Kconfig", "arch/x86"] {
        if !path.join(part).exists() {
            return Err(no_tree(&format!("it has no {part}")));
        }
    }
    let makefile = fs::read(path.join("Makefile"))
        .context(|| format!("cannot read {}", path.join("Makefile").display()))?;
    let version = version(&String::from_utf8_lossy(&makefile))
        .ok_or_else(|| no_tree("its Makefile gives no VERSION and PATCHLEVEL"))?;
    if !record.has_version(&version) {
        return Err(Error::new(format!("{} is Linux {version}", path.display()))
            .because(format!("the name {} stands for Linux {}.y only", record.name, record.line))
            .help(format!(
                "give a tree of {0}.y: its configuration and snapshots are for {0}",
                record.line
            )));
    }
    for product in [".config", "include/config", "arch/x86/include/generated"] {
        if path.join(product).exists() {
            return Err(Error::new(format!("{} was built in place", path.display()))
                .because(format!("it holds {product}, and such a tree refuses a build elsewhere"))
                .help(format!("run `make -C {} mrproper` (it removes .config too)", path.display())));
        }
    }
    Ok(Tree { path: path.to_owned(), version })
}

/// `5.4.286` or `5.4.0-rc1` from the assignments at the head of the top Makefile.
fn version(makefile: &str) -> Option<String> {
    let value = |name: &str| {
        makefile.lines().take(20).find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim())
        })
    };
    let number = |name: &str| value(name).filter(|v| v.parse::<u32>().is_ok());
    let sublevel = number("SUBLEVEL").unwrap_or("0");
    let extra = value("EXTRAVERSION").unwrap_or_default();
    Some(format!("{}.{}.{sublevel}{extra}", number("VERSION")?, number("PATCHLEVEL")?))
}

/// A digest over everything in a tree: paths, kinds, executable bits and contents.
///
/// Of a git work tree these are the tracked files and the new ones that are not ignored, as
/// they are now, changes included; of another tree all files.
fn tree_digest(root: &Path) -> Result<String> {
    let mut files = if root.join(".git").exists() { git_files(root)? } else { all_files(root)? };
    files.sort();
    files.dedup();
    // Contents are hashed side by side, then joined in the order of their paths.
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    let share = files.len().div_ceil(workers).max(1);
    let parts: Vec<Result<Vec<Option<String>>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = files
            .chunks(share)
            .map(|chunk| {
                scope.spawn(move || chunk.iter().map(|file| file_digest(&root.join(file))).collect())
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread.join().unwrap_or_else(|_| {
                    Err(Error::new(format!("cannot read the source tree {}", root.display())))
                })
            })
            .collect()
    });
    let mut digests = Vec::with_capacity(files.len());
    for part in parts {
        digests.extend(part?);
    }
    let mut keyed = Keyed::new();
    for (file, digest) in files.iter().zip(digests) {
        if let Some(digest) = digest {
            keyed.add(&file.display().to_string(), digest);
        }
    }
    Ok(keyed.finish())
}

/// Kind and contents of a file in words; none for one that git still tracks but is deleted.
fn file_digest(path: &Path) -> Result<Option<String>> {
    let failed = || format!("cannot read {}", path.display());
    let meta = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        meta => meta.context(failed)?,
    };
    if meta.is_symlink() {
        let target = fs::read_link(path).context(failed)?;
        return Ok(Some(format!("link {}", target.display())));
    }
    if meta.is_dir() {
        // A submodule: none of Linux's own.
        return Ok(Some("folder".to_owned()));
    }
    let kind = if meta.permissions().mode() & 0o100 != 0 { "program" } else { "file" };
    let contents = fs::read(path).context(failed)?;
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&contents);
    Ok(Some(format!("{kind} {}", hex(&digest))))
}

fn all_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for item in walkdir::WalkDir::new(root) {
        let item = item.context(|| format!("cannot read {}", root.display()))?;
        if !item.file_type().is_dir() {
            files.push(item.path().strip_prefix(root).unwrap_or(item.path()).to_owned());
        }
    }
    Ok(files)
}

fn git_files(root: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot list the git work tree {}", root.display());
    let output = Command::new("git")
        // Root may build from a user's tree.
        .arg("-c")
        .arg(format!("safe.directory={}", root.display()))
        .arg("-C")
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context(failed)
        .map_err(|error| error.help("install git, or give a tarball"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(failed()).because(said.trim()));
    }
    let names = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names
        .map(|name| PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;

    fn record() -> Record {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-configs/kernels.toml");
        Matrix::load(&path).unwrap().find("5.4").unwrap().clone()
    }

    fn stand_in(patchlevel: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("arch/x86")).unwrap();
        fs::write(folder.path().join("Kconfig"), "").unwrap();
        let makefile =
            format!("# SPDX\nVERSION = 5\nPATCHLEVEL = {patchlevel}\nSUBLEVEL = 7\nEXTRAVERSION =\n");
        fs::write(folder.path().join("Makefile"), makefile).unwrap();
        folder
    }

    #[test]
    fn a_version_is_read_from_the_makefile() {
        let text = "VERSION = 5\nPATCHLEVEL = 4\nSUBLEVEL = 0\nEXTRAVERSION = -rc1\nNAME = x\n";
        assert_eq!(version(text).as_deref(), Some("5.4.0-rc1"));
        assert_eq!(version("all:\n\ttrue\n"), None);
    }

    #[test]
    fn only_clean_trees_of_the_line_are_taken() {
        let good = stand_in(4);
        assert_eq!(check(&record(), good.path()).unwrap().version, "5.4.7");
        let other = check(&record(), stand_in(10).path()).unwrap_err().to_string();
        assert!(other.contains("is Linux 5.10.7") && other.contains("Linux 5.4.y only"), "{other}");
        // 5.4 is no prefix of 5.40.
        assert!(check(&record(), stand_in(40).path()).is_err());
        fs::write(good.path().join(".config"), "").unwrap();
        let built = check(&record(), good.path()).unwrap_err().to_string();
        assert!(built.contains("mrproper"), "{built}");
        let empty = tempfile::tempdir().unwrap();
        let none = check(&record(), empty.path()).unwrap_err().to_string();
        assert!(none.contains("not a Linux source tree: it has no Makefile"), "{none}");
    }

    #[test]
    fn a_digest_sees_contents_modes_names_and_links() {
        let tree = stand_in(4);
        let file = tree.path().join("a");
        fs::write(&file, "one").unwrap();
        let mut seen = vec![tree_digest(tree.path()).unwrap()];
        assert_eq!(tree_digest(tree.path()).unwrap(), seen[0]);
        fs::write(&file, "two").unwrap();
        seen.push(tree_digest(tree.path()).unwrap());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        seen.push(tree_digest(tree.path()).unwrap());
        fs::rename(&file, tree.path().join("b")).unwrap();
        seen.push(tree_digest(tree.path()).unwrap());
        std::os::unix::fs::symlink("b", &file).unwrap();
        seen.push(tree_digest(tree.path()).unwrap());
        let mut distinct = seen.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), seen.len());
    }

    #[test]
    fn a_git_work_tree_counts_its_changes_but_not_ignored_files() {
        let tree = stand_in(4);
        let git = |args: &[&str]| {
            let status = Command::new("git").arg("-C").arg(tree.path()).args(args).output();
            assert!(status.unwrap().status.success(), "git {args:?}");
        };
        let plain = tree_digest(tree.path()).unwrap();
        git(&["init", "-q"]);
        git(&["add", "."]);
        assert_eq!(tree_digest(tree.path()).unwrap(), plain, "git itself makes no difference");
        fs::write(tree.path().join(".gitignore"), "*.o\n").unwrap();
        git(&["add", "."]);
        let tracked = tree_digest(tree.path()).unwrap();
        fs::write(tree.path().join("a.o"), "").unwrap();
        assert_eq!(tree_digest(tree.path()).unwrap(), tracked);
        fs::write(tree.path().join("new.c"), "").unwrap();
        let changed = tree_digest(tree.path()).unwrap();
        assert_ne!(changed, tracked);
        fs::remove_file(tree.path().join("Kconfig")).unwrap();
        assert_ne!(tree_digest(tree.path()).unwrap(), changed);
    }
}
