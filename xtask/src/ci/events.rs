//! Output of `test-vm` and `merge-results` for programs, on standard output: JSON lines during the run, or
//! KTAP at its end.
//!
//! docs/ci.md describes both, field by field.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use clap::ValueEnum;
use serde::Serialize;

use super::ktap::ktap;
use crate::base::error::{Context, Result};
use crate::base::verdict::Verdict;
use crate::outcome::shard::Shard;
use crate::outcome::summary::{Machine, Outcome, Summary};

/// Raised when a field changes its meaning or is removed, but not for new events and fields.
const FORMAT: u32 = 1;

/// The format of standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people
    #[default]
    Text,
    /// JSON for programs: an object per line for each event
    Json,
    /// KTAP, the format of the kernel's own tests, at the end
    Ktap,
}

/// Something that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    /// The run begins; its kernels and cases are known.
    RunStarted {
        /// Raised when a field changes its meaning or is removed.
        format: u32,
        /// Which part of the run it is.
        shard: Shard,
        /// The kernels with cases in this part.
        kernels: Vec<&'a str>,
        /// The number of cases on all of them.
        cases: usize,
    },
    /// A kernel is ready, and its guests can be booted.
    KernelReady {
        /// Its name in the matrix.
        kernel: &'a str,
        /// The machine that it runs on.
        #[serde(flatten)]
        machine: About<'a>,
    },
    /// A kernel is unavailable or wrong.
    KernelUnavailable {
        /// Its name in the matrix.
        kernel: &'a str,
        /// `unavailable`, `config-unmet`, `build-failed` or `checksum-mismatch`.
        verdict: Verdict,
        /// The reason, in words.
        why: &'a str,
    },
    /// A guest is about to be booted for a case.
    CaseStarted {
        /// The kernel.
        kernel: &'a str,
        /// The case.
        case: &'a str,
    },
    /// The guests of a case have ended; nothing is compared yet.
    CaseRan {
        /// The kernel.
        kernel: &'a str,
        /// The case.
        case: &'a str,
        /// How it ended: `pass` if there is output to compare.
        ended: Verdict,
        /// Wall time of its first boot.
        seconds: f64,
    },
    /// A case was judged.
    CaseFinished {
        /// The kernel.
        kernel: &'a str,
        /// The case.
        case: &'a str,
        /// The verdict.
        verdict: Verdict,
        /// Whether it makes the run fail.
        failed: bool,
        /// One sentence, empty for a pass.
        why: &'a str,
        /// The diff, or the console's last lines; empty for a pass.
        detail: &'a str,
        /// Wall time of its first boot; null when it was not run.
        seconds: Option<f64>,
        /// SHA-256 of the raw transcript; null when it was not run.
        digest: Option<&'a str>,
        /// How many runs were proved equal; null when it was not run.
        runs: Option<u32>,
    },
    /// All cases have been judged.
    RunFinished {
        /// The worst verdict.
        verdict: Verdict,
        /// The exit code that goes with it.
        exit_code: u8,
        /// Cases that passed, allowed drift included.
        passed: usize,
        /// Cases that did not.
        failed: usize,
        /// Kernels that could not be obtained.
        skipped: usize,
        /// Where the results are; null when they come from several folders.
        folder: Option<&'a Path>,
    },
}

/// The facts about a kernel that is ready.
#[derive(Debug, Serialize)]
pub struct About<'a> {
    release: &'a str,
    version: &'a str,
    accelerator: &'a str,
    exact: bool,
}

impl<'a> From<&'a Machine> for About<'a> {
    fn from(machine: &'a Machine) -> About<'a> {
        let Machine { release, version, accel, inputs } = machine;
        About { release, version, accelerator: accel, exact: inputs.is_exact() }
    }
}

/// Standard output, reserved for one format.
pub struct Messages {
    format: Format,
    /// The file for messages; `None` if standard output is for people.
    out: Option<Mutex<File>>,
}

impl Messages {
    /// Reserves standard output for messages. All other output of this program and its children then goes to
    /// standard error, so that nothing comes between two messages.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn open(format: Format) -> Result<Messages> {
        if format == Format::Text {
            return Ok(Messages { format, out: None });
        }
        let failed = || "cannot take standard output for messages".to_owned();
        io::stdout().flush().context(failed)?;
        let own = rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3).context(failed)?;
        rustix::stdio::dup2_stdout(io::stderr()).context(failed)?;
        Ok(Messages { format, out: Some(Mutex::new(File::from(own))) })
    }

    /// Writes an event.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn tell(&self, event: &Event<'_>) -> Result<()> {
        if self.format != Format::Json {
            return Ok(());
        }
        let json = serde_json::to_string(event).context(|| "cannot write an event as JSON".into())?;
        self.write(&format!("{json}\n"))
    }

    /// Writes the event for the start of the run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(&self, run: &Summary, shard: Shard) -> Result<()> {
        let pairs = run.pairs(shard);
        let mut kernels: Vec<&str> = pairs.iter().map(|(at, _)| run.kernels[*at].kernel.as_str()).collect();
        kernels.dedup();
        self.tell(&Event::RunStarted { format: FORMAT, shard, kernels, cases: pairs.len() })
    }

    /// Writes an event for each kernel: ready, or unavailable with the reason.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kernels(&self, run: &Summary) -> Result<()> {
        for column in &run.kernels {
            let kernel = &column.kernel;
            if let Some(machine) = &column.machine {
                self.tell(&Event::KernelReady { kernel, machine: machine.into() })?;
            }
            if let Some(Outcome { verdict, why, .. }) = column.missing() {
                self.tell(&Event::KernelUnavailable { kernel, verdict: *verdict, why })?;
            }
        }
        Ok(())
    }

    /// Writes the results of each case and of the run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(&self, run: &Summary, folder: Option<&Path>) -> Result<()> {
        if self.format == Format::Ktap {
            return self.write(&ktap(run));
        }
        for column in &run.kernels {
            for (case, outcome) in column.outcomes() {
                let ran = outcome.ran.as_ref();
                self.tell(&Event::CaseFinished {
                    kernel: &column.kernel,
                    case,
                    verdict: outcome.verdict,
                    failed: outcome.fails(column.asked),
                    why: &outcome.why,
                    detail: &outcome.detail,
                    seconds: ran.map(|ran| ran.seconds()),
                    digest: ran.map(|ran| ran.digest.as_str()),
                    runs: ran.map(|ran| ran.runs),
                })?;
            }
        }
        let (verdict, counts) = (run.verdict(), run.counts());
        self.tell(&Event::RunFinished {
            verdict,
            exit_code: verdict.exit_code(),
            passed: counts.passed,
            failed: counts.failed,
            skipped: counts.unavailable,
            folder,
        })
    }

    fn write(&self, text: &str) -> Result<()> {
        let Some(out) = &self.out else { return Ok(()) };
        let mut out = out.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // In one write: a reader never sees a part of a line.
        match out.write_all(text.as_bytes()) {
            // The reader has stopped; the run continues, and its exit code does not change.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.context(|| "cannot write to standard output".into()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;
    use crate::outcome::summary::tests::sample;

    /// The output of a run in a format, as lines.
    pub fn said(format: Format) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let messages = Messages { format, out: Some(Mutex::new(file.reopen().unwrap())) };
        let run = sample();
        messages.begin(&run, run.shard).unwrap();
        messages.kernels(&run).unwrap();
        messages.tell(&Event::CaseStarted { kernel: "5.4", case: "check" }).unwrap();
        let ran = Event::CaseRan { kernel: "5.4", case: "check", ended: Verdict::Pass, seconds: 1.5 };
        messages.tell(&ran).unwrap();
        messages.finish(&run, Some(Path::new("target/vm/1"))).unwrap();
        fs::read_to_string(file.path()).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_event_is_one_object_on_a_line() {
        let lines = said(Format::Json);
        assert_eq!(
            lines[0],
            r#"{"event":"run-started","format":1,"shard":"1/1","kernels":["5.4","debian-6.1","debian-7"],"cases":7}"#
        );
        assert_eq!(
            lines[1],
            r#"{"event":"kernel-ready","kernel":"5.4","release":"5.4.1","version":"5.4.1-2","accelerator":"tcg","exact":false}"#
        );
        assert_eq!(
            lines[3],
            r#"{"event":"kernel-unavailable","kernel":"debian-7","verdict":"unavailable","why":"it is not built\n  help: build it"}"#
        );
        assert_eq!(lines[4], r#"{"event":"case-started","kernel":"5.4","case":"check"}"#);
        assert_eq!(
            lines[5],
            r#"{"event":"case-ran","kernel":"5.4","case":"check","ended":"pass","seconds":1.5}"#
        );
        assert_eq!(
            lines[6],
            r#"{"event":"case-finished","kernel":"5.4","case":"check","verdict":"pass","failed":false,"why":"","detail":"","seconds":1.5,"digest":"ab","runs":1}"#
        );
        assert!(
            lines[11].contains(r#""case":"check","verdict":"unavailable","failed":false"#),
            "{}",
            lines[11]
        );
        assert_eq!(
            lines[13],
            r#"{"event":"run-finished","verdict":"mismatch","exit_code":200,"passed":4,"failed":1,"skipped":1,"folder":"target/vm/1"}"#
        );
        assert_eq!(lines.len(), 14);
    }

    #[test]
    fn every_event_and_field_is_documented() {
        let page = include_str!("../../../docs/ci.md");
        for line in said(Format::Json) {
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
            let event = object["event"].as_str().unwrap();
            let row = page.lines().find(|line| line.starts_with(&format!("| `{event}` |")));
            let row = row.unwrap_or_else(|| panic!("{event} is not documented"));
            for field in object.keys().filter(|field| *field != "event") {
                assert!(row.contains(&format!("`{field}`")), "{event}: {field} is not documented");
            }
        }
    }

    #[test]
    fn ktap_is_said_at_the_end_and_nothing_else() {
        assert_eq!(said(Format::Ktap).join("\n") + "\n", ktap(&sample()));
    }

    #[test]
    fn people_get_no_messages() {
        assert!(said(Format::Text).is_empty());
    }
}
