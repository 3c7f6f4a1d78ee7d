//! A run as a JUnit file: a test suite for each kernel, a test case for each case.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use crate::base::cache;
use crate::base::error::{Context, Result};
use crate::base::verdict::Verdict;
use crate::outcome::summary::{Column, Outcome, Summary};

/// A JUnit file that will be written.
pub struct Junit {
    path: PathBuf,
    file: File,
}

impl Junit {
    /// Creates an empty file. So a file that cannot be written is reported before the run, and the file of an
    /// earlier run does not remain.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path) -> Result<Junit> {
        let file = File::create(path).map_err(|e| cache::denied("cannot create", path, &e))?;
        Ok(Junit { path: path.to_path_buf(), file })
    }

    /// Writes the run into it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(mut self, run: &Summary) -> Result<()> {
        let xml = xml(run)?;
        self.file.write_all(xml.as_bytes()).map_err(|e| cache::denied("cannot write", &self.path, &e))
    }
}

/// The run as text. Kernels without a case in this shard are left out.
///
/// # Errors
/// Not expected, since the XML is written into memory.
pub fn xml(run: &Summary) -> Result<String> {
    let mut report = Report::new("snaptrace");
    let mut total = Duration::ZERO;
    for column in run.kernels.iter().filter(|column| column.outcomes().next().is_some()) {
        let mut suite = TestSuite::new(column.kernel.as_str());
        let mut took = Duration::ZERO;
        if let Some(machine) = &column.machine {
            let properties = [
                ("release", &machine.release),
                ("version", &machine.version),
                ("accelerator", &machine.accel),
                ("qemu", &machine.inputs.qemu),
            ];
            suite.add_properties(properties.map(|(name, value)| Property::new(name, value.as_str())));
        }
        for (case, outcome) in column.outcomes() {
            took += time(outcome);
            suite.add_test_case(test_case(column, case, outcome));
        }
        suite.set_time(took);
        total += took;
        report.add_test_suite(suite);
    }
    report.set_time(total);
    report.to_string().context(|| "cannot write a run as JUnit".into())
}

fn time(outcome: &Outcome) -> Duration {
    Duration::from_millis(outcome.ran.as_ref().map_or(0, |ran| ran.took_ms))
}

fn test_case(column: &Column, case: &str, outcome: &Outcome) -> TestCase {
    let mut status = match (outcome.fails(column.asked), outcome.verdict) {
        (false, Verdict::Unavailable) => TestCaseStatus::skipped(),
        (false, _) => TestCaseStatus::success(),
        // Here the case itself was judged; other verdicts mean that it could not be judged.
        (true, Verdict::Drift | Verdict::Mismatch | Verdict::NotRepeatable | Verdict::GuestFailed) => {
            TestCaseStatus::non_success(NonSuccessKind::Failure)
        }
        (true, _) => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let shown = outcome.allowed || outcome.verdict != Verdict::Pass;
    if shown {
        // An attribute holds one line; a longer text is in the element's body, in full.
        let mut lines = outcome.why.lines();
        status.set_type(outcome.verdict.name()).set_message(lines.next().unwrap_or_default());
        let more: String = lines.chain(outcome.detail.lines()).map(|line| format!("{line}\n")).collect();
        if !more.is_empty() {
            status.set_description(more);
        }
    }
    let mut test = TestCase::new(case, status);
    test.set_classname(column.kernel.as_str()).set_time(time(outcome));
    if outcome.allowed {
        // A success has no message, so report the allowed drift here.
        test.set_system_out(format!("drift, allowed: {}\n{}", outcome.why, outcome.detail));
    }
    test
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::summary::tests::sample;

    #[test]
    fn a_suite_for_each_kernel_a_test_for_each_case() {
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="snaptrace" tests="7" skipped="2" failures="1" errors="0" time="16.070">
    <testsuite name="5.4" tests="3" skipped="0" errors="0" failures="0" time="3.630">
        <properties>
            <property name="release" value="5.4.1"/>
            <property name="version" value="5.4.1-2"/>
            <property name="accelerator" value="tcg"/>
            <property name="qemu" value=""/>
        </properties>
        <testcase name="check" classname="5.4" time="1.500"/>
"#;
        let text = xml(&sample()).unwrap();
        assert!(text.starts_with(expected), "{text}");
        assert!(
            text.contains(
                "<failure message=\"the transcript differs from snapshot function\" type=\"mismatch\">\
             -old &lt;a&gt;\n+new\n</failure>"
            ),
            "{text}"
        );
        let skipped =
            "<skipped message=\"it is not built\" type=\"unavailable\">  help: build it\n</skipped>";
        assert!(text.contains(skipped), "{text}");
    }

    #[test]
    fn a_kernel_asked_for_by_name_is_an_error_and_drift_is_told() {
        let mut run = sample();
        run.kernels[2].asked = true;
        let drift = Outcome {
            verdict: Verdict::Drift,
            allowed: true,
            ..run.kernels[1].outcome("function").unwrap().clone()
        };
        run.note("debian-6.1", "function", drift);
        let text = xml(&run).unwrap();
        assert!(text.contains("tests=\"7\" skipped=\"0\" failures=\"0\" errors=\"2\""), "{text}");
        assert!(text.contains("type=\"unavailable\""), "{text}");
        assert!(text.contains("<system-out>drift, allowed: the transcript differs"), "{text}");
    }

    #[test]
    fn what_another_part_has_is_left_out() {
        let mut run = sample();
        run.kernels[0].cells.iter_mut().for_each(|cell| cell.outcome = None);
        assert!(!xml(&run).unwrap().contains("name=\"5.4\""));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_first() {
        let error = Junit::create(Path::new("/nosuch/file.xml")).err().unwrap().to_string();
        assert!(error.contains("cannot create /nosuch/file.xml"), "{error}");
    }
}
