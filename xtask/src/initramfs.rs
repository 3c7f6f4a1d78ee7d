//! The guest's file system: our programs built static, packed so that equal inputs give equal bytes.
//!
//! Two archives are handed to the kernel one behind the other. The base holds the programs
//! and modules and is the same for every case; the job is small and differs per boot. Both
//! are uncompressed: inside an emulator unpacking costs more than copying.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use cpio::NewcBuilder;
use cpio::newc::{ModeFileType, trailer};
use initramfs::Job;
use initramfs::job::{JOB_PATH, MODULE_DIR, STDIN_PATH, WORKLOAD_DIR};
use xshell::{Shell, cmd};

use crate::cargo::cargo;
use crate::error::{Context, Error, Result};
use crate::verdict::Verdict;

/// The static programs of the guest, as built on the host.
#[derive(Clone, Debug)]
pub struct Programs {
    /// PID 1.
    pub init: PathBuf,
    /// The test workloads.
    pub workload: PathBuf,
    /// The tracer.
    pub snaptrace: PathBuf,
    /// The faults of the fault suite, packed only there.
    pub fault: PathBuf,
}

const GNU: &str = "x86_64-unknown-linux-gnu";
const MUSL: &str = "x86_64-unknown-linux-musl";

/// The names under which the workload program is called.
const WORKLOADS: [&str; 5] = ["cat", "insmod", "ls", "repeat", "sh"];

/// The users and groups that programs look for: `nobody`'s group has two names in the world.
const ACCOUNTS: [(&str, &str); 2] = [
    ("etc/passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\nnobody:x:65534:\n"),
];

/// Builds the guest's programs: with musl where that target is installed, else with static glibc.
///
/// # Errors
/// When the compiler is missing or the build fails; cargo's own words stand above it.
pub fn build(sh: &Shell, root: &Path) -> Result<Programs> {
    let sysroot = cmd!(sh, "rustc --print sysroot")
        .quiet()
        .read()
        .context(|| "cannot ask rustc for its sysroot".into())?;
    let musl = Path::new(&sysroot).join("lib/rustlib").join(MUSL).is_dir();
    let target = if musl { MUSL } else { GNU };
    let target_dir = root.join("target/guest");
    // The paths of this machine must not reach the guest, nor anything else that varies.
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .unwrap_or_default();
    let flags = [
        "-Ctarget-feature=+crt-static".to_string(),
        "-Clink-arg=-Wl,--build-id=none".to_string(),
        format!("--remap-path-prefix={}=/snaptrace", root.display()),
        format!("--remap-path-prefix={home}=/cargo"),
    ];
    let folder = target_dir.join(target).join("guest");
    // A first build takes a minute and shows cargo's progress; later ones are a matter of course.
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
        Error::new("cannot build the guest's programs")
            .because(error)
            .help("the compiler's words stand above; a linker and static libc are in gcc and libc6-dev")
            .verdict(Verdict::BuildFailed)
    })?;
    Ok(Programs::in_folder(&folder))
}

impl Programs {
    /// The programs that lie in a folder.
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

/// What an archive holds at one path.
enum Node {
    Directory,
    File { bytes: Vec<u8>, executable: bool },
    Link { target: String },
    Device { major: u32, minor: u32 },
}

/// A tree of files, written as a newc archive: sorted, owned by root, without times.
#[derive(Default)]
pub struct Archive {
    nodes: BTreeMap<String, Node>,
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
        // The kernel opens the console for PID 1 before devtmpfs is there.
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

    /// The job, and its standard input, if it has one, as a file beside it.
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
        let bytes = fs::read(file).context(|| format!("cannot read {} for the initramfs", file.display()))?;
        self.insert(path, Node::File { bytes, executable: true });
        Ok(())
    }

    fn insert(&mut self, path: &str, node: Node) {
        // Every folder on the way has to come before what lies in it, which sorting provides.
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
        // The inode number has to be unique, since the kernel would take equal ones for links.
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
                std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
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
