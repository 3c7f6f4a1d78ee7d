//! Stored results: what a run left behind under `target/vm/`, for comparison and review.
//!
//! `target/vm/<run>/<kernel>/<case>/result.json`, beside the console, QEMU's words and its
//! command line; `target/vm/latest` names the last run. Comparison needs nothing else, so
//! review and acceptance work without a VM.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::cache;
use crate::base::error::{Context, Error, Result};
use crate::base::harness::Harness;
use crate::base::scratch::Scratch;
use crate::base::verdict::Verdict;
use crate::snapshots::compare::Said;

/// Folders kept under `target/vm`.
const KEPT: usize = 24;

/// What a case did on a kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// The case's name.
    pub case: String,
    /// The kernel's name in the matrix.
    pub kernel: String,
    /// What a reviewer has to have seen for a difference to be a mismatch: the kernel's
    /// version, its compiler's major version and its configuration's digest.
    pub identity: String,
    /// How it ended, before any comparison.
    pub verdict: Verdict,
    /// One sentence on it, empty for a pass.
    pub why: String,
    /// What was run and what it said.
    pub steps: Vec<StoredStep>,
    /// The globs that its traces may show.
    pub filters: Vec<String>,
    /// What the run depended on.
    pub fingerprint: Fingerprint,
    /// Wall time in ms. Not a part of anything that is compared.
    pub took_ms: u64,
    /// How many runs were proved to be the same byte for byte, this one included.
    #[serde(default = "one")]
    pub runs: u32,
}

fn one() -> u32 {
    1
}

/// One command and its output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredStep {
    /// The command line.
    pub command: String,
    /// Its standard output, then its standard error.
    pub output: String,
    /// How it ended, `None` when it did not.
    pub status: Option<i32>,
}

/// The inputs of a run. Equal ones give equal raw traces on an exact machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
// What an older harness stored lacks what it did not know, and so has other inputs.
#[serde(default)]
pub struct Fingerprint {
    /// SHA-256 of the kernel image.
    pub image: String,
    /// SHA-256 of the initramfs, job included.
    pub initrd: String,
    /// The kernel command line.
    pub append: String,
    /// QEMU's version.
    pub qemu: String,
    /// QEMU's options, with plain names for the files.
    pub options: String,
    /// SHA-256 of our own programs in the initramfs: what of it does not come from the kernel.
    pub programs: String,
    /// SHA-256 of what was passed as standard input, empty where nothing was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stdin: String,
}

impl Fingerprint {
    /// The first input that differs, in a word for people.
    pub fn difference(&self, other: &Fingerprint) -> Option<&'static str> {
        self.differing(other).map(|(name, ..)| name)
    }

    /// The first input that differs, and in what.
    pub fn explain(&self, other: &Fingerprint) -> Option<String> {
        let (name, one, another) = self.differing(other)?;
        let lacks = |text: &str, word: &str| !text.split_whitespace().any(|known| known == word);
        let only = |text: &str, other: &str| {
            let words: Vec<&str> = text.split_whitespace().filter(|word| lacks(other, word)).collect();
            let shown = words.join(" ");
            // Digests tell apart by their beginnings.
            if words.len() == 1 && shown.len() == 64 { shown[..12].to_string() } else { shown }
        };
        let (one, another) = (only(one, another), only(another, one));
        Some(match (one.is_empty(), another.is_empty()) {
            (true, true) => format!("the {name} (in its order)"),
            (true, false) => format!("the {name} (`{another}` is new)"),
            (false, true) => format!("the {name} (`{one}` is gone)"),
            (false, false) => format!("the {name} (`{one}` became `{another}`)"),
        })
    }

    /// Whether the instruction-count clock drove the run.
    pub fn is_exact(&self) -> bool {
        self.options.split_whitespace().any(|word| word == "-icount")
    }

    /// Whether the host's processor executed the guest, and the host's clock was the guest's.
    pub fn is_under_kvm(&self) -> bool {
        let mut words = self.options.split_whitespace().skip_while(|word| *word != "-accel");
        words.nth(1).is_some_and(|accel| accel.split(',').next() == Some("kvm"))
    }

    /// The instruction-count clock's shift, where it drove the run: an instruction counts
    /// 2^shift nanoseconds.
    pub fn shift(&self) -> Option<u8> {
        let words = self.options.split_whitespace();
        let clock = words.skip_while(|word| *word != "-icount").nth(1)?;
        clock.split(',').find_map(|setting| setting.strip_prefix("shift="))?.parse().ok()
    }

    fn differing<'a>(&'a self, other: &'a Fingerprint) -> Option<(&'static str, &'a str, &'a str)> {
        let parts: [(&str, &str, &str); 7] = [
            ("kernel image", &self.image, &other.image),
            ("command line", &self.append, &other.append),
            ("QEMU", &self.qemu, &other.qemu),
            ("options of QEMU", &self.options, &other.options),
            ("guest's programs", &self.programs, &other.programs),
            ("standard input", &self.stdin, &other.stdin),
            ("initramfs", &self.initrd, &other.initrd),
        ];
        parts.into_iter().find(|(_, one, another)| one != another)
    }
}

impl Stored {
    /// The commands and their output, as a terminal would have shown them.
    pub fn transcript(&self) -> String {
        let mut out = String::new();
        for step in &self.steps {
            out.push_str(&format!("$ {}\n{}", step.command, step.output));
            if !step.output.is_empty() && !step.output.ends_with('\n') {
                out.push('\n');
            }
            match step.status {
                Some(0) => {}
                Some(status) => out.push_str(&format!("[exit status {status}]\n")),
                None => out.push_str("[did not end]\n"),
            }
        }
        out
    }

    /// What is compared with a snapshot.
    pub fn said(&self) -> Said<'_> {
        Said {
            case: &self.case,
            kernel: &self.kernel,
            identity: &self.identity,
            transcript: self.transcript(),
            outputs: self.steps.iter().map(|step| step.output.as_str()).collect(),
            filters: &self.filters,
        }
    }

    /// SHA-256 of the raw transcript.
    pub fn digest(&self) -> String {
        sha256(self.transcript().as_bytes())
    }

    /// Writes `result.json` into the case's folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join("result.json");
        let json = serde_json::to_vec_pretty(self).context(|| "cannot write a result as JSON".into())?;
        fs::write(&path, json).map_err(|e| cache::denied("cannot write", &path, &e))
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The folder of all runs.
pub fn folder(root: &Path) -> PathBuf {
    Harness::target_of(root).join("vm")
}

/// Makes the folder of all runs, if there is none.
fn make(root: &Path) -> Result<PathBuf> {
    let folder = folder(root);
    fs::create_dir_all(&folder)
        .context(|| format!("cannot create {}", folder.display()))
        .map_err(|error| error.help("set CARGO_TARGET_DIR to a folder that you may write"))?;
    Ok(folder)
}

/// A folder for the channels of one boot; it goes with this process unless it is kept.
///
/// # Errors
/// When it cannot be made.
pub fn scratch(root: &Path) -> Result<Scratch> {
    let folder = make(root)?;
    prune(&folder)?;
    Scratch::new(&folder, "run-")
}

/// A folder for a new run, named after the time; the oldest ones go.
///
/// # Errors
/// When it cannot be made.
pub fn new_run(root: &Path) -> Result<PathBuf> {
    let folder = make(root)?;
    let failed = || format!("cannot create a folder for the results in {}", folder.display());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let run = folder.join(format!("{:012}.{:03}", now.as_secs(), now.subsec_millis()));
    fs::create_dir(&run).context(failed)?;
    prune(&folder)?;
    Ok(run)
}

/// The folder of a case in a run, made if need be. Neither name can lead out of the run.
///
/// # Errors
/// When it cannot be made.
pub fn of_case(run: &Path, kernel: &str, case: &str) -> Result<PathBuf> {
    for name in [kernel, case] {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(Error::new(format!("{name:?} cannot name a folder of results")).usage());
        }
    }
    let folder = run.join(kernel).join(case);
    fs::create_dir_all(&folder).map_err(|e| cache::denied("cannot create", &folder, &e))?;
    Ok(folder)
}

/// Removes the oldest folders of runs and of single commands, keeping the newest.
///
/// # Errors
/// When one cannot be listed or removed.
pub fn prune(folder: &Path) -> Result<()> {
    let failed = || format!("cannot list the results in {}", folder.display());
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder).context(failed)? {
        let entry = entry.context(failed)?;
        // Another command may remove what it no longer needs at the same time.
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() && !Scratch::is_in_use(&entry.path()) {
            found.push((about.modified().context(failed)?, entry.path()));
        }
    }
    found.sort();
    for (_, path) in &found[..found.len().saturating_sub(KEPT)] {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(
                    Error::new(format!("cannot remove the old results {}", path.display())).because(error)
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// Results of a run, by kernel and case; the folder of each comes with it.
///
/// # Errors
/// When a result cannot be read. A run that does not exist has no results.
pub fn load(run: &Path) -> Result<Vec<(PathBuf, Stored)>> {
    let mut found = Vec::new();
    let entries = walkdir::WalkDir::new(run).min_depth(3).max_depth(3).sort_by_file_name().follow_links(true);
    for entry in entries.into_iter().filter_map(std::result::Result::ok) {
        if entry.file_name() != "result.json" {
            continue;
        }
        let folder = entry.path().parent().unwrap_or(run).to_path_buf();
        let stored = load_one(&folder)?;
        found.push((folder, stored));
    }
    Ok(found)
}

/// The result in a case's folder.
///
/// # Errors
/// When it cannot be read.
pub fn load_one(folder: &Path) -> Result<Stored> {
    let path = folder.join("result.json");
    let bytes = fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).context(|| format!("cannot read {}", path.display()))
}

/// A comparison of one stored result with its snapshot, beside the result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// `pass`, `drift` or `mismatch`.
    pub verdict: Verdict,
    /// One sentence on it, empty for a pass.
    pub why: String,
    /// What is gone from the snapshot and what is new, empty for a pass.
    #[serde(default)]
    pub diff: String,
}

impl Comparison {
    const FILE: &str = "comparison.json";

    /// Writes it into the case's folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(Comparison::FILE);
        let json = serde_json::to_vec(self).context(|| "cannot write a comparison as JSON".into())?;
        fs::write(&path, json).context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_reads_like_a_terminal() {
        let step = |command: &str, output: &str, status| StoredStep {
            command: command.into(),
            output: output.into(),
            status,
        };
        let stored = Stored {
            case: "c".into(),
            kernel: "5.4".into(),
            identity: "5.4.302".into(),
            verdict: Verdict::Pass,
            why: String::new(),
            steps: vec![
                step("a", "one\n", Some(0)),
                step("b", "", Some(0)),
                step("c", "no newline", Some(2)),
                step("d", "", None),
            ],
            filters: Vec::new(),
            fingerprint: Fingerprint::default(),
            took_ms: 0,
            runs: 1,
        };
        let expected = "$ a\none\n$ b\n$ c\nno newline\n[exit status 2]\n$ d\n[did not end]\n";
        assert_eq!(stored.transcript(), expected);
    }

    #[test]
    fn a_fingerprint_names_the_input_that_differs() {
        let one = Fingerprint { append: "quiet".into(), ..Fingerprint::default() };
        let other = Fingerprint { append: "quiet word".into(), ..Fingerprint::default() };
        assert_eq!(one.difference(&one), None);
        assert_eq!(one.difference(&other), Some("command line"));
        assert_eq!(one.shift(), None);
        let exact = Fingerprint { options: "-m 512M -icount shift=4,sleep=off".into(), ..one.clone() };
        assert_eq!(exact.shift(), Some(4));
        let under = |accel: &str| {
            let options = format!("-machine q35 -accel {accel} -cpu host -append kvm");
            Fingerprint { options, ..one.clone() }.is_under_kvm()
        };
        assert!(under("kvm") && !under("tcg") && !under("tcg,thread=single"));
        assert!(!one.is_under_kvm());
        assert_eq!(one.explain(&one), None);
        assert_eq!(one.explain(&other).unwrap(), "the command line (`word` is new)");
        assert_eq!(other.explain(&one).unwrap(), "the command line (`word` is gone)");
        let digest = |byte: &str| Fingerprint { initrd: byte.repeat(32), ..Fingerprint::default() };
        let became = digest("ab").explain(&digest("cd")).unwrap();
        assert_eq!(became, "the initramfs (`abababababab` became `cdcdcdcdcdcd`)");
        let typed = Fingerprint { stdin: "ab".repeat(32), ..digest("ab") };
        assert_eq!(typed.explain(&digest("cd")).unwrap(), "the standard input (`abababababab` is gone)");
        assert!(!serde_json::to_string(&one).unwrap().contains("stdin"));
    }

    #[test]
    fn only_the_newest_folders_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..KEPT + 3 {
            fs::create_dir(folder.path().join(format!("{number:03}"))).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
            fs::File::open(folder.path().join(format!("{number:03}"))).unwrap().set_modified(time).unwrap();
        }
        std::os::unix::fs::symlink("002", folder.path().join("latest")).unwrap();
        prune(folder.path()).unwrap();
        assert!(!folder.path().join("002").exists());
        assert!(folder.path().join("003").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), KEPT + 1);
    }
}
