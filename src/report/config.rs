//! What is printed of a recording, and how.

/// The form of the lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// Our own: functions with their parents, as tutorials show them.
    #[default]
    Snaptrace,
    /// The bytes of trace-cmd 3.1.6.
    TraceCmd31,
    /// The bytes of trace-cmd 3.3: latency flags, the kernel's letters for states, return values.
    TraceCmd33,
    /// The bytes of trace-cmd 3.4: also the arguments of functions, and their return addresses.
    TraceCmd34,
}

impl Style {
    /// Whether these are the lines of trace-cmd 3.3 or later.
    pub(crate) fn is_later(self) -> bool {
        matches!(self, Style::TraceCmd33 | Style::TraceCmd34)
    }
}

/// How the return values of a graph are printed, where they were recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Returns {
    /// Error codes as decimal numbers, all others as hexadecimal ones.
    #[default]
    ByValue,
    /// As decimal numbers.
    Decimal,
    /// As hexadecimal numbers.
    Hexadecimal,
    /// Not at all.
    Skip,
}

/// What is printed, and how.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The form of the lines.
    pub style: Style,
    /// Times with nine digits.
    pub nanoseconds: bool,
    /// The latency flags instead of the CPU's column.
    pub latency: bool,
    /// Print an event's fields and values instead of its text.
    pub raw_fields: bool,
    /// Use the kernel's own print formats instead of this program's text.
    pub kernel_formats: bool,
    /// Times in units of the clock, as they were recorded.
    pub raw_time: bool,
    /// Show the time since the previous line.
    pub time_difference: bool,
    /// Added to each time, in units of the clock.
    pub time_offset: i64,
    /// Functions followed by their parents; [`Style`] decides when it is `None`.
    pub parent: Option<bool>,
    /// Functions not indented below their callers.
    pub no_indent: bool,
    /// Functions with the offset of the address in them.
    pub offset: bool,
    /// Print the function's name at its end in a graph.
    pub graph_tail: bool,
    /// Graphs with the depth of each function.
    pub graph_depth: bool,
    /// Return values in graphs.
    pub returns: Returns,
    /// Only these CPUs; all when empty.
    pub cpus: Vec<u32>,
    /// Only records of, or about, these pids and the processes of `comms`; all when both are empty.
    pub pids: Vec<i32>,
    /// Only records of, or about, processes with these commands, as stored in the recording.
    pub comms: Vec<String>,
    /// Only records that match one of these filters, see [`trace_dat::filter`]; all when empty.
    pub include: Vec<String>,
    /// No records that match one of these filters.
    pub exclude: Vec<String>,
    /// No records made in a hard interrupt.
    pub hide_hardirq: bool,
    /// No records made in a soft interrupt.
    pub hide_softirq: bool,
    /// Show how long woken processes waited for a CPU: after each switch, and in a summary at the end.
    pub wakeups: bool,
    /// The recording's name in front of its lines, where several are printed.
    pub label: Option<String>,
    /// How many threads print; 0 means 1.
    pub threads: usize,
}
