//! `record`: what is traced, written to a trace.dat file; the kernel is put back afterwards.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use super::args::output::OutputArgs;
use super::args::traced::TraceArgs;
use super::subcommand::{Kernel, Subcommand};
use crate::capture::engine::{self, Record};
use crate::error::Result;

/// Record to a trace.dat file, then put the kernel back as it was
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "snaptrace record [OPTIONS] [CMD]...",
    after_help = "FUNC is a name or a glob such as 'vfs_*', in -l and -n also PATTERN:mod:MODULE.
EVENT is a system, an event or SYSTEM:EVENT, also with globs. What matches
nothing, and a FILTER or TRIGGER that the kernel does not take, is an error,
and nothing is changed then. Function filters not given stay as they were;
events not given are off meanwhile. Several -f have to hold together.

Events and functions are recorded in an instance of their own, which is
deleted afterwards; stacks (--func-stack), graphs and most options in the top
one, whose control files are put back and whose buffer is emptied. What
programs write to trace_marker is there: --top records it.

Without CMD it records until Ctrl-C. SIGTERM, SIGHUP and SIGQUIT end it
likewise, with 143, 129 and 131. After a SIGKILL the next call of snaptrace
puts everything back.

Example:
  snaptrace record -p function -l __kmalloc ls /
  snaptrace record -p function_graph -g vfs_read -o read.dat cat /etc/hostname
  snaptrace record -e sched -v -e '*stat*' -e kmem:kmalloc -F ls /
  snaptrace record -e sched:sched_switch -f 'next_pid == 1' -R stacktrace"
)]
pub(super) struct Args {
    #[command(flatten)]
    what: TraceArgs,
    /// Use this instance; one that was missing is deleted afterwards
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// Use the top instance also where one of its own would do
    #[arg(long, conflicts_with = "instance")]
    top: bool,
    /// Microseconds between two readings of the buffers; 0 reads whenever
    /// there is something [default: as the kernel tells]
    #[arg(short = 's', value_name = "USECS")]
    interval: Option<u64>,
    /// Keep about the newest KiB of each CPU, in two halves by turns
    #[arg(short = 'm', value_name = "SIZE")]
    most_kb: Option<u64>,
    /// Note the time of day; 'report' then shows it in place of the clock
    #[arg(long)]
    date: bool,
    #[command(flatten)]
    output: OutputArgs,
    /// Tell nothing but errors and lost events
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Command to record; its exit status is passed on
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Subcommand for Args {
    const NAME: &'static str = "record";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        let record = Record {
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
