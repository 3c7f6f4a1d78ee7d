//! Kernels: obtained, verified, configured, built and kept in the cache.
//!
//! A kernel is an entry `kernels/<key>` of the cache, the key being a digest of everything
//! that made it; `names/<name>` says which entry a name stands for.
//!
//! Architecture invariant: nothing here knows of virtual machines.

mod build;
pub mod config;
mod contents;
mod debian;
mod debian_source;
mod external;
mod failure;
pub mod image;
mod kept;
mod list;
mod make;
pub mod matrix;
mod menuconfig;
mod modules;
mod names;
mod source;

pub use external::module;
pub use kept::Kept;
pub use list::{clean, list};
pub use menuconfig::menuconfig;

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::cache;
use crate::base::error::{Context, Error, Result};
use crate::base::harness::Harness;
use crate::kernel::matrix::{Record, Source};
use names::{bind, bound};

/// Part of every key: raised when entries change in form or making.
const FORMAT: u32 = 1;
/// The kind of cache entry that a kernel is.
const KIND: &str = "kernels";
const MANIFEST: &str = "kernel.json";

/// A kernel in the cache, complete and ready to boot.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The record's name.
    pub name: String,
    /// What `uname -r` says, such as `5.4.286` or `6.1.0-50-cloud-amd64`.
    pub release: String,
    /// The version of the source or package, such as `5.4.286` or `6.1.176-1`.
    pub version: String,
    /// Compiler and its version, such as `gcc 12.2.0`.
    pub compiler: String,
    /// The cache entry's folder.
    pub dir: PathBuf,
    /// The ELF image, which boots through PVH.
    pub vmlinux: PathBuf,
    /// The compressed image with its own decompressor.
    pub bzimage: PathBuf,
    /// The configuration it was built with.
    pub config: PathBuf,
    /// Modules, uncompressed and flat: `<name>.ko`, the name as `lsmod` has it.
    pub modules: PathBuf,
    /// SHA-256 of `vmlinux`, in hexadecimal.
    pub vmlinux_sha256: String,
    /// Where it came from, in one sentence.
    pub provenance: String,
    /// What the user should know about it, a line each.
    pub notes: Vec<String>,
}

/// How a kernel is to be obtained, beyond its record.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// A local source tree or tarball instead of the record's own.
    pub source: Option<PathBuf>,
    /// The C compiler of the build instead of `gcc`.
    pub cc: Option<String>,
}

/// What an entry says of itself; paths are the entry's own file names.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Manifest {
    release: String,
    version: String,
    compiler: String,
    vmlinux_sha256: String,
    provenance: String,
    notes: Vec<String>,
    /// [`record_digest`] of the record that it was made for.
    record: String,
    /// The tree or tarball that it was built from, if a user gave one: built from again when the
    /// fragments change. It belongs to the name ([`names`]); entries of the first harness have it, too.
    #[serde(default, skip_serializing)]
    source: Option<PathBuf>,
    /// How many files the build made.
    build_steps: Option<u64>,
}

/// Gets the kernel of a record, from the cache if it is there.
///
/// # Errors
/// The kernel cannot be had (verdict `unavailable`), has another digest than the pinned one,
/// does not build, or lacks a symbol or module that the record asks for.
pub fn obtain(h: &Harness, record: &Record, request: &Request) -> Result<Kernel> {
    match &record.source {
        Source::Debian { package, with, version, .. } => {
            if request.source.is_some() || request.cc.is_some() {
                return Err(Error::new(format!("cannot build {}", record.name))
                    .because("it is a ready-made package of Debian")
                    .help("--source and --cc go with kernels that are built here, such as 5.4"));
            }
            let suites = record.source.suites();
            debian::obtain(h, record, &debian::Line { suites, pattern: package, with, version })
        }
        Source::KernelOrg { .. } | Source::DebianSource { .. } => build::obtain(h, record, request),
    }
}

/// Builds a local tree or tarball as the kernel of the matrix that fits its version. Names of the
/// matrix go on standing for what they stood for; this kernel is named after its source.
///
/// Returns the record that it was built as, too.
///
/// # Errors
/// It is no kernel tree, or of no line that is built here, or does not build.
pub fn of_source(h: &Harness, path: &Path) -> Result<(Record, Kernel)> {
    let version = source::version_of(h, path)?;
    let record = h.matrix()?.for_source(&version)?.clone();
    let kernel = build::apart(h, &record, path)?;
    Ok((record, kernel))
}

/// Fetches a record's own source, so that [`unpack`] finds it.
///
/// # Errors
/// It cannot be had (verdict `unavailable`), or the record has none.
pub fn fetch_source(h: &Harness, record: &Record) -> Result<()> {
    build::given(h, record, &Request::default(), None).map(drop)
}

/// Unpacks a record's own source into a folder, and returns the tree's top.
///
/// # Errors
/// The source cannot be had (verdict `unavailable`), or is no kernel tree of the record's line.
pub fn unpack(h: &Harness, record: &Record, into: &Path) -> Result<PathBuf> {
    let given = build::given(h, record, &Request::default(), None)?;
    Ok(source::tree(h, record, &given, into)?.path)
}

/// The kernel that a record's name stands for in the cache, if there is one. Uses no network
/// and writes nothing.
///
/// # Errors
/// The cache entry is damaged, or the config fragments cannot be read.
pub fn at_hand(h: &Harness, record: &Record) -> Result<Option<Kernel>> {
    let Some((dir, manifest)) = bound(h, &record.name)? else { return Ok(None) };
    let current = manifest.record == record_digest(h, record)?;
    let mut kernel = Kernel::new(&record.name, dir, manifest);
    if !current {
        kernel.notes.push(format!(
            "{name} was made with other settings than kernel-configs/ has now; \
             `cargo xtask kernel {name}` renews it",
            name = record.name
        ));
    }
    Ok(Some(kernel))
}

/// The symbols that a record's fragments ask for.
///
/// # Errors
/// A fragment cannot be read or understood.
pub fn wanted_symbols(h: &Harness, record: &Record) -> Result<Vec<config::Wanted>> {
    let mut fragments = Vec::new();
    for (name, text) in fragments_of(h, record)? {
        fragments.push(config::parse_fragment(&name, &text)?);
    }
    Ok(config::merge(fragments))
}

impl Kernel {
    fn new(name: &str, dir: PathBuf, manifest: Manifest) -> Kernel {
        Kernel {
            name: name.to_owned(),
            release: manifest.release,
            version: manifest.version,
            compiler: manifest.compiler,
            vmlinux: dir.join("vmlinux"),
            bzimage: dir.join("bzImage"),
            config: dir.join("config"),
            modules: dir.join("modules"),
            vmlinux_sha256: manifest.vmlinux_sha256,
            provenance: manifest.provenance,
            notes: manifest.notes,
            dir,
        }
    }
}

fn fragments_of(h: &Harness, record: &Record) -> Result<Vec<(String, String)>> {
    let read = |name: &String| {
        let path = h.configs().join(name);
        let text = fs::read_to_string(&path)
            .context(|| format!("cannot read the config fragment {}", path.display()))?;
        Ok((name.clone(), text))
    };
    record.fragments.iter().map(read).collect()
}

/// The digest of what the repository says about how a kernel is made: the source, the
/// fragments' bytes, the modules and our own format.
fn record_digest(h: &Harness, record: &Record) -> Result<String> {
    let mut digest = Keyed::new();
    digest.add("format", FORMAT.to_string());
    digest.add("arch", "x86_64");
    digest.add("modules", format!("{:?} {:?}", record.boot_modules, record.case_modules));
    if let Source::Debian { .. } = &record.source {
        // A built kernel's source is part of its key instead: --source may replace it.
        let source = serde_json::to_string(&record.source)
            .context(|| format!("cannot describe the source of {}", record.name))?;
        digest.add("source", source);
    }
    for (name, text) in fragments_of(h, record)? {
        digest.add(&name, text);
    }
    Ok(digest.finish())
}

fn read_manifest(dir: &Path) -> Result<Manifest> {
    let path = dir.join(MANIFEST);
    let damaged = || format!("cannot read the cached kernel {}", dir.display());
    let text = fs::read(&path).context(damaged)?;
    serde_json::from_slice(&text)
        .context(damaged)
        .map_err(|error| error.help("remove it with `cargo xtask kernel --clean`"))
}

/// Writes an entry's manifest, once everything else is in it.
fn write_manifest(dir: &Path, manifest: &Manifest) -> Result<()> {
    let path = dir.join(MANIFEST);
    let text = serde_json::to_vec_pretty(manifest).context(|| format!("cannot write {}", path.display()))?;
    fs::write(&path, text).map_err(|e| cache::denied("cannot write", &path, &e))
}

/// A digest over named parts, none of which can run into the next.
pub struct Keyed(Sha256);

impl Keyed {
    /// Of nothing yet.
    #[expect(clippy::new_without_default, reason = "a key of nothing is none")]
    pub fn new() -> Keyed {
        Keyed(Sha256::new())
    }

    /// Adds a part.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        for part in [name.as_ref(), value.as_ref()] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// SHA-256 of the parts, in hexadecimal.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Compiler and version from its first line: `gcc-12 (Debian 12.2.0-14) 12.2.0` gives
/// `gcc 12.2.0`, `Debian clang version 14.0.6` gives `clang 14.0.6`.
fn compiler(line: &str) -> String {
    let mut words = line.split_whitespace();
    if line.contains("clang") {
        let version = words.skip_while(|word| *word != "version").nth(1).unwrap_or("?");
        return format!("clang {version}");
    }
    let name = words.next().unwrap_or("?");
    let name = name.rsplit('/').next().unwrap_or(name);
    let name = if name.contains("gcc") || name == "cc" { "gcc" } else { name };
    // The version follows the vendor's words in parentheses.
    let rest = line.rsplit(')').next().unwrap_or(line);
    let version = rest.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    format!("{name} {}", version.map_or("?", |version| version.trim_end_matches(',')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_are_named_shortly() {
        assert_eq!(compiler("gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"), "gcc 12.2.0");
        assert_eq!(compiler("x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0, GNU ld"), "gcc 14.2.0");
        assert_eq!(compiler("Debian clang version 14.0.6"), "clang 14.0.6");
        assert_eq!(compiler("gcc (GCC) 12.2.1 20221121"), "gcc 12.2.1");
    }

    #[test]
    fn parts_of_a_key_do_not_run_into_each_other() {
        let key = |parts: &[(&str, &str)]| {
            let mut keyed = Keyed::new();
            parts.iter().for_each(|(name, value)| keyed.add(name, value));
            keyed.finish()
        };
        assert_ne!(key(&[("a", "bc")]), key(&[("ab", "c")]));
        assert_ne!(key(&[("a", "b"), ("c", "d")]), key(&[("a", "bcd")]));
        assert_eq!(key(&[("a", "b")]).len(), 64);
    }
}
