//! `extract`: moves the contents of an instance's buffer to a trace.dat file.

use std::io::{self, Write};
use std::rc::Rc;

use super::args::instance::InstanceArgs;
use super::args::output::OutputArgs;
use super::interface::{Kernel, Subcommand};
use crate::capture::drain::{self, Drain};
use crate::capture::engine;
use crate::capture::metadata;
use crate::capture::output::{self, Recording, Target, print, warn};
use crate::error::Result;
use crate::restore::journal::Journal;
use crate::restore::session::{Lock, Session};
use crate::tracefs::Tracefs;

/// Write the buffer's present contents to a trace.dat file
#[derive(Debug, clap::Args)]
#[command(after_help = "Records that are extracted are removed from the buffer. Tracing is paused
meanwhile.

Example:
  snaptrace start -p function -l 'vfs_*' ls /
  snaptrace extract -o vfs.dat
  snaptrace extract -s -o snapshot.dat")]
pub(super) struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Extract the snapshot, not the buffer
    #[arg(short = 's')]
    snapshot: bool,
    #[command(flatten)]
    output: OutputArgs,
    /// Print only errors
    #[arg(short = 'q', long)]
    quiet: bool,
}

impl Subcommand for Args {
    const NAME: &'static str = "extract";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        extract(&kernel.tracefs()?, &self, &mut io::stdout())
    }
}

/// Moves the contents of an instance's buffer, or of its snapshot, to a file. Returns the exit code.
///
/// Tracing is paused meanwhile, and resumed afterwards if it was on. A signal does not stop the command
/// early, because the data already taken out would be lost; the exit code is then the same as that of
/// `record`. Writes the summary to `out`.
///
/// # Errors
/// The instance does not exist, the kernel has no snapshots, a recording runs, or the file cannot
/// be written.
fn extract(tracefs: &Tracefs, args: &Args, out: &mut dyn Write) -> Result<u8> {
    let instance = args.instance.of(tracefs)?;
    if args.snapshot {
        instance.check_snapshots()?;
    }
    let output = args.output.config();
    let target = Target::new(&output)?;
    let _lock = Lock::take(tracefs)?;
    let mut signals = engine::signals()?;
    let journal = Journal::begin(tracefs)?.map(Rc::new);
    let mut session = Session::new(instance.clone()).with_journal(journal.as_ref());
    let drain_config = drain::DrainConfig {
        sub_buffer_size: metadata::sub_buffer_size(tracefs)?,
        folder: target.folder.clone(),
        snapshot: args.snapshot,
        ..drain::DrainConfig::default()
    };
    // Otherwise new events could arrive as fast as the buffer is read.
    session.write("tracing_on", &["0".to_string()])?;
    let drained = Drain::start(&instance, &drain_config, || {}).and_then(Drain::finish);
    let metadata = output::passing(tracefs, &instance);
    session.restore()?;
    drop((session, journal));
    let recording = Recording { cpus: drained?, lost: Vec::new(), metadata: metadata? };
    if recording.cpus.iter().all(|cpu| cpu.size == 0) {
        let what = if args.snapshot { "the snapshot" } else { "the buffer" };
        warn(&format!("{what} of {} is empty, and so the recording is empty", instance.describe()));
    }
    let stored = target.write(tracefs, recording)?;
    if !args.quiet {
        print(out, &output::summary(&stored, &output))?;
    }
    for signal in signals.pending() {
        if let Some(code) = engine::exit_code(signal, &mut None)? {
            return Ok(code);
        }
    }
    Ok(0)
}
