//! Graphs: calls with their durations, an entry and its exit in one line when nothing is between.

use std::io::Write;

use super::plan::Plan;
use super::printer::Printer;
use super::{Style, columns};
use crate::event::{Event, Field, Place};
use crate::trace_dat::Record;

/// Where the records of a graph have their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallFields {
    function: Place,
    depth: Place,
    /// Call and return; an entry has none.
    times: [Option<Place>; 2],
}

impl CallFields {
    /// `None` when a field is missing.
    pub fn find(event: &Event) -> Option<CallFields> {
        let place = |name: &str| event.field(name).map(Field::place);
        Some(CallFields {
            function: place("func")?,
            depth: place("depth")?,
            times: [place("calltime"), place("rettime")],
        })
    }
}

/// Half of a call: an entry or an exit. Times are in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    cpu: u32,
    pid: i32,
    function: u64,
    depth: u64,
    /// From the call to the return; 0 for an entry.
    pub duration: u64,
}

impl Call {
    /// Reads a funcgraph_entry or funcgraph_exit; `None` when the record ends before.
    #[inline(always)]
    pub fn read(fields: &CallFields, plan: &Plan<'_>, record: &Record<'_>) -> Option<Call> {
        let order = plan.context.order;
        let time =
            |place: Option<Place>| place.and_then(|place| place.number(order, record.data)).unwrap_or(0);
        let [call, end] = fields.times;
        Some(Call {
            cpu: record.cpu,
            pid: plan.pid(record),
            function: fields.function.number(order, record.data)?,
            depth: fields.depth.number(order, record.data)?,
            duration: time(end).wrapping_sub(time(call)),
        })
    }

    /// Whether this exit belongs to an entry. (trace-cmd does not compare the CPU, and loses the
    /// rest of a CPU whose exit it took for that of another's entry.)
    pub fn ends(&self, entry: &Call) -> bool {
        (self.cpu, self.pid, self.function) == (entry.cpu, entry.pid, entry.function)
    }
}

impl Printer<'_> {
    /// Appends the text of an entry, and of its exit when that follows at once, after `leaf`
    /// nanoseconds.
    pub(super) fn graph_entry(&mut self, entry: &Call, leaf: Option<u64>) {
        match leaf {
            Some(duration) => self.duration(duration),
            None => self.out.extend_from_slice(b"             |  "),
        }
        self.depth(entry);
        self.graph_function(entry.function);
        self.out.extend_from_slice(if leaf.is_some() { b"();" } else { b"() {" });
        self.depth_note(entry);
    }

    /// Appends the text of an exit that is not part of its entry's line.
    pub(super) fn graph_exit(&mut self, exit: &Call) {
        self.duration(exit.duration);
        self.depth(exit);
        self.out.push(b'}');
        if self.config.graph_tail {
            self.out.extend_from_slice(b" /* ");
            self.graph_function(exit.function);
            self.out.extend_from_slice(b" */");
        }
        self.depth_note(exit);
    }

    fn depth(&mut self, call: &Call) {
        // No stack of a kernel is deeper; a damaged depth shall not fill the line.
        columns::blanks(call.depth.min(1024) as usize * 2, &mut self.out);
    }

    fn depth_note(&mut self, call: &Call) {
        if self.config.graph_depth {
            let _ = write!(self.out, " ({})", call.depth as i64);
        }
    }

    fn graph_function(&mut self, address: u64) {
        match self.symbol(address) {
            Some(symbol) => self.out.extend_from_slice(symbol.name.as_bytes()),
            None => drop(write!(self.out, "{address:x}")),
        }
    }

    /// Microseconds with three digits behind the point, or, as the kernel's own text has it, as many
    /// as fit into seven characters; a mark before them tells of long calls.
    fn duration(&mut self, duration: u64) {
        if duration >= 1_000_000 {
            return self.long_duration(duration);
        }
        let [first, second] = *self.mark(duration);
        let [hundreds, tens, ones] = columns::THREE_DIGITS[duration as usize / 1000];
        let [a, b, c] = columns::THREE_DIGITS[duration as usize % 1000];
        // Nearly all are as short as this, and each has its place for everything.
        let column = match duration {
            0..10_000 => [first, second, ones, b'.', a, b, c, b' ', b'u', b's', b' ', b' ', b' '],
            10_000..100_000 => [first, second, tens, ones, b'.', a, b, c, b' ', b'u', b's', b' ', b' '],
            _ => [first, second, hundreds, tens, ones, b'.', a, b, c, b' ', b'u', b's', b' '],
        };
        self.out.extend_from_slice(&column);
        self.out.extend_from_slice(b"|  ");
    }

    /// That of a millisecond and more.
    fn long_duration(&mut self, duration: u64) {
        let mut column = [b' '; 40];
        column[..2].copy_from_slice(self.mark(duration));
        let mut at = 2 + columns::write_number(duration / 1000, &mut column[2..]);
        if at < 2 + 7 {
            let count = if self.trace_cmd() { 3 } else { 3.min(2 + 7 - at) };
            column[at] = b'.';
            let digits = &columns::THREE_DIGITS[(duration % 1000) as usize][..count];
            column[at + 1..at + 1 + count].copy_from_slice(digits);
            at += 1 + count;
        }
        column[at + 1..at + 3].copy_from_slice(b"us");
        at = at.max(2 + 7) + 4;
        column[at] = b'|';
        self.out.extend_from_slice(&column[..at + 3]);
    }

    fn mark(&self, duration: u64) -> &'static [u8; 2] {
        let all = self.config.style == Style::Snaptrace;
        match duration {
            u64::MAX => b"  ",
            1_000_000_001.. => b"$ ",
            100_000_001.. if all => b"@ ",
            10_000_001.. if all => b"* ",
            1_000_001.. => b"# ",
            100_001.. => b"! ",
            10_001.. => b"+ ",
            _ => b"  ",
        }
    }
}
