//! Stored results of runs under `target/vm/`, for comparison and review.
//!
//! A result is `target/vm/<run>/<kernel>/<case>/result.json`, beside the console, QEMU's output and its
//! command line; `target/vm/latest` names the last run. Comparing needs nothing else, so review and
//! acceptance work without a VM.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::base::cache;
use crate::base::digest::sha256;
use crate::base::error::{Context, Error, Result};
use crate::base::verdict::Verdict;
use crate::guest::fingerprint::Fingerprint;
use crate::guest::folders;
use crate::snapshots::compare::CaseOutput;

/// The file of a case's folder with its result.
pub const FILE: &str = "result.json";

/// What a case did on a kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// The case's name.
    pub case: String,
    /// The kernel's name in the matrix.
    pub kernel: String,
    /// The kernel's identity: version, the compiler's major version, and the digest of the configuration. A
    /// difference is a mismatch only if a reviewer has seen this identity.
    pub identity: String,
    /// How it ended, before any comparison.
    pub verdict: Verdict,
    /// One sentence on it, empty for a pass.
    pub why: String,
    /// The commands and their output.
    pub steps: Vec<StoredStep>,
    /// The globs of functions that its traces may show.
    pub filters: Vec<String>,
    /// The inputs of the run.
    pub fingerprint: Fingerprint,
    /// Wall time in ms. Not a part of anything that is compared.
    pub took_ms: u64,
    /// How many runs gave the same bytes, this one included.
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
    /// Its exit status; `None` if it did not end.
    pub status: Option<i32>,
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

    /// The output that is compared with a snapshot.
    pub fn said(&self) -> CaseOutput<'_> {
        CaseOutput {
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
        let path = folder.join(FILE);
        let json = serde_json::to_vec_pretty(self).context(|| "cannot write a result as JSON".into())?;
        fs::write(&path, json).map_err(|e| cache::denied("cannot write", &path, &e))
    }
}

/// Makes a folder for a new run, named after the time; removes the oldest ones.
///
/// # Errors
/// When it cannot be made.
pub fn new_run(root: &Path) -> Result<PathBuf> {
    let folder = folders::make(root)?;
    let failed = || format!("cannot create a folder for the results in {}", folder.display());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let run = folder.join(format!("{:012}.{:03}", now.as_secs(), now.subsec_millis()));
    fs::create_dir(&run).context(failed)?;
    folders::prune(&folder)?;
    Ok(run)
}

/// The folder of a case in a run, created if missing. Neither name can lead out of the run's folder.
///
/// # Errors
/// When it cannot be made.
pub fn of_case(run: &Path, kernel: &str, case: &str) -> Result<PathBuf> {
    for name in [kernel, case] {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(Error::new(format!("{name:?} cannot be the name of a folder of results: it is empty, or has a dot in front or a slash")).usage());
        }
    }
    let folder = run.join(kernel).join(case);
    fs::create_dir_all(&folder).map_err(|e| cache::denied("cannot create", &folder, &e))?;
    Ok(folder)
}

/// The results of a run with their folders, by kernel and case.
///
/// # Errors
/// When a result cannot be read. A run that does not exist has no results.
pub fn load(run: &Path) -> Result<Vec<(PathBuf, Stored)>> {
    let mut found = Vec::new();
    let entries = walkdir::WalkDir::new(run).min_depth(3).max_depth(3).sort_by_file_name().follow_links(true);
    for entry in entries.into_iter().filter_map(std::result::Result::ok) {
        if entry.file_name() != FILE {
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
    let path = folder.join(FILE);
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
    /// The lines that are gone from the snapshot and those that are new; empty for a pass.
    #[serde(default)]
    pub diff: String,
}

impl Comparison {
    /// The file of a case's folder with the comparison.
    pub const FILE: &str = "comparison.json";

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
}
