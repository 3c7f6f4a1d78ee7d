//! The text of a batch while it is printed, and the caches that make printing fast.

use super::config::{Config, Style};
use super::plan::Plan;
use crate::error::Error;
use trace_dat::Record;
use trace_dat::event::{Context, Symbol};

/// How many functions are cached.
const RECENT: usize = 4096;

/// How many line heads are cached.
pub(super) const HEADS: usize = 32;
/// The size of a cached head in bytes; a longer head is not cached. Always all of these bytes are copied:
/// a copy of fixed size is much faster than one of variable size.
pub(super) const HEAD: usize = 80;

/// Prints batches of lines; each thread has its own.
pub(super) struct Printer<'r> {
    pub plan: &'r Plan<'r>,
    pub context: &'r Context,
    pub config: &'r Config,
    /// The text of the batch.
    pub out: Vec<u8>,
    pub damage: Option<MalformedRecord>,
    /// The number of the line being printed.
    pub number: u64,
    /// Cached line heads, indexed by event and CPU.
    pub heads: [Head; HEADS],
    /// A cache of recent lookups, indexed by some bits of the address; a search takes much longer.
    pub recent: Vec<(u64, Option<Symbol<'r>>)>,
}

/// The first malformed record.
pub(super) struct MalformedRecord {
    /// The number of its line.
    pub number: u64,
    pub error: Error,
}

/// The head of an earlier line: everything before the event's text. Most lines differ from it only in the
/// digits of the fraction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// Process, CPU, event, buffer and second.
    pub of: Option<(i32, u32, Option<u32>, usize, u64)>,
    /// The number of its line.
    pub number: u64,
    pub text: [u8; HEAD],
    pub size: usize,
    /// Where the fraction begins in `text`.
    pub fraction: usize,
}

impl Head {
    pub const NONE: Head = Head { of: None, number: 0, text: [0; HEAD], size: 0, fraction: 0 };
}

impl<'r> Printer<'r> {
    pub fn new(plan: &'r Plan<'r>) -> Printer<'r> {
        Printer {
            plan,
            context: plan.context,
            config: plan.config,
            out: Vec::new(),
            damage: None,
            number: 0,
            heads: [Head::NONE; HEADS],
            recent: Vec::new(),
        }
    }

    /// The function that contains an address.
    pub fn symbol(&mut self, address: u64) -> Option<Symbol<'r>> {
        let symbols = &self.context.symbols;
        if self.recent.is_empty() {
            self.recent.resize(RECENT, (0, symbols.find(0)));
        }
        let slot = &mut self.recent[(address ^ address >> 12) as usize % RECENT];
        if slot.0 != address {
            *slot = (address, symbols.find(address));
        }
        slot.1
    }

    pub fn trace_cmd(&self) -> bool {
        self.config.style != Style::Snaptrace
    }

    /// Remembers the first malformed record.
    pub fn note(&mut self, record: &Record<'_>, what: &str) {
        let (name, number) = (self.plan.reader.name(), self.number);
        self.damage.get_or_insert_with(|| {
            let error = Error::new(format!(
                "cannot read {name}: a record of CPU {} at time {}: {what}",
                record.cpu, record.time
            ));
            MalformedRecord {
                number,
                error: error.help("the part of its line that could be read is printed above"),
            }
        });
    }
}
