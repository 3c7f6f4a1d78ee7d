//! `snaptrace report` on recordings of trace-cmd 3.1.6, whose own text lies beside each: the bytes
//! are the same. A checkout without the folder of samples ignores these tests, and says so.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test, whose output is read")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use sha2::{Digest, Sha256};

/// Recording, options beside the style, expected text.
const SAMPLES: [(&str, &[&str], &str); 10] = [
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
];

fn main() -> ExitCode {
    let there = samples().is_dir();
    if !there {
        eprintln!("unavailable: there is no folder {}", samples().display());
    }
    let mut trials = vec![Trial::test("15-overwrite.dat, by digest", by_digest)];
    for (sample, options, expected) in SAMPLES {
        trials.push(Trial::test(expected, move || compare(sample, options, expected)));
    }
    let trials = trials.into_iter().map(|trial| trial.with_ignored_flag(!there)).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/samples")
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

fn by_digest() -> Result<(), Failed> {
    let printed = report("15-overwrite.dat", &[])?;
    let digest: String = Sha256::digest(&printed).iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = fs::read_to_string(samples().join("15-overwrite.sha256"))?;
    if digest == expected.trim() { Ok(()) } else { Err(format!("the digest is {digest}").into()) }
}
