//! The arguments of `trace`, `stream`, `set` and `snapshot`, which write no file.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use clap::{ArgGroup, Args};

use super::traced::TraceArgs;
use crate::commands::snapshot::{self, Act};
use crate::commands::{set, stream, trace};
use crate::error::Result;
use crate::report;
use crate::tracefs::Tracefs;

#[derive(Debug, Args)]
#[command(
    override_usage = "snaptrace trace [OPTIONS] [CMD]...",
    after_help = "Lines come as the kernel words them. On a terminal they have colours, unless
the environment has NO_COLOR. With CMD only it and its children are traced,
unless --all or -P says otherwise; without, everything until Ctrl-C. Afterwards
all control files are as they were before.

Example:
  snaptrace trace -p function -l __kmalloc ls /
  snaptrace trace -p function_graph -g vfs_open --max-graph-depth 3 ls /
  snaptrace trace -e sched:sched_switch --all sleep 1"
)]
pub(in crate::commands) struct TraceLiveArgs {
    #[command(flatten)]
    what: TraceArgs,
    /// With CMD, trace all other processes too
    #[arg(long, conflicts_with = "only_command")]
    all: bool,
    /// Use this instance; one that was missing is deleted afterwards
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// Command to trace; its exit status is passed on
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "snaptrace stream [OPTIONS] [CMD]...",
    after_help = "Lines come several times a second, as 'snaptrace report' prints them and by time: a
line is held back for at most a fraction of a second until it is known what
belongs before it, and whether a call has others in it. A process has the
command that is known of it by then. Afterwards all control files are as they
were before.

Example:
  snaptrace stream -e sched:sched_switch sleep 1
  snaptrace stream -p function -l __kmalloc -F ls /"
)]
pub(in crate::commands) struct StreamArgs {
    #[command(flatten)]
    what: TraceArgs,
    /// Use this instance; one that was missing is deleted afterwards
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// Command to trace; its exit status is passed on
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "snaptrace set [OPTIONS] [CMD]...",
    after_help = "Tracing stays on or off as it is, also the tracer without -p, and events are
added to those that are on. Nothing is put back: 'snaptrace reset' brings the
kernel's defaults.

Example:
  snaptrace set -l 'vfs_*' -n vfs_fstat
  snaptrace set -e sched:sched_switch -f 'next_pid > 0' -C mono"
)]
pub(in crate::commands) struct SetArgs {
    #[command(flatten)]
    what: TraceArgs,
    /// Set it in this instance, not the top one
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// Command to run afterwards; its exit status is passed on
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("act"),
    after_help = "Without -s, -r and -f the snapshot is printed.

Example:
  snaptrace start -p function -l 'vfs_*'
  snaptrace snapshot -s
  snaptrace snapshot | head -30
  snaptrace snapshot -f"
)]
pub(in crate::commands) struct SnapshotArgs {
    /// Take a snapshot: the buffer as it is now
    #[arg(short = 's', group = "act")]
    take: bool,
    /// Empty the snapshot
    #[arg(short = 'r', group = "act")]
    reset: bool,
    /// Free the snapshot's memory
    #[arg(short = 'f', group = "act")]
    free: bool,
    /// Only the snapshot of this CPU
    #[arg(short = 'c', long, value_name = "CPU")]
    cpu: Option<u32>,
    /// Use this instance, not the top one
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
}

impl TraceLiveArgs {
    pub(in crate::commands) fn run(self, tracefs: &Tracefs) -> Result<u8> {
        let mut start = self.what.config(self.instance, self.command);
        if !start.command.is_empty() && !self.all && start.pids.is_empty() && !start.only_command {
            (start.only_command, start.children) = (true, true);
        }
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let out = &mut io::stdout();
        trace::trace(tracefs, &start, wanted && out.is_terminal(), out)
    }
}

impl StreamArgs {
    pub(in crate::commands) fn run(self, tracefs: &Tracefs) -> Result<u8> {
        let start = self.what.config(self.instance, self.command);
        stream::stream(tracefs, &start, &report::Config::default(), &mut io::stdout())
    }
}

impl SetArgs {
    pub(in crate::commands) fn run(self, tracefs: &Tracefs) -> Result<u8> {
        set::set(tracefs, &self.what.config(self.instance, self.command))
    }
}

impl SnapshotArgs {
    pub(in crate::commands) fn run(self, tracefs: &Tracefs) -> Result<()> {
        let act = match (self.take, self.reset, self.free) {
            (true, _, _) => Act::Take,
            (_, true, _) => Act::Reset,
            (_, _, true) => Act::Free,
            _ => Act::Show,
        };
        let instance = tracefs.instance(self.instance.as_deref())?;
        snapshot::snapshot(&instance, act, self.cpu, &mut io::stdout())
    }
}
