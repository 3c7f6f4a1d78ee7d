//! The time of day at which a trace clock was zero.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::restore::journal::Journal;
use crate::restore::session::Session;
use crate::tracefs::Tracefs;

/// No further mark is written after one that took at most this many microseconds.
const GOOD: i64 = 50;
/// The most marks that are written.
const TRIES: usize = 10;

/// Microseconds from the epoch to the clock's zero.
///
/// Writes marks to a temporary instance and reads the time of day before and after each. The mark that
/// took the shortest time is used.
///
/// # Errors
/// The clock does not count time, the kernel cannot create an instance, or no mark is in the buffer.
pub(crate) fn offset(tracefs: &Tracefs, clock: &str, journal: Option<&Rc<Journal>>) -> Result<i64> {
    check(clock)?;
    let Some(mut session) = Session::in_own_instance(tracefs, "date", journal) else {
        return Err(Error::new(
            "--date needs an instance to compare clocks, and the kernel cannot create one",
        )
        .help("leave --date out; 'snaptrace check' shows what this kernel lacks"));
    };
    let instance = session.instance().clone();
    instance.write("trace_clock", clock)?;
    let mut best: Option<(i64, i64)> = None;
    for _ in 0..TRIES {
        instance.truncate("trace")?;
        let before = now();
        instance.write("trace_marker", "snaptrace")?;
        let after = now();
        let stamp = instance.read("trace")?.lines().find_map(mark);
        let Some(stamp) = stamp else { continue };
        if best.is_none_or(|(shortest, _)| after - before < shortest) {
            best = Some((after - before, before + (after - before) / 2 - stamp));
        }
        if after - before <= GOOD {
            break;
        }
    }
    session.restore()?;
    best.map(|(_, offset)| offset).ok_or_else(|| {
        Error::new("the mark that was written to trace_marker is not in the buffer")
            .help("leave --date out; in a new instance tracing or the option 'markers' may be off")
    })
}

/// Refuses clocks that do not count time.
///
/// # Errors
/// The clock is one of them. Exit code 2.
pub(crate) fn check(clock: &str) -> Result<()> {
    match clock {
        "counter" | "x86-tsc" => Err(Error::usage(format!("--date: clock '{clock}' does not count time"))
            .help("choose another clock with -C, such as local or mono")),
        _ => Ok(()),
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The time in microseconds of the line that shows our mark, `sh-9 [000] .... 12.345678: ...: snaptrace`.
fn mark(line: &str) -> Option<i64> {
    let (head, _) = line.trim_end().strip_suffix("snaptrace")?.split_once(": ")?;
    let (seconds, fraction) = head.split_ascii_whitespace().last()?.split_once('.')?;
    let seconds: i64 = seconds.parse().ok()?;
    (fraction.len() == 6).then(|| fraction.parse::<i64>().ok().map(|micros| seconds * 1_000_000 + micros))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_of_a_mark_is_found() {
        let line = "       snaptrace-12      [000] .....    10.000345: tracing_mark_write: snaptrace";
        assert_eq!(mark(line), Some(10_000_345));
        assert_eq!(mark("# tracer: nop"), None);
        assert_eq!(mark("  snaptrace-12 [000] ..... 10: tracing_mark_write: snaptrace"), None);
    }

    #[test]
    fn counters_are_no_time() {
        assert!(check("counter").is_err_and(|error| error.exit_code() == 2));
        assert!(check("boot").is_ok());
    }
}
