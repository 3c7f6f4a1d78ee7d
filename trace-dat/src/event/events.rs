//! The events of a recording, by id, and the fields that all of them have; pure.

use super::field::{Field, Place};
use super::format::Event;
use crate::bytes::ByteOrder;
use crate::error::Result;

/// Bits of a record's flags: the context in which it was made.
pub mod irq {
    /// In a hard interrupt.
    pub const HARD: u64 = 8;
    /// In a soft interrupt.
    pub const SOFT: u64 = 16;
}

/// The events of a recording by their id.
#[derive(Debug, Default)]
pub struct Events {
    events: Vec<Event>,
    /// By id: the event's index plus one; 0 if there is none.
    by_id: Vec<u32>,
    common: Common,
}

/// The places of the fields that all events have.
#[derive(Debug, Default, Clone, Copy)]
struct Common {
    kind: Option<Place>,
    flags: Option<Place>,
    preempt_count: Option<Place>,
    pid: Option<Place>,
    migrate_disable: Option<Place>,
    lock_depth: Option<Place>,
}

impl Events {
    /// Adds the event of one format file of a system (`sched`, `ftrace`, …).
    ///
    /// `long_size` is that of the recorded kernel. Fails when the text has no readable name, id or field
    /// line. An unusual print format is not a failure, see [`Event::print`]. If two events have the same
    /// id, the first is used.
    pub fn add(&mut self, system: &str, text: &str, long_size: usize) -> Result<()> {
        let mut event = Event::parse(system, text, long_size)?;
        event.index = self.events.len();
        if self.events.is_empty() {
            let place = |name: &str| event.field(name).map(Field::place);
            self.common = Common {
                kind: place("common_type"),
                flags: place("common_flags"),
                preempt_count: place("common_preempt_count"),
                pid: place("common_pid"),
                migrate_disable: place("common_migrate_disable"),
                lock_depth: place("common_lock_depth"),
            };
        }
        let id = usize::from(event.id);
        self.by_id.resize(self.by_id.len().max(id + 1), 0);
        self.events.push(event);
        if self.by_id[id] == 0 {
            self.by_id[id] = self.events.len() as u32;
        }
        Ok(())
    }

    /// The event of a record; `None` when the recording has no format for it.
    #[inline]
    pub fn of(&self, order: ByteOrder, record: &[u8]) -> Option<&Event> {
        // The id is within the first eight bytes.
        let id = self.common.kind?.number_at_start(order, record)?;
        let place = *self.by_id.get(usize::try_from(id).ok()?)?;
        self.events.get((place as usize).checked_sub(1)?)
    }

    /// All events in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    /// The event with an index, see [`Event::index`].
    #[inline]
    pub fn get(&self, index: usize) -> Option<&Event> {
        self.events.get(index)
    }

    /// The pid of a record; 0 when the record is too short.
    #[inline]
    pub fn pid(&self, order: ByteOrder, record: &[u8]) -> i32 {
        read(self.common.pid, order, record).map_or(0, |pid| pid as i32)
    }

    /// The flags of a record, see [`irq`]; 0 when the record is too short.
    #[inline]
    pub fn flags(&self, order: ByteOrder, record: &[u8]) -> u64 {
        read(self.common.flags, order, record).unwrap_or(0)
    }

    /// Appends the latency flags of a record as the kernel's `trace` shows them, such as `d.h1.`:
    /// irqs off, need-resched, hard or soft irq, preempt depth (two digits), and, if the kernel has these
    /// fields, migrate-disable and lock depth.
    pub fn latency(&self, order: ByteOrder, record: &[u8], out: &mut Vec<u8>) {
        let flags = self.flags(order, record);
        let count = read(self.common.preempt_count, order, record).unwrap_or(0);
        let bit = |bit: u64| flags & bit != 0;
        let digit = |value: u64| if value == 0 { b'.' } else { b"0123456789abcdef"[value as usize & 15] };
        out.extend([
            match (bit(1), bit(2)) {
                (true, _) => b'd',
                (false, true) => b'X',
                _ => b'.',
            },
            if bit(4) { b'N' } else { b'.' },
            match (bit(irq::HARD), bit(irq::SOFT)) {
                (true, true) => b'H',
                (true, false) => b'h',
                (false, true) => b's',
                _ => b'.',
            },
            digit(count & 15),
            digit(count >> 4 & 15),
        ]);
        for place in [self.common.migrate_disable, self.common.lock_depth] {
            let Some(place) = place else { continue };
            // Sign extension: -1 means "not held".
            let value = place.number(order, record).unwrap_or(0);
            let unused = 64 - 8 * place.size().clamp(1, 8) as u32;
            match ((value << unused) as i64) >> unused {
                value if value < 0 => out.push(b'.'),
                value => out.extend(value.to_string().bytes()),
            }
        }
    }
}

#[inline]
fn read(place: Option<Place>, order: ByteOrder, record: &[u8]) -> Option<u64> {
    place?.number(order, record)
}
