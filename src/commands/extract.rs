//! `extract`: what an instance's buffer holds now, written to a trace.dat.

use std::io::Write;
use std::rc::Rc;

use crate::capture::drain::{self, Drain};
use crate::capture::engine;
use crate::capture::metadata;
use crate::capture::output::{self, Output, Recording, Target, say, tell};
use crate::error::Result;
use crate::restore::journal::Journal;
use crate::restore::session::{Lock, Session};
use crate::tracefs::Tracefs;

/// What to extract, and where to.
#[derive(Clone, Debug)]
pub struct Extract {
    /// The instance; the top one when `None`.
    pub instance: Option<String>,
    /// Take the snapshot in place of the buffer.
    pub snapshot: bool,
    /// The file to write.
    pub output: Output,
    /// Tell nothing but errors.
    pub quiet: bool,
}

/// Moves the buffer, or the snapshot, of an instance to a file; it is empty then. Gives the exit code.
///
/// Tracing is paused meanwhile and goes on afterwards if it was on. A signal ends it no sooner, for
/// what is taken out would be lost; the exit code is then as of `record`. `out` gets what is told on
/// success.
///
/// # Errors
/// There is no such instance, the kernel takes no snapshots, a recording runs, or the file cannot
/// be written.
pub fn extract(tracefs: &Tracefs, config: &Extract, out: &mut dyn Write) -> Result<u8> {
    let instance = tracefs.instance(config.instance.as_deref())?;
    if config.snapshot {
        crate::commands::snapshot::check(&instance)?;
    }
    let target = Target::new(&config.output)?;
    let _lock = Lock::take(tracefs)?;
    let mut signals = engine::signals()?;
    let journal = Journal::begin(tracefs)?.map(Rc::new);
    let mut session = Session::new(instance.clone()).with_journal(journal.as_ref());
    let plan = drain::Plan {
        sub_buffer_size: metadata::sub_buffer_size(tracefs)?,
        folder: target.folder.clone(),
        snapshot: config.snapshot,
        ..drain::Plan::default()
    };
    // As many events as the buffer takes could come while it is read.
    session.write("tracing_on", &["0".to_string()])?;
    let drained = Drain::start(&instance, &plan, || {}).and_then(Drain::finish);
    let metadata = output::passing(tracefs, &instance);
    session.restore()?;
    drop((session, journal));
    let recording = Recording { cpus: drained?, lost: Vec::new(), metadata: metadata? };
    if recording.cpus.iter().all(|cpu| cpu.size == 0) {
        let what = if config.snapshot { "the snapshot" } else { "the buffer" };
        tell(&format!("{what} of {} is empty, and so is the recording", instance.describe()));
    }
    let stored = target.write(tracefs, recording)?;
    if !config.quiet {
        say(out, &output::summary(&stored, &config.output))?;
    }
    for signal in signals.pending() {
        if let Some(code) = engine::exit_code(signal, &mut None)? {
            return Ok(code);
        }
    }
    Ok(0)
}
