//! `snapshot`: a copy of the buffer that does not change while tracing continues.

use std::io::{self, Write};

use clap::ArgGroup;

use super::args::instance::InstanceArgs;
use super::interface::{Kernel, Subcommand};
use crate::capture::drain::RawBuffer;
use crate::error::{Error, Result};
use crate::tracefs::Instance;

const SNAPSHOT: &str = "snapshot";

/// Take, print, empty or free a copy of the buffer
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("act"),
    after_help = "Without -s, -r and -f the snapshot is printed.

Example:
  snaptrace start -p function -l 'vfs_*'
  snaptrace snapshot -s
  snaptrace snapshot | head -30
  snaptrace snapshot -f"
)]
pub(super) struct Args {
    /// Take a snapshot of the buffer
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
    #[command(flatten)]
    instance: InstanceArgs,
}

impl Subcommand for Args {
    const NAME: &'static str = "snapshot";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        let act = match (self.take, self.reset, self.free) {
            (true, _, _) => Act::Take,
            (_, true, _) => Act::Reset,
            (_, _, true) => Act::Free,
            _ => Act::Show,
        };
        let instance = self.instance.of(&kernel.tracefs()?)?;
        snapshot(&instance, act, self.cpu, &mut io::stdout())?;
        Ok(0)
    }
}

/// What to do with an instance's snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Print it.
    Show,
    /// Exchange the buffer and the snapshot, which is allocated if necessary.
    Take,
    /// Empty it.
    Reset,
    /// Free its memory.
    Free,
}

/// Performs an action on the snapshot of an instance, or of one of its CPUs. Prints to `out`.
///
/// # Errors
/// The kernel has no snapshots, the CPU does not exist, the tracer uses the snapshot itself, or
/// `out` fails.
fn snapshot(instance: &Instance, act: Act, cpu: Option<u32>, out: &mut dyn Write) -> Result<()> {
    instance.check_snapshots()?;
    let file = match cpu {
        Some(cpu) => format!("per_cpu/cpu{cpu}/{SNAPSHOT}"),
        None => SNAPSHOT.to_string(),
    };
    if let (Some(cpu), false) = (cpu, instance.has(&file)) {
        return Err(Error::usage(format!("there is no CPU {cpu} in {}", instance.describe()))
            .help("'snaptrace stat' lists the CPUs"));
    }
    if let Some(cpu) = cpu
        && !RawBuffer::open(instance, cpu, "trace_pipe_raw")?.has_buffer()?
    {
        return Err(Error::usage(format!("CPU {cpu} has no buffer in {}", instance.describe()))
            .help("it has not been online; 'snaptrace stat' shows the CPUs"));
    }
    let value = match act {
        Act::Show => return instance.copy(&file, out),
        Act::Take => "1",
        Act::Reset => "2",
        Act::Free => "0",
    };
    instance.write(&file, value).map_err(|error| match cpu {
        Some(_) if act == Act::Take => error.help(
            "a snapshot of one CPU needs CONFIG_RING_BUFFER_ALLOW_SWAP, and the memory of a snapshot of all \
             CPUs: take one with 'snaptrace snapshot -s' first",
        ),
        _ => error,
    })
}
