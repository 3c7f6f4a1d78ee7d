//! `cargo xtask tour`: shows every scenario of the tutorial live.

use std::io::{self, Write};
use std::time::Duration;

use console::style;
use initramfs::protocol::{Frame, Status};

use super::args::KernelArgs;
use super::interface::{Global, Subcommand};
use crate::base::error::{Error, Result};
use crate::base::ui::outln;
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::guest::cases::{self, Case};
use crate::guest::folders;
use crate::guest::prepared::{Guest, GuestOptions, Tools};
use crate::run::single::pick;
use crate::run::{bundle, results, test_vm};
use crate::vm::{Taken, console as guest_console};

/// The most lines of a command's output that are shown.
const LINES: usize = 60;

/// Show every scenario of the tutorial live in a guest
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: cargo xtask --yes tour")]
pub(super) struct Args {
    #[command(flatten)]
    on: KernelArgs,
}

impl Subcommand for Args {
    const NAME: &'static str = "tour";

    fn run(self, global: &Global) -> Result<u8> {
        tour(&global.workspace()?, self.on.kernel.as_deref()).map(|()| 0)
    }
}

/// Boots a guest for each scenario and shows its output.
///
/// # Errors
/// When no guest can be prepared, or a scenario fails; its verdict decides the exit code.
fn tour(workspace: &Workspace, kernel: Option<&str>) -> Result<()> {
    let tools = Tools::get(workspace)?;
    let (record, kernel) = pick(workspace, kernel)?;
    let guest = Guest::prepare(workspace, &tools, &record, kernel, GuestOptions::default())?;
    let mut cases = cases::load(&workspace.root)?;
    cases.retain(|case| case.is_for(&record));
    let cases: Vec<Case> = cases.iter().map(|case| case.on(&guest.kernel.version)).collect::<Result<_>>()?;
    outln!(
        "Linux {} under QEMU {} ({}). Each scenario boots a guest of its own.",
        guest.kernel.release,
        tools.qemu.version,
        guest.accel.name()
    );
    for case in &cases {
        outln!("\n{}", style(format!("── {} {} ", case.section, case.title)).bold().cyan());
        scenario(workspace, &guest, case)?;
    }
    outln!("\n{} scenarios on {}. From here:", cases.len(), guest.kernel.name);
    outln!("  cargo xtask shell                         a shell in the guest, with snaptrace in it");
    outln!("  cargo xtask run -- snaptrace list -f 'vfs_*'   one command, its output, its exit status");
    outln!("  cargo xtask test-vm                       these scenarios compared with reviewed snapshots");
    if guest.kernel.name != "5.4" {
        outln!(
            "  cargo xtask kernel 5.4                    build the kernel of the tutorial, then tour again"
        );
    }
    Ok(())
}

fn scenario(workspace: &Workspace, guest: &Guest, case: &Case) -> Result<()> {
    let job = case.job(&guest.job().boot_modules)?;
    let scratch = folders::scratch(&workspace.root)?;
    let folder = results::of_case(scratch.path(), &guest.kernel.name, &case.name)?;
    let deadlines = guest.deadlines(Some(Duration::from_secs(case.deadline)));
    let mut show = Show { case, at: 0, lines: 0, failed: None };
    let (ended, inputs) =
        guest.for_case(case)?.boot(&job, &folder, deadlines, &mut |frame| show.take(frame))?;
    let failure = ended.judge().err().or(show.failed.map(|why| (Verdict::GuestFailed, why)));
    let Some((verdict, why)) = failure else { return Ok(()) };
    let again = test_vm::again(guest, case);
    let failure =
        bundle::GuestFailure { case: &case.name, guest, inputs: &inputs, verdict, why: &why, again: &again };
    failure.write(&folder)?;
    scratch.keep();
    for line in failure.shown(workspace, &folder) {
        workspace.host.ui.say(line);
    }
    Err(Error::new(format!("scenario {} ended with {verdict}", case.name)).because(why).verdict(verdict))
}

/// Shows a scenario's frames as they arrive.
struct Show<'a> {
    case: &'a Case,
    at: usize,
    lines: usize,
    failed: Option<String>,
}

impl Show<'_> {
    fn take(&mut self, frame: Frame) -> Taken {
        match frame {
            Frame::StepStart(index) => {
                self.at = index as usize;
                self.lines = 0;
                if let Some(step) = self.case.steps.get(self.at) {
                    outln!("{}", style(format!("# {}", step.say)).dim());
                    outln!("{}", style(format!("$ {}", step.run)).bold());
                }
            }
            Frame::Stdout(part) | Frame::Stderr(part) => self.show(&part),
            Frame::StepEnd(status) => {
                if self.lines > LINES {
                    outln!("… {} more lines", self.lines - LINES);
                }
                if let Some(step) = self.case.steps.get(self.at)
                    && status != Status::Exited(step.expect)
                {
                    self.failed = Some(format!("`{}` ended with {status}", step.run));
                }
            }
            _ => {}
        }
        Taken::More
    }

    fn show(&mut self, part: &[u8]) {
        let text = String::from_utf8_lossy(part);
        let mut out = io::stdout().lock();
        for line in text.split_inclusive('\n') {
            if self.lines < LINES {
                let ending = if line.ends_with('\n') { "\n" } else { "" };
                // Ignore a closed standard output; the tour continues.
                let _ = write!(out, "{}{ending}", guest_console::neutralise(line.trim_end_matches('\n')));
            }
            self.lines += usize::from(line.ends_with('\n'));
        }
        let _ = out.flush();
    }
}
