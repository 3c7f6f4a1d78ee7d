//! Graphs: calls with their durations, an entry and its exit in one line when nothing is between.

use std::io::Write;

use super::{Reporter, Style, line};
use crate::event::Event;
use crate::trace_dat::{Reader, Record};

/// Half of a call: an entry or an exit. Times are in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub buffer: usize,
    cpu: u32,
    pid: i32,
    function: u64,
    depth: u64,
    /// From the call to the return; 0 for an entry.
    duration: u64,
}

impl Call {
    /// Reads a funcgraph_entry or funcgraph_exit; `None` when a field is missing.
    pub fn read(reader: &Reader, event: &Event, record: &Record<'_>) -> Option<Call> {
        let order = reader.context().order;
        let value = |name: &str| event.field(name)?.number(order, record.data);
        Some(Call {
            buffer: record.buffer,
            cpu: record.cpu,
            pid: reader.events().pid(order, record.data),
            function: value("func")?,
            depth: value("depth")?,
            duration: value("rettime").unwrap_or(0).wrapping_sub(value("calltime").unwrap_or(0)),
        })
    }
}

/// Finds the exits that belong to entries.
pub(super) struct Exits {
    event: Option<usize>,
}

impl Exits {
    pub fn find(reader: &Reader) -> Exits {
        let exit = |event: &&Event| event.system == "ftrace" && event.name == "funcgraph_exit";
        Exits { event: reader.events().iter().find(exit).map(|event| event.index) }
    }

    /// The exit of `entry`, if it is the record that follows.
    pub fn exit_of(&self, entry: &Call, reader: &Reader, next: &Record<'_>) -> Option<Call> {
        let event = reader.events().of(reader.context().order, next.data)?;
        if Some(event.index) != self.event {
            return None;
        }
        Call::read(reader, event, next)
            .filter(|exit| (exit.cpu, exit.pid, exit.function) == (entry.cpu, entry.pid, entry.function))
    }
}

impl Reporter<'_> {
    /// Appends the text of an entry, with its exit when that follows at once.
    pub(super) fn graph_entry(&mut self, entry: &Call, exit: Option<Call>) {
        match exit {
            Some(exit) => {
                self.overhead(exit.duration);
                self.duration(exit.duration);
            }
            None => self.out.extend_from_slice(b"             |  "),
        }
        self.depth(entry);
        self.graph_function(entry.function);
        self.out.extend_from_slice(if exit.is_some() { b"();" } else { b"() {" });
        self.depth_note(entry);
    }

    /// Appends the text of an exit that is not part of its entry's line.
    pub(super) fn graph_exit(&mut self, exit: &Call) {
        self.overhead(exit.duration);
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
        line::blanks(call.depth.min(1024) as usize * 2, &mut self.out);
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

    fn overhead(&mut self, duration: u64) {
        let all = self.config.style == Style::Snaptrace;
        self.out.extend_from_slice(match duration {
            u64::MAX => b"  ",
            1_000_000_001.. => b"$ ",
            100_000_001.. if all => b"@ ",
            10_000_001.. if all => b"* ",
            1_000_001.. => b"# ",
            100_001.. => b"! ",
            10_001.. => b"+ ",
            _ => b"  ",
        });
    }

    /// Microseconds with three digits behind the point, or, as the kernel's own text has it, as many
    /// as fit into seven characters.
    fn duration(&mut self, duration: u64) {
        let start = self.out.len();
        line::number(duration / 1000, 0, b' ', &mut self.out);
        let whole = self.out.len() - start;
        if whole < 7 {
            let mut nanoseconds = Vec::with_capacity(3);
            line::number(duration % 1000, 3, b'0', &mut nanoseconds);
            self.out.push(b'.');
            let digits = if self.trace_cmd() { 3 } else { 3.min(7 - whole) };
            self.out.extend_from_slice(&nanoseconds[..digits]);
        }
        let used = self.out.len() - start;
        self.out.extend_from_slice(b" us ");
        line::blanks(7usize.saturating_sub(used), &mut self.out);
        self.out.extend_from_slice(b"|  ");
    }
}
