//! Kernel sources: tarballs of kernel.org, Debian or the user, and the user's trees (`--source`).

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::base::cache;
use crate::base::error::{Context, Error, Result};
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::fetch::{archive, download};
use crate::kernel::{contents, make};
use crate::matrix::Record;

/// The most bytes of a Makefile that are read to find the version at its head.
const MAKEFILE_LIMIT: u64 = 64 << 10;

/// A source to build from, with the digest of its contents.
#[derive(Clone, Debug)]
pub struct Given {
    /// A folder or a tarball.
    pub path: PathBuf,
    /// The digest of its contents, for the key.
    pub digest: String,
    /// Where it came from, as text.
    pub provenance: String,
    /// Whether the user gave it; the kernel's name then remembers it.
    pub local: bool,
    /// Notes for the user, one line each.
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

impl Given {
    /// Checks that the user's source still has the digest that was computed before the build. A kernel built
    /// from changed files must not be stored under that digest.
    ///
    /// # Errors
    /// They differ (verdict `build-failed`), or cannot be read.
    pub fn check_unchanged(&self) -> Result<()> {
        if !self.local || contents_of(&self.path)? == self.digest {
            return Ok(());
        }
        Err(Error::new(format!("{} changed while it was built", self.path.display()))
            .because("the kernel may have been built from either content")
            .help("build again without changing the source meanwhile, or build from a separate git worktree")
            .verdict(Verdict::BuildFailed))
    }
}

fn contents_of(path: &Path) -> Result<String> {
    if path.is_dir() { contents::digest(path) } else { download::digest(path) }
}

/// Takes a local tree or tarball as a source.
///
/// # Errors
/// It does not exist, cannot be read, or is no kernel tree of the record's line.
pub fn local(workspace: &Workspace, record: &Record, path: &Path) -> Result<Given> {
    let cannot_open = || format!("cannot open the source {}", path.display());
    let takes = "--source takes a kernel tree or a tarball of one";
    let path = fs::canonicalize(path).context(cannot_open).map_err(|error| error.help(takes))?;
    if path.is_dir() {
        make::takes(&path)?;
        let version = check(record, &path)?.version;
        workspace.host.ui.say(format!("reading the source tree {} (Linux {version})", path.display()));
        let digest = contents_of(&path)?;
        let provenance =
            format!("Linux {version} from the tree {}, digest {}", path.display(), &digest[..12]);
        Ok(Given { path, digest, provenance, local: true, notes: Vec::new() })
    } else if !path.is_file() {
        // A pipe can be read only once; a device may have no end.
        Err(Error::new(cannot_open()).because("it is neither a folder nor a regular file").help(takes))
    } else {
        let digest = contents_of(&path)?;
        let provenance = format!("the tarball {}, SHA-256 {digest}", path.display());
        Ok(Given { path, digest, provenance, local: true, notes: Vec::new() })
    }
}

/// The version of a local tree or tarball. A tarball is read only up to its Makefile.
///
/// # Errors
/// It cannot be read, or is no kernel tree.
pub fn version_of(workspace: &Workspace, path: &Path) -> Result<String> {
    let failed = || format!("cannot tell which Linux {} is", path.display());
    let mut makefile = Vec::new();
    if path.is_dir() {
        let file = path.join("Makefile");
        // Reading something else than a file may never end.
        if file.is_file() {
            makefile = fs::read(file).context(failed)?;
        }
    } else {
        if path.exists() && !path.is_file() {
            return Err(Error::new(failed()).because("it is neither a folder nor a regular file"));
        }
        let bar = workspace.host.ui.bytes("looking for the Makefile", None);
        let file = File::open(path).context(failed)?;
        let mut archive = tar::Archive::new(decoder(path, Counted { file, bar: &bar, done: 0 })?);
        for entry in archive.entries().context(failed)? {
            let entry = entry.context(failed)?;
            // At the top, or in the tarball's top folder.
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
pub fn tree(workspace: &Workspace, record: &Record, given: &Given, scratch: &Path) -> Result<Tree> {
    if given.path.is_dir() {
        return check(record, &given.path);
    }
    workspace.host.ui.say(format!("unpacking {}", given.path.display()));
    fs::create_dir_all(scratch).map_err(|e| cache::denied("cannot create", scratch, &e))?;
    let total = fs::metadata(&given.path).ok().map(|meta| meta.len());
    let bar = workspace.host.ui.bytes("unpacking", total);
    let file = File::open(&given.path).context(|| format!("cannot open {}", given.path.display()))?;
    let decoder = decoder(&given.path, Counted { file, bar: &bar, done: 0 })?;
    archive::unpack(decoder, &given.path, scratch)?;
    // A tarball of a kernel has one folder at its top.
    let tops = cache::read_dir(scratch)?;
    match tops.as_slice() {
        [top] if top.is_dir() => check(record, top),
        _ => check(record, scratch),
    }
}

/// A file that advances a progress bar while it is read.
struct Counted<'a> {
    file: File,
    bar: &'a crate::base::ui::Bar,
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

/// The decoder for a tarball, chosen by its first bytes.
fn decoder<'a>(path: &Path, file: Counted<'a>) -> Result<Box<dyn Read + 'a>> {
    let failed = || format!("cannot unpack {}", path.display());
    archive::decoder(file).context(failed)?.ok_or_else(|| {
        Error::new(failed())
            .because("it is neither a tar archive nor one in gzip, xz or zstd")
            .help("--source takes a kernel tree, .tar, .tar.gz, .tar.xz or .tar.zst")
    })
}

/// Checks that a folder is a kernel tree of the record's line that `O=` builds accept.
fn check(record: &Record, path: &Path) -> Result<Tree> {
    let no_tree = |cause: &str| {
        Error::new(format!("{} is not a Linux source tree", path.display()))
            .because(cause)
            .help("--source takes a kernel tree (the folder with its Makefile), or a tarball")
    };
    let (makefile, kconfig, arch) = (path.join("Makefile"), path.join("Kconfig"), path.join("arch/x86"));
    for (part, is_there) in
        [("Makefile", makefile.is_file()), ("Kconfig", kconfig.is_file()), ("arch/x86", arch.is_dir())]
    {
        if !is_there {
            return Err(no_tree(&format!("it has no {part}")));
        }
    }
    let makefile = fs::read(&makefile).context(|| format!("cannot read {}", makefile.display()))?;
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
}
