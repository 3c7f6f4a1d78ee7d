//! Records of all buffers and CPUs in the order of time.

use crate::error::{Error, Result};
use crate::file::container::{Buffer, Container, Extent};
use crate::ring_buffer::read::{Layout, Missed, Walk};

/// One record. It borrows from [`Records`]: copy what has to outlive the call for the next one.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Index of its buffer in [`Reader::buffers`](crate::Reader::buffers).
    pub buffer: usize,
    /// The CPU that recorded it.
    pub cpu: u32,
    /// Its stamp in units of the trace clock.
    pub time: u64,
    /// Events lost before it on its CPU.
    pub missed: Missed,
    /// The event, from its common fields on.
    pub data: &'a [u8],
    /// The bytes behind it in its sub-buffer: later records, or remains of an older use of the page.
    pub follows: &'a [u8],
}

/// The records of a file, merged by time: on a tie the first buffer, then the lowest CPU.
///
/// Nothing is allocated per record. Damage ends the CPU that it is in; the others go on, and
/// [`Records::finish`] returns the first error.
#[derive(Debug)]
pub struct Records<'r> {
    streams: Vec<Stream>,
    file: Of<'r>,
    /// How many buffers there are.
    buffers: usize,
    /// The stream whose record `next` returned; the next call advances it.
    given: Option<usize>,
    /// The stream whose record `peek` returned; `skip` advances it.
    shown: Option<usize>,
    /// The time of each stream's next record; `u64::MAX` where there is none.
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
            file: Of { container, layout },
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

    /// The next record of a buffer without taking it. Ends the use of the record before.
    #[inline]
    pub fn peek(&mut self, buffer: usize) -> Option<Record<'_>> {
        self.leave();
        let index = self.first_of(buffer)?;
        self.shown = Some(index);
        self.streams[index].record()
    }

    /// The next records in one go: those of one CPU that are earlier than any other CPU's. None is taken.
    /// Ends the use of the record before.
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

    /// Takes the first `count` records of the run that [`Records::run`] returned last, which is of `stream`.
    #[inline]
    pub fn take(&mut self, stream: usize, count: usize) {
        let Some(last) = count.checked_sub(1) else { return };
        self.streams[stream].at += last;
        self.step(stream);
    }

    /// The time of the next record without taking it. Ends the use of the record before.
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
        // A stream of another buffer may be taken out of turn.
        if self.given != Some(self.run.0) {
            self.run = (0, 0);
        }
    }

    /// Ends the reading: an error when records were damaged, naming the first place, or when the
    /// file lacks its end.
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
            // No record is left, or one really has the time `u64::MAX`.
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

/// What records are read from.
#[derive(Debug, Clone, Copy)]
struct Of<'r> {
    container: &'r Container,
    layout: &'r Layout,
}

/// Records that follow each other, all of one CPU and in one sub-buffer.
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
    /// A record by its place.
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
    /// The sub-buffer being read: where it starts in the source's bytes, and the place in it.
    page: usize,
    walk: Option<Walk>,
    /// Records of this sub-buffer that were found in one go, and which of them comes next; there
    /// are no more when it is empty. Finding them one by one would take longer than decoding them.
    found: Vec<Found>,
    at: usize,
    /// Events lost before the first that was found.
    missed: Missed,
    /// The error that ended the search; returned once the records before it were taken.
    failed: Option<Error>,
}

/// A record's time, and where its event stands in the sub-buffer.
#[derive(Debug, Clone, Copy)]
struct Found {
    time: u64,
    start: u32,
    size: u32,
}

impl Found {
    /// The record, whose sub-buffer is `page`.
    #[inline(always)]
    fn record(self, buffer: usize, cpu: u32, missed: Missed, page: &[u8]) -> Option<Record<'_>> {
        let (data, follows) = page.get(self.start as usize..)?.split_at_checked(self.size as usize)?;
        Some(Record { buffer, cpu, time: self.time, missed, data, follows })
    }
}

/// How many records are looked for at once.
const AHEAD: usize = 256;

/// The sub-buffers in memory, and where the next ones come from.
#[derive(Debug)]
struct Source {
    bytes: Vec<u8>,
    /// Where in the file `bytes` stand.
    at: u64,
    /// The chunk that they were unpacked from.
    packed: Vec<u8>,
    rest: Rest,
}

/// What of a CPU's data was not read yet.
#[derive(Debug)]
enum Rest {
    /// As it is in the file, which lacks the `missing` last bytes.
    Plain { next: u64, end: u64, missing: u64 },
    /// To be unpacked, chunk by chunk; how many are left.
    Chunks { next: u64, left: u32 },
}

/// How much of a CPU's data is read at once, in bytes, where sub-buffers are smaller than that.
const PIECE: usize = 128 << 10;

impl Stream {
    fn open(file: Of<'_>, of: &Buffer, buffer: usize, cpu: &Extent) -> Result<Stream> {
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
            // A file that was cut is read to its end; then the missing bytes are an error.
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
    fn step(&mut self, file: Of<'_>) -> Result<()> {
        self.at += 1;
        if self.at < self.found.len() {
            return Ok(());
        }
        self.find(file)
    }

    /// Finds the next records, through as many sub-buffers and pieces as it takes. After an error
    /// there are none.
    fn find(&mut self, file: Of<'_>) -> Result<()> {
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
                            // The records before it come first.
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

    /// Adds to an error where in the file it is.
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
