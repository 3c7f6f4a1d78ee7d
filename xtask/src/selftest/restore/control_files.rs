//! The control files that are compared, and those that cannot be restored; pure.

use std::collections::{BTreeMap, BTreeSet};

/// The control files that are compared, also those below `instances/*`. `*` matches one name. A kernel has
/// only those that it was configured for.
pub const COMPARED: [&str; 39] = [
    "buffer_percent",
    "buffer_size_kb",
    "buffer_subbuf_size_kb",
    "current_tracer",
    "dynamic_events",
    "events/*/*/enable",
    "events/*/*/filter",
    "events/*/*/trigger",
    "events/*/enable",
    "events/*/filter",
    "events/enable",
    "function_profile_enabled",
    "kprobe_events",
    "max_graph_depth",
    "options/*",
    "per_cpu/*/buffer_size_kb",
    "saved_cmdlines_size",
    "set_event",
    "set_event_notrace_pid",
    "set_event_pid",
    "set_ftrace_filter",
    "set_ftrace_notrace",
    "set_ftrace_notrace_pid",
    "set_ftrace_pid",
    "set_graph_function",
    "set_graph_notrace",
    "snapshot",
    "stack_max_size",
    "stack_trace_filter",
    "synthetic_events",
    "syscall_user_buf_size",
    "trace_clock",
    "trace_options",
    "tracing_cpumask",
    "tracing_max_latency",
    "tracing_on",
    "tracing_thresh",
    "uprobe_events",
    // Of /proc/sys/kernel, not of the tracing directory.
    "kernel.*",
];

/// Control files that are not compared, as extended regular expressions for their paths, with reasons. Of
/// `snapshot`, only whether it is allocated is compared.
pub const EXEMPT: [(&str, &str); 6] = [
    ("(^|/)(trace|snapshot)$", "the content of buffers: whoever records in one empties it"),
    ("(^|/)(trace_marker|trace_marker_raw|free_buffer)$", "to be written only, nothing can be read"),
    ("(^|/)error_log$", "the kernel's log of what it refused"),
    ("^events/.*/inject$", "to be written only, nothing can be read"),
    ("^trace_stat/", "statistics; they cannot be set, whatever their permissions say"),
    ("(^|/)per_cpu/.*/snapshot$", "the content of buffers"),
];

/// Control files with their lines.
pub type State = BTreeMap<String, Vec<String>>;

/// A control file that is not as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDifference {
    /// Its path in the tracing directory.
    pub file: String,
    /// Its lines before.
    pub before: Vec<String>,
    /// Its lines afterwards.
    pub after: Vec<String>,
}

/// Parses a state from the guest's output, `FILE:LINE` for each line.
pub fn parse(text: &str) -> State {
    let mut state = State::new();
    for line in text.lines() {
        let (file, content) = line.split_once(':').unwrap_or((line, ""));
        state.entry(file.to_owned()).or_default().push(content.to_owned());
    }
    state
}

/// The files that differ. A file without lines counts as missing.
pub fn differences(before: &State, after: &State) -> Vec<FileDifference> {
    let files: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let lines = |state: &State, file: &String| state.get(file).cloned().unwrap_or_default();
    files
        .into_iter()
        .map(|file| FileDifference {
            file: file.clone(),
            before: lines(before, file),
            after: lines(after, file),
        })
        .filter(|difference| difference.before != difference.after)
        .collect()
}

/// The files of a state that no pattern of [`COMPARED`] names: new ones of a kernel.
pub fn unknown(state: &State) -> Vec<String> {
    state.keys().filter(|file| !COMPARED.iter().any(|known| is_of(known, file))).cloned().collect()
}

/// Whether a path matches a pattern, in the top instance or any other.
pub fn is_of(pattern: &str, file: &str) -> bool {
    let within = file.strip_prefix("instances/").and_then(|rest| rest.split_once('/'));
    let file = within.map_or(file, |(_, file)| file);
    if let (Some(prefix), false) = (pattern.strip_suffix(".*"), pattern.contains('/')) {
        return file.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
    }
    let (pattern, file): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), file.split('/').collect());
    pattern.len() == file.len() && pattern.iter().zip(&file).all(|(part, name)| *part == "*" || part == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_by_file() {
        let before = parse("set_event:sched:sched_switch\nset_event:irq:softirq_entry\ntracing_on:1\n");
        let after = parse("set_event:irq:softirq_entry\ntracing_on:1\ninstances/a/tracing_on:1\n");
        let found = differences(&before, &after);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].file.as_str(), found[0].after.len()), ("instances/a/tracing_on", 1));
        assert_eq!(found[1].before, ["sched:sched_switch", "irq:softirq_entry"]);
        assert_eq!(differences(&before, &before), []);
    }

    #[test]
    fn patterns_name_files_of_every_instance() {
        for file in ["events/sched/sched_switch/enable", "instances/mine/events/sched/sched_switch/enable"] {
            assert!(is_of("events/*/*/enable", file), "{file}");
            assert!(!is_of("events/*/enable", file), "{file}");
        }
        assert!(is_of("kernel.*", "kernel.kptr_restrict"));
        assert!(!is_of("options/*", "options"));
        let state = parse("tracing_on:1\nsomething_new:1\ninstances/a/options/raw:0\nkernel.x:1\n");
        assert_eq!(unknown(&state), ["something_new"]);
    }
}
