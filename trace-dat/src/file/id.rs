//! Ids of options, which version 7 uses as ids of sections too.

/// The first bytes of every file; version, byte order, size of a long and page size follow.
pub const MAGIC: &[u8] = b"\x17\x08\x44tracing";

/// Options, as a section.
pub const OPTIONS: u16 = 0;
/// The end of a section of options: the offset of the next, or 0.
pub const DONE: u16 = 0;
/// Microseconds to add to all times, as text.
pub const DATE: u16 = 1;
/// Buffer statistics of a CPU, as text.
pub const CPUSTAT: u16 = 2;
/// A buffer: its section, name, clock and the CPUs' data.
pub const BUFFER: u16 = 3;
/// The file `trace_clock`.
pub const TRACECLOCK: u16 = 4;
/// System, host, release and machine.
pub const UNAME: u16 = 5;
/// Pairs of events that belong together.
pub const HOOK: u16 = 6;
/// Units of the clock to add to all times, as text.
pub const OFFSET: u16 = 7;
/// The number of CPUs.
pub const CPUCOUNT: u16 = 8;
/// The program that wrote the file.
pub const VERSION: u16 = 9;
/// The memory map of a process, as text.
pub const PROCMAPS: u16 = 10;
/// A number that identifies the recording.
pub const TRACEID: u16 = 11;
/// How a guest's clock differs from its host's.
pub const TIME_SHIFT: u16 = 12;
/// A guest that was recorded together with this machine.
pub const GUEST: u16 = 13;
/// How cycles are converted to nanoseconds.
pub const TSC2NSEC: u16 = 14;
/// Names of sections; a section without an option.
pub const STRINGS: u16 = 15;
/// `header_page` and `header_event`.
pub const HEADER_INFO: u16 = 16;
/// Formats of ftrace's own events.
pub const FTRACE_FORMATS: u16 = 17;
/// Formats of all other events.
pub const EVENT_FORMATS: u16 = 18;
/// Functions by address.
pub const KALLSYMS: u16 = 19;
/// Formats of `trace_printk`.
pub const PRINTK: u16 = 20;
/// Commands by pid.
pub const CMDLINES: u16 = 21;
/// A buffer of a latency tracer, as text.
pub const BUFFER_TEXT: u16 = 22;
/// Types of the kernel.
pub const BTF: u16 = 23;

/// trace-cmd's name for an option; `None` for an unknown one.
pub fn name(id: u16) -> Option<&'static str> {
    Some(match id {
        DONE => "DONE",
        DATE => "DATE",
        CPUSTAT => "CPUSTAT",
        BUFFER => "BUFFER",
        TRACECLOCK => "TRACECLOCK",
        UNAME => "UNAME",
        HOOK => "HOOK",
        OFFSET => "OFFSET",
        CPUCOUNT => "CPUCOUNT",
        VERSION => "VERSION",
        PROCMAPS => "PROCMAPS",
        TRACEID => "TRACEID",
        TIME_SHIFT => "TIME_SHIFT",
        GUEST => "GUEST",
        TSC2NSEC => "TSC2NSEC",
        HEADER_INFO => "HEADERS",
        FTRACE_FORMATS => "FTRACE EVENTS",
        EVENT_FORMATS => "EVENT FORMATS",
        KALLSYMS => "KALLSYMS",
        PRINTK => "PRINTK",
        CMDLINES => "CMDLINES",
        BUFFER_TEXT => "BUFFER TEXT",
        BTF => "BTF",
        _ => return None,
    })
}
