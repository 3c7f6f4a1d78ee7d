//! Live output: passes records on while tracing runs and restores the settings afterwards.

use std::rc::Rc;
use std::time::Duration;

use crate::capture::command::Held;
use crate::capture::engine;
use crate::error::Result;
use crate::restore::journal::Journal;
use crate::restore::session::{Lock, Session};
use crate::setup::request::{self, Request};
use crate::tracefs::{Instance, Tracefs};
use signal_hook::iterator::Signals;

/// Processes in these files are not traced; kernels since 5.7 have them.
const LEFT_OUT: [&str; 2] = ["set_ftrace_notrace_pid", "set_event_notrace_pid"];

/// Forwards what an instance records.
pub(crate) trait Feed {
    /// Forwards all available data; called with `last = true` once tracing has stopped.
    fn pass_on(&mut self, last: bool) -> Result<()>;

    /// Waits until there may be more data, or a signal comes.
    fn wait(&self) -> Result<()>;
}

/// The longest time between two checks of the buffers and the signals.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// Sets up as `record` does, and forwards records until the command ends or a signal comes; returns the
/// exit code.
pub(crate) fn follow<F: Feed>(
    tracefs: &Tracefs,
    start: &Request,
    open: impl FnOnce(&Instance) -> Result<F>,
) -> Result<u8> {
    engine::check_request(start)?;
    request::check_pids(tracefs, start)?;
    let _lock = Lock::take(tracefs)?;
    let signals = engine::signals()?;
    let journal = Journal::begin(tracefs)?.map(Rc::new);
    let mut session = engine::session_for(tracefs, start, true, journal.as_ref())?;
    let outcome = followed(tracefs, start, &mut session, signals, journal.as_ref(), open);
    let restored = session.restore();
    let code = outcome?;
    restored?;
    Ok(code)
}

fn followed<F: Feed>(
    tracefs: &Tracefs,
    start: &Request,
    session: &mut Session,
    mut signals: Signals,
    journal: Option<&Rc<Journal>>,
    open: impl FnOnce(&Instance) -> Result<F>,
) -> Result<u8> {
    leave_out_this_process(session)?;
    let mut held = engine::set_up(tracefs, start, session, journal)?;
    let instance = session.instance().clone();
    instance.clear()?;
    let mut feed = open(&instance)?;
    instance.write("tracing_on", "1")?;
    if let Some(held) = &mut held {
        held.release()?;
    }
    let code = loop {
        feed.pass_on(false)?;
        if let Some(code) = ending(&mut signals, &mut held)? {
            break code;
        }
        feed.wait()?;
    };
    instance.write("tracing_on", "0")?;
    feed.pass_on(true)?;
    Ok(code)
}

/// The exit code, if a signal arrived or the command has ended.
fn ending(signals: &mut Signals, held: &mut Option<Held>) -> Result<Option<u8>> {
    for signal in signals.pending() {
        if let Some(code) = engine::exit_code(signal, held)? {
            return Ok(Some(code));
        }
    }
    Ok(None)
}

/// Excludes this process from the trace; otherwise each line it writes would cause more lines.
fn leave_out_this_process(session: &mut Session) -> Result<()> {
    for file in LEFT_OUT {
        let instance = session.instance();
        if instance.has(file) {
            let content = instance.read(file)?;
            let mut pids: Vec<String> = content
                .split_ascii_whitespace()
                .filter(|word| word.parse::<u32>().is_ok())
                .map(String::from)
                .collect();
            pids.push(std::process::id().to_string());
            session.write(file, &pids)?;
        }
    }
    Ok(())
}
