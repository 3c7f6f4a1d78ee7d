//! `check-events`: which events cannot be printed from their formats; pure.

use trace_dat::event::Events;
use trace_dat::write::Metadata;

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// One line for each event with a problem, and a summary.
    pub text: String,
    /// Whether every format was understood.
    pub all_good: bool,
}

/// Compiles every format of a kernel or a recording.
///
/// If a print format is not understood, the event is printed field by field, and its line gives the
/// reason. If the fields are not understood, the event cannot be read at all.
pub fn check(metadata: &Metadata) -> Report {
    let mut events = Events::default();
    let mut lines = Vec::new();
    let mut count = 0;
    let ftrace = ("ftrace", &metadata.ftrace_formats);
    let others = metadata.systems.iter().map(|system| (system.name.as_str(), &system.formats));
    for (system, formats) in std::iter::once(ftrace).chain(others) {
        for format in formats {
            count += 1;
            let text = String::from_utf8_lossy(format);
            if let Err(error) = events.add(system, &text, usize::from(metadata.long_size)) {
                lines.push(format!("{system}: {error}"));
            }
        }
    }
    for event in events.iter() {
        if let Some(reason) = event.why_not() {
            lines.push(format!("{}:{}: {reason}", event.system, event.name));
        }
    }
    lines.sort();
    let all_good = lines.is_empty();
    let bad = lines.len();
    lines.push(format!("{count} events, {bad} of them not understood"));
    Report { text: lines.join("\n") + "\n", all_good }
}
