//! Lines before they are text: their records, and what has to be known of the records around.

use super::call::Call;
use trace_dat::Record;
use trace_dat::ring_buffer::Missed;

/// A batch has this many lines, or records of this many bytes; the rest of a record is beyond.
const LINES: usize = 2048;
const BYTES: usize = 1 << 18;
/// A record that is to be printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub time: u64,
    /// The time of the line before, in units of differences, where these are shown.
    pub before: Option<u64>,
    pub missed: Missed,
    pub buffer: u32,
    pub cpu: u32,
    /// The event's index.
    pub event: Option<u32>,
    /// Where the record stands in the batch.
    pub start: u32,
    pub size: u32,
    pub around: Around,
}

/// What a line needs to know of other records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Around {
    Nothing,
    /// How deep a function is below those seen on its CPU.
    Depth(usize),
    /// How long a process that goes on now has waited since it was woken, in nanoseconds.
    Latency(u64),
    /// The next record ends this call: after so many nanoseconds, and with this value, if any.
    Leaf(u64, u64),
}

/// Lines that follow each other, with their records.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The place among all batches.
    pub turn: u64,
    /// The number of the first line among all.
    pub first: u64,
    pub lines: Vec<Line>,
    pub bytes: Vec<u8>,
}

impl Batch {
    /// Whether lines may follow that found no place.
    pub fn is_full(&self) -> bool {
        self.lines.len() >= LINES || self.bytes.len() >= BYTES
    }

    /// Ends the call that the last line begins.
    #[inline]
    pub fn end_call(&mut self, exit: &Call) {
        if let Some(line) = self.lines.last_mut() {
            line.around = Around::Leaf(exit.duration, exit.returned);
        }
    }

    /// The record of a line.
    pub fn record(&self, line: &Line) -> Record<'_> {
        let data = self.bytes.get(line.start as usize..).and_then(|rest| rest.get(..line.size as usize));
        let data = data.unwrap_or_default();
        Record {
            buffer: line.buffer as usize,
            cpu: line.cpu,
            time: line.time,
            missed: line.missed,
            data,
            follows: b"",
        }
    }
}
