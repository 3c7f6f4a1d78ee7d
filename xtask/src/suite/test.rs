//! `cargo xtask test`: everything that has to hold before a change lands.

use std::env;
use std::ffi::OsString;
use std::path::Path;

use xshell::Shell;

use super::guest::Tools;
use super::test_vm::{self, Plan, Tally};
use crate::cargo::cargo;
use crate::error::{Context, Error, Result};
use crate::harness::Harness;
use crate::kernel::{self, Request};
use crate::setup;
use crate::trace_cmd;
use crate::verdict::Verdict;

const LINTS: [&str; 8] =
    ["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];

/// Formatting, lints, host tests, then the VM cases on the kernels at hand.
///
/// Kernels come first, so that those host tests that boot a guest find one.
///
/// # Errors
/// The first stage that fails.
pub fn test(h: &Harness) -> Result<Verdict> {
    let sh = Shell::new().context(|| "cannot start a shell".into())?;
    sh.change_dir(&h.root);
    // A stand-in kernel is built in the host tests.
    setup::need_packages(h, "the host tests", &[("make", "make")])?;
    stage(h, "formatting", cargo(&sh).args(["fmt", "--all", "--check"]))?;
    stage(h, "lints", cargo(&sh).args(LINTS))?;
    h.ui.say("== kernels and tools");
    Tools::get(h)?;
    for record in h.matrix()?.records() {
        if record.is_ready_made()
            && kernel::at_hand(h, record)?.is_none()
            && let Err(error) = kernel::obtain(h, record, &Request::default())
        {
            h.ui.say(format!("{}: unavailable: {error}", record.name));
        }
    }
    let referee = trace_cmd::get(h);
    if let Err(error) = &referee {
        h.ui.say(format!("trace-cmd {}: unavailable: {error}", trace_cmd::VERSION));
    }
    let folder = referee.as_ref().ok().and_then(|found| found.program.parent());
    let tests = cargo(&sh).args(["test", "--locked", "--workspace", "--quiet"]).env("PATH", path(folder)?);
    stage(h, "host tests", tests)?;
    h.ui.say("== VM cases");
    let (verdict, Tally { passed, .. }) = test_vm::run(h, &Plan { allow_drift: true, ..Plan::default() })?;
    if verdict == Verdict::Pass && passed == 0 {
        // No kernel, no test: that is no pass.
        return Ok(Verdict::Unavailable);
    }
    if verdict == Verdict::Pass && referee.is_err() {
        // Reports were compared with nothing: that is no pass either.
        h.ui.say("all else passes, but no report was compared with trace-cmd's");
        return Ok(Verdict::Unavailable);
    }
    Ok(verdict)
}

/// Where programs are looked for, a folder before all others.
fn path(first: Option<&Path>) -> Result<OsString> {
    let usual = env::var_os("PATH").unwrap_or_default();
    let folders = first.map(Path::to_path_buf).into_iter().chain(env::split_paths(&usual));
    env::join_paths(folders).context(|| "cannot put trace-cmd into PATH".into())
}

fn stage(h: &Harness, name: &str, command: xshell::Cmd<'_>) -> Result<()> {
    h.ui.say(format!("== {name}"));
    let by_hand = command.to_string();
    command.quiet().run().map_err(|error| {
        Error::new(format!("the {name} failed")).because(error).help(format!("alone: {by_hand}"))
    })
}
