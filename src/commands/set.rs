//! `set`: what is asked for is set, and nothing else changes.

use std::ffi::OsString;

use super::args::traced::TraceArgs;
use super::subcommand::{Kernel, Subcommand};
use crate::capture::command::Held;
use crate::error::{Error, Result};
use crate::restore::session;
use crate::setup::start::{self, Start, Step};
use crate::tracefs::{Mode, Tracefs};

/// Set what is given, and leave everything else as it is
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "snaptrace set [OPTIONS] [CMD]...",
    after_help = "Tracing stays on or off as it is, also the tracer without -p, and events are
added to those that are on. Nothing is put back: 'snaptrace reset' brings the
kernel's defaults.

Example:
  snaptrace set -l 'vfs_*' -n vfs_fstat
  snaptrace set -e sched:sched_switch -f 'next_pid > 0' -C mono"
)]
pub(super) struct Args {
    #[command(flatten)]
    what: TraceArgs,
    /// Set it in this instance, not the top one
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// Command to run afterwards; its exit status is passed on
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Subcommand for Args {
    const NAME: &'static str = "set";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        set(&kernel.tracefs()?, &self.what.config(self.instance, self.command))
    }
}

/// Sets what the request names, runs the command if there is one, and gives its status, else 0.
///
/// Tracing stays on or off, and the tracer stays unless another is named; events are added to
/// those that are on. Nothing is put back.
///
/// # Errors
/// Something asked for does not exist, and then nothing was changed; or the kernel refuses a value.
fn set(tracefs: &Tracefs, config: &Start) -> Result<u8> {
    start::check(config)?;
    start::check_pids(tracefs, config)?;
    let instance = tracefs.instance(config.instance.as_deref())?;
    start::check_functions(tracefs, config)?;
    let events = start::choose_events(tracefs, config, None, None)?;
    let (held, mut steps) = start::prepare(tracefs, &instance, config, &events)?;
    // The frame: tracing off and no tracer; the tracer and tracing on.
    let tracer = steps.split_off(steps.len() - 2).swap_remove(0);
    steps.drain(..2);
    if config.tracer.is_some() {
        steps.push(tracer);
    }
    if steps.is_empty() {
        return Err(Error::usage("nothing to set was given")
            .help("'snaptrace set --help' lists what can be set; 'snaptrace stat' shows what is"));
    }
    if steps.iter().any(|step| step.file == session::BUFFER_SIZE) {
        session::expand(&instance)?;
    }
    for Step { file, values, mode } in &steps {
        let mode = if file == "set_event" { Mode::Append } else { *mode };
        instance.write_lines(file, values, mode).map_err(|error| {
            error.and_help("what stands before it in the request is set; 'snaptrace stat' shows what is")
        })?;
    }
    held.map_or(Ok(0), Held::run)
}
