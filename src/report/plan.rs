//! Everything that is decided before a recording's records are printed.

use super::comms::Comms;
use super::config::{Config, Style};
use super::handler::{self, Handler};
use super::selection::Selection;
use crate::error::Result;
use trace_dat::event::{Context, Event};
use trace_dat::{Reader, Record};

/// A recording and how it is printed. Only `comms` changes while it is printed.
pub(super) struct Plan<'r> {
    pub reader: &'r Reader,
    pub context: &'r Context,
    pub config: &'r Config,
    /// How each event is printed, by its index.
    handlers: Vec<Handler>,
    /// The letters for process states, by bit, in styles of trace-cmd that take them from the recording.
    pub states: Option<Vec<u8>>,
    /// Whether graphs hold return values.
    pub has_returns: bool,
    selection: Selection,
    /// The recording's own name where several are printed together.
    pub label: Option<String>,
    /// The width of the longest name in front of lines; 0 when there are none.
    pub name_width: usize,
    /// Whether times are shown in seconds.
    pub seconds: bool,
    /// Whether the start of a line depends on more than process, CPU, event, instance and time. Add
    /// here whatever a new column depends on: a start that does not vary is reused for later lines.
    pub varies: bool,
    /// Whether a field is shown in its declared size even if the record is shorter, using the bytes after
    /// the record. trace-cmd does this for the fields of a stack.
    pub shows_what_follows: bool,
    pub comms: Comms<'r>,
}

impl<'r> Plan<'r> {
    /// Fails when a filter does not fit the recording.
    pub fn new(reader: &'r Reader, config: &'r Config) -> Result<Plan<'r>> {
        let handler = |event: &Event| match (config.raw_fields, config.kernel_formats) {
            (true, _) => Handler::None,
            (_, true) => handler::kernel_format(event),
            // trace-cmd before 3.4 does not know this event.
            _ if event.name == "fgraph_retaddr_entry"
                && matches!(config.style, Style::TraceCmd31 | Style::TraceCmd33) =>
            {
                handler::kernel_format(event)
            }
            _ if config.style == Style::Snaptrace => handler::own(event),
            _ => handler::handler(event),
        };
        let handlers: Vec<Handler> = reader.events().iter().map(handler).collect();
        let returns =
            |handler: &Handler| matches!(handler, Handler::GraphExit(fields) if fields.has_returns());
        Ok(Plan {
            reader,
            context: reader.context(),
            config,
            states: config.style.is_later().then(|| handler::states(reader)),
            has_returns: handlers.iter().any(returns),
            handlers,
            selection: Selection::new(reader, config)?,
            label: None,
            name_width: reader.buffers().iter().map(|buffer| buffer.name.len()).max().unwrap_or(0),
            seconds: in_seconds(reader, config),
            varies: config.latency || config.time_difference || config.style.is_later(),
            shows_what_follows: config.raw_fields && config.style != Style::Snaptrace,
            comms: Comms::new(reader.cmdlines(), config.style),
        })
    }

    /// The name in front of lines from a buffer.
    pub fn name(&self, buffer: usize) -> &str {
        match (self.reader.buffers()[buffer].name.as_str(), &self.label) {
            ("", Some(label)) => label,
            (name, _) => name,
        }
    }

    /// A record's time, comparable between recordings.
    pub fn common_time(&self, stamp: u64) -> u64 {
        self.reader.shown_time(stamp).wrapping_add_signed(self.config.time_offset)
    }

    /// How a record's event is printed.
    #[inline]
    pub fn handler(&self, event: Option<&Event>) -> &Handler {
        event.and_then(|event| self.handlers.get(event.index)).unwrap_or(&Handler::None)
    }

    #[inline]
    pub fn pid(&self, record: &Record<'_>) -> i32 {
        self.reader.events().pid(self.context.order, record.data)
    }

    /// The time that is shown for a stamp, in units of its last digit.
    #[inline]
    pub fn shown_time(&self, stamp: u64) -> u64 {
        in_last_digits(time(self.reader, self.config, stamp), self.seconds, self.config)
    }

    /// The time that differences are computed from: the shown time, or, in trace-cmd's styles, the time
    /// as if every clock that a recording names counted nanoseconds.
    pub fn difference_time(&self, stamp: u64) -> u64 {
        if self.config.style == Style::Snaptrace {
            return self.shown_time(stamp);
        }
        let time = time(self.reader, self.config, stamp);
        match self.config.nanoseconds || self.reader.clock().is_none() {
            true => time,
            false => time.wrapping_add(500) / 1000,
        }
    }

    /// Whether a record is printed; it would become line `number`.
    #[inline]
    pub fn wants(&self, record: &Record<'_>, event: Option<&Event>, number: u64) -> bool {
        self.selection.is_everything() || self.selects(record, event, number)
    }

    fn selects(&self, record: &Record<'_>, event: Option<&Event>, number: u64) -> bool {
        let mut comm = Vec::new();
        self.comms.find(self.pid(record), number, &mut comm);
        self.selection.wants(self.reader, record, event, &comm)
    }
}

/// Whether times are shown in seconds. Raw times are shown so only if the recording names no clock.
pub(super) fn in_seconds(reader: &Reader, config: &Config) -> bool {
    let nanoseconds = match config.style {
        Style::Snaptrace => reader.is_nanoseconds(),
        _ => reader.is_nanoseconds_to_trace_cmd(),
    };
    nanoseconds && (!config.raw_time || reader.clock().is_none())
}

fn time(reader: &Reader, config: &Config, stamp: u64) -> u64 {
    let time = if config.raw_time { stamp } else { reader.shown_time(stamp) };
    time.wrapping_add_signed(config.time_offset)
}

/// The time that is shown for a stamp, in units of its last digit.
pub(super) fn shown_time(reader: &Reader, config: &Config, stamp: u64) -> u64 {
    in_last_digits(time(reader, config, stamp), in_seconds(reader, config), config)
}

/// Rounds to microseconds if that is the last digit shown.
fn in_last_digits(time: u64, in_seconds: bool, config: &Config) -> u64 {
    match in_seconds && !config.nanoseconds {
        true => time.wrapping_add(500) / 1000,
        false => time,
    }
}
