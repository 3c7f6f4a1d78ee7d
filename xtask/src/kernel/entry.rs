//! A kernel in the cache: the folder of its entry, and the entry's manifest.

use std::fs;
use std::path::{Path, PathBuf};

use object::Object;
use serde::{Deserialize, Serialize};

use crate::base::cache;
use crate::base::error::{Context, Result};

/// The kind of the cache entries with kernels.
pub const KIND: &str = "kernels";
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
    /// The vmlinux of the user's build that it comes from, with its symbols.
    pub built: Option<PathBuf>,
    /// Where it came from, in one sentence.
    pub provenance: String,
    /// Notes for the user, one line each.
    pub notes: Vec<String>,
}

/// The manifest of an entry; paths are file names in the entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub release: String,
    pub version: String,
    pub compiler: String,
    pub vmlinux_sha256: String,
    pub provenance: String,
    pub notes: Vec<String>,
    /// The [`record_digest`] of the record that it was made for.
    pub record: String,
    /// The user's tree or tarball that it was built from, if any; a rebuild after a change of the fragments
    /// uses it again. [`names`] stores this now; only entries of the first harness have it here.
    #[serde(default, skip_serializing)]
    pub source: Option<PathBuf>,
    /// The vmlinux of the user's build that the image comes from, with its symbols.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbols: Option<PathBuf>,
    /// How many files the build made.
    pub build_steps: Option<u64>,
}

impl Kernel {
    /// The kernel of the cache entry in `dir`, under a name.
    pub fn new(name: &str, dir: PathBuf, manifest: Manifest) -> Kernel {
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
            built: manifest.symbols,
            provenance: manifest.provenance,
            notes: manifest.notes,
            dir,
        }
    }
}

/// The sections with debug information, and with names alone.
const DEBUG_SECTION: &str = ".debug_info";
const NAMES_SECTION: &str = ".symtab";

impl Kernel {
    /// The vmlinux for a debugger, and what it lacks for that, if anything.
    pub fn symbols(&self) -> (&Path, Option<String>) {
        let built = self.built.as_deref().filter(|path| path.is_file());
        let image = built.unwrap_or(&self.vmlinux);
        let has = |section: &str| {
            let data = fs::read(image).unwrap_or_default();
            let file = object::read::elf::ElfFile64::<object::Endianness>::parse(&*data);
            file.is_ok_and(|file| file.section_by_name(section).is_some())
        };
        let advice = "give --kernel an object tree that was built with CONFIG_DEBUG_INFO";
        let about = match (has(DEBUG_SECTION), has(NAMES_SECTION)) {
            (true, _) => {
                // The scripts that `make scripts_gdb` puts beside it.
                let scripts = image.with_file_name("vmlinux-gdb.py");
                (!scripts.is_file()).then(|| {
                    "its lx- commands are missing: CONFIG_GDB_SCRIPTS makes vmlinux-gdb.py beside it"
                        .to_owned()
                })
            }
            (false, true) => Some(format!("it has names but no debug information: {advice}")),
            (false, false) => Some(format!("it has no names and no debug information: {advice}")),
        };
        (image, about)
    }
}

pub fn read_manifest(dir: &Path) -> Result<Manifest> {
    let path = dir.join(MANIFEST);
    let damaged = || format!("cannot read the cached kernel {}", dir.display());
    let text = fs::read(&path).context(damaged)?;
    serde_json::from_slice(&text)
        .context(damaged)
        .map_err(|error| error.help("remove it with `cargo xtask kernel --clean`"))
}

/// Writes an entry's manifest, as its last file.
pub fn write_manifest(dir: &Path, manifest: &Manifest) -> Result<()> {
    let path = dir.join(MANIFEST);
    let text = serde_json::to_vec_pretty(manifest).context(|| format!("cannot write {}", path.display()))?;
    fs::write(&path, text).map_err(|e| cache::denied("cannot write", &path, &e))
}
