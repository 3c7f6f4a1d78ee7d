//! `cargo xtask doctor`: reports what this host has and lacks. KVM is tested again.

use std::fmt;

use xshell::Shell;

use super::interface::{Global, Subcommand};
use crate::base::error::{Context, Result};
use crate::base::qemu::Qemu;
use crate::base::ui::outln;
use crate::base::workspace::Workspace;
use crate::fetch::host_packages::{self, install_line};
use crate::fetch::{apt, tools, trace_cmd};
use crate::guest::initramfs::build;
use crate::guest::prepared::{Guest, GuestOptions, Tools};
use crate::kernel;
use crate::vm::accel::{self, Kvm};

/// Report what this host lacks
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: cargo xtask doctor")]
pub(super) struct Args {}

impl Subcommand for Args {
    const NAME: &'static str = "doctor";

    fn run(self, global: &Global) -> Result<u8> {
        doctor(&global.workspace()?).map(|well| u8::from(!well))
    }
}

/// Prints what is installed and what is missing, and whether a first run can work. Obtains nothing.
///
/// # Errors
/// The cache or the kernel matrix cannot be read.
fn doctor(workspace: &Workspace) -> Result<bool> {
    let findings = examine(workspace)?;
    for finding in &findings {
        outln!("{finding}");
    }
    Ok(findings.iter().all(|finding| finding.good || !finding.required))
}

/// A line of the doctor's table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    what: String,
    good: bool,
    /// Whether no guest can boot without it; anything else is obtained when needed.
    required: bool,
    state: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match (self.good, self.required) {
            (true, _) => "ok",
            (false, true) => "MISSING",
            (false, false) => "missing",
        };
        write!(f, "{mark:8}{:22}{}", self.what, self.state)
    }
}

fn examine(workspace: &Workspace) -> Result<Vec<Finding>> {
    let host = &workspace.host;
    let debians = apt::is_debians();
    let can_fetch = debians.is_ok();
    let mut findings = Vec::new();
    let mut add = |what: &str, required, good, state: String| {
        findings.push(Finding { what: what.to_owned(), good, required, state });
    };

    let qemu = tools::cached_qemu(host);
    match &qemu {
        Some(qemu) => add(tools::QEMU, true, true, format!("{} at {}", qemu.version, qemu.program.display())),
        None if can_fetch => {
            add(tools::QEMU, false, false, "will be unpacked into the cache when needed".to_owned());
        }
        None => add(tools::QEMU, true, false, install_line(&["qemu-system-x86"])),
    }
    match tools::cached_busybox(host) {
        Some(path) => add("busybox", false, true, path.display().to_string()),
        None if can_fetch => {
            add("busybox", false, false, "will be unpacked into the cache when needed".to_owned());
        }
        None => add("busybox", false, false, install_line(&["busybox-static"])),
    }
    match trace_cmd::cached(host) {
        Some(found) => add("trace-cmd", false, true, found.program.display().to_string()),
        None if can_fetch => {
            let state = "will be unpacked into the cache for tests and benches".to_owned();
            add("trace-cmd", false, false, state);
        }
        None => {
            add("trace-cmd", false, false, format!("{} is needed for tests and benches", trace_cmd::VERSION));
        }
    }
    let packages = match debians {
        Ok(()) => "ready-made kernels come through apt".to_owned(),
        Err(why) => format!("{why}: ready-made kernels are downloaded by their recorded digests"),
    };
    add("Debian's packages", false, true, packages);
    let matrix = workspace.matrix()?;
    for record in matrix.usual() {
        for (thing, package) in kernel::build_tools(record) {
            let absent = !host_packages::missing(&[(thing, package)]).is_empty();
            let state = match absent {
                true => format!("to build {}: {}", record.name, install_line(&[package])),
                false => format!("to build {}", record.name),
            };
            add(thing, false, !absent, state);
        }
    }
    add("accelerator", false, true, accelerator(workspace, qemu.as_ref()));
    add("cache", true, true, host.cache.path().display().to_string());
    Ok(findings)
}

/// The accelerator of this host, in a sentence.
fn accelerator(workspace: &Workspace, qemu: Option<&Qemu>) -> String {
    kvm(workspace, qemu)
        .unwrap_or_else(|error| format!("tcg; whether KVM works cannot be tried: {}", error.summary()))
}

/// Whether KVM works, as a sentence; boots a guest under KVM if possible.
fn kvm(workspace: &Workspace, qemu: Option<&Qemu>) -> Result<String> {
    let closed = match qemu {
        // Check the device first: if it does not open, no QEMU is needed.
        Some(qemu) => accel::known(qemu, &workspace.host.cache)?,
        None => accel::device().map_or_else(Kvm::Closed, |()| Kvm::Untried),
    };
    if let Kvm::Closed(why) = closed {
        return Ok(format!("tcg; {why}"));
    }
    let untried = |lacks: &str| Ok(format!("tcg; /dev/kvm opens, and is tried once there is {lacks}"));
    let Some(qemu) = qemu else { return untried("a QEMU") };
    let Some(guest) = guest(workspace, qemu)? else {
        return untried("a kernel, such as `cargo xtask kernel debian-6.1` gets");
    };
    Ok(match guest.prove_kvm(workspace)? {
        (Kvm::Works, _) => {
            "kvm for `run` and `shell`, a guest booted; tcg for all that has to be exact".into()
        }
        (_, why) => format!("tcg; /dev/kvm opens, but no guest boots under KVM ({why})"),
    })
}

/// A guest of the first cached kernel.
fn guest(workspace: &Workspace, qemu: &Qemu) -> Result<Option<Guest>> {
    for record in workspace.matrix()?.usual() {
        let Some(kernel) = kernel::cached(workspace, record)? else { continue };
        let sh = Shell::new().context(|| "cannot start a shell".into())?;
        let tools = Tools { qemu: qemu.clone(), programs: build(&sh, &workspace.sources)? };
        return Guest::prepare(workspace, &tools, record, kernel, GuestOptions::default()).map(Some);
    }
    Ok(None)
}
