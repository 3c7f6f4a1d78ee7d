//! Records of all buffers and CPUs, ordered by time.

use crate::error::{Error, Result};
use crate::file::container::{Buffer, Container, Extent};
use crate::ring_buffer::read::{Layout, Missed, Walk};

/// One record. It borrows from [`Records`], so copy what you need before you ask for the next one.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Index of its buffer in [`Reader::buffers`](crate::Reader::buffers).
    pub buffer: usize,
    /// The CPU that recorded it.
    pub cpu: u32,
    /// Its time stamp in units of the trace clock.
    pub time: u64,
    /// Events lost before it on its CPU.
    pub missed: Missed,
    /// The event, from its common fields on.
    pub data: &'a [u8],
    /// The bytes after it in its sub-buffer: later records, or remains of an earlier use of the page.
    pub follows: &'a [u8],
}

/// The records of a file, merged by time. Records with the same time are ordered by buffer, then by CPU.
///
/// Nothing is allocated per record. Damaged data end the records of their CPU; the other CPUs are not
/// affected, and [`Records::finish`] returns the first error.
#[derive(Debug)]
pub struct Records<'r> {
    streams: Vec<Stream>,
    file: Origin<'r>,
    /// The number of buffers.
    buffers: usize,
    /// The stream whose record `next` returned; the next call advances it.
    given: Option<usize>,
    /// The stream whose record `peek` returned; `skip` advances it.
    shown: Option<usize>,
    /// The time of each stream's next record; `u64::MAX` if there is none.
    times: Vec<u64>,
    /// The earliest stream; valid until another stream's next time stamp.
    run: (usize, u64),
    damage: Option<Error>,
}

impl<'r> Records<'r> {
    /// The records of the buffers (by index) and CPUs that `wanted` accepts.
    pub(crate) fn new(
        container: &'r Container,
        layout: &'r Layout,
        buffers: &'r [Buffer],
        wanted: impl Fn(usize, u32) -> bool,
    ) -> Records<'r> {
        let mut records = Records {
            streams: Vec::new(),
            file: Origin { container, layout },
            buffers: buffers.len(),
            given: None,
            shown: None,
            times: Vec::new(),
            run: (0, 0),
            damage: None,
        };
        for (buffer, of) in buffers.iter().enumerate() {
            for data in of.cpus.iter().filter(|data| wanted(buffer, data.cpu)) {
                match Stream::open(records.file, of, buffer, data) {
                    Ok(stream) => records.streams.push(stream),
                    Err(error) => records.note(data.cpu, error),
                }
            }
        }
        records.times = vec![u64::MAX; records.streams.len()];
        for index in 0..records.streams.len() {
            records.step(index);
        }
        records
    }

    /// The next record, or `None` after the last one.
    #[expect(clippy::should_implement_trait, reason = "records borrow from this, items of iterators cannot")]
    #[inline(always)]
    pub fn next(&mut self) -> Option<Record<'_>> {
        self.leave();
        let index = self.first()?;
        self.given = Some(index);
        self.streams[index].record()
    }

    /// The next record of a buffer; does not take it. The previous record can no longer be used.
    #[inline]
    pub fn peek(&mut self, buffer: usize) -> Option<Record<'_>> {
        self.leave();
        let index = self.first_of(buffer)?;
        self.shown = Some(index);
        self.streams[index].record()
    }

    /// The next records of one CPU, up to the first record of another CPU. None of them is taken. The
    /// previous record can no longer be used.
    #[inline]
    pub fn run(&mut self) -> Option<Run<'_>> {
        self.leave();
        let index = self.first()?;
        let until = if self.run.0 == index { self.run.1 } else { 0 };
        let stream = &self.streams[index];
        let found = stream.found.get(stream.at..)?;
        let count = found.iter().take_while(|found| found.time < until).count().max(1);
        Some(Run {
            buffer: stream.buffer,
            cpu: stream.cpu,
            missed: stream.missed_before(),
            page: stream.source.page(stream.page, stream.page_size)?,
            found: &found[..count.min(found.len())],
            stream: index,
        })
    }

    /// Takes the first `count` records of the last run from [`Records::run`]; `stream` is [`Run::stream`].
    #[inline]
    pub fn take(&mut self, stream: usize, count: usize) {
        let Some(last) = count.checked_sub(1) else { return };
        self.streams[stream].at += last;
        self.step(stream);
    }

    /// The time of the next record; does not take it. The previous record can no longer be used.
    pub fn peek_time(&mut self) -> Option<u64> {
        self.leave();
        let index = self.first()?;
        self.streams[index].time()
    }

    /// Takes the record that [`Records::peek`] returned last.
    #[inline]
    pub fn skip(&mut self) {
        self.leave();
        self.given = self.shown.take();
        // The record may belong to another buffer, and so not be the earliest of all.
        if self.given != Some(self.run.0) {
            self.run = (0, 0);
        }
    }

    /// Ends reading. Fails when records were damaged, with the first damaged place, or when the end of the
    /// file is missing.
    pub fn finish(self) -> Result<()> {
        if let Some(damage) = self.damage {
            return Err(damage);
        }
        let file = self.file.container;
        file.check_strings().map_err(|error| error.in_file(file.name()))
    }

    #[inline(always)]
    fn leave(&mut self) {
        if let Some(index) = self.given.take() {
            self.step(index);
        }
    }

    /// The stream with the earliest record.
    #[inline(always)]
    fn first(&mut self) -> Option<usize> {
        let (index, until) = self.run;
        match self.times.get(index) {
            Some(time) if *time < until => Some(index),
            _ => self.choose(),
        }
    }

    /// Compares all streams: the earliest, and the time up to which it stays the earliest.
    fn choose(&mut self) -> Option<usize> {
        let (mut first, mut earliest) = (usize::MAX, u64::MAX);
        let (mut second, mut next) = (usize::MAX, u64::MAX);
        for (index, &time) in self.times.iter().enumerate() {
            if time < earliest {
                (second, next) = (first, earliest);
                (first, earliest) = (index, time);
            } else if time < next {
                (second, next) = (index, time);
            }
        }
        if earliest == u64::MAX {
            // Either no record is left, or one really has the time `u64::MAX`.
            return self.streams.iter().position(|stream| stream.time().is_some());
        }
        self.run = (first, next.saturating_add(u64::from(first < second)));
        Some(first)
    }

    #[inline]
    fn first_of(&mut self, buffer: usize) -> Option<usize> {
        if self.buffers == 1 {
            return self.first();
        }
        let of_buffer = self.streams.iter().enumerate().filter(|(_, stream)| stream.buffer == buffer);
        let times = of_buffer.filter_map(|(index, stream)| Some((stream.time()?, index)));
        times.min().map(|(_, index)| index)
    }

    #[inline]
    fn step(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        let outcome = stream.step(self.file);
        self.times[index] = stream.time().unwrap_or(u64::MAX);
        if let Err(error) = outcome {
            let cpu = stream.cpu;
            self.note(cpu, error);
        }
    }

    fn note(&mut self, cpu: u32, error: Error) {
        let name = self.file.container.name();
        self.damage.get_or_insert_with(|| error.on_cpu(cpu).in_file(name));
    }
}

/// The file that records are read from, and the layout of its sub-buffers.
#[derive(Debug, Clone, Copy)]
struct Origin<'r> {
    container: &'r Container,
    layout: &'r Layout,
}

/// Consecutive records of one CPU, all in one sub-buffer.
pub struct Run<'a> {
    /// The number to pass to [`Records::take`].
    pub stream: usize,
    /// Index of its buffer in [`Reader::buffers`](crate::Reader::buffers).
    pub buffer: usize,
    cpu: u32,
    missed: Missed,
    page: &'a [u8],
    found: &'a [Found],
}

impl<'a> Run<'a> {
    /// The record with an index.
    #[inline(always)]
    pub fn get(&self, at: usize) -> Option<Record<'a>> {
        let missed = if at == 0 { self.missed } else { Missed::No };
        self.found.get(at)?.record(self.buffer, self.cpu, missed, self.page)
    }
}

/// The records of one CPU of one buffer.
#[derive(Debug)]
struct Stream {
    buffer: usize,
    cpu: u32,
    page_size: usize,
    source: Source,
    /// The sub-buffer being read: where it starts in the source's bytes, and the position in it.
    page: usize,
    walk: Option<Walk>,
    /// The next records of this sub-buffer; empty when no more are left. They are found many at a time:
    /// finding them one by one would take longer than decoding them.
    found: Vec<Found>,
    /// The index in `found` of the next record.
    at: usize,
    /// Events lost before the first record in `found`.
    missed: Missed,
    /// The error that ended the search; returned after the records before it were taken.
    failed: Option<Error>,
}

/// A record's time, and the place of its event in the sub-buffer.
#[derive(Debug, Clone, Copy)]
struct Found {
    time: u64,
    start: u32,
    size: u32,
}

impl Found {
    /// The record itself; `page` is its sub-buffer.
    #[inline(always)]
    fn record(self, buffer: usize, cpu: u32, missed: Missed, page: &[u8]) -> Option<Record<'_>> {
        let (data, follows) = page.get(self.start as usize..)?.split_at_checked(self.size as usize)?;
        Some(Record { buffer, cpu, time: self.time, missed, data, follows })
    }
}

/// How many records are found at once.
const AHEAD: usize = 256;

/// The sub-buffers in memory, and the place of the next ones.
#[derive(Debug)]
struct Source {
    bytes: Vec<u8>,
    /// The offset of `bytes` in the file.
    at: u64,
    /// The compressed chunk that they were unpacked from.
    packed: Vec<u8>,
    rest: Rest,
}

/// The part of a CPU's data that was not read yet.
#[derive(Debug)]
enum Rest {
    /// Not compressed; the last `missing` bytes are not in the file.
    Plain { next: u64, end: u64, missing: u64 },
    /// Compressed chunks; `left` is their number.
    Chunks { next: u64, left: u32 },
}

/// How many bytes of a CPU's data are read at once, if sub-buffers are smaller than that.
const PIECE: usize = 128 << 10;

impl Stream {
    fn open(file: Origin<'_>, of: &Buffer, buffer: usize, cpu: &Extent) -> Result<Stream> {
        let input = file.container.input();
        let file_size = input.size();
        let cut = || {
            Error::cut(format!(
                "its {} bytes at offset 0x{:x} go beyond the file's {file_size}",
                cpu.size, cpu.offset
            ))
        };
        let end = cpu.offset.checked_add(cpu.size).filter(|_| cpu.offset <= file_size).ok_or_else(cut)?;
        let rest = if of.compressed {
            let mut count = [0; 4];
            input.read_at(cpu.offset, &mut count).map_err(|_| cut())?;
            let left = file.container.order().number(&count).unwrap_or(0) as u32;
            Rest::Chunks { next: cpu.offset + 4, left }
        } else {
            // A truncated file is read to its end; then the missing bytes are an error.
            Rest::Plain { next: cpu.offset, end: end.min(file_size), missing: end.saturating_sub(file_size) }
        };
        let source = Source { bytes: Vec::new(), at: cpu.offset, packed: Vec::new(), rest };
        Ok(Stream {
            buffer,
            cpu: cpu.cpu,
            page_size: of.page_size,
            source,
            page: 0,
            walk: None,
            found: Vec::new(),
            at: 0,
            missed: Missed::No,
            failed: None,
        })
    }

    #[inline]
    fn time(&self) -> Option<u64> {
        self.found.get(self.at).map(|found| found.time)
    }

    #[inline(always)]
    fn record(&self) -> Option<Record<'_>> {
        let page = self.source.page(self.page, self.page_size)?;
        self.found.get(self.at)?.record(self.buffer, self.cpu, self.missed_before(), page)
    }

    /// Events lost before the next record.
    #[inline(always)]
    fn missed_before(&self) -> Missed {
        if self.at == 0 { self.missed } else { Missed::No }
    }

    /// Goes to the next record.
    #[inline(always)]
    fn step(&mut self, file: Origin<'_>) -> Result<()> {
        self.at += 1;
        if self.at < self.found.len() {
            return Ok(());
        }
        self.find(file)
    }

    /// Finds the next records, reading as many sub-buffers and pieces as necessary. After an error there
    /// are no more records.
    fn find(&mut self, file: Origin<'_>) -> Result<()> {
        let layout = file.layout;
        self.found.clear();
        self.at = 0;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            if let Some(walk) = &mut self.walk {
                let page = self.source.page(self.page, self.page_size).unwrap_or_default();
                while self.found.len() < AHEAD {
                    match walk.advance(layout, page) {
                        Ok(true) => {
                            if self.found.is_empty() {
                                self.missed = walk.missed();
                            }
                            let (time, at) = (walk.time(), walk.payload());
                            // A sub-buffer has no more than 2^24 bytes.
                            self.found.push(Found { time, start: at.start as u32, size: at.len() as u32 });
                        }
                        Ok(false) => break,
                        Err(error) => {
                            let error = self.source.place(self.page, error);
                            if self.found.is_empty() {
                                return Err(error);
                            }
                            // The records before the damage are returned first.
                            self.failed = Some(error);
                            break;
                        }
                    }
                }
                if !self.found.is_empty() {
                    return Ok(());
                }
                self.page += self.page_size;
            }
            if self.page >= self.source.bytes.len() {
                self.walk = None;
                if !self.source.read(file.container, self.page_size)? {
                    return Ok(());
                }
                self.page = 0;
            }
            let place = |error: Error| self.source.place(self.page, error);
            let page = self.source.page(self.page, self.page_size);
            let page = page.ok_or_else(|| place(Error::cut("the last sub-buffer is cut off")))?;
            self.walk = Some(Walk::start(layout, page).map_err(place)?);
        }
    }
}

impl Source {
    #[inline]
    fn page(&self, start: usize, size: usize) -> Option<&[u8]> {
        self.bytes.get(start..start.checked_add(size)?)
    }

    /// Reads or unpacks the next sub-buffers; false when there are none.
    fn read(&mut self, file: &Container, page_size: usize) -> Result<bool> {
        match &mut self.rest {
            Rest::Plain { next, end, missing } => {
                if next == end {
                    return match missing {
                        0 => Ok(false),
                        _ => Err(Error::cut(format!(
                            "the file is cut short: the last {missing} bytes of this CPU's data are missing"
                        ))),
                    };
                }
                let piece = page_size * (PIECE / page_size).max(1);
                let size = (*end - *next).min(piece as u64) as usize;
                self.bytes.resize(size, 0);
                read(file, *next, &mut self.bytes)?;
                self.at = *next;
                *next += size as u64;
                Ok(true)
            }
            Rest::Chunks { left: 0, .. } => Ok(false),
            Rest::Chunks { next, left } => {
                let mut head = [0; 8];
                let cut = || Error::cut(format!("the chunk at offset 0x{next:x} is cut off"));
                file.input().read_at(*next, &mut head).map_err(|_| cut())?;
                let order = file.order();
                let size = |bytes: &[u8]| order.number(bytes).unwrap_or(0);
                let (packed, unpacked) = (size(&head[..4]), size(&head[4..]));
                if file.input().size() - *next - 8 < packed {
                    return Err(cut());
                }
                self.packed.resize(packed as usize, 0);
                read(file, *next + 8, &mut self.packed)?;
                let most = (10 * page_size).clamp(1 << 20, 32 << 20);
                file.compression()
                    .unpack(&self.packed, unpacked, most, &mut self.bytes)
                    .map_err(|error| error.within(format!("the chunk at offset 0x{next:x}"), *next))?;
                self.at = *next;
                *next += 8 + packed;
                *left -= 1;
                Ok(true)
            }
        }
    }

    /// Adds the place in the file to an error.
    fn place(&self, page: usize, error: Error) -> Error {
        let at = self.at;
        match self.rest {
            Rest::Plain { .. } => {
                let offset = at.saturating_add(page as u64);
                error.within(format!("the sub-buffer at offset 0x{offset:x}"), offset)
            }
            Rest::Chunks { .. } => {
                error.within(format!("the sub-buffer at byte {page} of the chunk at offset 0x{at:x}"), at)
            }
        }
    }
}

fn read(file: &Container, offset: u64, into: &mut [u8]) -> Result<()> {
    file.input()
        .read_at(offset, into)
        .map_err(|cause| Error::read(format!("reading at offset 0x{offset:x} failed"), cause))
}
