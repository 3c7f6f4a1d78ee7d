//! The first pass, in order of time: chooses the records that become lines, and notes what a line needs
//! to know of neighbouring records. After that, lines can be printed in parallel.

use std::collections::HashMap;

use super::call::Call;
use super::handler::Handler;
use super::line::{Around, Batch, Line};
use super::plan::Plan;
use super::wakeups::Wakeups;
use trace_dat::bytes::until_nul;
use trace_dat::event::Event;
use trace_dat::{Record, Records};

/// How many functions are cached.
const RECENT: usize = 4096;

/// Turns the records of a recording into lines.
pub(super) struct Lines<'r> {
    pub records: Records<'r>,
    pub maker: Maker<'r>,
    turn: u64,
}

/// Makes lines, and keeps the state that they need from earlier records.
pub(super) struct Maker<'r> {
    plan: &'r Plan<'r>,
    /// The time of the last line, as [`Plan::difference_time`] gives it, if differences are shown.
    pub last_time: Option<u64>,
    /// Whether no line has looked up a command yet.
    early: bool,
    /// The call stack of each CPU, for the indentation of functions.
    stacks: Vec<(u32, Stack)>,
    /// The index in `stacks` of the CPU used last.
    last_stack: usize,
    names: Names<'r>,
    /// `None` when latencies are not requested.
    wakeups: Option<Wakeups>,
    /// How many lines were made.
    pub number: u64,
}

impl<'r> Lines<'r> {
    pub fn new(plan: &'r Plan<'r>) -> Lines<'r> {
        let cpus = &plan.config.cpus;
        let wanted = |_: usize, cpu: u32| cpus.is_empty() || cpus.contains(&cpu);
        Lines { records: plan.reader.records_of(wanted), maker: Maker::new(plan), turn: 0 }
    }

    /// Fills a batch with the next lines; it stays empty when none are left.
    pub fn fill(&mut self, batch: &mut Batch) {
        self.begin(batch);
        while !batch.is_full() && self.take(batch, usize::MAX) {}
    }

    /// Takes one record and, if it is to be printed, puts its line alone into the batch; false when no
    /// record is left.
    pub fn fill_one(&mut self, batch: &mut Batch) -> bool {
        self.begin(batch);
        self.take(batch, 1)
    }

    /// The time of the next record, comparable between recordings.
    pub fn next_time(&mut self) -> Option<u64> {
        self.records.peek_time().map(|stamp| self.maker.plan.common_time(stamp))
    }

    fn begin(&mut self, batch: &mut Batch) {
        self.maker.begin(batch);
        batch.turn = self.turn;
        self.turn += 1;
    }

    /// Takes up to `most` records of a run, and the exit of the last one if that is a leaf. Makes lines of
    /// those that are to be printed; false when no record is left.
    fn take(&mut self, batch: &mut Batch, most: usize) -> bool {
        let plan = self.maker.plan;
        let Some(run) = self.records.run() else { return false };
        let mut at = 0;
        // The call at the end of this run: the first record of another run may be its exit.
        let mut open = None;
        while at < most
            && !batch.is_full()
            && let Some(record) = run.get(at)
        {
            at += 1;
            let Some(call) = self.maker.line(&record, batch) else { continue };
            match run.get(at) {
                Some(next) => {
                    if let Some(exit) = leaf(plan, &call, &next) {
                        at += 1;
                        batch.end_call(&exit);
                    }
                }
                None => open = Some(call),
            }
        }
        let (stream, buffer) = (run.stream, run.buffer);
        self.records.take(stream, at);
        if let Some(call) = open
            && let Some(next) = self.records.peek(buffer)
            && let Some(exit) = leaf(plan, &call, &next)
        {
            self.records.skip();
            batch.end_call(&exit);
        }
        true
    }
}

impl<'r> Maker<'r> {
    pub fn new(plan: &'r Plan<'r>) -> Maker<'r> {
        Maker {
            plan,
            last_time: None,
            early: true,
            stacks: Vec::new(),
            last_stack: 0,
            names: Names::new(plan),
            wakeups: plan.config.wakeups.then(Wakeups::default),
            number: 0,
        }
    }

    /// Empties a batch for the next lines.
    pub fn begin(&self, batch: &mut Batch) {
        batch.lines.clear();
        batch.bytes.clear();
        batch.first = self.number;
    }

    /// The summary after the last line.
    pub fn summary(&self) -> String {
        self.wakeups.as_ref().map_or_else(String::new, Wakeups::summary)
    }

    /// Makes a line of a record if it is to be printed; returns the call if the record begins one.
    #[inline(always)]
    pub fn line(&mut self, record: &Record<'_>, batch: &mut Batch) -> Option<Call> {
        let plan = self.plan;
        let (events, order) = (plan.reader.events(), plan.context.order);
        let event = events.of(order, record.data);
        if !plan.wants(record, event, self.number) {
            return None;
        }
        let latency = match (&mut self.wakeups, event) {
            (Some(wakeups), Some(event)) => wakeups.see(plan, event, record),
            _ => None,
        };
        // trace-cmd looks up no command for pid 0.
        self.early = self.early && plan.pid(record) == 0;
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(record.data);
        if plan.shows_what_follows {
            batch.bytes.extend_from_slice(event.map_or(b"", |event| overhang(event, record)));
        }
        let mut around = latency.map_or(Around::Nothing, Around::Latency);
        let mut call = None;
        match plan.handler(event) {
            Handler::Function(fields) if !plan.config.no_indent => {
                around = self.depth(record.cpu, fields.read(order, record.data));
            }
            Handler::GraphEntry(fields) => call = Call::read(fields, plan, record),
            Handler::SchedSwitch => {
                let fields = [["prev_pid", "prev_comm"], ["next_pid", "next_comm"]];
                learn(plan, event, record.data, &fields, (self.number, self.early));
            }
            Handler::SchedWakeup => {
                learn(plan, event, record.data, &[["pid", "comm"]], (self.number, self.early));
            }
            _ => {}
        }
        batch.lines.push(Line {
            time: record.time,
            before: self.last_time,
            missed: record.missed,
            buffer: record.buffer as u32,
            cpu: record.cpu,
            event: event.map(|event| event.index as u32),
            start: start as u32,
            size: (batch.bytes.len() - start) as u32,
            around,
        });
        if plan.config.time_difference {
            self.last_time = Some(plan.difference_time(record.time));
        }
        self.number += 1;
        call
    }

    fn depth(&mut self, cpu: u32, functions: Option<[u64; 2]>) -> Around {
        let Some([function, caller]) = functions else { return Around::Nothing };
        let function = self.names.of(function);
        let caller = self.names.of(caller);
        if self.stacks.get(self.last_stack).is_none_or(|last| last.0 != cpu) {
            let known = self.stacks.iter().position(|stack| stack.0 == cpu);
            self.last_stack = known.unwrap_or_else(|| {
                self.stacks.push((cpu, Stack::default()));
                self.stacks.len() - 1
            });
        }
        let stack = &mut self.stacks[self.last_stack].1;
        Around::Depth(if caller == NAMELESS { 0 } else { stack.depth(caller, function) })
    }
}

/// The record's exit, if it ends this call.
#[inline(always)]
pub(super) fn leaf(plan: &Plan<'_>, call: &Call, next: &Record<'_>) -> Option<Call> {
    let event = plan.reader.events().of(plan.context.order, next.data);
    let Handler::GraphExit(fields) = plan.handler(event) else { return None };
    Call::read(fields, plan, next).filter(|exit| exit.ends(call))
}

/// Remembers the commands of a record. `fields` holds pairs of field names, pid and command; `at` is the
/// line's number, and whether no earlier line has looked up a command.
fn learn(plan: &Plan<'_>, event: Option<&Event>, record: &[u8], fields: &[[&str; 2]], at: (u64, bool)) {
    let order = plan.context.order;
    for [pid, comm] in fields {
        let learned = event.and_then(|event| {
            let pid = event.field(pid)?.number(order, record)?;
            Some((pid as i32, event.field(comm)?.bytes(order, record)?))
        });
        if let Some((pid, comm)) = learned {
            plan.comms.learn(pid, until_nul(comm), at.0, at.1);
        }
    }
}

/// The bytes after a record that ends within its event's last array, up to the declared end of the array.
fn overhang<'a>(event: &Event, record: &Record<'a>) -> &'a [u8] {
    if record.data.len() < event.least_size() {
        return b"";
    }
    let missing = event.declared_size().saturating_sub(record.data.len());
    &record.follows[..missing.min(record.follows.len())]
}

/// Id of a function without a symbol.
const NAMELESS: u32 = 0;

/// Functions by their ids, the callers first; [`NAMELESS`] is an unused slot.
#[derive(Debug, Default)]
struct Stack(Vec<u32>);

impl Stack {
    /// Adds a function below its caller and returns its indentation; an unknown caller begins a new
    /// stack.
    #[inline]
    fn depth(&mut self, caller: u32, function: u32) -> usize {
        let stack = &mut self.0;
        // Ids after an unused slot are left over from a deeper call.
        let found = stack.iter().position(|name| *name == caller || *name == NAMELESS);
        let depth = match found {
            Some(depth) if stack[depth] == caller => depth,
            _ => {
                stack.resize(stack.len().max(1), NAMELESS);
                stack[0] = caller;
                0
            }
        };
        if stack.len() < depth + 2 {
            stack.resize(depth + 2, NAMELESS);
        }
        stack[depth + 1] = function;
        depth
    }
}

/// Ids of functions; functions of the same name share one.
struct Names<'r> {
    plan: &'r Plan<'r>,
    numbers: HashMap<&'r str, u32>,
    /// A cache of recent lookups, indexed by some bits of the address; a search takes much longer.
    recent: Vec<(u64, u32)>,
}

impl<'r> Names<'r> {
    fn new(plan: &'r Plan<'r>) -> Names<'r> {
        Names { plan, numbers: HashMap::new(), recent: Vec::new() }
    }

    #[inline]
    fn of(&mut self, address: u64) -> u32 {
        if self.recent.is_empty() {
            let nothing = self.search(0);
            self.recent.resize(RECENT, (0, nothing));
        }
        let slot = (address ^ address >> 12) as usize % RECENT;
        if self.recent[slot].0 != address {
            self.recent[slot] = (address, self.search(address));
        }
        self.recent[slot].1
    }

    fn search(&mut self, address: u64) -> u32 {
        let Some(symbol) = self.plan.context.symbols.find(address) else { return NAMELESS };
        let next = self.numbers.len() as u32 + 1;
        *self.numbers.entry(symbol.name).or_insert(next)
    }
}
