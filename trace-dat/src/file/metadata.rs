//! The parts of a recording besides its sub-buffers, in the form of the kernel's own files.

/// The events of one system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Its name, as in `sched`.
    pub name: String,
    /// Each event's `format` file.
    pub formats: Vec<Vec<u8>>,
}

/// Everything besides the sub-buffers that is needed to read a recording.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// Whether the recorded machine stores the most significant byte first.
    pub big_endian: bool,
    /// Bytes in a `long` of the kernel, 4 or 8.
    pub long_size: u8,
    /// Bytes in a page of the machine.
    pub page_size: u32,
    /// Bytes in a sub-buffer; the size of each CPU's data is a multiple of it.
    pub sub_buffer_size: u32,
    /// `events/header_page`.
    pub header_page: Vec<u8>,
    /// `events/header_event`.
    pub header_event: Vec<u8>,
    /// The format files under `events/ftrace`.
    pub ftrace_formats: Vec<Vec<u8>>,
    /// The format files of all other events.
    pub systems: Vec<System>,
    /// `/proc/kallsyms`.
    pub kallsyms: Vec<u8>,
    /// `printk_formats`.
    pub printk_formats: Vec<u8>,
    /// `saved_cmdlines`.
    pub cmdlines: Vec<u8>,
    /// The kernel's types (BTF), if functions were recorded with their arguments; version 7 only.
    pub btf: Vec<u8>,
    /// `trace_clock`: all clocks, with the one in use in brackets.
    pub trace_clock: String,
    /// The name of the clock in use.
    pub clock: String,
    /// System, host, release and machine, as in `uname`.
    pub uname: String,
    /// The recording program and its version.
    pub program: String,
    /// A number that identifies the recording.
    pub trace_id: u64,
    /// For each CPU, `CPU: N` and its `stats` file.
    pub cpu_stats: Vec<String>,
    /// The number of CPUs, including those without data.
    pub cpu_count: u32,
    /// The instance's name; empty for the top instance.
    pub instance: String,
    /// Microseconds from the epoch to the clock's zero; a report adds them to the time stamps.
    pub date: Option<i64>,
    /// Further options, besides those made from the fields above: id and content.
    pub more_options: Vec<(u16, Vec<u8>)>,
}
