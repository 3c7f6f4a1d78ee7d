//! The arguments of `record`, and those of every command that writes a file.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::traced::TraceArgs;
use crate::capture::engine::Record;
use crate::capture::output::Output;
use crate::commands::extract::Extract;
use crate::trace_dat::write::{Compression, Version};

#[derive(Debug, Args)]
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
pub(in crate::commands) struct RecordArgs {
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

#[derive(Debug, Args)]
#[command(after_help = "What is extracted is no longer in the buffer. Tracing is paused meanwhile and
goes on afterwards, unless it was off.

Example:
  snaptrace start -p function -l 'vfs_*' ls /
  snaptrace extract -o vfs.dat
  snaptrace extract -s -o snapshot.dat")]
pub(in crate::commands) struct ExtractArgs {
    /// Use this instance, not the top one
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// Extract the snapshot, not the buffer
    #[arg(short = 's')]
    snapshot: bool,
    #[command(flatten)]
    output: OutputArgs,
    /// Tell nothing but errors
    #[arg(short = 'q', long)]
    quiet: bool,
}

/// The file that is written.
#[derive(Debug, Args)]
pub(in crate::commands) struct OutputArgs {
    /// The file to write
    #[arg(short = 'o', value_name = "FILE", default_value = "trace.dat")]
    output: PathBuf,
    /// Version of the file format
    #[arg(long, value_name = "VERSION", default_value = "7")]
    file_version: FileVersion,
    /// Compression of version 7 [default: zstd]
    #[arg(long, value_name = "NAME")]
    compression: Option<CompressionName>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FileVersion {
    /// Read by every trace-cmd
    #[value(name = "6")]
    V6,
    /// Read since trace-cmd 3.0; smaller
    #[value(name = "7")]
    V7,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CompressionName {
    /// Not compressed
    None,
    /// Not read by every build of trace-cmd
    Zlib,
    /// As trace-cmd's own
    Zstd,
}

impl RecordArgs {
    pub(in crate::commands) fn config(self) -> Record {
        Record {
            start: self.what.config(self.instance, self.command),
            output: self.output.config(),
            interval: self.interval.map(Duration::from_micros),
            most_kb: self.most_kb,
            date: self.date,
            top: self.top,
            quiet: self.quiet,
        }
    }
}

impl ExtractArgs {
    pub(in crate::commands) fn config(self) -> Extract {
        Extract {
            instance: self.instance,
            snapshot: self.snapshot,
            output: self.output.config(),
            quiet: self.quiet,
        }
    }
}

impl OutputArgs {
    pub(in crate::commands) fn config(self) -> Output {
        let version = match self.file_version {
            FileVersion::V6 => Version::V6,
            FileVersion::V7 => Version::V7,
        };
        let compression = match (self.compression, version) {
            (Some(CompressionName::None), _) | (None, Version::V6) => Compression::None,
            (Some(CompressionName::Zlib), _) => Compression::Zlib,
            (Some(CompressionName::Zstd), _) | (None, Version::V7) => Compression::Zstd,
        };
        Output { path: self.output, version, compression }
    }
}
