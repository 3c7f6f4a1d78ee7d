//! `start`: sets up and starts a tracer, and runs a command.

use std::ffi::OsString;

use super::args::traced::TraceArgs;
use super::interface::{Kernel, Subcommand};
use crate::capture::command::Held;
use crate::error::Result;
use crate::setup::apply::{To, apply};
use crate::setup::checked;
use crate::setup::control_files::{Manner, Write, writes};
use crate::setup::request::{self, Request};
use crate::tracefs::{Instance, Tracefs};

/// Set up a tracer and start it, running a command if one is given
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "snaptrace start [OPTIONS] [CMD]...",
    after_help = "FUNC is a name or a glob such as 'vfs_*'; -l and -n also take
PATTERN:mod:MODULE. A FUNC that matches no function is an error, and nothing is
changed then; with a module that is not loaded yet, it takes effect when the
module is loaded. EVENT is a system, an event or SYSTEM:EVENT; globs are
allowed. Settings that are not given stay: without -l the functions chosen
before, without -e the events. Chosen processes stay too, unless all of them
have ended. Tracing stays on after CMD.

Example:
  snaptrace start -p function -l __kmalloc --func-stack
  snaptrace start -p function_graph -g vfs_read --max-graph-depth 3
  snaptrace start -p function -l 'vfs_*' -F cat /etc/hostname"
)]
pub(super) struct Args {
    #[command(flatten)]
    what: TraceArgs,
    /// Use this instance; it is created if it does not exist
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// Command to run once tracing is on; its exit status is passed on
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Subcommand for Args {
    const NAME: &'static str = "start";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        start(&kernel.tracefs()?, &self.what.config(self.instance, self.command))
    }
}

/// Starts tracing, runs the command if there is one, and returns its exit status, else 0.
///
/// Tracing stays on afterwards.
///
/// # Errors
/// Something requested does not exist (nothing was changed then), or the kernel refuses a value (tracing
/// is left off then).
fn start(tracefs: &Tracefs, request: &Request) -> Result<u8> {
    request::check(request)?;
    request::check_pids(tracefs, request)?;
    let (instance, created) = match &request.instance {
        Some(name) if !tracefs.instances()?.contains(name) => (tracefs.create_instance(name)?, true),
        name => (tracefs.instance(name.as_deref())?, false),
    };
    let (held, writes) = match prepare(tracefs, &instance, created, request) {
        Ok(prepared) => prepared,
        Err(error) => {
            if let (true, Some(name)) = (created, instance.name()) {
                tracefs.remove_instance(name)?;
            }
            return Err(error);
        }
    };
    apply(&writes, To::Instance(&instance)).map_err(|error| {
        error.note("tracing is left off; 'snaptrace reset' restores the kernel's defaults")
    })?;
    held.map_or(Ok(0), Held::run)
}

/// Returns the writes to make and the command's stopped process; no setting is changed yet.
fn prepare(
    tracefs: &Tracefs,
    instance: &Instance,
    created: bool,
    request: &Request,
) -> Result<(Option<Held>, Vec<Write>)> {
    request::check_functions(tracefs, request)?;
    let events = checked::choose_events(tracefs, request, created.then_some(instance), None)?;
    let mut values = checked::values(tracefs, instance, request, events)?;
    let held = Held::hold(request, &mut values)?;
    let writes = writes(&values, Manner::Start);
    checked::check_offered(instance, &writes)?;
    Ok((held, writes))
}
