//! A recording whose records come in passes, as `stream` reads them: the lines are those of
//! [`super::report`], wherever a pass ends. What a line depends on (depths, commands, the line
//! before) lives on from pass to pass, and a pass costs what is new in it.

use std::collections::VecDeque;
use std::io::Write;

use super::config::Config;
use super::handler::Handler;
use super::line::Batch;
use super::lines::{Maker, leaf};
use super::plan::Plan;
use super::printer::Printer;
use crate::error::{Error, Result};
use trace_dat::ring_buffer::{Missed, Walk};
use trace_dat::texts::cmdlines;
use trace_dat::{ErrorKind, Reader, Record};

/// A line is held for this many passes while what decides it has not come.
const HELD: u64 = 2;

/// A recording and how its lines are printed; made once.
pub struct Prepared<'r>(Plan<'r>);

impl<'r> Prepared<'r> {
    /// What is known of the recording; records that it has itself are left alone.
    ///
    /// Fails when a filter does not fit it.
    pub fn new(reader: &'r Reader, config: &'r Config) -> Result<Prepared<'r>> {
        Plan::new(reader, config).map(Prepared)
    }
}

/// What a pass read of one CPU.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Index of its buffer in [`Reader::buffers`].
    pub buffer: usize,
    /// The CPU's number.
    pub cpu: u32,
    /// Whole sub-buffers; none when nothing was recorded.
    pub data: &'a [u8],
    /// Whether nothing was left to read.
    pub whole: bool,
}

/// Prints records as they come.
///
/// A record is printed once every CPU was read up to its time: the CPUs are read one after the other,
/// so what one of the later ones has may be younger than what comes of the first in the next pass. A
/// call is printed once the record after it tells whether it is a leaf. Neither takes longer than two
/// passes: then the line is printed as far as it is known, the call as one that goes on.
pub struct Passes<'p> {
    plan: &'p Plan<'p>,
    maker: Maker<'p>,
    printer: Printer<'p>,
    batch: Batch,
    /// By buffer and CPU.
    streams: Vec<Stream>,
    /// The number of the pass; one that left something to read counts as one with the next.
    pass: u64,
    /// The time of the youngest record.
    youngest: u64,
    /// The time up to which every CPU was read.
    complete: u64,
    /// The kernel's commands as they were last told.
    commands: Vec<u8>,
    begun: bool,
    damage: Option<Error>,
}

/// The records of one CPU of one buffer that are not printed yet.
#[derive(Debug)]
struct Stream {
    buffer: usize,
    cpu: u32,
    page_size: usize,
    /// Sub-buffers, from the one of the first record on.
    bytes: Vec<u8>,
    found: VecDeque<Found>,
    /// The time of the last record.
    youngest: u64,
    /// Damage ends a CPU.
    ended: bool,
}

#[derive(Debug, Clone, Copy)]
struct Found {
    time: u64,
    missed: Missed,
    /// Where its event stands in the stream's bytes.
    start: usize,
    size: usize,
    /// The pass in which it came.
    pass: u64,
}

impl<'p> Passes<'p> {
    /// Nothing has come yet.
    pub fn new(prepared: &'p Prepared<'_>) -> Passes<'p> {
        let plan = &prepared.0;
        Passes {
            plan,
            maker: Maker::new(plan),
            printer: Printer::new(plan),
            batch: Batch::default(),
            streams: Vec::new(),
            pass: 0,
            youngest: 0,
            complete: 0,
            commands: Vec::new(),
            begun: false,
            damage: None,
        }
    }

    /// Takes in the kernel's `saved_cmdlines`, which later lines go by.
    pub fn learn(&mut self, saved_cmdlines: Vec<u8>) {
        if self.commands != saved_cmdlines {
            self.plan.comms.update(cmdlines(&saved_cmdlines), self.maker.number);
            self.commands = saved_cmdlines;
        }
    }

    /// Whether there are records that are not printed yet.
    pub fn holds_any(&self) -> bool {
        self.streams.iter().any(|stream| !stream.found.is_empty())
    }

    /// Takes what was read of every CPU, in the order in which they were, and prints what is decided.
    ///
    /// Fails when the output does. Damage ends its CPU, and is told by [`Passes::finish`].
    pub fn pass(&mut self, parts: &[Part<'_>], out: &mut (impl Write + ?Sized)) -> Result<()> {
        let wanted = &self.plan.config.cpus;
        let mut complete = u64::MAX;
        for part in parts.iter().filter(|part| wanted.is_empty() || wanted.contains(&part.cpu)) {
            let (reader, pass) = (self.plan.reader, self.pass);
            let stream = self.stream(part);
            let outcome = stream.add(reader, part.data, pass);
            let own = stream.youngest;
            self.youngest = self.youngest.max(own);
            // All that the CPUs before had is older than what was not there yet to be read of this one.
            complete = complete.min(if part.whole { self.youngest } else { own });
            if let Err(error) = outcome {
                self.note(part.cpu, error);
            }
        }
        self.complete = self.complete.max(complete);
        self.print(false, out)?;
        self.pass += u64::from(parts.iter().all(|part| part.whole));
        Ok(())
    }

    /// Prints what was held, and what is told behind the last line.
    ///
    /// Fails when the output does, and with the first damage.
    pub fn finish(&mut self, out: &mut (impl Write + ?Sized)) -> Result<()> {
        self.print(true, out)?;
        out.write_all(self.maker.summary().as_bytes())
            .and_then(|()| out.flush())
            .map_err(|cause| Error::output(&cause))?;
        let of_lines = self.printer.damage.take().map(|damage| damage.error);
        self.damage.take().or(of_lines).map_or(Ok(()), Err)
    }

    fn stream(&mut self, part: &Part<'_>) -> &mut Stream {
        let place = |stream: &Stream| (stream.buffer, stream.cpu).cmp(&(part.buffer, part.cpu));
        let index = self.streams.binary_search_by(place).unwrap_or_else(|index| {
            let page_size = self.plan.reader.buffers()[part.buffer].page_size;
            self.streams.insert(index, Stream::new(part.buffer, part.cpu, page_size));
            index
        });
        &mut self.streams[index]
    }

    /// Prints all lines that are decided, or, at the end, all that there are.
    fn print(&mut self, last: bool, out: &mut (impl Write + ?Sized)) -> Result<()> {
        let failed = |cause| Error::output(&cause);
        // With the first records: before them it could stand anywhere in what the command says itself.
        if !self.begun && (last || self.holds_any()) {
            self.begun = true;
            writeln!(out, "cpus={}", self.plan.reader.cpus()).map_err(failed)?;
        }
        // The stream that is first, and is so for as long as it is before this time.
        let mut run = (0, 0);
        let mut more = true;
        while more {
            self.maker.begin(&mut self.batch);
            while more && !self.batch.is_full() {
                more = self.line(&mut run, last);
            }
            self.printer.print(&self.batch);
            out.write_all(&self.printer.out).map_err(failed)?;
        }
        out.flush().map_err(failed)
    }

    /// Makes a line of the next record, if one is to be made; false when none is decided.
    fn line(&mut self, run: &mut (usize, u64), last: bool) -> bool {
        let in_run = |stream: &Stream| stream.time(0).is_some_and(|time| time < run.1);
        if !self.streams.get(run.0).is_some_and(in_run) {
            let Some(first) = self.first() else { return false };
            *run = first;
        }
        let stream = &self.streams[run.0];
        let (Some(found), Some(record)) = (stream.found.front(), stream.record(0)) else { return false };
        if !last && !self.is_due(found) {
            return false;
        }
        let plan = self.plan;
        let event = plan.reader.events().of(plan.context.order, record.data);
        let mut next = None;
        if let Handler::GraphEntry(_) = plan.handler(event) {
            next = self.after(run.0);
            let decided = next.is_some_and(|(stream, at)| self.is_due(&self.streams[stream].found[at]));
            if !decided && !last && self.pass < found.pass + HELD {
                return false;
            }
        }
        let mut taken = 1;
        if let Some(call) = self.maker.line(&record, &mut self.batch)
            && let Some((of, at)) = next
            && let Some(exit) = self.streams[of].record(at).and_then(|next| leaf(plan, &call, &next))
        {
            self.batch.end_call(&exit);
            // It ends a call of its own CPU.
            taken = 2;
        }
        self.streams[run.0].found.drain(..taken);
        true
    }

    /// Whether no record can come that belongs before this one, or it was held for long enough.
    fn is_due(&self, found: &Found) -> bool {
        found.time <= self.complete || self.pass >= found.pass + HELD
    }

    /// The stream of the first record, and how long it is that.
    fn first(&self) -> Option<(usize, u64)> {
        let mut times: [Option<(u64, usize)>; 2] = [None; 2];
        for (index, stream) in self.streams.iter().enumerate() {
            let Some(time) = stream.time(0) else { continue };
            let [first, second] = times;
            if first.is_none_or(|first| (time, index) < first) {
                times = [Some((time, index)), first];
            } else if second.is_none_or(|second| (time, index) < second) {
                times[1] = Some((time, index));
            }
        }
        let [first, second] = times;
        let (_, first) = first?;
        let until = second.map_or(u64::MAX, |(time, second)| time.saturating_add(u64::from(first < second)));
        Some((first, until))
    }

    /// The record that comes next in the buffer behind the first one of a stream: its stream, and its
    /// place there.
    fn after(&self, index: usize) -> Option<(usize, usize)> {
        let place = |of: usize| usize::from(of == index);
        let buffer = self.streams[index].buffer;
        let streams = self.streams.iter().enumerate().filter(|(_, stream)| stream.buffer == buffer);
        let times = streams.filter_map(|(of, stream)| Some((stream.time(place(of))?, of)));
        times.min().map(|(_, of)| (of, place(of)))
    }

    fn note(&mut self, cpu: u32, error: trace_dat::Error) {
        let name = self.plan.reader.name();
        self.damage.get_or_insert_with(|| error.on_cpu(cpu).in_file(name).into());
    }
}

impl Stream {
    fn new(buffer: usize, cpu: u32, page_size: usize) -> Stream {
        let (bytes, found) = (Vec::new(), VecDeque::new());
        Stream { buffer, cpu, page_size, bytes, found, youngest: 0, ended: false }
    }

    /// Adds the records of sub-buffers; those before damage, if there is some.
    fn add(&mut self, reader: &Reader, data: &[u8], pass: u64) -> trace_dat::Result<()> {
        if data.is_empty() || self.ended {
            return Ok(());
        }
        self.forget();
        let mut page = self.bytes.len();
        self.bytes.extend_from_slice(data);
        let outcome = loop {
            match self.bytes.get(page..page + self.page_size) {
                Some(bytes) => {
                    if let Err(error) = find(reader, bytes, page, pass, &mut self.found) {
                        break Err(error);
                    }
                }
                None if page == self.bytes.len() => break Ok(()),
                None => {
                    break Err(trace_dat::Error::new(ErrorKind::Cut, "the last sub-buffer is cut off"));
                }
            }
            page += self.page_size;
        };
        self.ended = outcome.is_err();
        self.youngest = self.found.back().map_or(self.youngest, |last| last.time);
        outcome
    }

    /// Gives back the sub-buffers of which all is printed.
    fn forget(&mut self) {
        let first = self.found.front().map_or(self.bytes.len(), |found| found.start);
        let unused = first - first % self.page_size;
        self.bytes.drain(..unused);
        for found in &mut self.found {
            found.start -= unused;
        }
    }

    fn time(&self, at: usize) -> Option<u64> {
        self.found.get(at).map(|found| found.time)
    }

    fn record(&self, at: usize) -> Option<Record<'_>> {
        let found = self.found.get(at)?;
        let end = (found.start - found.start % self.page_size).checked_add(self.page_size)?;
        let (data, follows) = self.bytes.get(found.start..end)?.split_at_checked(found.size)?;
        let (buffer, cpu, time, missed) = (self.buffer, self.cpu, found.time, found.missed);
        Some(Record { buffer, cpu, time, missed, data, follows })
    }
}

/// Finds the records of a sub-buffer, which begins at `start` of its stream's bytes.
fn find(
    reader: &Reader,
    page: &[u8],
    start: usize,
    pass: u64,
    into: &mut VecDeque<Found>,
) -> trace_dat::Result<()> {
    let layout = reader.layout();
    let mut walk = Walk::start(layout, page)?;
    while walk.advance(layout, page)? {
        let (at, time, missed) = (walk.payload(), walk.time(), walk.missed());
        into.push_back(Found { time, missed, start: start + at.start, size: at.len(), pass });
    }
    Ok(())
}
