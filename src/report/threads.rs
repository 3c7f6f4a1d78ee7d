//! Runs the two passes in parallel: one thread makes batches of lines, all threads print them, and the
//! texts are written in the order of the batches.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::line::Batch;
use super::lines::Lines;
use super::plan::Plan;
use super::printer::{MalformedRecord, Printer};
use super::whole::Whole;

/// How many batches may wait for each printing thread. With more, a batch would have left the CPU caches
/// before a thread prints it.
const WAITING: usize = 8;
/// How many batches must wait for each printing thread before it is woken. If it were woken for one, it
/// would soon sleep again; on a shared processor the threads would switch with each batch.
const ENOUGH: usize = 4;

/// Prints all lines with this many threads and returns the first malformed record.
///
/// Fails when the output does.
pub(super) fn print(
    plan: &Plan<'_>,
    lines: &mut Lines<'_>,
    threads: usize,
    out: &mut Whole<impl Write + Send>,
) -> io::Result<Option<MalformedRecord>> {
    let mut printer = Printer::new(plan);
    let mut batch = Batch::default();
    lines.fill(&mut batch);
    // A short recording is printed faster than a thread starts.
    if threads < 2 || !batch.is_full() {
        while !batch.lines.is_empty() {
            printer.print(&batch);
            out.write(&mut printer.out)?;
            lines.fill(&mut batch);
        }
        return Ok(printer.damage);
    }
    let shared = Shared::new(out, threads - 1);
    let mut damage = thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut printer = Printer::new(plan);
                    shared.print_waiting(&mut printer);
                    printer.damage
                })
            })
            .collect();
        shared.print_all(lines, batch, &mut printer);
        // A thread that panicked has printed its message, and the scope passes the panic on.
        let others = others.into_iter().filter_map(|other| other.join().ok().flatten());
        others.chain(printer.damage).collect::<Vec<_>>()
    });
    damage.sort_by_key(|damage| damage.number);
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.failed.map_or(Ok(damage.into_iter().next()), Err)
}

struct Shared<'w, W> {
    state: Mutex<State<'w, W>>,
    /// Signals that enough batches wait, or that no more will come.
    work: Condvar,
    /// Signals that some text was written.
    room: Condvar,
    /// How many other threads print.
    others: usize,
}

struct State<'w, W> {
    /// Batches to be printed, in their order.
    waiting: VecDeque<Batch>,
    /// No batch will be added.
    complete: bool,
    /// Texts to be written, by the number of their batch.
    printed: BTreeMap<u64, Vec<u8>>,
    /// The number of the batch to be written next.
    next: u64,
    /// `None` while a thread writes.
    out: Option<&'w mut Whole<W>>,
    failed: Option<io::Error>,
    /// Empty batches, and empty texts, to be reused.
    batches: Vec<Batch>,
    texts: Vec<Vec<u8>>,
}

impl<'w, W: Write> Shared<'w, W> {
    fn new(out: &'w mut Whole<W>, others: usize) -> Shared<'w, W> {
        let state = State {
            waiting: VecDeque::new(),
            complete: false,
            printed: BTreeMap::new(),
            next: 0,
            out: Some(out),
            failed: None,
            batches: Vec::new(),
            texts: Vec::new(),
        };
        Shared { state: Mutex::new(state), work: Condvar::new(), room: Condvar::new(), others }
    }

    /// Makes all batches after the first. While the other threads keep up, this one does not print, so
    /// the state of the first pass stays in its processor's cache.
    fn print_all(&self, lines: &mut Lines<'_>, first: Batch, printer: &mut Printer<'_>) {
        let _bell = Bell(self);
        let most = self.others * WAITING;
        let mut batch = first;
        while !batch.lines.is_empty() {
            // If the output is slow, wait: otherwise texts would pile up.
            let piles_up =
                |state: &mut State<'_, W>| state.printed.len() > 2 * most && state.failed.is_none();
            let mut state =
                self.room.wait_while(self.lock(), piles_up).unwrap_or_else(PoisonError::into_inner);
            if state.failed.is_some() {
                break;
            }
            state.waiting.push_back(batch);
            let oldest = if state.waiting.len() > most { state.waiting.pop_front() } else { None };
            let enough = state.waiting.len() >= self.others * ENOUGH;
            batch = state.batches.pop().unwrap_or_default();
            drop(state);
            if enough {
                self.work.notify_all();
            }
            if let Some(oldest) = oldest {
                self.print(printer, oldest);
            }
            lines.fill(&mut batch);
        }
        self.lock().complete = true;
        self.work.notify_all();
        self.print_waiting(printer);
    }

    /// Prints batches until the last one is taken.
    fn print_waiting(&self, printer: &mut Printer<'_>) {
        let _bell = Bell(self);
        loop {
            let nothing = |state: &mut State<'_, W>| {
                state.waiting.is_empty() && !state.complete && state.failed.is_none()
            };
            let state = self.work.wait_while(self.lock(), nothing);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            let batch = state.waiting.pop_front().filter(|_| state.failed.is_none());
            drop(state);
            match batch {
                Some(batch) => self.print(printer, batch),
                None => return,
            }
        }
    }

    /// Prints a batch. Then writes all texts whose turn it is, unless another thread is writing.
    fn print(&self, printer: &mut Printer<'_>, batch: Batch) {
        printer.print(&batch);
        let mut state = self.lock();
        let unused = state.texts.pop().unwrap_or_default();
        state.printed.insert(batch.turn, mem::replace(&mut printer.out, unused));
        state.batches.push(batch);
        while state.failed.is_none() {
            let Some(out) = state.out.take() else { return };
            let turn = state.next;
            let Some(mut text) = state.printed.remove(&turn) else {
                state.out = Some(out);
                return;
            };
            drop(state);
            let written = out.write(&mut text);
            state = self.lock();
            state.out = Some(out);
            state.next += 1;
            state.texts.push(text);
            state.failed = written.err();
            self.room.notify_all();
            if state.failed.is_some() {
                self.work.notify_all();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<'w, W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the other threads if its own panics; otherwise they would wait for ever.
struct Bell<'s, 'w, W: Write>(&'s Shared<'w, W>);

impl<W: Write> Drop for Bell<'_, '_, W> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().failed = Some(io::Error::other("a thread has panicked"));
            self.0.work.notify_all();
            self.0.room.notify_all();
        }
    }
}
