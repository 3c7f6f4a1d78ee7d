//! `cargo xtask test`: all checks that must pass before a change is merged.

use std::env;
use std::ffi::OsString;
use std::path::Path;

use xshell::Shell;

use super::interface::{Global, Subcommand};
use crate::base::cargo::cargo;
use crate::base::error::{Context, Error, Result};
use crate::base::verdict::Verdict;
use crate::base::workspace::{ALL_KERNELS_VAR, Workspace};
use crate::fetch::chromium;
use crate::fetch::host_packages;
use crate::fetch::trace_cmd;
use crate::guest::prepared::Tools;
use crate::kernel::{self, Request};
use crate::outcome::summary::CaseCounts;
use crate::run::test_vm::{self, Options};
use crate::selftest::faults;
use crate::selftest::restore;

/// Run formatting, lints, host tests, the quickest faults and the cases
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: cargo xtask --yes test")]
pub(super) struct Args {
    /// Also everything slow, on all cached kernels: faults, restore, bisect
    #[arg(long)]
    full: bool,
}

impl Subcommand for Args {
    const NAME: &'static str = "test";

    fn run(self, global: &Global) -> Result<u8> {
        test(&global.workspace()?, self.full).map(Verdict::exit_code)
    }
}

const LINTS: [&str; 8] =
    ["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];

/// A part of the tests: its name, and the function that runs it.
type Part = (&'static str, fn(&Workspace) -> Result<Verdict>);

/// The kernel from whose source the test of `bisect` makes its history.
pub const BISECTED: &str = "6.1-src";

/// Slow parts, which run only with `--full`.
const SLOW: [Part; 4] = [
    ("faults", all_faults),
    ("the kernel restored", all_restore),
    ("bisect", planted_commit),
    ("the page of diff", page_in_a_browser),
];

/// Formatting, lints, host tests, the quickest faults, then the VM cases on the cached kernels;
/// with `full` the slow parts after that.
///
/// Kernels are obtained first, so that host tests that boot a guest find one.
///
/// # Errors
/// The first step that fails.
fn test(workspace: &Workspace, full: bool) -> Result<Verdict> {
    let quick = usual(workspace, full)?;
    if !full || quick != Verdict::Pass {
        return Ok(quick);
    }
    let mut worst = Verdict::Pass;
    for (name, part) in SLOW {
        workspace.host.ui.say(format!("== {name}"));
        worst = worst.max(part(workspace)?);
    }
    Ok(worst)
}

/// The tests of every run; with `full`, faults are left to the slow parts.
fn usual(workspace: &Workspace, full: bool) -> Result<Verdict> {
    let sh = Shell::new().context(|| "cannot start a shell".into())?;
    sh.change_dir(&workspace.sources);
    // The host tests build a stand-in kernel.
    host_packages::need_packages(&workspace.host, "the host tests", &[("make", "make")])?;
    step(workspace, "formatting", cargo(&sh).args(["fmt", "--all", "--check"]))?;
    step(workspace, "lints", cargo(&sh).args(LINTS))?;
    workspace.host.ui.say("== kernels and tools");
    Tools::get(workspace)?;
    for record in workspace.matrix()?.usual() {
        if record.is_ready_made()
            && kernel::cached(workspace, record)?.is_none()
            && let Err(error) = kernel::obtain(workspace, record, &Request::default())
        {
            workspace.host.ui.say(format!("{}: unavailable: {error}", record.name));
        }
    }
    let reference = trace_cmd::get(&workspace.host);
    if let Err(error) = &reference {
        workspace.host.ui.say(format!("trace-cmd {}: unavailable: {error}", trace_cmd::VERSION));
    }
    if let Err(error) = trace_cmd::with_zlib(&workspace.host) {
        workspace.host.ui.say(format!("trace-cmd {}: unavailable: {error}", trace_cmd::VERSION_WITH_ZLIB));
    }
    let folder = reference.as_ref().ok().and_then(|found| found.program.parent());
    let tests = cargo(&sh).args(["test", "--locked", "--workspace", "--quiet"]).env("PATH", path(folder)?);
    step(workspace, "host tests", if full { tests.env(ALL_KERNELS_VAR, "1") } else { tests })?;
    if !full {
        workspace.host.ui.say("== the quickest faults");
        faults(workspace, &faults::Options { quick: true, ..faults::Options::default() })?;
    }
    workspace.host.ui.say("== VM cases");
    let (verdict, CaseCounts { passed, .. }) =
        test_vm::run(workspace, &Options { allow_drift: true, ..Options::default() })?;
    if verdict == Verdict::Pass && passed == 0 {
        // No kernel, no test: that is no pass.
        return Ok(Verdict::Unavailable);
    }
    if verdict == Verdict::Pass && reference.is_err() {
        // Reports were not compared with trace-cmd: that is no pass either.
        workspace.host.ui.say("everything else passes, but no report was compared with trace-cmd's");
        return Ok(Verdict::Unavailable);
    }
    Ok(verdict)
}

fn all_faults(workspace: &Workspace) -> Result<Verdict> {
    faults(workspace, &faults::Options { all_kernels: true, ..faults::Options::default() })
}

fn all_restore(workspace: &Workspace) -> Result<Verdict> {
    restore::restore(workspace, &restore::Options { all_kernels: true, ..restore::Options::default() })
}

/// Tests `bisect` on a small history of a real kernel; a host test that builds a kernel.
fn planted_commit(workspace: &Workspace) -> Result<Verdict> {
    match kernel::fetch_source(workspace, workspace.matrix()?.find(BISECTED)?) {
        Err(error) if error.verdict_given() == Some(Verdict::Unavailable) => {
            workspace.host.ui.say(format!("{BISECTED}: unavailable: {error}"));
            return Ok(Verdict::Unavailable);
        }
        fetched => fetched?,
    }
    let sh = Shell::new().context(|| "cannot start a shell".into())?;
    sh.change_dir(&workspace.sources);
    let test = ["test", "--locked", "--package", "xtask", "--test", "all", "--", "--ignored", "bisect::"];
    step(workspace, "test of bisect", cargo(&sh).args(test))?;
    Ok(Verdict::Pass)
}

/// Tests the page of `diff` in Chromium, a download of a hundred megabytes.
fn page_in_a_browser(workspace: &Workspace) -> Result<Verdict> {
    if let Err(error) = chromium::get(&workspace.host) {
        workspace.host.ui.say(format!("Chromium: unavailable: {error}"));
        return Ok(Verdict::Unavailable);
    }
    let sh = Shell::new().context(|| "cannot start a shell".into())?;
    sh.change_dir(&workspace.sources);
    let test =
        ["test", "--locked", "--package", "xtask", "--test", "all", "--", "--ignored", "diff::the_page"];
    step(workspace, "test of the page", cargo(&sh).args(test))?;
    Ok(Verdict::Pass)
}

/// Causes faults; one that does not end as expected is a failure of the harness itself.
fn faults(workspace: &Workspace, options: &faults::Options) -> Result<Verdict> {
    let counts = faults::run(workspace, options)?;
    if counts.failed > 0 {
        return Err(Error::new(format!("{} faults did not end as expected", counts.failed))
            .help("to run only one: cargo xtask faults NAME"));
    }
    Ok(if counts.passed > 0 { Verdict::Pass } else { Verdict::Unavailable })
}

/// PATH, with another folder in front.
fn path(first: Option<&Path>) -> Result<OsString> {
    let usual = env::var_os("PATH").unwrap_or_default();
    let folders = first.map(Path::to_path_buf).into_iter().chain(env::split_paths(&usual));
    env::join_paths(folders).context(|| "cannot put trace-cmd into PATH".into())
}

fn step(workspace: &Workspace, name: &str, command: xshell::Cmd<'_>) -> Result<()> {
    workspace.host.ui.say(format!("== {name}"));
    let by_hand = command.to_string();
    command.quiet().run().map_err(|error| {
        Error::new(format!("the {name} failed")).because(error).help(format!("to run only this: {by_hand}"))
    })
}
