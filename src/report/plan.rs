//! What is known of a recording before its records are printed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::handlers::{self, Handler};
use super::selection::Selection;
use super::{Config, Style};
use crate::error::Result;
use crate::event::{Context, Event};
use crate::trace_dat::{Reader, Record};

/// A recording and how it is printed. Everything but `learned` stays as it is.
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
    /// Commands that records told, with the number of the line that did: lines before do not know.
    learned: RwLock<HashMap<i32, (u64, Vec<u8>)>>,
    /// The number of the last line that told one.
    last_told: AtomicU64,
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
            learned: RwLock::default(),
            last_told: AtomicU64::new(0),
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
        self.comm(self.pid(record), number, &mut comm);
        self.selection.wants(self.reader, record, event, &comm)
    }

    /// Remembers what line `number` tells of a process whose command is not known yet.
    pub fn learn(&self, pid: i32, comm: &[u8], number: u64) {
        if self.reader.cmdlines().contains_key(&pid) {
            return;
        }
        let mut learned = self.learned.write().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Vacant(place) = learned.entry(pid) {
            place.insert((number, comm.to_vec()));
            self.last_told.store(number, Ordering::Relaxed);
        }
    }

    /// Whether all commands are as they were at line `number`.
    pub fn knows_no_more(&self, number: u64) -> bool {
        self.last_told.load(Ordering::Relaxed) < number
    }

    /// Appends a process's command as far as it is known at line `number`.
    pub fn comm(&self, pid: i32, number: u64, out: &mut Vec<u8>) {
        if pid == 0 {
            out.extend_from_slice(b"<idle>");
        } else if let Some(comm) = self.reader.cmdlines().get(&pid) {
            out.extend_from_slice(comm);
        } else {
            let learned = self.learned.read().unwrap_or_else(PoisonError::into_inner);
            match learned.get(&pid).filter(|(since, _)| *since < number) {
                Some((_, comm)) => out.extend_from_slice(comm),
                None => out.extend_from_slice(b"<...>"),
            }
        }
    }
}

/// Whether times are shown in seconds.
pub(super) fn in_seconds(reader: &Reader, config: &Config) -> bool {
    reader.is_nanoseconds() && !config.raw_time
}

/// The time that is shown for a stamp, in units of its last digit: microseconds are rounded.
pub(super) fn shown_time(reader: &Reader, config: &Config, stamp: u64) -> u64 {
    let time = if config.raw_time { stamp } else { reader.shown_time(stamp) };
    let time = time.wrapping_add_signed(config.time_offset);
    match in_seconds(reader, config) && !config.nanoseconds {
        true => time.wrapping_add(500) / 1000,
        false => time,
    }
}
