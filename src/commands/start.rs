//! `start`: a tracer set up and started, and a command run under it.

use std::ffi::OsString;

use super::args::traced::TraceArgs;
use super::subcommand::{Kernel, Subcommand};
use crate::error::Result;
use crate::setup::start;

/// Set up a tracer and start it, running a command if one is given
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "snaptrace start [OPTIONS] [CMD]...",
    after_help = "FUNC is a name or a glob such as 'vfs_*', in -l and -n also PATTERN:mod:MODULE.
A FUNC that matches no function is an error, and nothing is changed then; one
for a module that is not loaded waits for it. EVENT is a system, an event or
SYSTEM:EVENT, also with globs. What is not given stays as it was: without -l
the functions chosen before, without -e the events. Only a choice of processes
that have all ended is dropped. Tracing stays on after CMD.

Example:
  snaptrace start -p function -l __kmalloc --func-stack
  snaptrace start -p function_graph -g vfs_read --max-graph-depth 3
  snaptrace start -p function -l 'vfs_*' -F cat /etc/hostname"
)]
pub(super) struct Args {
    #[command(flatten)]
    what: TraceArgs,
    /// Use this instance, created when missing
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// Command to run once tracing is on; its exit status is passed on
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Subcommand for Args {
    const NAME: &'static str = "start";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        start::start(&kernel.tracefs()?, &self.what.config(self.instance, self.command))
    }
}
