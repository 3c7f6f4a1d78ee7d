//! Helpers of all trials: start the harness, check its output and exit status.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;

use libtest_mimic::Failed;
use xtask::base::cache::Cache;
use xtask::base::workspace::Workspace;
use xtask::kernel;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// A lock for the host's processors. A guest with two CPUs under TCG needs the host for itself; otherwise its
/// kernel may see one of its CPUs stall.
static HOST: RwLock<()> = RwLock::new(());

/// Waits until no guest needs the host for itself.
pub fn host_shared() -> RwLockReadGuard<'static, ()> {
    HOST.read().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until no other guest runs.
pub fn host_alone() -> RwLockWriteGuard<'static, ()> {
    HOST.write().unwrap_or_else(PoisonError::into_inner)
}

/// The reference kernels, or all usual ones with `SNAPTRACE_ALL_KERNELS=1`; each with whether it is
/// available.
pub fn kernels() -> xtask::base::error::Result<Vec<(String, bool)>> {
    let h = Workspace::new(root(), Cache::open()?, false);
    let matrix = h.matrix()?;
    let records = matrix.at_length(Workspace::wants_all_kernels());
    records.map(|record| Ok((record.name.clone(), kernel::cached(&h, record)?.is_some()))).collect()
}

pub fn xtask(folder: &Path, arguments: &[&str]) -> Result<Output, Failed> {
    let arguments = on_every_machine(arguments);
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).current_dir(folder).output();
    Ok(output.map_err(|error| format!("cannot start xtask: {error}"))?)
}

/// Adds `--accel tcg` to `run`, which would use KVM if it works: tests must be the same on every machine.
pub fn on_every_machine<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    match arguments {
        ["run", rest @ ..] if !rest.contains(&"--accel") => [&["run", "--accel", "tcg"], rest].concat(),
        _ => arguments.to_vec(),
    }
}

/// Runs a command line, checks its exit status, and returns both outputs.
pub fn expect(status: i32, folder: &Path, arguments: &[&str]) -> Result<(String, String), Failed> {
    let output = xtask(folder, arguments)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() != Some(status) {
        let line = arguments.join(" ");
        return Err(format!(
            "xtask {line}\nended with {} instead of {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
            output.status
        )
        .into());
    }
    Ok((stdout, stderr))
}

pub fn demand(holds: bool, what: &str, seen: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(format!("{what}; seen:\n{seen}").into()) }
}

/// Starts the harness with a standard input, and captures both outputs.
pub fn start(arguments: &[&str], stdin: Stdio) -> Result<Child, Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments).current_dir(root()).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

/// Runs a command line with these bytes as input; returns both outputs and the exit status.
pub fn fed(bytes: &[u8], arguments: &[&str]) -> Result<(Vec<u8>, String, Option<i32>), Failed> {
    let mut child = start(arguments, Stdio::piped())?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let bytes = bytes.to_vec();
    // A command that does not read may already have ended.
    let feeder = thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output()?;
    let _ = feeder.join();
    Ok((output.stdout, String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code()))
}

/// The children of a process.
pub fn children(of: u32) -> Result<Vec<i32>, Failed> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        if parent == Some(of) {
            found.push(entry.file_name().to_string_lossy().parse()?);
        }
    }
    Ok(found)
}
