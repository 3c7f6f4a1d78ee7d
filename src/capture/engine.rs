//! Recordings: sets up the kernel, drains its buffers into a trace.dat and restores the settings.

use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Signal;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::capture::command::Held;
use crate::capture::date;
use crate::capture::drain::{self, Drain};
use crate::capture::metadata;
use crate::capture::output::{self, Output, Recording, Target, print};
use crate::capture::progress::Progress;
use crate::error::{Error, Result};
use crate::restore::journal::Journal;
use crate::restore::session::{Lock, Session};
use crate::setup::apply::{To, apply};
use crate::setup::checked;
use crate::setup::control_files::{Manner, writes};
use crate::setup::request::{self, Request};
use crate::tracefs::{Instance, Tracefs};

/// Options that each instance has separately.
const SEPARATE_OPTIONS: [&str; 5] =
    ["overwrite", "stacktrace", "userstacktrace", "function-fork", "event-fork"];

/// What to record, and to which file.
#[derive(Clone, Debug)]
pub struct RecordConfig {
    /// Tracer, filters, events, processes and command. Without a tracer, nop is set.
    pub start: Request,
    /// The file to write.
    pub output: Output,
    /// The time between two reads of the buffers; see [`drain::DrainConfig::interval`].
    pub interval: Option<Duration>,
    /// How many KiB are kept for each CPU, the newest.
    pub most_kb: Option<u64>,
    /// Note the time of day, so that a report shows it.
    pub date: bool,
    /// Record in the top instance, even if a temporary one would do.
    pub top: bool,
    /// Print only errors and lost events.
    pub quiet: bool,
}

/// Records until the command ends, or without one until SIGINT, and returns the exit code.
///
/// The exit code is the command's status; 0 after SIGINT; 128 plus the number after SIGTERM, SIGHUP and
/// SIGQUIT, which are passed on to the command. The file is written in all these cases, and the
/// kernel's control files are restored in all cases. If the tracer and all options can be set in an
/// instance separately, a temporary one is created for the recording, and nothing else is changed.
/// Writes the summary to `out`.
///
/// # Errors
/// Something requested does not exist or does not fit together (nothing was changed then); another
/// recording runs; the kernel refuses a value; the disk is full.
pub fn record(tracefs: &Tracefs, config: &RecordConfig, out: &mut dyn Write) -> Result<u8> {
    check(config)?;
    request::check_pids(tracefs, &config.start)?;
    let target = Target::new(&config.output)?;
    let _lock = Lock::take(tracefs)?;
    // From here on a signal ends the recording cleanly.
    let signals = signals()?;
    let journal = Journal::begin(tracefs)?.map(Rc::new);
    let mut session = session(tracefs, config, journal.as_ref())?;
    let outcome = recorded(tracefs, config, &target, &mut session, signals, journal.as_ref(), out);
    // The settings are restored in any case; the first failure is reported.
    let restored = session.restore();
    drop((session, journal));
    let (code, recording) = outcome?;
    restored?;
    output::warn_of_lost_events(&recording.lost);
    let stored = target.write(tracefs, recording)?;
    if !config.quiet {
        print(out, &output::summary(&stored, &config.output))?;
    }
    Ok(code)
}

/// The signals that end a recording, and SIGCHLD, sent when the command has ended.
pub(crate) fn signals() -> Result<Signals> {
    Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD]).map_err(|cause| {
        Error::new("cannot prepare for signals").because(cause).help("check the limit on files (ulimit -n)")
    })
}

/// Checks what can be checked without the kernel.
fn check(config: &RecordConfig) -> Result<()> {
    check_request(&config.start)?;
    config.output.check()?;
    if let (true, Some(clock)) = (config.date, &config.start.clock) {
        date::check(clock)?;
    }
    if config.most_kb == Some(0) {
        return Err(Error::usage("-m 0 would keep nothing").help("give the size to keep for each CPU in KiB"));
    }
    Ok(())
}

/// Checks that there is something to trace, and that its parts fit together.
pub(crate) fn check_request(start: &Request) -> Result<()> {
    request::check(start)?;
    if start.tracer.is_some() {
        return Ok(());
    }
    let filters = [
        ("-l", !start.functions.is_empty()),
        ("-n", !start.notrace.is_empty()),
        ("-g", !start.graph.is_empty()),
        ("--graph-notrace", !start.graph_notrace.is_empty()),
        ("--module", start.module.is_some()),
        ("--func-stack", start.func_stack),
        ("--max-graph-depth", start.max_graph_depth.is_some()),
    ];
    if let Some((option, _)) = filters.iter().find(|(_, given)| *given) {
        return Err(Error::usage(format!("{option} needs a tracer, and none was given"))
            .help("add -p function or -p function_graph"));
    }
    if start.events.is_empty() {
        return Err(Error::usage("nothing to record was given")
            .help("name a tracer (-p function) or events (-e sched); 'snaptrace list' shows them"));
    }
    Ok(())
}

/// A session on the instance to record in: the named one; else a temporary one, if `own` allows it and
/// the request can be set in it separately; else the top one.
pub(crate) fn session_for(
    tracefs: &Tracefs,
    start: &Request,
    own: bool,
    journal: Option<&Rc<Journal>>,
) -> Result<Session> {
    if start.instance.is_some() {
        return Session::in_instance(tracefs, start.instance.as_deref(), journal);
    }
    if own
        && is_separate(tracefs.top(), start)?
        && let Some(session) = Session::in_own_instance(tracefs, "record", journal)
    {
        session.inherit(tracefs.top())?;
        return Ok(session);
    }
    Ok(Session::new(tracefs.top().clone()).with_journal(journal))
}

fn session(tracefs: &Tracefs, config: &RecordConfig, journal: Option<&Rc<Journal>>) -> Result<Session> {
    session_for(tracefs, &config.start, !config.top, journal)
}

/// Whether everything that is requested can be set in one instance without affecting others. Graphs and
/// stacks cannot: all instances share them, or only the top one has them.
fn is_separate(top: &Instance, start: &Request) -> Result<bool> {
    let tracer = matches!(start.tracer.as_deref(), None | Some("nop" | "function"));
    let graph = !start.graph.is_empty() || !start.graph_notrace.is_empty() || start.max_graph_depth.is_some();
    let options = start.options.iter().all(|word| {
        SEPARATE_OPTIONS.iter().any(|name| word == name || word.strip_prefix("no") == Some(name))
    });
    let stacks = "options/func_stack_trace";
    let stacks = start.func_stack || (top.has(stacks) && top.read_value(stacks)? == "1");
    Ok(tracer && !graph && options && !stacks)
}

/// Sets up, records, drains and switches tracing off.
fn recorded(
    tracefs: &Tracefs,
    config: &RecordConfig,
    target: &Target,
    session: &mut Session,
    signals: Signals,
    journal: Option<&Rc<Journal>>,
    out: &mut dyn Write,
) -> Result<(u8, Recording)> {
    let own = session.is_new() && config.start.instance.is_none();
    let drain_config = drain::DrainConfig {
        sub_buffer_size: metadata::sub_buffer_size(tracefs)?,
        folder: target.folder.clone(),
        interval: config.interval,
        most: config.most_kb.map(|size| size.saturating_mul(1024)),
        ..drain::DrainConfig::default()
    };
    let held = set_up(tracefs, &config.start, session, journal)?;
    let instance = session.instance().clone();
    let date = match config.date {
        true => Some(date::offset(tracefs, &output::clock(&instance)?, journal)?),
        false => None,
    };
    if let (Some(tracer), false) = (&config.start.tracer, config.quiet) {
        print(out, &format!("  plugin '{tracer}'\n"))?;
    }
    // What was recorded before does not belong to this recording.
    instance.clear()?;
    let before = output::lost(&instance)?;
    let handle = signals.handle();
    let drain = Drain::start(&instance, &drain_config, move || handle.close())?;
    instance.write("tracing_on", "1")?;
    if held.is_none() && !config.quiet {
        print(out, "Hit Ctrl^C to stop recording\n")?;
    }
    let progress = if config.quiet { None } else { Progress::start(&instance, &drain_config.taken) };
    let ended = wait(held, signals);
    drop(progress);
    instance.write("tracing_on", "0")?;
    let cpus = drain.finish()?;
    let after = output::lost(&instance)?;
    let lost = after.iter().map(|&(cpu, count)| {
        let before = before.iter().find(|before| before.0 == cpu).map_or(0, |before| before.1);
        (cpu, count.saturating_sub(before))
    });
    let mut metadata = output::passing(tracefs, &instance)?;
    if own {
        // The instance was temporary: the file names the top instance instead.
        metadata.instance.clear();
    }
    metadata.date = date;
    Ok((ended?, Recording { cpus, lost: lost.collect(), metadata }))
}

/// Sets everything up, leaves tracing off, and returns the command's stopped process.
pub(crate) fn set_up(
    tracefs: &Tracefs,
    start: &Request,
    session: &mut Session,
    journal: Option<&Rc<Journal>>,
) -> Result<Option<Held>> {
    let fresh = session.is_new().then(|| session.instance().clone());
    // The kernel needs long to list its functions. A new instance has nothing to lose, so it is enough
    // that the kernel refuses the filter when it is set.
    let is_checked_later = fresh.is_some() && request::kernel_checks_functions(start)?;
    if !is_checked_later {
        request::check_functions(tracefs, start)?;
    }
    let events = checked::choose_events(tracefs, start, fresh.as_ref(), journal)?;
    let mut start = start.clone();
    start.tracer.get_or_insert_with(|| "nop".to_string());
    let mut values = checked::values(tracefs, session.instance(), &start, events)?;
    let held = Held::hold(&start, &mut values)?;
    let writes = writes(&values, Manner::Record);
    checked::check_offered(session.instance(), &writes)?;
    apply(&writes, To::Session(session)).or_else(|error| {
        // The kernel says only that it refuses a function; this check names the nearest functions.
        if is_checked_later {
            request::check_functions(tracefs, &start)?;
        }
        Err(error)
    })?;
    Ok(held)
}

/// Lets the command run until it or the recording ends; returns the exit code.
pub(crate) fn wait(held: Option<Held>, mut signals: Signals) -> Result<u8> {
    let mut held = held;
    if let Some(held) = &mut held {
        held.release()?;
    }
    for signal in signals.forever() {
        if let Some(code) = exit_code(signal, &mut held)? {
            return Ok(code);
        }
    }
    // The signals were closed because a thread failed; draining returns its error.
    Ok(Error::GENERAL)
}

/// The exit code if this signal ends the recording. Passes the signal on to the command, except SIGINT.
pub(crate) fn exit_code(signal: i32, held: &mut Option<Held>) -> Result<Option<u8>> {
    let passed_on = match signal {
        SIGINT => return Ok(Some(0)),
        SIGTERM => Signal::TERM,
        SIGHUP => Signal::HUP,
        SIGQUIT => Signal::QUIT,
        _ => return Ok(held.as_mut().map(Held::ended).transpose()?.flatten()),
    };
    if let Some(held) = held {
        held.signal(passed_on)?;
    }
    Ok(Some(u8::try_from(128 + signal).unwrap_or(Error::GENERAL)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::events::Choice;
    use trace_dat::write::{Compression, Version};

    fn config() -> RecordConfig {
        RecordConfig {
            start: Request { tracer: Some("function".into()), ..Request::default() },
            output: Output { path: "trace.dat".into(), version: Version::V7, compression: Compression::Zstd },
            interval: None,
            most_kb: None,
            date: false,
            top: false,
            quiet: false,
        }
    }

    fn refused(change: impl FnOnce(&mut RecordConfig)) -> String {
        let mut config = config();
        change(&mut config);
        let error = check(&config).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        assert!(check(&config()).is_ok());
        assert!(refused(|config| config.start.tracer = None).starts_with("nothing to record"));
        let message = refused(|config| {
            config.start.tracer = None;
            config.start.events = vec![Choice { pattern: "sched".into(), ..Choice::default() }];
            config.start.functions = vec!["kfree".into()];
        });
        assert!(message.starts_with("-l needs a tracer"), "{message}");
        assert!(refused(|config| config.output.version = Version::V6).contains("cannot be compressed"));
        assert!(refused(|config| config.start.func_stack = true).contains("--func-stack"));
        assert!(refused(|config| config.start.buffer_kb = Some(0)).contains("-b 0"));
    }
}
