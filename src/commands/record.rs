//! `record`: traces to a trace.dat file and restores the kernel's settings afterwards.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use super::args::output::OutputArgs;
use super::args::traced::TraceArgs;
use super::interface::{Kernel, Subcommand};
use crate::capture::engine::{self, RecordConfig};
use crate::error::Result;

/// Record to a trace.dat file, then restore the kernel's settings
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "snaptrace record [OPTIONS] [CMD]...",
    after_help = "FUNC is a name or a glob such as 'vfs_*'; -l and -n also take
PATTERN:mod:MODULE. EVENT is a system, an event or SYSTEM:EVENT; globs are
allowed. It is an error if a FUNC or an EVENT matches nothing, or if the kernel
refuses a FILTER or a TRIGGER; nothing is changed then. Function filters that
are not given stay as they are; events that are not given are off during the
recording. An event has to match all of its -f.

Functions and events are recorded in a new instance, which is deleted at the
end. Call stacks (--func-stack), graphs and most options use the top instance:
its settings are restored, its buffer is emptied. Programs write to the top
instance's trace_marker: add --top to record that.

Without CMD, Ctrl-C ends the recording. SIGTERM, SIGHUP and SIGQUIT end it too,
with exit code 143, 129 or 131. After a SIGKILL, the next snaptrace command
restores the settings.

Example:
  snaptrace record -p function -l __kmalloc ls /
  snaptrace record -p function_graph -g vfs_read -o read.dat cat /etc/hostname
  snaptrace record -e sched -v -e '*stat*' -e kmem:kmalloc -F ls /
  snaptrace record -e sched:sched_switch -f 'next_pid == 1' -R stacktrace"
)]
pub(super) struct Args {
    #[command(flatten)]
    what: TraceArgs,
    /// Use this instance; if it has to be created, it is deleted at the end
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// Record everything in the top instance
    #[arg(long, conflicts_with = "instance")]
    top: bool,
    /// Read the buffers every USECS microseconds; 0 reads all the time
    /// [default: when the kernel reports data]
    #[arg(short = 's', value_name = "USECS")]
    interval: Option<u64>,
    /// Keep only about the newest SIZE KiB of each CPU
    #[arg(short = 'm', value_name = "SIZE")]
    most_kb: Option<u64>,
    /// Record the time of day too; 'report' then shows it for each record
    #[arg(long)]
    date: bool,
    #[command(flatten)]
    output: OutputArgs,
    /// Print only errors and lost events
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Command to record; its exit status is passed on
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Subcommand for Args {
    const NAME: &'static str = "record";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        let record = RecordConfig {
            start: self.what.config(self.instance, self.command),
            output: self.output.config(),
            interval: self.interval.map(Duration::from_micros),
            most_kb: self.most_kb,
            date: self.date,
            top: self.top,
            quiet: self.quiet,
        };
        engine::record(&kernel.tracefs()?, &record, &mut io::stdout())
    }
}
