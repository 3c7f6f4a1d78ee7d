//! `snaptrace report` on recordings of trace-cmd 3.1.6, whose own text lies beside each: the bytes
//! are the same.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test, whose output is read")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

/// Recording, options beside the style, expected text.
const SAMPLES: [(&str, &[&str], &str); 11] = [
    ("01-fn.dat", &[], "01-fn.txt"),
    ("02-fnstack.dat", &[], "02-fnstack.txt"),
    ("02-fnstack.dat", &["-O", "parent"], "02-fnstack.parent.txt"),
    ("03-graph.dat", &[], "03-graph.txt"),
    ("03-graph.dat", &["-t"], "03-graph.ns.txt"),
    ("05-events.dat", &[], "05-events.txt"),
    ("05-events.dat", &["-l"], "05-events.latency.txt"),
    ("05-events.dat", &["-R"], "05-events.raw.txt"),
    ("06-fn-v6.dat", &[], "06-fn-v6.txt"),
    ("07-nocomp.dat", &[], "07-nocomp.txt"),
    ("15-overwrite.dat", &[], "15-overwrite.txt"),
];

fn main() -> ExitCode {
    let trials = SAMPLES
        .map(|(sample, options, expected)| Trial::test(expected, move || compare(sample, options, expected)));
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

/// What `report` prints of a sample in the style of trace-cmd 3.1.
fn report(sample: &str, options: &[&str]) -> Result<Vec<u8>, Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_snaptrace"))
        .args(["report", "--style", "trace-cmd-3.1"])
        .args(options)
        .arg(samples().join(sample))
        .output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("report {options:?} {sample} ended with {}: {said}", output.status).into())
}

fn compare(sample: &str, options: &[&str], expected: &str) -> Result<(), Failed> {
    let printed = report(sample, options)?;
    let expected = fs::read(samples().join(expected))?;
    let pairs = printed.split(|&byte| byte == b'\n').zip(expected.split(|&byte| byte == b'\n'));
    for (number, (printed, expected)) in (1..).zip(pairs) {
        if printed != expected {
            let [printed, expected] = [printed, expected].map(String::from_utf8_lossy);
            return Err(format!("line {number}\n  printed:  {printed}\n  expected: {expected}").into());
        }
    }
    match printed.len() == expected.len() {
        true => Ok(()),
        false => Err(format!("{} bytes instead of {}", printed.len(), expected.len()).into()),
    }
}
