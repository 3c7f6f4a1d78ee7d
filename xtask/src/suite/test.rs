//! `cargo xtask test`: everything that has to hold before a change lands.

use xshell::Shell;

use super::guest::Tools;
use super::test_vm::{self, Plan, Tally};
use crate::cargo::cargo;
use crate::error::{Context, Error, Result};
use crate::harness::Harness;
use crate::kernel::{self, Request};
use crate::setup;
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
    stage(h, "host tests", cargo(&sh).args(["test", "--locked", "--workspace", "--quiet"]))?;
    h.ui.say("== VM cases");
    let (verdict, Tally { passed, .. }) = test_vm::run(h, &Plan { allow_drift: true, ..Plan::default() })?;
    if verdict == Verdict::Pass && passed == 0 {
        // No kernel, no test: that is no pass.
        return Ok(Verdict::Unavailable);
    }
    Ok(verdict)
}

fn stage(h: &Harness, name: &str, command: xshell::Cmd<'_>) -> Result<()> {
    h.ui.say(format!("== {name}"));
    let by_hand = command.to_string();
    command.quiet().run().map_err(|error| {
        Error::new(format!("the {name} failed")).because(error).help(format!("alone: {by_hand}"))
    })
}
