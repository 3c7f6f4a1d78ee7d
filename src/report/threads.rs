//! The two passes at the same time: one thread makes batches of lines, all print them, and their
//! text is written in the order of the batches.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::line::Batch;
use super::lines::Lines;
use super::plan::Plan;
use super::printer::{Damage, Printer};
use super::whole::Whole;

/// How many batches may wait for each other thread to print them. With more, what one thread made
/// would have left the caches before another one gets to it.
const WAITING: usize = 8;
/// How many of them wait before the thread is woken. For a single one it would soon sleep again, and
/// where both are on the same processor, they would take turns with each batch.
const ENOUGH: usize = 4;

/// Prints all lines with this many threads and gives the first record that cannot be.
///
/// Fails when the output does.
pub(super) fn print(
    plan: &Plan<'_>,
    lines: &mut Lines<'_>,
    threads: usize,
    out: &mut Whole<impl Write + Send>,
) -> io::Result<Option<Damage>> {
    let mut printer = Printer::new(plan);
    let mut batch = Batch::default();
    lines.fill(&mut batch);
    // Short recordings are printed before a thread has started.
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
    /// There is enough to print, or nothing more will come.
    work: Condvar,
    /// Some text was written.
    room: Condvar,
    /// How many other threads print.
    others: usize,
}

struct State<'w, W> {
    /// Batches to be printed, in their order.
    waiting: VecDeque<Batch>,
    /// No batch will be added.
    complete: bool,
    /// Texts to be written, by their batch's turn.
    printed: BTreeMap<u64, Vec<u8>>,
    /// Whose turn it is.
    next: u64,
    /// `None` while a thread writes.
    out: Option<&'w mut Whole<W>>,
    failed: Option<io::Error>,
    /// To be used again.
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

    /// Makes all batches after the first one. Printing is left to the others while they keep up:
    /// what the first pass knows stays in this processor's cache.
    fn print_all(&self, lines: &mut Lines<'_>, first: Batch, printer: &mut Printer<'_>) {
        let _bell = Bell(self);
        let most = self.others * WAITING;
        let mut batch = first;
        while !batch.lines.is_empty() {
            // Nor may text pile up where the output is slow.
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

    /// Prints a batch, and writes it and what else is due unless somebody is at it.
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

/// Rings when its thread panics, so that the others do not wait for what never comes.
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
