//! Lines before they are text: their records, and what they need to know of neighbouring records.

use super::call::Call;
use trace_dat::Record;
use trace_dat::ring_buffer::Missed;

/// A batch is full at this many lines.
const LINES: usize = 2048;
/// A batch is full at this many bytes of records; the last record may exceed it.
const BYTES: usize = 1 << 18;

/// A record that is to be printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub time: u64,
    /// The time of the previous line, as [`super::plan::Plan::difference_time`] gives it, if differences
    /// are shown.
    pub before: Option<u64>,
    pub missed: Missed,
    pub buffer: u32,
    pub cpu: u32,
    /// The event's index.
    pub event: Option<u32>,
    /// Where the record begins in [`Batch::bytes`].
    pub start: u32,
    pub size: u32,
    pub around: Around,
}

/// What a line needs to know of neighbouring records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Around {
    Nothing,
    /// How deep a function is below the earlier functions of its CPU.
    Depth(usize),
    /// How long the next process waited for the CPU since it was woken, in nanoseconds.
    Latency(u64),
    /// The next record ends this call: the duration in nanoseconds, and the return value (0 if not
    /// recorded).
    Leaf(u64, u64),
}

/// Lines that follow each other, with their records.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The batch's number.
    pub turn: u64,
    /// The number of the batch's first line.
    pub first: u64,
    pub lines: Vec<Line>,
    pub bytes: Vec<u8>,
}

impl Batch {
    /// Whether the batch has reached its limits.
    pub fn is_full(&self) -> bool {
        self.lines.len() >= LINES || self.bytes.len() >= BYTES
    }

    /// Marks the last line, a call, as a leaf that ends with `exit`.
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
