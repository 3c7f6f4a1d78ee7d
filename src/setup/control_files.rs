//! The writes for a request: files with their values, in a safe order, and how each write is undone. The
//! list is made from values alone, without access to the kernel.

use std::fmt;

use super::events::Chosen;
use crate::tracefs::Mode;
use crate::tracefs::filter_files::FilterFile;
use crate::tracefs::options::Setting;

pub(crate) const FUNCTION_PIDS: &str = "set_ftrace_pid";
pub(crate) const EVENT_PIDS: &str = "set_event_pid";
pub(crate) const EVENTS: &str = "set_event";

/// The command that a request is set up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// `start`: tracing is off meanwhile, and on at the end.
    Start,
    /// `record` and the live commands: tracing is off meanwhile and at the end, because the buffers are
    /// opened before it is switched on. Events that are not requested are off.
    Record,
    /// `set`: tracing and the tracer stay as they are, and events are added to those that are on.
    Set,
}

/// The checked values for the files; a file whose value is `None` or empty is not changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Values {
    /// The tracer that is set at the end.
    pub(crate) tracer: String,
    /// Whether the request names it.
    pub(crate) is_tracer_asked_for: bool,
    pub(crate) clock: Option<String>,
    pub(crate) buffer_kb: Option<u64>,
    /// Options; if one occurs twice, the last value applies.
    pub(crate) settings: Vec<Setting>,
    pub(crate) max_graph_depth: Option<u32>,
    /// The patterns for each filter file, those with a module last.
    pub(crate) filters: Vec<(FilterFile, Vec<String>)>,
    pub(crate) events: Vec<Chosen>,
    /// Whether other events, which were not requested, are on.
    pub(crate) other_events: bool,
    /// Processes; an empty list removes the filter.
    pub(crate) pids: Option<Vec<String>>,
    /// Whether events have a pid filter of their own.
    pub(crate) event_pids: bool,
}

/// One write: a file of the instance, its new values, and how the write is undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) file: String,
    /// An empty list empties the file.
    pub(crate) values: Vec<String>,
    pub(crate) mode: Mode,
    pub(crate) undo: Undo,
}

/// How a write is undone when settings are restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undo {
    /// The file gets its old content.
    Before,
    /// These values are appended.
    Append(Vec<String>),
}

impl Write {
    fn replace(file: &str, values: Vec<String>) -> Write {
        Write { file: file.to_string(), values, mode: Mode::Replace, undo: Undo::Before }
    }

    fn one(file: &str, value: &str) -> Write {
        Write::replace(file, vec![value.to_string()])
    }

    /// Adds triggers; each is removed again by writing it with a leading `!`.
    fn triggers(file: &str, triggers: &[String]) -> Write {
        let undo = triggers.iter().map(|trigger| format!("!{trigger}")).collect();
        Write {
            file: file.to_string(),
            values: triggers.to_vec(),
            mode: Mode::Append,
            undo: Undo::Append(undo),
        }
    }
}

/// A readable form: `set_ftrace_filter = kfree vfs_*`.
impl fmt::Display for Write {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mode == Mode::Append { "+=" } else { "=" };
        write!(out, "{} {sign} {}", self.file, self.values.join(" "))
    }
}

/// The writes that set the values, in a safe order.
///
/// Tracing is off and the tracer is nop while filters change: a tracer with an empty filter traces every
/// function. The tracer is set only after its filters.
pub(crate) fn writes(values: &Values, manner: Manner) -> Vec<Write> {
    let mut writes = Vec::new();
    if manner != Manner::Set {
        writes.extend([Write::one("tracing_on", "0"), Write::one("current_tracer", "nop")]);
    }
    // Clock and size empty the buffer, so they are set while nothing is recorded.
    writes.extend(values.clock.iter().map(|clock| Write::one("trace_clock", clock)));
    writes.extend(values.buffer_kb.map(|size| Write::one("buffer_size_kb", &size.to_string())));
    writes.extend(values.settings.iter().map(|setting| Write::one(&setting.file(), setting.value())));
    writes.extend(values.max_graph_depth.map(|depth| Write::one("max_graph_depth", &depth.to_string())));
    writes
        .extend(values.filters.iter().map(|(file, patterns)| Write::replace(file.name(), patterns.clone())));
    writes.extend(events(values, manner));
    if let Some(pids) = &values.pids {
        writes.push(Write::replace(FUNCTION_PIDS, pids.clone()));
        writes.extend(values.event_pids.then(|| Write::replace(EVENT_PIDS, pids.clone())));
    }
    if manner == Manner::Record && values.events.is_empty() && values.other_events {
        writes.push(Write::replace(EVENTS, Vec::new()));
    }
    if manner != Manner::Set || values.is_tracer_asked_for {
        writes.push(Write::one("current_tracer", &values.tracer));
    }
    writes.extend((manner == Manner::Start).then(|| Write::one("tracing_on", "1")));
    writes
}

/// Filters are set before the events are switched on, triggers afterwards: an event with a trigger counts
/// as on, and could not be distinguished from one that was on before.
fn events(values: &Values, manner: Manner) -> Vec<Write> {
    let events = &values.events;
    let filters =
        events.iter().filter_map(|event| Some(Write::one(&event.file("filter"), event.filter.as_ref()?)));
    let triggers = events.iter().filter(|event| !event.triggers.is_empty());
    let triggers = triggers.map(|event| Write::triggers(&event.file("trigger"), &event.triggers));
    let on = Write {
        mode: if manner == Manner::Set { Mode::Append } else { Mode::Replace },
        ..Write::replace(EVENTS, events.iter().map(|event| event.name.clone()).collect())
    };
    filters.chain((!events.is_empty()).then_some(on)).chain(triggers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    fn values() -> Values {
        Values {
            tracer: "function".into(),
            is_tracer_asked_for: true,
            clock: Some("mono".into()),
            buffer_kb: Some(512),
            settings: vec![Setting { name: "func_stack_trace".into(), on: true }],
            max_graph_depth: Some(3),
            filters: vec![
                (FilterFile::Notrace, strings(&["kfree"])),
                (FilterFile::Function, strings(&["__kmalloc", "ext4*:mod:ext4"])),
            ],
            events: vec![Chosen {
                name: "sched:sched_switch".into(),
                filter: Some("prev_pid == 1".into()),
                triggers: strings(&["stacktrace"]),
            }],
            other_events: true,
            pids: Some(strings(&["7", "8"])),
            event_pids: true,
        }
    }

    fn shown(values: &Values, manner: Manner) -> Vec<String> {
        writes(values, manner).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn filters_and_processes_stand_before_the_tracer_and_tracing_goes_on_last() {
        let all = [
            "tracing_on = 0",
            "current_tracer = nop",
            "trace_clock = mono",
            "buffer_size_kb = 512",
            "options/func_stack_trace = 1",
            "max_graph_depth = 3",
            "set_ftrace_notrace = kfree",
            "set_ftrace_filter = __kmalloc ext4*:mod:ext4",
            "events/sched/sched_switch/filter = prev_pid == 1",
            "set_event = sched:sched_switch",
            "events/sched/sched_switch/trigger += stacktrace",
            "set_ftrace_pid = 7 8",
            "set_event_pid = 7 8",
            "current_tracer = function",
            "tracing_on = 1",
        ];
        assert_eq!(shown(&values(), Manner::Start), all);
        // A recording opens the buffers first.
        assert_eq!(shown(&values(), Manner::Record), all[..all.len() - 1]);
    }

    #[test]
    fn what_is_set_leaves_tracing_alone_and_adds_events() {
        let shown = shown(&values(), Manner::Set);
        assert!(!shown.iter().any(|write| write.starts_with("tracing_on")), "{shown:?}");
        assert_eq!(shown.iter().filter(|write| write.starts_with("current_tracer")).count(), 1);
        assert!(shown.contains(&"set_event += sched:sched_switch".to_string()), "{shown:?}");
        let kept = Values { is_tracer_asked_for: false, ..values() };
        assert!(!writes(&kept, Manner::Set).iter().any(|write| write.file == "current_tracer"));
        let nothing = Values { tracer: "function".into(), ..Values::default() };
        assert_eq!(writes(&nothing, Manner::Set), []);
    }

    #[test]
    fn a_recording_switches_off_the_events_that_nobody_asked_for() {
        let none = Values { events: Vec::new(), ..values() };
        assert!(shown(&none, Manner::Record).contains(&"set_event = ".to_string()));
        assert!(!shown(&none, Manner::Start).contains(&"set_event = ".to_string()));
        let quiet = Values { other_events: false, ..none };
        assert!(!shown(&quiet, Manner::Record).contains(&"set_event = ".to_string()));
    }

    #[test]
    fn triggers_are_taken_back_one_by_one_and_everything_else_gets_what_it_held() {
        for write in writes(&values(), Manner::Record) {
            match write.file.ends_with("/trigger") {
                true => assert_eq!(write.undo, Undo::Append(strings(&["!stacktrace"]))),
                false => assert_eq!(write.undo, Undo::Before, "{write}"),
            }
        }
    }
}
