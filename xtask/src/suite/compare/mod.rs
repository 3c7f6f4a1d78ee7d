//! Comparison of stored results with snapshots, by the test binary `tests/vm.rs`.

pub mod normalise;
pub mod renames;
pub mod snapshots;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xshell::Shell;

use crate::base::cargo::{self, cargo};
use crate::base::error::{Context, Error, Result};
use crate::base::ui::out;
use crate::base::verdict::Verdict;
use crate::guest::cases::{self, Case};
use crate::harness::Harness;
use crate::matrix::Matrix;
use crate::run::results::{self, Comparison, Stored};
use crate::vm::console::Neutraliser;
use snapshots::Name;

/// The variable that tells the test binary where the results are.
pub const RESULTS_VAR: &str = "SNAPTRACE_RESULTS";

/// The variable that names another folder of snapshots than the tree's own.
pub const SNAPSHOTS_VAR: &str = "SNAPTRACE_SNAPSHOTS";

/// What becomes of a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is a failure.
    #[default]
    Check,
    /// It is written as the new snapshot of that kernel.
    Update,
    /// It is shown and asked about.
    Review,
}

/// Compares every result of a run; the test binary leaves a comparison beside each.
///
/// # Errors
/// When the test binary cannot be built or started.
pub fn run(h: &Harness, run: &Path, mode: Mode) -> Result<()> {
    if !results::load(run)?.iter().any(|(_, stored)| stored.verdict == Verdict::Pass) {
        // What ended badly has its verdict already.
        return Ok(());
    }
    let sh = Shell::new().context(|| "cannot start a shell".into())?;
    sh.change_dir(&h.sources);
    let update = match mode {
        Mode::Check => "no",
        Mode::Update => "always",
        Mode::Review => "new",
    };
    let test = ["test", "--quiet", "--locked", "--package", "xtask", "--test", "vm"];
    let built = cargo(&sh).args(test).arg("--no-run").run();
    built.context(|| "cannot build the test binary `vm`".into())?;
    let output = cargo(&sh)
        .args(test)
        .args(["--", "--test-threads", "1"])
        .env(RESULTS_VAR, run)
        // An assertion that fails is no crash: the diff is what people need.
        .env("RUST_BACKTRACE", "0")
        .env("INSTA_UPDATE", update)
        .env("INSTA_FORCE_PASS", "0")
        .env(SNAPSHOTS_VAR, snapshots(h))
        .env("INSTA_WORKSPACE_ROOT", &h.sources)
        .ignore_status()
        .output()
        .context(|| "cannot run the test binary `vm`".into())?;
    if mode == Mode::Review {
        review(h)?;
        // What was accepted and what was not shows only in a second comparison.
        return self::run(h, run, Mode::Check);
    }
    if !output.status.success() || mode == Mode::Update {
        // insta's diffs stand on both channels.
        for channel in [&output.stdout, &output.stderr] {
            // They show what guests said.
            out!("{}", Neutraliser::default().pass(channel));
        }
    }
    Ok(())
}

/// The folder of snapshots: that of [`SNAPSHOTS_VAR`], else the workspace's own.
pub fn snapshots(h: &Harness) -> PathBuf {
    std::env::var_os(SNAPSHOTS_VAR).map_or_else(|| h.root.join("tests/snapshots"), PathBuf::from)
}

/// Asks about each new snapshot, with insta's own tool, which needs the terminal.
fn review(h: &Harness) -> Result<()> {
    let failed = |cause: String| {
        Error::new("cannot review the new snapshots")
            .because(cause)
            .help("`cargo install cargo-insta` installs the tool")
            .help("`cargo xtask test-vm --stored --update` accepts everything")
    };
    let mut command = Command::new(cargo::program());
    command.args(["insta", "review", "--workspace-root"]).arg(&h.sources);
    for name in cargo::of_this_run() {
        command.env_remove(name);
    }
    let status = command.status().map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

/// Snapshots without a case, or of a kernel that their case is not for.
///
/// # Errors
/// When the cases, the matrix or the folder of snapshots cannot be read.
pub fn orphans(h: &Harness) -> Result<Vec<String>> {
    let cases = cases::load(&h.root)?;
    let matrix = h.matrix()?;
    let folder = snapshots(h);
    let mut orphans = Vec::new();
    let failed = || format!("cannot list the snapshots in {}", folder.display());
    for entry in fs::read_dir(&folder).context(failed)? {
        let name = entry.context(failed)?.file_name().to_string_lossy().into_owned();
        if Name::of_file(&name).is_some_and(|name| !belongs(&name, &cases, &matrix)) {
            orphans.push(name);
        }
    }
    orphans.sort();
    Ok(orphans)
}

/// Whether a snapshot has a case, and that is for each kernel which the snapshot names.
fn belongs(name: &Name, cases: &[Case], matrix: &Matrix) -> bool {
    let case = cases.iter().find(|known| known.name == name.case);
    let is_for = |case: &Case, kernel: &str| matrix.find(kernel).is_ok_and(|record| case.is_for(record));
    case.is_some_and(|case| name.kernels.iter().all(|kernel| is_for(case, kernel)))
}

/// The verdict on a stored result: its own, where it ended badly, else that of its comparison.
///
/// # Errors
/// When it was not compared.
pub fn verdict_of(folder: &Path, stored: &Stored) -> Result<(Verdict, String)> {
    if stored.verdict != Verdict::Pass {
        return Ok((stored.verdict, stored.why.clone()));
    }
    let comparison = Comparison::load(folder)?;
    Ok((comparison.verdict, comparison.why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_belongs_to_a_case_and_kernels_of_it() {
        let text = "section = '1'\ntitle = 't'\nmodule = 'ext4'\n[[step]]\nrun = 'a'\nsay = 'b'";
        let cases = [Case { name: "ext4".into(), ..toml::from_str(text).unwrap() }];
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-configs");
        let matrix = Matrix::load(&configs.join("kernels.toml")).unwrap();
        let belongs = |file: &str| belongs(&Name::of_file(file).unwrap(), &cases, &matrix);
        assert!(belongs("ext4.snap"));
        assert!(belongs("ext4@5.4.snap"));
        assert!(belongs("ext4@5.4+6.1-src.snap"));
        assert!(!belongs("ext4@5.4+debian-6.1.snap"));
        assert!(!belongs("ext4@nosuch.snap"));
        assert!(!belongs("ext3.snap"));
    }
}
