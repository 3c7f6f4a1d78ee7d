//! The text of a recording, as `trace-cmd report` prints it; pure.

pub mod about;
mod binary_print;
mod columns;
mod comms;
mod futex;
mod graph;
mod handlers;
mod lines;
pub mod merged;
mod plan;
mod printer;
mod selection;
mod wakeups;

use std::io::Write;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::error::{Error, Result};
use crate::trace_dat::Reader;
use lines::{Batch, Lines};
use plan::Plan;
use printer::Printer;

/// Whose lines are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// Functions with their parents, as tutorials show them.
    #[default]
    Snaptrace,
    /// The bytes of trace-cmd 3.1.6.
    TraceCmd31,
    /// Those with the latency flags of later versions.
    TraceCmd33,
}

/// What is printed, and how.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Whose lines.
    pub style: Style,
    /// Times with nine digits.
    pub nanoseconds: bool,
    /// The latency flags in place of the CPU's column.
    pub latency: bool,
    /// Fields and their values in place of an event's text.
    pub raw_fields: bool,
    /// The kernel's own print formats in place of this program's text.
    pub kernel_formats: bool,
    /// Times in units of the clock, as they were recorded.
    pub raw_time: bool,
    /// The time since the line before.
    pub time_difference: bool,
    /// Added to each time, in units of the clock.
    pub time_offset: i64,
    /// Functions followed by their parents; [`Style`] decides when it is `None`.
    pub parent: Option<bool>,
    /// Functions not indented below their callers.
    pub no_indent: bool,
    /// Functions with the offset of the address in them.
    pub offset: bool,
    /// The end of a graph's function with its name.
    pub graph_tail: bool,
    /// Graphs with the depth of each function.
    pub graph_depth: bool,
    /// Only these CPUs; all when empty.
    pub cpus: Vec<u32>,
    /// Only records of, or about, these pids; all when empty, and together with `comms`.
    pub pids: Vec<i32>,
    /// The same by the commands that the recording knows; all when empty.
    pub comms: Vec<String>,
    /// Only records that any of these filters fits, see [`crate::event::filter`]; all when empty.
    pub include: Vec<String>,
    /// No records that any of these filters fits.
    pub exclude: Vec<String>,
    /// No records made in a hard interrupt.
    pub hide_hardirq: bool,
    /// No records made in a soft interrupt.
    pub hide_softirq: bool,
    /// How long woken processes waited for a CPU, behind each switch and at the end.
    pub wakeups: bool,
    /// The recording's name in front of its lines, where several are printed.
    pub label: Option<String>,
    /// How many threads print; 0 is as good as 1.
    pub threads: usize,
}

/// Prints the records of a recording.
///
/// Fails when the output does, and before anything is printed when a filter does not fit the
/// recording. Damage does not stop what can still be read from being printed;
/// the error then tells of the first place.
pub fn report(reader: &Reader, config: &Config, mut out: impl Write + Send) -> Result<()> {
    let failed = |cause| Error::output(&cause);
    let plan = Plan::new(reader, config)?;
    writeln!(out, "cpus={}", reader.cpus()).map_err(failed)?;
    if let Some(text) = reader.latency_text() {
        // As the kernel had it: there are no records to print.
        return writeln!(out, "{}", String::from_utf8_lossy(text)).and_then(|()| out.flush()).map_err(failed);
    }
    let lines = Mutex::new(Lines::new(&plan));
    let output = Output { state: Mutex::new(State { out, turn: 0, failed: None }), next: Condvar::new() };
    let mut damage = Vec::new();
    thread::scope(|scope| {
        // Short recordings are printed before a thread has started.
        let mut printer = Printer::new(&plan);
        let more = print(&lines, &output, &mut printer, 1);
        let others = if more { config.threads.saturating_sub(1) } else { 0 };
        let others: Vec<_> = (0..others)
            .map(|_| {
                scope.spawn(|| {
                    let mut printer = Printer::new(&plan);
                    print(&lines, &output, &mut printer, usize::MAX);
                    printer.damage
                })
            })
            .collect();
        if more {
            print(&lines, &output, &mut printer, usize::MAX);
        }
        damage.extend(printer.damage);
        // A thread that panicked has told so itself, and the scope passes that on.
        damage.extend(others.into_iter().filter_map(|other| other.join().ok().flatten()));
    });
    let mut state = output.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let lines = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(cause) = state.failed {
        return Err(failed(cause));
    }
    state.out.write_all(lines.summary().as_bytes()).and_then(|()| state.out.flush()).map_err(failed)?;
    lines.records.finish()?;
    let first = damage.into_iter().min_by_key(|(number, _)| *number);
    first.map_or(Ok(()), |(_, error)| Err(error))
}

/// Prints up to `batches` batches; false when there is nothing left to print.
///
/// Each thread takes the next batch, prints it into memory beside the others, and waits for its
/// turn to write. So the first pass and the writing are never done by two at a time.
fn print<W: Write>(
    lines: &Mutex<Lines<'_>>,
    output: &Output<W>,
    printer: &mut Printer<'_>,
    batches: usize,
) -> bool {
    let _bell = Bell(output);
    let mut batch = Batch::default();
    for _ in 0..batches {
        lock(lines).fill(&mut batch);
        if batch.lines.is_empty() {
            return false;
        }
        printer.print(&batch);
        let written = output.write(batch.turn, &printer.out);
        if !written {
            return false;
        }
    }
    true
}

/// Where batches are written in their order.
struct Output<W> {
    state: Mutex<State<W>>,
    next: Condvar,
}

struct State<W> {
    out: W,
    /// Whose turn it is.
    turn: u64,
    failed: Option<std::io::Error>,
}

impl<W: Write> Output<W> {
    /// Writes the text of a batch once all before it are written; false when writing has failed.
    fn write(&self, turn: u64, text: &[u8]) -> bool {
        let waits = |state: &mut State<W>| state.turn != turn && state.failed.is_none();
        let state = self.next.wait_while(lock(&self.state), waits);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.failed.is_none() {
            state.failed = state.out.write_all(text).err();
            state.turn += 1;
        }
        self.next.notify_all();
        state.failed.is_none()
    }
}

/// Rings when its thread panics, so that the others do not wait for a turn that never ends.
struct Bell<'o, W>(&'o Output<W>);

impl<W> Drop for Bell<'_, W> {
    fn drop(&mut self) {
        if thread::panicking() {
            lock(&self.0.state).failed = Some(std::io::Error::other("a thread has panicked"));
            self.0.next.notify_all();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
