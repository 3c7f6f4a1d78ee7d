//! Kernels of the user's own: an image, a tree that was built, a package or an installed release, taken into
//! the cache under the digest of its parts.
//!
//! What a kernel says about itself is read from its image: architecture, release, compiler, configuration
//! (where it was built with IKCONFIG) and whether QEMU can start it uncompressed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use regex::bytes::Regex;

use super::entry::{self, KIND, Kernel, Manifest};
use super::key::FORMAT;
use super::{compiler, config, debian, image, modules, names};
use crate::base::cache;
use crate::base::digest::{Keyed, sha256};
use crate::base::error::{Context, Error, Result};
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::fetch::archive;
use crate::matrix::{Record, Source};

/// The word for the kernel that this machine runs.
pub const RUNNING: &str = "running";
/// The places of installed modules, and on some distributions of images and configurations.
const INSTALLED: [&str; 2] = ["/lib/modules", "/usr/lib/modules"];
/// Where a build has its compressed image, below its top.
const BZIMAGE: &str = "arch/x86/boot/bzImage";
/// The end of names under which added kernels are kept in the cache.
const ADDED: &str = "added";

/// The results channel's drivers, of which a kernel may have some as modules.
const CHANNEL: [&str; 2] = ["virtio_pci", "virtio_console"];
/// Modules that cases load.
const FOR_CASES: [&str; 4] = ["ext4", "fuse", "overlay", "loop"];

/// What a guest needs of a kernel's configuration: a symbol, whether a module will do, and why.
const NEEDED: [(&str, bool, &str); 8] = [
    ("SERIAL_8250_CONSOLE", false, "the console is a UART of a PC"),
    ("BLK_DEV_INITRD", false, "the root is an initramfs"),
    ("DEVTMPFS", false, "/dev has its devices without udev"),
    ("PCI", false, "the results channel is on the PCI bus"),
    ("VIRTIO_PCI", true, "the results channel is a virtio device"),
    ("VIRTIO_CONSOLE", true, "the results channel is a virtio port"),
    ("FUNCTION_TRACER", false, "guests are there to be traced"),
    ("FUNCTION_GRAPH_TRACER", false, "guests are there to be traced"),
];

/// What a word names: a file or folder, an installed release, or `running`; `None` if it is none of these.
///
/// # Errors
/// It is a path, but no kernel, or cannot be read.
pub fn find(word: &str) -> Result<Option<Given>> {
    if word == RUNNING {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        return installed(&release).map(Some);
    }
    let path = Path::new(word);
    if path.is_dir() {
        return of_folder(path).map(Some);
    }
    // A link that leads nowhere is a path of the user's, too.
    if path.symlink_metadata().is_ok() {
        return of_file(path).map(Some);
    }
    if word.contains('/') {
        return Err(Error::new(format!("cannot read the kernel {word}"))
            .because("there is no such file or folder")
            .usage());
    }
    let is_installed = INSTALLED.iter().any(|place| Path::new(place).join(word).is_dir())
        || Path::new("/boot").join(format!("vmlinuz-{word}")).exists();
    if is_installed { installed(word).map(Some) } else { Ok(None) }
}

/// Whether a name can be given to a kernel of one's own: no path, no option, not the word `running`.
pub fn is_name(word: &str) -> bool {
    word != RUNNING
        && word.starts_with(|first: char| first.is_ascii_alphanumeric())
        && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
}

/// Keeps a record under its name.
///
/// # Errors
/// The cache cannot be written.
pub fn keep(workspace: &Workspace, record: &Record) -> Result<()> {
    let name = &record.name;
    let text = serde_json::to_string_pretty(record).context(|| format!("cannot note the kernel {name}"))?;
    workspace.host.cache.store(&format!("{ADDED}/{name}"), &text)
}

/// The records of all kernels that were added, by name.
///
/// # Errors
/// The cache cannot be read.
pub fn all_added(workspace: &Workspace) -> Result<Vec<Record>> {
    let names = names_of_added(workspace)?;
    let records = names.iter().map(|name| added(workspace, name)).collect::<Result<Vec<_>>>()?;
    Ok(records.into_iter().flatten().collect())
}

/// Removes a kernel of one's own: its name, and its entry unless another name means it.
///
/// # Errors
/// A file cannot be removed.
pub fn forget(workspace: &Workspace, record: &Record) -> Result<()> {
    workspace.host.cache.forget(&format!("{ADDED}/{}", record.name))?;
    let Source::Own { key } = &record.source else { return Ok(()) };
    let is_added = all_added(workspace)?.iter().any(|other| other.source == record.source);
    if is_added || names::is_bound(workspace, key)? {
        return Ok(());
    }
    workspace.host.cache.forget(&format!("{KIND}/{key}"))
}

/// The record of a kernel that was added, or that a command called `FILE@DIGEST`.
///
/// # Errors
/// The record is damaged.
pub fn added(workspace: &Workspace, name: &str) -> Result<Option<Record>> {
    if let Some((_, digest)) = name.rsplit_once('@')
        && digest.len() == DIGEST
    {
        let folder = workspace.host.cache.path().join(KIND);
        let entries = if folder.is_dir() { cache::read_dir(&folder)? } else { Vec::new() };
        let key = entries
            .iter()
            .filter_map(|entry| entry.file_name()?.to_str())
            .find(|key| key.starts_with(digest) && folder.join(key).join(RECORD).is_file());
        return key.map(|key| recorded(&folder.join(key), name, key)).transpose();
    }
    if !is_name(name) {
        return Ok(None);
    }
    let Some(text) = workspace.host.cache.load(&format!("{ADDED}/{name}"))? else { return Ok(None) };
    let record = serde_json::from_str(&text).context(|| format!("cannot read the added kernel {name}"));
    record.map(Some).map_err(|error| error.help(format!("add it again: cargo xtask kernel add {name} PATH")))
}

fn names_of_added(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.host.cache.path().join(ADDED);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let files = cache::read_dir(&folder)?;
    Ok(files.iter().filter_map(|file| Some(file.file_name()?.to_str()?.to_owned())).collect())
}

/// The kernel of a record of this file, if the cache still has it.
pub fn cached(workspace: &Workspace, record: &Record) -> Result<Option<Kernel>> {
    let Source::Own { key } = &record.source else { return Ok(None) };
    let Some(dir) = workspace.host.cache.entry(KIND, key) else { return Ok(None) };
    let manifest = Manifest { provenance: record.about.clone(), ..entry::read_manifest(&dir)? };
    Ok(Some(Kernel::new(&record.name, dir, manifest)))
}

/// What a path is.
#[derive(Debug, PartialEq, Eq)]
pub enum Given {
    /// An image.
    Image(Parts),
    /// A `linux-image` package, and those beside it with the same kernel's modules.
    Packages(Vec<PathBuf>),
    /// A tree or tarball, which has to be built.
    Source(PathBuf),
}

/// An image, and where the rest of its kernel may be.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts {
    /// A bzImage or a vmlinux.
    image: PathBuf,
    config: Option<PathBuf>,
    /// The folder with the modules.
    modules: Option<PathBuf>,
}

/// An installed release, such as `uname -r` gives.
fn installed(release: &str) -> Result<Given> {
    let folders = INSTALLED.map(|place| Path::new(place).join(release));
    let boot = Path::new("/boot");
    let images = folders.iter().map(|folder| folder.join("vmlinuz"));
    let images: Vec<PathBuf> = [boot.join(format!("vmlinuz-{release}"))].into_iter().chain(images).collect();
    let image = images.iter().find(|image| image.exists()).ok_or_else(|| {
        let places: Vec<String> = images.iter().map(|image| image.display().to_string()).collect();
        Error::new(format!("cannot find the image of the installed kernel {release}"))
            .because(format!("there is none of {}", places.join(", ")))
            .help("give the path of an image instead")
            .verdict(Verdict::Unavailable)
    })?;
    Ok(Given::Image(Parts { image: image.clone(), config: config_of(release), modules: modules_of(release) }))
}

fn config_of(release: &str) -> Option<PathBuf> {
    let boot = Path::new("/boot").join(format!("config-{release}"));
    let beside = INSTALLED.iter().map(|place| Path::new(place).join(release).join("config"));
    std::iter::once(boot).chain(beside).find(|path| path.is_file())
}

fn modules_of(release: &str) -> Option<PathBuf> {
    INSTALLED.iter().map(|place| Path::new(place).join(release)).find(|folder| folder.is_dir())
}

fn of_folder(path: &Path) -> Result<Given> {
    let images = [path.join(BZIMAGE), path.join("vmlinux")];
    if let Some(image) = images.iter().find(|image| image.is_file()) {
        return Ok(Given::Image(of_build(path, image)));
    }
    if path.join("Makefile").is_file() && path.join("Kconfig").is_file() {
        return Ok(Given::Source(path.to_owned()));
    }
    let release = path.canonicalize().ok();
    let release = release.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    match release {
        Some(release) if modules_of(release).is_some() => installed(release),
        _ => Err(Error::new(format!("{} is no kernel", path.display()))
            .because(format!(
                "it has neither {BZIMAGE}, nor vmlinux, nor the Makefile and Kconfig of a source"
            ))
            .usage()),
    }
}

/// A build with its top folder.
fn of_build(top: &Path, image: &Path) -> Parts {
    let config = Some(top.join(".config")).filter(|path| path.is_file());
    Parts { image: image.to_owned(), config, modules: Some(top.to_owned()) }
}

fn of_file(path: &Path) -> Result<Given> {
    let failed = || format!("cannot read the kernel {}", path.display());
    let about = fs::metadata(path).context(failed)?;
    if !about.is_file() {
        // Opening or reading it may take for ever.
        return Err(Error::new(failed()).because("it is neither a folder nor a regular file").usage());
    }
    let mut head = Vec::new();
    let file = File::open(path).map_err(|cause| unreadable(path, cause))?;
    file.take(0x400).read_to_end(&mut head).context(failed)?;
    let has = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
    if has(0, b"!<arch>\n") {
        return Ok(Given::Packages(packages(path)));
    }
    if has(0x38, b"ARM\x64") {
        return Err(Error::new(failed())
            .because("it is an image for arm64, and guests here are x86-64")
            .verdict(Verdict::Unavailable));
    }
    if has(0x202, b"HdrS") || has(0, b"\x7fELF") {
        return Ok(Given::Image(beside(path)));
    }
    let is_archive = archive::decoder(head.as_slice()).is_ok_and(|decoder| decoder.is_some());
    if is_archive {
        return Ok(Given::Source(path.to_owned()));
    }
    Err(Error::new(failed())
        .because("it is neither a bzImage, a vmlinux, a Debian package nor a tarball of a source")
        .usage())
}

/// An image that only root may read: other users get the line that copies it.
fn unreadable(path: &Path, cause: std::io::Error) -> Error {
    let denied = cause.kind() == std::io::ErrorKind::PermissionDenied;
    let error = Error::new(format!("cannot read the kernel {}", path.display())).because(cause);
    if !denied {
        return error;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    error
        .help(format!("copy it: sudo install -o \"$USER\" -m 400 {} {name}", path.display()))
        .help(format!("and give the copy: --kernel ./{name}"))
}

/// An image with the configuration and modules that lie where builds and distributions put them.
fn beside(image: &Path) -> Parts {
    let absolute = image.canonicalize().unwrap_or_else(|_| image.to_owned());
    // arch/x86_64/boot/bzImage is a link to arch/x86.
    if let Some(top) = absolute.ancestors().nth(4).filter(|top| top.join(BZIMAGE) == absolute) {
        return of_build(top, image);
    }
    let folder = absolute.parent().unwrap_or(Path::new("."));
    let name = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if folder.join(".config").is_file() {
        return of_build(folder, image);
    }
    let release = name.strip_prefix("vmlinuz-");
    let configs =
        [release.map(|release| folder.join(format!("config-{release}"))), Some(folder.join("config"))];
    Parts {
        image: image.to_owned(),
        config: configs.into_iter().flatten().find(|path| path.is_file()),
        modules: Some(folder.join("modules")).filter(|path| path.is_dir()),
    }
}

/// A package, and the packages beside it that have the modules of the same kernel.
fn packages(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut packages = vec![path.to_owned()];
    let release = name.split('_').next().and_then(|first| {
        ["linux-image-unsigned-", "linux-image-"].iter().find_map(|start| first.strip_prefix(start))
    });
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    if let Some(release) = release {
        let wanted = format!("linux-modules-{release}_");
        let mut found = cache::read_dir(folder).unwrap_or_default();
        found.retain(|file| {
            file.file_name().is_some_and(|file| {
                let file = file.to_string_lossy();
                file.starts_with(&wanted) && file.ends_with(".deb")
            })
        });
        packages.extend(found);
    }
    packages
}

/// Takes an image into the cache, and returns its record.
///
/// # Errors
/// It cannot be read, or a guest cannot use it (verdict `config-unmet` or `unavailable`).
pub fn take_image(workspace: &Workspace, parts: Parts) -> Result<Record> {
    let image = fs::read(&parts.image).map_err(|cause| unreadable(&parts.image, cause))?;
    let mut key = Keyed::new();
    key.add("own", FORMAT.to_string());
    key.add("image", &image);
    let config = parts.config.as_ref().map(|path| read(path)).transpose()?;
    key.add("config", config.as_deref().unwrap_or_default());
    // Those of an installed release are found by the release, which is in the image.
    let index = parts.modules.as_ref().map(|folder| index(folder)).transpose()?.unwrap_or_default();
    for name in CHANNEL.iter().chain(&FOR_CASES) {
        if let Some(path) = index.get(*name) {
            key.add(name, read(path)?);
        }
    }
    let origin = absolute(&parts.image);
    let symbols = parts.modules.as_ref().map(|top| top.join("vmlinux")).filter(|path| path.is_file());
    let symbols = symbols.and_then(|path| path.canonicalize().ok());
    // A build is told apart from a copy of its image: it has symbols, at this place.
    key.add("symbols", symbols.as_deref().map(absolute).unwrap_or_default());
    entered(workspace, &parts.image, &origin.clone(), key.finish(), |_| {
        Ok(Found { image, config, index, symbols, origin })
    })
}

/// Takes the kernel in packages into the cache, and returns its record. The first package has the image.
///
/// # Errors
/// As for [`take_image`].
pub fn take_packages(workspace: &Workspace, packages: &[PathBuf]) -> Result<Record> {
    let mut key = Keyed::new();
    key.add("own", FORMAT.to_string());
    for package in packages {
        key.add("package", read(package)?);
    }
    let first = packages.first().cloned().unwrap_or_default();
    let origin = packages.iter().map(|package| absolute(package)).collect::<Vec<_>>().join(" and ");
    entered(workspace, &first, &origin, key.finish(), |dir| unpacked(packages, &origin, &dir.join("package")))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).context(|| format!("cannot read {}", path.display()))
}

/// The modules in a folder. A build lists its own, which is faster than looking for them.
fn index(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let order = folder.join("modules.order");
    let Ok(text) = fs::read_to_string(&order) else { return modules::index(folder) };
    if !folder.join(".config").is_file() {
        return modules::index(folder);
    }
    let path = |line: &str| {
        // Up to 6.1 the list has `kernel/` before each path, and later `.o` at the end.
        let line = line.strip_prefix("kernel/").unwrap_or(line);
        let path = folder.join(line).with_extension("ko");
        let name = path.file_stem()?.to_str()?.replace('-', "_");
        path.is_file().then_some((name, path))
    };
    Ok(text.lines().filter_map(path).collect())
}

/// The parts of a kernel, read.
struct Found {
    image: Vec<u8>,
    config: Option<Vec<u8>>,
    index: BTreeMap<String, PathBuf>,
    /// The uncompressed image of the same build, with its symbols.
    symbols: Option<PathBuf>,
    /// Where it came from.
    origin: String,
}

/// The parts of a kernel in packages, which are unpacked into a folder.
fn unpacked(packages: &[PathBuf], origin: &str, into: &Path) -> Result<Found> {
    for package in packages {
        archive::unpack_deb(package, into)?;
    }
    let files = debian::files(into).ok_or_else(|| {
        Error::new(format!("{origin} has no kernel"))
            .because("it has neither boot/vmlinuz-* nor usr/lib/modules/*/vmlinuz")
            .usage()
    })?;
    let config = files.config.is_file().then(|| read(&files.config)).transpose()?;
    let index = if files.modules.is_dir() { modules::index(&files.modules)? } else { BTreeMap::new() };
    Ok(Found { image: read(&files.image)?, config, index, symbols: None, origin: origin.to_owned() })
}

/// The record of the entry of a key, made of what `found` gives if the cache does not have it.
fn entered(
    workspace: &Workspace,
    path: &Path,
    origin: &str,
    key: String,
    found: impl FnOnce(&Path) -> Result<Found>,
) -> Result<Record> {
    let host = &workspace.host;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = file.split('_').next().unwrap_or_default().trim_start_matches('.');
    let mut found = Some(found);
    let dir = host.cache.fill(&host.ui, KIND, &key, |dir| {
        // The cache calls this at most once.
        let Some(found) = found.take() else { return Err(Error::new("a kernel is taken twice")) };
        host.ui.say(format!("taking {} into the cache", path.display()));
        let found = found(dir)?;
        let record = arrange(&found, dir)?;
        cache::remove(&dir.join("package"))?;
        let text = serde_json::to_vec_pretty(&record).context(|| "cannot describe the kernel".to_owned())?;
        let path = dir.join(RECORD);
        fs::write(&path, text).map_err(|e| cache::denied("cannot write", &path, &e))
    })?;
    let record = recorded(&dir, &format!("{stem}@{}", &key[..DIGEST]), &key)?;
    // The same kernel may be given again from another place.
    Ok(Record { about: about(origin), ..record })
}

/// The record in an entry.
fn recorded(dir: &Path, name: &str, key: &str) -> Result<Record> {
    let record: Record = serde_json::from_slice(&read(&dir.join(RECORD))?)
        .context(|| format!("cannot read the cached kernel {}", dir.display()))
        .map_err(|error| error.help("remove it with `cargo xtask kernel --clean`"))?;
    Ok(Record { name: name.to_owned(), source: Source::Own { key: key.to_owned() }, ..record })
}

/// How much of an entry's key is in the name of a kernel that has no other.
const DIGEST: usize = 7;
/// The record of an entry, but for its name and source.
const RECORD: &str = "record.json";

/// Writes the parts of a kernel into its entry and returns its record.
fn arrange(found: &Found, dir: &Path) -> Result<Record> {
    let origin = &found.origin;
    let is_bzimage = found.image.get(0x202..0x206) == Some(b"HdrS");
    let vmlinux = if is_bzimage { image::vmlinux(&found.image)? } else { found.image.clone() };
    let elf = Elf::read(&vmlinux).map_err(|cause| {
        Error::new(format!("guests cannot boot {origin}")).because(cause).verdict(Verdict::Unavailable)
    })?;
    let banner = banner(&vmlinux).ok_or_else(|| {
        Error::new(format!("{origin} is no kernel")).because("it has no text `Linux version …`")
    })?;
    let config = found.config.clone().or_else(|| built_in_config(&vmlinux));
    let config = config.or_else(|| fs::read(config_of(&banner.release)?).ok());
    let mut notes = Vec::new();
    if config.is_none() {
        notes.push("its configuration is not known: it is neither in the image nor beside it".to_owned());
    }
    let config = String::from_utf8_lossy(&config.unwrap_or_default()).into_owned();
    let mut index = found.index.clone();
    if index.is_empty()
        && let Some(folder) = modules_of(&banner.release)
    {
        index = modules::index(&folder)?;
    }
    let boot_modules = modules::in_order(&CHANNEL, &index)?;
    let mut case_modules = modules::in_order(&FOR_CASES, &index)?;
    case_modules.retain(|name| !boot_modules.contains(name));
    if !config.is_empty() {
        check(origin, &config, &index)?;
    }
    if !elf.has_pvh && !is_bzimage {
        return Err(Error::new(format!("guests cannot boot {origin}"))
            .because("QEMU starts an uncompressed kernel only at its PVH entry, and it has none")
            .help("give the bzImage of the same build, or build it with CONFIG_PVH=y")
            .verdict(Verdict::ConfigUnmet));
    }
    let record = Record {
        name: String::new(),
        about: about(origin),
        line: line_of(&banner.release),
        source: Source::Own { key: String::new() },
        fragments: Vec::new(),
        reference: false,
        icount_shift: 4,
        // It would test every cipher at boot, and set up 256 terminals of an old kind.
        append: vec!["cryptomgr.notests".to_owned(), "pty.legacy_count=0".to_owned()],
        boot_modules,
        case_modules,
        bzimage: !elf.has_pvh,
    };
    modules::check_release(&record, &index, &banner.release)?;
    modules::collect(&record, &index, &dir.join("modules"))?;
    write(&dir.join("vmlinux"), &vmlinux)?;
    if is_bzimage {
        write(&dir.join("bzImage"), &found.image)?;
    }
    write(&dir.join("config"), config.as_bytes())?;
    let manifest = Manifest {
        version: banner.release.clone(),
        release: banner.release,
        compiler: config::string(&config, "CC_VERSION_TEXT").map_or(banner.compiler, compiler::short_name),
        vmlinux_sha256: sha256(&vmlinux),
        provenance: origin.clone(),
        notes,
        record: String::new(),
        source: None,
        symbols: found.symbols.clone(),
        build_steps: None,
    };
    entry::write_manifest(dir, &manifest)?;
    Ok(record)
}

fn about(origin: &str) -> String {
    format!("your own: {origin}")
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|e| cache::denied("cannot write", path, &e))
}

/// `6.1` of `6.1.0-50-cloud-amd64`.
fn line_of(release: &str) -> String {
    let numbers = release.split(['.', '-', '+']).take(2);
    numbers.collect::<Vec<_>>().join(".")
}

/// Checks that a guest can use a kernel with this configuration.
fn check(origin: &str, config: &str, index: &BTreeMap<String, PathBuf>) -> Result<()> {
    let mut lacks = String::new();
    for (symbol, module_will_do, why) in NEEDED {
        let name = symbol.to_lowercase();
        let what = match config::state(config, symbol) {
            "y" => continue,
            "m" if module_will_do && index.contains_key(&name) => continue,
            "m" if module_will_do => "is a module, and no modules were found",
            "m" => "is a module",
            _ => "is not set",
        };
        lacks += &format!("\n    CONFIG_{symbol} {what}: {why}");
    }
    if lacks.is_empty() {
        return Ok(());
    }
    Err(Error::new(format!("guests cannot use {origin}"))
        .because(lacks)
        .help("build it with these set to y")
        .verdict(Verdict::ConfigUnmet))
}

/// What an ELF image says about itself.
struct Elf {
    /// QEMU can start it uncompressed.
    has_pvh: bool,
}

impl Elf {
    fn read(image: &[u8]) -> std::result::Result<Elf, String> {
        let damaged = |cause: object::read::Error| format!("it is no 64-bit ELF file: {cause}");
        let header = elf::FileHeader64::<Endianness>::parse(image).map_err(damaged)?;
        let endian = header.endian().map_err(damaged)?;
        let machine = header.e_machine(endian);
        if machine != elf::EM_X86_64 {
            return Err(format!("it is for another architecture (ELF machine {machine}), not x86-64"));
        }
        let mut has_pvh = false;
        for segment in header.program_headers(endian, image).map_err(damaged)? {
            let Some(mut notes) = segment.notes(endian, image).map_err(damaged)? else { continue };
            while let Some(note) = notes.next().map_err(damaged)? {
                // XEN_ELFNOTE_PHYS32_ENTRY, see include/xen/interface/elfnote.h.
                has_pvh |= note.name() == b"Xen" && note.n_type(endian) == 18;
            }
        }
        Ok(Elf { has_pvh })
    }
}

/// What the text at the head of a kernel's log says.
#[derive(Debug, PartialEq, Eq)]
struct Banner {
    release: String,
    compiler: String,
}

/// `Linux version RELEASE (BUILDER) (COMPILER) #1 …` in an image.
fn banner(image: &[u8]) -> Option<Banner> {
    let text = Regex::new(r"Linux version (\d[!-~]*) \([^()\n]*\) \(([^\n\x00]*?)\) #").ok()?;
    let found = text.captures(image)?;
    let word = |at: usize| Some(String::from_utf8_lossy(found.get(at)?.as_bytes()).into_owned());
    let compiler = word(2)?;
    let compiler = compiler.split(", ").next().unwrap_or_default();
    // Up to 5.4 it is `gcc version 12.2.0 (Debian 12.2.0-14)`.
    let compiler = match compiler.strip_prefix("gcc version ") {
        Some(rest) => format!("gcc {}", rest.split(' ').next().unwrap_or_default()),
        None => compiler::short_name(compiler),
    };
    Some(Banner { release: word(1)?, compiler })
}

/// The configuration in an image that was built with IKCONFIG: gzip after a magic word.
fn built_in_config(image: &[u8]) -> Option<Vec<u8>> {
    const LIMIT: u64 = 4 << 20;
    let start = Regex::new(r"(?-u)IKCFG_ST\x1f\x8b").ok()?.find(image)?.start() + 8;
    let mut config = Vec::new();
    flate2::read::GzDecoder::new(image.get(start..)?).take(LIMIT).read_to_end(&mut config).ok()?;
    Some(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANNER: &str = "Linux version 6.1.0-50-cloud-amd64 (builder@host) (gcc-12 \
        (Debian 12.2.0-14+deb12u1) 12.2.0, GNU ld (GNU Binutils for Debian) 2.40) #1 SMP";

    /// A made-up vmlinux: an ELF header, one segment with a note, and bytes.
    fn vmlinux(machine: u16, note: &str, rest: &[u8]) -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(16, 0);
        elf.extend([2_u16, machine].map(u16::to_le_bytes).concat());
        elf.extend(1_u32.to_le_bytes());
        // Entry, program headers, section headers.
        elf.extend([0_u64, 64, 0].map(u64::to_le_bytes).concat());
        elf.extend(0_u32.to_le_bytes());
        elf.extend([64_u16, 56, 1, 64, 0, 0].map(u16::to_le_bytes).concat());
        // PT_NOTE at 120: a name of four bytes, eight bytes of value.
        elf.extend([4_u32, 4].map(u32::to_le_bytes).concat());
        elf.extend([120_u64, 0, 0, 24, 24, 4].map(u64::to_le_bytes).concat());
        elf.extend([4_u32, 8, 18].map(u32::to_le_bytes).concat());
        elf.extend([format!("{note}\0").as_bytes(), &[0; 8]].concat());
        elf.extend(rest);
        elf
    }

    #[test]
    fn an_image_says_whether_qemu_can_start_it() {
        let pvh = |machine, note| Elf::read(&vmlinux(machine, note, b"")).map(|elf| elf.has_pvh);
        assert_eq!(pvh(62, "Xen"), Ok(true));
        assert_eq!(pvh(62, "GNU"), Ok(false));
        assert!(pvh(183, "Xen").unwrap_err().contains("another architecture (ELF machine 183)"));
        assert!(Elf::read(b"\x7fELF\x01").is_err_and(|cause| cause.contains("no 64-bit ELF")));
    }

    #[test]
    fn release_and_compiler_are_read_from_the_banner() {
        let of = |text: &str| {
            let banner = banner(&[b"\0%s version %s\0", text.as_bytes(), b"\n\0"].concat())?;
            Some(format!("{} by {}", banner.release, banner.compiler))
        };
        assert_eq!(of(BANNER).as_deref(), Some("6.1.0-50-cloud-amd64 by gcc 12.2.0"));
        let old = "Linux version 5.4.286 (a@b) (gcc version 12.2.0 (Debian 12.2.0-14)) #1 SMP";
        assert_eq!(of(old).as_deref(), Some("5.4.286 by gcc 12.2.0"));
        let clang = "Linux version 6.12.1+ (a@b) (Debian clang version 14.0.6, Debian LLD 14.0.6) #3 SMP";
        assert_eq!(of(clang).as_deref(), Some("6.12.1+ by clang 14.0.6"));
        assert_eq!(of("Linux version %s"), None);
    }

    #[test]
    fn a_configuration_in_the_image_is_found() {
        let mut packed = Vec::new();
        let config: &[u8] = b"CONFIG_PCI=y\n";
        flate2::read::GzEncoder::new(config, flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
        let image = [b"abc\xffIKCFG_ST".as_slice(), &packed, b"IKCFG_ED"].concat();
        assert_eq!(built_in_config(&image).as_deref(), Some(config));
        assert_eq!(built_in_config(b"IKCFG_ST"), None);
    }

    #[test]
    fn what_a_guest_lacks_is_named_before_a_boot() {
        let config: String = NEEDED.iter().map(|(symbol, ..)| format!("CONFIG_{symbol}=y\n")).collect();
        let none = BTreeMap::new();
        check("x", &config, &none).unwrap();
        let modular = config.replace("VIRTIO_CONSOLE=y", "VIRTIO_CONSOLE=m");
        let error = check("x", &modular, &none).unwrap_err();
        assert_eq!(error.verdict_given(), Some(Verdict::ConfigUnmet));
        assert!(error.to_string().contains("CONFIG_VIRTIO_CONSOLE is a module, and no modules"), "{error}");
        check("x", &modular, &BTreeMap::from([("virtio_console".to_owned(), PathBuf::new())])).unwrap();
        let off = config.replace("CONFIG_FUNCTION_TRACER=y", "# CONFIG_FUNCTION_TRACER is not set");
        let error = check("x", &off, &none).unwrap_err().to_string();
        assert!(
            error.contains("CONFIG_FUNCTION_TRACER is not set: guests are there to be traced"),
            "{error}"
        );
    }

    #[test]
    fn paths_are_taken_for_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path();
        let write = |path: &str, bytes: &[u8]| {
            let path = top.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            path
        };
        let bzimage = [&[0; 0x202][..], b"HdrS", &[0; 64]].concat();
        let found = |path: &Path| find(path.to_str().unwrap());
        let parts = |path: &Path| match found(path).unwrap().unwrap() {
            Given::Image(parts) => parts,
            other => panic!("{other:?}"),
        };

        let image = write("objects/arch/x86/boot/bzImage", &bzimage);
        write("objects/.config", b"");
        let objects = top.join("objects");
        let wanted = Parts {
            image: image.clone(),
            config: Some(objects.join(".config")),
            modules: Some(objects.clone()),
        };
        assert_eq!(parts(&objects), wanted);
        assert_eq!(parts(&image), wanted);

        // As in /boot: the configuration has the release in its name, and the modules are elsewhere.
        let image = write("boot/vmlinuz-6.1", &bzimage);
        let config = write("boot/config-6.1", b"");
        assert_eq!(parts(&image), Parts { image: image.clone(), config: Some(config), modules: None });

        let first = write("p/linux-image-unsigned-6.8.0-31-generic_6.8.0-31.31_amd64.deb", b"!<arch>\n");
        let second = write("p/linux-modules-6.8.0-31-generic_6.8.0-31.31_amd64.deb", b"!<arch>\n");
        write("p/linux-modules-extra-6.8.0-31-generic_6.8.0-31.31_amd64.deb", b"!<arch>\n");
        assert_eq!(found(&first).unwrap(), Some(Given::Packages(vec![first.clone(), second])));

        write("source/Makefile", b"");
        write("source/Kconfig", b"");
        assert_eq!(found(&top.join("source")).unwrap(), Some(Given::Source(top.join("source"))));

        for (path, what) in [
            (write("arm/Image", &[&[0; 0x38][..], b"ARM\x64", &[0; 64]].concat()), "an image for arm64"),
            (write("text", b"hello"), "neither a bzImage"),
            (top.join("boot"), "neither arch/x86/boot/bzImage, nor vmlinux"),
            (top.join("nothing"), "there is no such file"),
        ] {
            let error = found(&path).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        assert_eq!(find("no-such-kernel").unwrap(), None);
    }

    #[test]
    fn names_are_no_paths() {
        assert!(is_name("mine") && is_name("6.1-mine_2"));
        assert!(
            !is_name("running")
                && !is_name("a/b")
                && !is_name("..")
                && !is_name("-x")
                && !is_name("a+b")
                && !is_name("")
        );
    }
}
