//! The tested command lines, and the changes that each may leave; pure.

use super::ends::End;

/// The destination of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nowhere.
    None,
    /// To a file.
    File,
    /// To standard output.
    Shown,
}

/// A control file that may differ afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedChange {
    /// Its path in the top instance, `*` for one name.
    pub file: &'static str,
    /// Text that some line of the file must contain; `""` for a file without lines, `None` for any contents.
    /// If several files match, this applies to each.
    pub holds: Option<&'static str>,
}

/// A tested command line.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Its name in the table.
    pub name: &'static str,
    /// The arguments of snaptrace.
    pub snaptrace: &'static [&'static str],
    /// The arguments of trace-cmd, if it has such a command.
    pub trace_cmd: Option<&'static [&'static str]>,
    /// Additional arguments that are a mistake.
    pub mistake: &'static [&'static str],
    /// The destination of the trace.
    pub output: Output,
    /// Whether it runs a command.
    pub runs_command: bool,
    /// The ways in which it ends.
    pub ends: &'static [End],
    /// The changes that it is meant to leave; none for commands that restore.
    pub changes: &'static [AllowedChange],
    /// The changes that remain if the kernel refuses a value half-way.
    pub changes_refused: &'static [AllowedChange],
}

impl Form {
    /// Whether it ends too quickly to be interrupted.
    pub fn ends_on_its_own(&self) -> bool {
        !self.ends.contains(&End::Kill)
    }
}

const MISTAKE: &[&str] = &["-e", "nosuch:event"];
const NO_INSTANCE: &[&str] = &["-B", "nosuch"];

/// Ends of commands that trace and restore.
const ENDS: &[End] = &End::ALL;
/// Ends of commands that are quick or leave a change.
const SHORT: &[End] = &[End::Success, End::OwnError];
const LEAVING: &[End] =
    &[End::Success, End::OwnError, End::Refused, End::CommandFails, End::NoCommand, End::Term, End::Kill];
const SETTING: &[End] = &[End::Success, End::OwnError, End::Refused];

const fn any(file: &'static str) -> AllowedChange {
    AllowedChange { file, holds: None }
}

const fn is(file: &'static str, holds: &'static str) -> AllowedChange {
    AllowedChange { file, holds: Some(holds) }
}

/// A command that records to a file and restores.
const fn recording(name: &'static str, snaptrace: &'static [&'static str]) -> Form {
    Form {
        name,
        snaptrace,
        trace_cmd: Some(snaptrace),
        mistake: MISTAKE,
        output: Output::File,
        runs_command: true,
        ends: ENDS,
        changes: &[],
        changes_refused: &[],
    }
}

/// A command that is quick.
const fn short(
    name: &'static str,
    snaptrace: &'static [&'static str],
    changes: &'static [AllowedChange],
) -> Form {
    Form {
        mistake: NO_INSTANCE,
        output: Output::None,
        runs_command: false,
        ends: SHORT,
        changes,
        ..recording(name, snaptrace)
    }
}

/// All command lines, in the order of the table.
pub static FORMS: [Form; 22] = [
    recording("record-function", &["record", "-p", "function", "-l", "__kmalloc*"]),
    Form {
        trace_cmd: Some(&["record", "-C", "global", "-p", "function", "-l", "__kmalloc*"]),
        ..recording("record-top", &["record", "--top", "-C", "global", "-p", "function", "-l", "__kmalloc*"])
    },
    recording(
        "record-graph",
        &["record", "-p", "function_graph", "-g", "vfs_read", "--max-graph-depth", "3"],
    ),
    recording("record-stack", &["record", "-p", "function", "-l", "__kmalloc*", "--func-stack"]),
    recording(
        "record-events",
        &[
            "record",
            "--date",
            "-e",
            "sched:sched_switch",
            "-f",
            "prev_pid > 0",
            "-R",
            "stacktrace",
            "-e",
            "kmem",
        ],
    ),
    recording("record-instance", &["record", "-B", "mine", "-p", "function", "-l", "kfree", "-e", "sched"]),
    recording(
        "record-options",
        &["record", "-p", "function", "-l", "__kmalloc*", "-O", "sym-addr", "-T", "-e", "sched", "-F", "-c"],
    ),
    Form {
        output: Output::Shown,
        trace_cmd: Some(&["stream", "-p", "function_graph", "-g", "vfs_read"]),
        ..recording("trace", &["trace", "-p", "function_graph", "-g", "vfs_read"])
    },
    Form {
        output: Output::Shown,
        ..recording(
            "stream",
            &["stream", "-p", "function", "-l", "__kmalloc*", "-e", "kmem:kfree", "-F", "-c"],
        )
    },
    Form {
        output: Output::File,
        ends: &[End::Success, End::OwnError, End::TermEarly, End::KillEarly, End::FullDisk],
        ..short("extract", &["extract"], &[])
    },
    short("snapshot-take", &["snapshot", "-s"], &[is("snapshot", "allocated")]),
    short("snapshot-free", &["snapshot", "-f"], &[]),
    Form {
        mistake: MISTAKE,
        runs_command: true,
        ends: LEAVING,
        changes_refused: &[is("tracing_on", "0"), is("current_tracer", "nop"), any("trace_options")],
        ..short(
            "start",
            &["start", "-p", "function", "-l", "kfree", "-e", "sched:sched_waking", "-O", "sym-addr"],
            &[
                is("current_tracer", "function"),
                is("set_ftrace_filter", "kfree"),
                is("set_event", "sched:sched_waking"),
                any("events/*/*/enable"),
                any("events/*/enable"),
                any("events/enable"),
                is("options/sym-addr", "1"),
                is("trace_options", "sym-addr"),
            ],
        )
    },
    Form {
        mistake: &["-l", "nosuchfunction"],
        ends: SETTING,
        ..short(
            "set",
            &["set", "-e", "sched:sched_waking", "-O", "sym-addr", "--max-graph-depth", "4"],
            &[
                is("set_event", "sched:sched_waking"),
                any("events/*/*/enable"),
                any("events/*/enable"),
                any("events/enable"),
                is("options/sym-addr", "1"),
                is("trace_options", "sym-addr"),
                is("max_graph_depth", "4"),
            ],
        )
    },
    short("stop", &["stop"], &[is("tracing_on", "0")]),
    short("restart", &["restart"], &[]),
    short("clear", &["clear"], &[]),
    short("show", &["show"], &[]),
    Form { ends: &[End::Success], ..short("stat", &["stat"], &[]) },
    Form {
        trace_cmd: None,
        mistake: &["nosuchfunction"],
        ..short("filter-add", &["filter", "--add", "vfs_open"], &[is("set_ftrace_filter", "vfs_open")])
    },
    Form {
        trace_cmd: None,
        ends: &[End::Success],
        ..short(
            "filter-clear",
            &["filter", "--clear"],
            &[is("set_ftrace_filter", "#### all functions enabled")],
        )
    },
    short(
        "reset",
        &["reset"],
        &[
            is("current_tracer", "nop"),
            is("trace_clock", "[local]"),
            is("set_event", ""),
            is("set_event_pid", ""),
            is("set_ftrace_pid", "no pid"),
            is("set_ftrace_filter", "#### all functions enabled ####"),
            is("set_ftrace_notrace", "#### no functions disabled ####"),
            is("set_graph_function", "#### all functions enabled ####"),
            is("set_graph_notrace", "#### no functions disabled ####"),
            is("max_graph_depth", "0"),
            is("tracing_on", "1"),
            is("events/*/*/enable", "0"),
            is("events/*/*/filter", "none"),
            any("events/*/*/trigger"),
            any("events/*/enable"),
            any("events/enable"),
            any("options/*"),
            any("trace_options"),
        ],
    ),
];
