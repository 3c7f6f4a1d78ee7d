//! The guest's file system: our static programs, packed so that equal inputs give equal bytes.
//!
//! The kernel gets two archives, one after the other. The base holds programs and modules and is the same for
//! every case; the job is small and differs per boot. Both are uncompressed: inside an emulator, unpacking
//! takes longer than copying.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use cpio::NewcBuilder;
use cpio::newc::{ModeFileType, trailer};
use initramfs::Job;
use initramfs::job::{JOB_PATH, MODULE_DIR, STDIN_PATH, WORKLOAD_DIR, WORKLOADS};
use rustix::fs::{Mode, OFlags};
use xshell::{Shell, cmd};

use super::put::Put;
use crate::base::cargo::{cargo, target_dir};
use crate::base::error::{Context, Error, Result};
use crate::base::verdict::Verdict;
use crate::fetch::host_packages::install_line;

/// The guest's static programs, built on the host.
#[derive(Clone, Debug)]
pub struct Programs {
    /// PID 1.
    pub init: PathBuf,
    /// The test workloads.
    pub workload: PathBuf,
    /// The tracer.
    pub snaptrace: PathBuf,
    /// The program of the fault tests, packed only for them.
    pub fault: PathBuf,
}

const GNU: &str = "x86_64-unknown-linux-gnu";
const MUSL: &str = "x86_64-unknown-linux-musl";

/// The users and groups that programs look up; `nobody`'s group has two usual names.
const ACCOUNTS: [(&str, &str); 2] = [
    ("etc/passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\nnobody:x:65534:\n"),
];

/// Builds the guest's programs: with musl where that target is installed, else with static glibc.
///
/// # Errors
/// When the compiler is missing or the build fails; cargo has printed the reason.
pub fn build(sh: &Shell, root: &Path) -> Result<Programs> {
    let sysroot = cmd!(sh, "rustc --print sysroot")
        .quiet()
        .read()
        .context(|| "cannot ask rustc for its sysroot".into())?;
    let musl = Path::new(&sysroot).join("lib/rustlib").join(MUSL).is_dir();
    let target = if musl { MUSL } else { GNU };
    let target_dir = target_dir(root).join("guest");
    // Programs must not contain paths of this machine, nor anything else that varies.
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .unwrap_or_default();
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_string(),
        "-Clink-arg=-Wl,--build-id=none".to_string(),
        format!("--remap-path-prefix={}=/snaptrace", root.display()),
        format!("--remap-path-prefix={home}=/cargo"),
    ];
    if !target_dir.starts_with(root) {
        // Generated sources are there, and their paths must be the same everywhere.
        flags.push(format!("--remap-path-prefix={}=/snaptrace/target/guest", target_dir.display()));
    }
    let folder = target_dir.join(target).join("guest");
    // The first build takes a minute and shows cargo's progress; later ones are quick and silent.
    let quiet = folder.join("snaptrace").exists().then_some("--quiet");
    let _inside = sh.push_dir(root);
    let built = cargo(sh)
        .args(["build", "--locked", "--profile", "guest", "--target", target, "--target-dir"])
        .arg(&target_dir)
        .args(["--package", "snaptrace", "--package", "initramfs", "--bins"])
        .args(quiet)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .run();
    built.map_err(|error| {
        let error = Error::new("cannot build the guest's programs").because(error);
        let existing = target_dir.ancestors().find(|path| path.exists()).unwrap_or(root);
        let error = match rustix::fs::access(existing, rustix::fs::Access::WRITE_OK) {
            Ok(()) => error.help(format!(
                "the compiler's messages are above; a linker and a static C library: {}",
                install_line(&["gcc", "libc6-dev"])
            )),
            Err(_) => error.help(format!(
                "{} cannot be written: set CARGO_TARGET_DIR to a folder that you may write",
                existing.display()
            )),
        };
        error.verdict(Verdict::BuildFailed)
    })?;
    Ok(Programs::in_folder(&folder))
}

impl Programs {
    /// The programs in a folder.
    pub fn in_folder(folder: &Path) -> Programs {
        Programs {
            init: folder.join("init"),
            workload: folder.join("workload"),
            snaptrace: folder.join("snaptrace"),
            fault: folder.join("fault"),
        }
    }

    /// Their files, always in the same order.
    pub fn files(&self) -> [&Path; 4] {
        [&self.init, &self.workload, &self.snaptrace, &self.fault]
    }
}

/// An entry of an archive.
enum Node {
    Directory,
    File { bytes: Vec<u8>, executable: bool },
    Link { target: String },
    Device { major: u32, minor: u32 },
}

/// A tree of files, packed as a newc archive: sorted, owned by root, without times.
#[derive(Default)]
pub struct Archive {
    nodes: BTreeMap<String, Node>,
    /// The paths of the user's files.
    users: BTreeSet<String>,
}

impl Archive {
    /// Everything but the job: programs, workloads, and modules as `name.ko` from `module_dir`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn base(programs: &Programs, module_dir: &Path, modules: &[String]) -> Result<Archive> {
        let mut archive = Archive::default();
        for directory in ["dev", "proc", "sys", "tmp", "bin", "lib"] {
            archive.insert(directory, Node::Directory);
        }
        // The kernel opens the console for PID 1 before devtmpfs is mounted.
        archive.insert("dev/console", Node::Device { major: 5, minor: 1 });
        archive.insert("dev/null", Node::Device { major: 1, minor: 3 });
        for (path, text) in ACCOUNTS {
            archive.insert(path, Node::File { bytes: text.into(), executable: false });
        }
        archive.add("init", &programs.init)?;
        archive.add("bin/snaptrace", &programs.snaptrace)?;
        archive.add("bin/workload", &programs.workload)?;
        for name in WORKLOADS {
            let path = format!("{}/{name}", inside(WORKLOAD_DIR));
            archive.insert(&path, Node::Link { target: "/bin/workload".into() });
        }
        for module in modules {
            let path = module_dir.join(format!("{module}.ko"));
            archive.add(&format!("{}/{module}.ko", inside(MODULE_DIR)), &path)?;
        }
        Ok(archive)
    }

    /// The job, with its standard input, if any, as a second file.
    ///
    /// # Errors
    /// When the job cannot be written as JSON.
    pub fn job(job: &Job) -> Result<Archive> {
        let mut archive = Archive::default();
        let bytes = serde_json::to_vec(job).context(|| "cannot write the job as JSON".into())?;
        archive.insert(inside(JOB_PATH), Node::File { bytes, executable: false });
        if let Some(stdin) = &job.stdin {
            archive.insert(inside(STDIN_PATH), Node::File { bytes: stdin.clone(), executable: false });
        }
        Ok(archive)
    }

    /// Adds a file of the host, executable, at `path` (relative to the guest's root).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn add(&mut self, path: &str, file: &Path) -> Result<()> {
        let failed = || Error::new(format!("cannot read {} for the initramfs", file.display()));
        let bytes = contents(file, u32::MAX.into()).map_err(|why| match why {
            Unfit::Unread(why) => failed().because(why),
            Unfit::NoFile(what) => failed().because(format!("it is {what}, not a file")),
            Unfit::TooLarge(size) => failed().because(format!("it has {size} bytes")),
        })?;
        self.insert(path, Node::File { bytes, executable: true });
        Ok(())
    }

    /// Puts a user's file, or all that is in a folder, into the guest. Links stay links; everything else in a
    /// folder has to be files and folders. Files can be executed.
    ///
    /// # Errors
    /// A file is none, is endless or larger than `limit` bytes, or something else is at its place.
    pub fn put(&mut self, put: &Put, limit: u64) -> Result<()> {
        let host = &put.host;
        if !host.is_dir() {
            return self.put_file(host, put.place().map_err(|why| refused(host, why))?, limit);
        }
        let place = put.place().map_err(|why| refused(host, why))?;
        let mut left = limit;
        for item in walkdir::WalkDir::new(host).sort_by_file_name() {
            let item = item.context(|| cannot_put(host))?;
            let path = item.path();
            let below = path.strip_prefix(host).unwrap_or(path);
            let Some(below) = below.to_str() else {
                return Err(refused(path, "its name is none that an initramfs can have".to_owned()));
            };
            let at = if below.is_empty() { place.clone() } else { format!("{place}/{below}") };
            let kind = item.file_type();
            if kind.is_dir() {
                match self.nodes.get(&at) {
                    None => self.insert(&at, Node::Directory),
                    Some(Node::Directory) => {}
                    Some(_) => return Err(taken(path, &at)),
                }
            } else if kind.is_symlink() {
                let target = fs::read_link(path).context(|| cannot_put(path))?;
                let Some(target) = target.to_str().map(str::to_owned) else {
                    return Err(refused(path, "it leads to a name that an initramfs cannot have".to_owned()));
                };
                self.insert_users(path, &at, Node::Link { target })?;
            } else {
                self.put_file(path, at.clone(), left)?;
                if let Some(Node::File { bytes, .. }) = self.nodes.get(&at) {
                    left -= bytes.len() as u64;
                }
            }
        }
        Ok(())
    }

    fn put_file(&mut self, file: &Path, at: String, limit: u64) -> Result<()> {
        let bytes = contents(file, limit).map_err(|why| match why {
            Unfit::Unread(why) => Error::new(cannot_put(file)).because(why).usage(),
            Unfit::NoFile(what) => {
                refused(file, format!("it is {what}, not a file")).help("copy the data into a file")
            }
            Unfit::TooLarge(size) => {
                refused(file, format!("it has {size} bytes, and the guest has {limit} of memory for it"))
                    .help("`--memory` gives it more, such as 2G")
            }
        })?;
        self.insert_users(file, &at, Node::File { bytes, executable: true })
    }

    fn insert_users(&mut self, host: &Path, at: &str, node: Node) -> Result<()> {
        let in_the_way = |at: &str| self.nodes.get(at).is_some_and(|node| !matches!(node, Node::Directory));
        let above = at.match_indices('/').map(|(end, _)| &at[..end]);
        if self.nodes.contains_key(at) || above.into_iter().any(in_the_way) {
            return Err(taken(host, at));
        }
        self.insert(at, node);
        self.users.insert(at.to_owned());
        Ok(())
    }

    /// The memory that its unpacked files take, in bytes; each takes whole pages.
    pub fn unpacked(&self) -> u64 {
        let size = |node: &Node| match node {
            Node::File { bytes, .. } => (bytes.len() as u64).next_multiple_of(4096),
            _ => 0,
        };
        self.nodes.values().map(size).sum()
    }

    /// The user's files and links, by their names: those in `/extra` without it.
    pub fn users_files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.users.iter().filter_map(|path| {
            let name = path.strip_prefix("extra/").unwrap_or(path);
            match self.nodes.get(path)? {
                Node::File { bytes, .. } => Some((name, bytes.as_slice())),
                Node::Link { target } => Some((name, target.as_bytes())),
                _ => None,
            }
        })
    }

    fn insert(&mut self, path: &str, node: Node) {
        // A folder has to come before its contents; sorting ensures that.
        for (at, _) in path.match_indices('/') {
            self.nodes.entry(path[..at].to_string()).or_insert(Node::Directory);
        }
        self.nodes.insert(path.to_string(), node);
    }

    /// The archive's bytes, padded so that another archive can follow.
    ///
    /// # Errors
    /// When a file is larger than the format can say (4 GiB).
    pub fn pack(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        // Inode numbers have to be unique, since the kernel takes equal ones for hard links.
        for (ino, (path, node)) in (1..).zip(&self.nodes) {
            let entry = NewcBuilder::new(path).ino(ino).nlink(1).uid(0).gid(0).mtime(0);
            let (entry, bytes): (_, &[u8]) = match node {
                Node::Directory => (entry.mode(0o755).set_mode_file_type(ModeFileType::Directory), &[]),
                Node::File { bytes, executable } => {
                    let mode = if *executable { 0o755 } else { 0o644 };
                    (entry.mode(mode).set_mode_file_type(ModeFileType::Regular), bytes)
                }
                Node::Link { target } => {
                    (entry.mode(0o777).set_mode_file_type(ModeFileType::Symlink), target.as_bytes())
                }
                Node::Device { major, minor } => {
                    let entry = entry.mode(0o600).set_mode_file_type(ModeFileType::Char);
                    (entry.rdev_major(*major).rdev_minor(*minor), &[])
                }
            };
            let failed = || format!("cannot pack {path} into the initramfs");
            let size = u32::try_from(bytes.len()).context(failed)?;
            let mut writer = entry.write(&mut out, size);
            writer.write_all(bytes).context(failed)?;
            writer.finish().context(failed)?;
        }
        trailer(&mut out).context(|| "cannot end the initramfs".into())?;
        out.resize(out.len().next_multiple_of(512), 0);
        Ok(out)
    }
}

fn cannot_put(host: &Path) -> String {
    format!("cannot put {} into the guest", host.display())
}

fn refused(host: &Path, why: String) -> Error {
    Error::new(cannot_put(host)).because(why).usage()
}

/// The error for a place where something is already.
fn taken(host: &Path, at: &str) -> Error {
    refused(host, format!("something else is at /{at} there"))
        .help(format!("give it another place: --put {}:/PLACE", host.display()))
}

/// Why a file of the host cannot be put into a guest.
enum Unfit {
    Unread(io::Error),
    /// It is no regular file; says what it is.
    NoFile(&'static str),
    /// It is too large; says how large.
    TooLarge(String),
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Unfit {
        Unfit::Unread(error)
    }
}

/// The contents of a file of at most `limit` bytes.
fn contents(file: &Path, limit: u64) -> Result<Vec<u8>, Unfit> {
    // Opening or reading something else than a file, or some files of the kernel, can block for ever.
    let flags = OFlags::NONBLOCK | OFlags::RDONLY | OFlags::CLOEXEC;
    let file = fs::File::from(rustix::fs::open(file, flags, Mode::empty()).map_err(io::Error::from)?);
    let about = file.metadata()?;
    if about.is_dir() {
        return Err(Unfit::NoFile("a folder"));
    }
    if !about.is_file() {
        return Err(Unfit::NoFile("a device, a FIFO or a socket"));
    }
    if about.len() > limit {
        return Err(Unfit::TooLarge(about.len().to_string()));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Unfit::TooLarge(format!("more than {limit}")));
    }
    Ok(bytes)
}

/// A guest path as an archive has it: without the leading slash.
fn inside(path: &str) -> &str {
    path.trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 64, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Default::default()
        })]

        #[test]
        fn whatever_is_packed_is_there_in_the_order_of_the_names(
            files in proptest::collection::btree_map("d[a-c]/[a-z]{1,8}", ".{0,40}", 0..12),
            backwards in any::<bool>(),
        ) {
            let mut archive = Archive::default();
            let mut insert = |(path, text): (&String, &String)| {
                let node = Node::File { bytes: text.clone().into_bytes(), executable: false };
                archive.insert(path, node);
            };
            if backwards { files.iter().rev().for_each(&mut insert) } else { files.iter().for_each(&mut insert) }
            let bytes = archive.pack().unwrap();
            let mut rest = &bytes[..];
            let mut found = Vec::new();
            loop {
                let mut reader = cpio::NewcReader::new(rest).unwrap();
                if reader.entry().is_trailer() {
                    break;
                }
                let (name, mut text) = (reader.entry().name().to_owned(), String::new());
                reader.read_to_string(&mut text).unwrap();
                if name.contains('/') {
                    found.push((name, text));
                }
                rest = reader.finish().unwrap();
            }
            prop_assert_eq!(found, files.into_iter().collect::<Vec<_>>());
        }
    }

    fn sample(order: &[&str]) -> Archive {
        let mut archive = Archive::default();
        for path in order {
            let bytes = path.as_bytes().to_vec();
            archive.insert(path, Node::File { bytes, executable: false });
        }
        archive
    }

    #[test]
    fn a_file_without_an_end_or_with_a_name_that_is_taken_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let mut archive = Archive::default();
        let put = |archive: &mut Archive, path: &Path, guest: Option<&str>| {
            archive.put(&Put { host: path.to_owned(), guest: guest.map(str::to_owned) }, 4096)
        };
        put(&mut archive, &at("one/file", "1"), None).unwrap();
        put(&mut archive, &at("one/other", "1"), None).unwrap();
        let fifo = folder.path().join("fifo");
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let cases = [
            (at("two/file", "2"), "something else is at /extra/file there"),
            (at("one/file", "1"), "something else is at /extra/file there"),
            ("/dev/zero".into(), "it is a device"),
            ("/dev/urandom".into(), "it is a device"),
            ("/dev/null".into(), "it is a device"),
            (fifo, "a FIFO"),
            (folder.path().join("socket"), "cannot put"),
            (folder.path().join("none"), "No such file"),
            (at("large", &"x".repeat(4097)), "it has 4097 bytes, and the guest has 4096"),
            // The size of a file in /proc is not known before reading it.
            ("/proc/self/smaps".into(), "it has more than 4096 bytes"),
            ("/".into(), "it has no name"),
        ];
        for (path, why) in cases {
            let error = put(&mut archive, &path, None).unwrap_err();
            assert!(error.to_string().contains(why), "{}: {error}", path.display());
        }
        assert_eq!(archive.users_files().map(|(name, _)| name).collect::<Vec<_>>(), ["file", "other"]);
        assert_eq!(archive.unpacked(), 2 * 4096);
        let tracer = archive.add("bin/snaptrace", Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(tracer.contains("it is a device"), "{tracer}");
    }

    #[test]
    fn a_folder_goes_in_with_its_links_and_to_the_place_named() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs::create_dir_all(top.join("sub/empty")).unwrap();
        fs::write(top.join("sub/a"), "1").unwrap();
        std::os::unix::fs::symlink("sub/a", top.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", top.join("out")).unwrap();
        let mut archive = Archive::default();
        archive.insert("bin/snaptrace", Node::File { bytes: Vec::new(), executable: true });
        archive.put(&Put { host: top.clone(), guest: Some("/place/x".into()) }, 100).unwrap();
        let names: Vec<&str> = archive.nodes.keys().map(String::as_str).collect();
        let wanted =
            ["place/x", "place/x/link", "place/x/out", "place/x/sub", "place/x/sub/a", "place/x/sub/empty"];
        assert!(wanted.iter().all(|path| names.contains(path)), "{names:?}");
        assert!(matches!(&archive.nodes["place/x/out"], Node::Link { target } if target == "/etc"));
        // All of a folder counts.
        let error =
            archive.put(&Put { host: top.clone(), guest: Some("/b".into()) }, 0).unwrap_err().to_string();
        assert!(error.contains("sub/a") && error.contains("has 0 of memory"), "{error}");
        for guest in ["/bin/snaptrace", "/bin/snaptrace/x"] {
            let file = Put { host: top.join("sub/a"), guest: Some(guest.into()) };
            let error = archive.put(&file, 100).unwrap_err().to_string();
            assert!(error.contains("something else is at /bin/snaptrace"), "{error}");
        }
    }

    #[test]
    fn equal_inputs_give_equal_bytes_in_any_order() {
        let one = sample(&["b/c", "a", "b/a/x"]).pack().unwrap();
        let other = sample(&["a", "b/a/x", "b/c"]).pack().unwrap();
        assert_eq!(one, other);
        assert_eq!(one.len() % 512, 0);
        assert_ne!(one, sample(&["a", "b/a/y", "b/c"]).pack().unwrap());
    }

    #[test]
    fn folders_come_before_what_lies_in_them() {
        let bytes = sample(&["lib/modules/ext4.ko"]).pack().unwrap();
        let mut rest = &bytes[..];
        let mut seen = Vec::new();
        loop {
            let reader = cpio::NewcReader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let entry = reader.entry();
            assert_eq!((entry.mtime(), entry.uid(), entry.gid()), (0, 0, 0));
            seen.push(format!("{} {:o}", entry.name(), entry.mode()));
            rest = reader.finish().unwrap();
        }
        assert_eq!(seen, ["lib 40755", "lib/modules 40755", "lib/modules/ext4.ko 100644"]);
    }
}
