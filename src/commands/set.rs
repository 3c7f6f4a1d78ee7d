//! `set`: changes the settings that are given and no others.

use std::ffi::OsString;

use super::args::traced::TraceArgs;
use super::interface::{Kernel, Subcommand};
use crate::capture::command::Held;
use crate::error::{Error, Result};
use crate::restore::session;
use crate::setup::apply::{To, apply};
use crate::setup::checked;
use crate::setup::control_files::{Manner, writes};
use crate::setup::request::{self, Request};
use crate::tracefs::Tracefs;

/// Change only the settings that are given
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "snaptrace set [OPTIONS] [CMD]...",
    after_help = "Tracing stays as it is, on or off. Without -p the tracer stays. Events of -e
are added to those that are on. Nothing is restored at the end; 'snaptrace
reset' restores the kernel's defaults.

Example:
  snaptrace set -l 'vfs_*' -n vfs_fstat
  snaptrace set -e sched:sched_switch -f 'next_pid > 0' -C mono"
)]
pub(super) struct Args {
    #[command(flatten)]
    what: TraceArgs,
    /// Change this instance, not the top-level one
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

/// Sets what the request names, runs the command if there is one, and returns its status, else 0.
///
/// Whether tracing is on does not change, nor does the tracer unless the request names one. Events are
/// added to those that are on. Nothing is restored.
///
/// # Errors
/// Something requested does not exist (nothing was changed then), or the kernel refuses a value.
fn set(tracefs: &Tracefs, request: &Request) -> Result<u8> {
    request::check(request)?;
    request::check_pids(tracefs, request)?;
    let instance = tracefs.instance(request.instance.as_deref())?;
    request::check_functions(tracefs, request)?;
    let events = checked::choose_events(tracefs, request, None, None)?;
    let mut values = checked::values(tracefs, &instance, request, events)?;
    let held = Held::hold(request, &mut values)?;
    let writes = writes(&values, Manner::Set);
    checked::check_offered(&instance, &writes)?;
    if writes.is_empty() {
        return Err(Error::usage("no setting was given")
            .help("'snaptrace set --help' lists the settings; 'snaptrace stat' shows their values"));
    }
    if writes.iter().any(|write| write.file == session::BUFFER_SIZE) {
        session::expand(&instance)?;
    }
    apply(&writes, To::Instance(&instance)).map_err(|error| {
        error.note("the settings before it are changed; 'snaptrace stat' shows the present ones")
    })?;
    held.map_or(Ok(0), Held::run)
}
