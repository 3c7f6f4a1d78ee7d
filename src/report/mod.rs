//! The text of a recording, as `trace-cmd report` prints it; pure.

mod binary_print;
mod graph;
mod handlers;
mod line;
mod selection;

use std::collections::HashMap;
use std::io::Write;

use crate::error::{Error, Result};
use crate::event::print::Run;
use crate::event::{Context, Event, Symbol};
use crate::ring_buffer::Missed;
use crate::trace_dat::{Reader, Record};
use handlers::Handler;
use selection::Selection;

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
}

/// Prints the records of a recording.
///
/// Fails when the output does, and before anything is printed when a filter does not fit the
/// recording. Damage does not stop what can still be read from being printed;
/// the error then tells of the first place.
pub fn report(reader: &Reader, config: &Config, out: &mut impl Write) -> Result<()> {
    let selection = Selection::new(reader, config)?;
    let mut reporter = Reporter::new(reader, config);
    reporter.out.extend(format!("cpus={}\n", reader.cpus()).bytes());
    let wanted = |_: usize, cpu: u32| config.cpus.is_empty() || config.cpus.contains(&cpu);
    let mut records = reader.records_of(wanted);
    while let Some(record) = records.next() {
        let event = reader.events().of(reader.context().order, record.data);
        let comm = line::comm(&reporter.comms, reporter.pid(&record));
        if !selection.wants(reader, &record, event, comm) {
            continue;
        }
        reporter.line_head(&record, event);
        let entry = match event {
            Some(event) if reporter.handlers[event.index] == Handler::GraphEntry && !config.raw_fields => {
                graph::Call::read(reader, event, &record)
            }
            _ => None,
        };
        match entry {
            // Its text depends on the record that follows, which takes the place of this one.
            Some(entry) => {
                let next = records.peek(entry.buffer);
                let leaf = next.and_then(|next| reporter.graph.exit_of(&entry, reader, &next));
                reporter.graph_entry(&entry, leaf);
                if leaf.is_some() {
                    records.skip(entry.buffer);
                }
            }
            None => reporter.text(&record, event),
        }
        reporter.line_end();
        if reporter.out.len() > BUFFER {
            out.write_all(&reporter.out).map_err(|cause| Error::output(&cause))?;
            reporter.out.clear();
        }
    }
    out.write_all(&reporter.out).and_then(|()| out.flush()).map_err(|cause| Error::output(&cause))?;
    records.finish()?;
    reporter.damage.map_or(Ok(()), Err)
}

/// Output is written in pieces of about this many bytes.
const BUFFER: usize = 128 << 10;

/// How many functions are kept for looking up.
const RECENT: usize = 4096;

/// What is kept from line to line.
struct Reporter<'r> {
    reader: &'r Reader,
    context: &'r Context,
    config: &'r Config,
    /// How each event is printed, by its index.
    handlers: Vec<Handler>,
    graph: graph::Exits,
    /// Commands by pid; grows by what sched_switch tells.
    comms: HashMap<i32, Vec<u8>>,
    /// Functions on the way down, by CPU, for their indentation.
    stacks: HashMap<u32, Vec<Option<&'r str>>>,
    /// Functions looked up of late, by some bits of the address: a search takes much longer.
    recent: Vec<(u64, Option<Symbol<'r>>)>,
    /// The width of the longest instance's name; 0 when there are no instances.
    name_width: usize,
    last_time: Option<u64>,
    nanoseconds: bool,
    damage: Option<Error>,
    out: Vec<u8>,
}

impl<'r> Reporter<'r> {
    fn new(reader: &'r Reader, config: &'r Config) -> Reporter<'r> {
        let find = if config.kernel_formats { handlers::kernel_format } else { handlers::handler };
        Reporter {
            reader,
            context: reader.context(),
            config,
            handlers: reader.events().iter().map(find).collect(),
            graph: graph::Exits::find(reader),
            comms: reader.cmdlines().clone(),
            stacks: HashMap::new(),
            recent: vec![(0, reader.context().symbols.find(0)); RECENT],
            name_width: reader.buffers().iter().map(|buffer| buffer.name.len()).max().unwrap_or(0),
            last_time: None,
            nanoseconds: reader.is_nanoseconds() && !config.raw_time,
            damage: None,
            out: Vec::with_capacity(BUFFER + 4096),
        }
    }

    /// The function that an address lies in.
    fn symbol(&mut self, address: u64) -> Option<Symbol<'r>> {
        let symbols = &self.context.symbols;
        let slot = &mut self.recent[(address ^ address >> 12) as usize % RECENT];
        if slot.0 != address {
            *slot = (address, symbols.find(address));
        }
        slot.1
    }

    fn trace_cmd(&self) -> bool {
        self.config.style != Style::Snaptrace
    }

    fn pid(&self, record: &Record<'_>) -> i32 {
        self.reader.events().pid(self.context.order, record.data)
    }

    /// Appends everything before an event's text.
    fn line_head(&mut self, record: &Record<'_>, event: Option<&Event>) {
        let pid = self.pid(record);
        let comm = line::comm(&self.comms, pid);
        let out = &mut self.out;
        if self.name_width > 0 {
            let name = &self.reader.buffers()[record.buffer].name;
            let width = self.name_width;
            let _ = if name.is_empty() {
                write!(out, "{:width$}  ", "")
            } else {
                write!(out, "{name:>width$}: ")
            };
        }
        let _ = match record.missed {
            Missed::No => Ok(()),
            Missed::Some => writeln!(out, "CPU:{} [EVENTS DROPPED]", record.cpu),
            Missed::Count(count) => writeln!(out, "CPU:{} [{count} EVENTS DROPPED]", record.cpu),
        };
        let (events, order) = (self.reader.events(), self.context.order);
        if self.config.latency {
            line::right(&comm[..comm.len().min(8)], 8, out);
            line::pid(pid, out);
            let _ = write!(out, " {:3}", record.cpu);
            events.latency(order, record.data, out);
        } else {
            line::right(comm, 16, out);
            line::pid(pid, out);
            line::cpu(record.cpu, out);
            if self.config.style == Style::TraceCmd33 {
                out.push(b' ');
                events.latency(order, record.data, out);
            }
        }
        self.time(record.time);
        let name = event.map_or("(NULL)", |event| &event.name);
        let out = &mut self.out;
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        line::blanks(20usize.saturating_sub(name.len()), out);
    }

    fn time(&mut self, stamp: u64) {
        let config = self.config;
        let time = if config.raw_time { stamp } else { self.reader.shown_time(stamp) };
        let time = time.wrapping_add_signed(config.time_offset);
        let out = &mut self.out;
        // trace-cmd 3.1 puts no blank before what is not in seconds.
        if self.nanoseconds || config.style == Style::Snaptrace {
            out.push(b' ');
        }
        let shown = if !self.nanoseconds {
            line::number(time, 12, b' ', out);
            time
        } else if config.nanoseconds {
            line::seconds(time, 9, self.config.style, out);
            time
        } else {
            let microseconds = time.wrapping_add(500) / 1000;
            line::seconds(microseconds, 6, self.config.style, out);
            microseconds
        };
        out.push(b':');
        if config.time_difference {
            let difference = match self.last_time {
                // trace-cmd shows none where times are not nanoseconds.
                Some(last) if self.nanoseconds || config.style == Style::Snaptrace => {
                    format!("(+{})", shown.wrapping_sub(last) as i64)
                }
                _ => String::new(),
            };
            let _ = write!(out, " {difference:<8}");
            self.last_time = Some(shown);
        }
    }

    /// Ends a line; one newline that an event's text brings along is enough.
    fn line_end(&mut self) {
        if self.out.last() != Some(&b'\n') {
            self.out.push(b'\n');
        }
    }

    /// Appends an event's text.
    fn text(&mut self, record: &Record<'_>, event: Option<&Event>) {
        let Some(event) = event else {
            self.out.extend_from_slice(b"[UNKNOWN EVENT]");
            self.note(record, "no format tells what it is");
            return;
        };
        if record.data.len() < event.least_size() {
            let what = format!(
                "'{}' has {} bytes of at least {}",
                event.name,
                record.data.len(),
                event.least_size()
            );
            self.note(record, &what);
        }
        let handled = !self.config.raw_fields && self.handle(record, event);
        if handled {
            return;
        }
        let run = Run::new(event, record.data, self.context);
        let program = event.print(self.trace_cmd());
        match program {
            _ if self.config.raw_fields => run.fields(program, &mut self.out),
            Some(program) => run.print(program, &mut self.out),
            None => {
                self.out.extend_from_slice(b"[FAILED TO PARSE]");
                run.fields(None, &mut self.out);
            }
        }
        if run.is_short() {
            self.note(record, &format!("'{}' refers to bytes behind its end", event.name));
        }
    }

    /// Remembers the first record that cannot be.
    fn note(&mut self, record: &Record<'_>, what: &str) {
        let name = self.reader.name();
        self.damage.get_or_insert_with(|| {
            Error::new(format!(
                "cannot read {name}: a record of CPU {} at time {}: {what}",
                record.cpu, record.time
            ))
            .help("its line is above as far as it could be read")
        });
    }
}
