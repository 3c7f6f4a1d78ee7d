//! What is known of a recording before its records are printed.

use super::comms::Comms;
use super::handlers::{self, Handler};
use super::selection::Selection;
use super::{Config, Style};
use crate::error::Result;
use crate::event::{Context, Event};
use crate::trace_dat::{Reader, Record};

/// A recording and how it is printed. Everything but `comms` stays as it is.
pub(super) struct Plan<'r> {
    pub reader: &'r Reader,
    pub context: &'r Context,
    pub config: &'r Config,
    /// How each event is printed, by its index.
    handlers: Vec<Handler>,
    selection: Selection,
    /// The width of the longest instance's name; 0 when there are no instances.
    pub name_width: usize,
    /// Whether times are shown in seconds.
    pub seconds: bool,
    /// Whether a line's start has more that varies than process, CPU, event, instance and time.
    pub varies: bool,
    /// Whether fields are shown in their declared size even where a record ends before, with the
    /// bytes that follow it: trace-cmd's way with the fields of a stack.
    pub shows_what_follows: bool,
    pub comms: Comms<'r>,
}

impl<'r> Plan<'r> {
    /// Fails when a filter does not fit the recording.
    pub fn new(reader: &'r Reader, config: &'r Config) -> Result<Plan<'r>> {
        let handler = |event: &Event| match (config.raw_fields, config.kernel_formats) {
            (true, _) => Handler::None,
            (_, true) => handlers::kernel_format(event),
            _ => handlers::handler(event),
        };
        Ok(Plan {
            reader,
            context: reader.context(),
            config,
            handlers: reader.events().iter().map(handler).collect(),
            selection: Selection::new(reader, config)?,
            name_width: reader.buffers().iter().map(|buffer| buffer.name.len()).max().unwrap_or(0),
            seconds: in_seconds(reader, config),
            varies: config.latency || config.time_difference || config.style == Style::TraceCmd33,
            shows_what_follows: config.raw_fields && config.style != Style::Snaptrace,
            comms: Comms::new(reader, config.style),
        })
    }

    /// How a record's event is printed.
    #[inline]
    pub fn handler(&self, event: Option<&Event>) -> Handler {
        event.and_then(|event| self.handlers.get(event.index)).copied().unwrap_or(Handler::None)
    }

    #[inline]
    pub fn pid(&self, record: &Record<'_>) -> i32 {
        self.reader.events().pid(self.context.order, record.data)
    }

    /// The time of a stamp in units of the clock.
    pub fn time(&self, stamp: u64) -> u64 {
        time(self.reader, self.config, stamp)
    }

    /// The time that is shown for a stamp, in units of its last digit.
    pub fn shown_time(&self, stamp: u64) -> u64 {
        shown_time(self.reader, self.config, stamp)
    }

    /// Whether the record of what would be line `number` is printed.
    #[inline]
    pub fn wants(&self, record: &Record<'_>, event: Option<&Event>, number: u64) -> bool {
        if self.selection.is_everything() {
            return true;
        }
        let mut comm = Vec::new();
        self.comms.find(self.pid(record), number, &mut comm);
        self.selection.wants(self.reader, record, event, &comm)
    }
}

/// Whether times are shown in seconds.
pub(super) fn in_seconds(reader: &Reader, config: &Config) -> bool {
    reader.is_nanoseconds() && !config.raw_time
}

fn time(reader: &Reader, config: &Config, stamp: u64) -> u64 {
    let time = if config.raw_time { stamp } else { reader.shown_time(stamp) };
    time.wrapping_add_signed(config.time_offset)
}

/// The time that is shown for a stamp, in units of its last digit: microseconds are rounded.
pub(super) fn shown_time(reader: &Reader, config: &Config, stamp: u64) -> u64 {
    let time = time(reader, config, stamp);
    match in_seconds(reader, config) && !config.nanoseconds {
        true => time.wrapping_add(500) / 1000,
        false => time,
    }
}
