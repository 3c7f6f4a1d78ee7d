//! Records of all buffers and CPUs in the order of time.

use super::read::{CpuData, Reader};
use crate::bytes::ByteOrder;
use crate::error::{Error, Result};
use crate::ring_buffer::{Entry, Missed, Walk};

/// One record. It borrows from the reader of records: what is to outlive the next one is copied.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Index of its buffer in [`Reader::buffers`].
    pub buffer: usize,
    /// The CPU that recorded it.
    pub cpu: u32,
    /// Its stamp in units of the trace clock.
    pub time: u64,
    /// Events lost before it on its CPU.
    pub missed: Missed,
    /// The event, from its common fields on.
    pub data: &'a [u8],
}

/// The records of a file, merged by time: on a tie the first buffer, then the lowest CPU.
///
/// Nothing is allocated per record. Damage ends the CPU that it is in; the others go on, and
/// [`Records::finish`] tells.
#[derive(Debug)]
pub struct Records<'r> {
    streams: Vec<Stream<'r>>,
    reader: &'r Reader<'r>,
    /// The stream whose record was given out and is to be left.
    given: Option<usize>,
    damage: Option<Error>,
}

impl<'r> Records<'r> {
    pub(super) fn new(reader: &'r Reader<'r>, wanted: impl Fn(usize, u32) -> bool) -> Records<'r> {
        let mut records = Records { streams: Vec::new(), reader, given: None, damage: None };
        for (buffer, of) in reader.buffers().iter().enumerate() {
            for data in of.cpus.iter().filter(|data| wanted(buffer, data.cpu)) {
                match Stream::open(reader, buffer, data) {
                    Ok(stream) => records.streams.push(stream),
                    Err(error) => records.note(data.cpu, &error),
                }
            }
        }
        for index in 0..records.streams.len() {
            records.step(index);
        }
        records
    }

    /// The next record, or `None` after the last one.
    #[expect(clippy::should_implement_trait, reason = "records borrow from this, items of iterators cannot")]
    pub fn next(&mut self) -> Option<Record<'_>> {
        self.leave();
        let index = self.first(None)?;
        self.given = Some(index);
        self.streams[index].record()
    }

    /// The next record of a buffer without taking it. What [`Records::next`] gave before is gone.
    pub fn peek(&mut self, buffer: usize) -> Option<Record<'_>> {
        self.leave();
        let index = self.first(Some(buffer))?;
        self.streams[index].record()
    }

    /// Takes the record that [`Records::peek`] shows.
    pub fn skip(&mut self, buffer: usize) {
        self.leave();
        self.given = self.first(Some(buffer));
    }

    /// Ends the reading: an error when records were damaged, naming the first place.
    pub fn finish(self) -> Result<()> {
        self.damage.map_or(Ok(()), Err)
    }

    fn leave(&mut self) {
        if let Some(index) = self.given.take() {
            self.step(index);
        }
    }

    /// The stream with the earliest record.
    fn first(&self, buffer: Option<usize>) -> Option<usize> {
        let mut best: Option<(usize, u64)> = None;
        for (index, stream) in self.streams.iter().enumerate() {
            let Some(entry) = &stream.head else { continue };
            let fits = buffer.is_none_or(|buffer| buffer == stream.buffer);
            if fits && best.is_none_or(|(_, time)| entry.time < time) {
                best = Some((index, entry.time));
            }
        }
        best.map(|(index, _)| index)
    }

    fn step(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        if let Err(error) = stream.step(self.reader) {
            stream.head = None;
            let cpu = stream.cpu;
            self.note(cpu, &error);
        }
    }

    fn note(&mut self, cpu: u32, error: &Error) {
        let name = &self.reader.name;
        self.damage.get_or_insert_with(|| {
            Error::new(format!("cannot read {name}: CPU {cpu}: {error}"))
                .help("what was readable is above; the rest of this CPU's records is not shown")
        });
    }
}

/// The records of one CPU of one buffer.
#[derive(Debug)]
struct Stream<'r> {
    buffer: usize,
    cpu: u32,
    page_size: usize,
    source: Source<'r>,
    /// The sub-buffer being read: where it starts in the source's bytes, and the place in it.
    page: usize,
    walk: Option<Walk>,
    head: Option<Entry>,
}

/// Where sub-buffers come from.
#[derive(Debug)]
enum Source<'r> {
    /// As they are in the file, which has them at `offset` and lacks the `missing` last bytes.
    Plain { data: &'r [u8], offset: usize, missing: usize },
    /// Unpacked chunk by chunk: what follows in the file, chunks left, the one unpacked.
    Chunks { order: ByteOrder, rest: &'r [u8], left: u32, unpacked: Vec<u8>, at: usize },
}

impl<'r> Stream<'r> {
    fn open(reader: &'r Reader<'r>, buffer: usize, cpu: &CpuData) -> Result<Stream<'r>> {
        let of = &reader.buffers()[buffer];
        let cut = || {
            Error::new(format!(
                "its {} bytes at offset 0x{:x} go beyond the file's {}",
                cpu.size,
                cpu.offset,
                reader.data.len()
            ))
        };
        let start = usize::try_from(cpu.offset).map_err(|_| cut())?;
        let rest = reader.data.get(start..).ok_or_else(cut)?;
        let order = reader.context().order;
        let source = if of.compressed {
            let left = order.u32_at(rest, 0).ok_or_else(cut)?;
            Source::Chunks { order, rest: &rest[4..], left, unpacked: Vec::new(), at: start }
        } else {
            // A file that was cut is read as far as it goes; that more was announced is told then.
            let size = usize::try_from(cpu.size).map_err(|_| cut())?;
            let data = &rest[..size.min(rest.len())];
            Source::Plain { data, offset: start, missing: size - data.len() }
        };
        Ok(Stream { buffer, cpu: cpu.cpu, page_size: of.page_size, source, page: 0, walk: None, head: None })
    }

    fn record(&self) -> Option<Record<'_>> {
        let entry = self.head.as_ref()?;
        let page = self.source.page(self.page, self.page_size)?;
        let data = page.get(entry.start..entry.start + entry.size)?;
        Some(Record { buffer: self.buffer, cpu: self.cpu, time: entry.time, missed: entry.missed, data })
    }

    /// Goes to the next record, through as many sub-buffers and chunks as it takes.
    fn step(&mut self, reader: &Reader<'_>) -> Result<()> {
        let layout = &reader.layout;
        loop {
            if let Some(walk) = &mut self.walk {
                let place = |error: Error| self.source.place(self.page, &error);
                let page = self.source.page(self.page, self.page_size).unwrap_or_default();
                if let Some(entry) = walk.next(layout, page).map_err(place)? {
                    self.head = Some(entry);
                    return Ok(());
                }
                self.page += self.page_size;
            }
            if self.source.is_used_up(self.page) {
                self.walk = None;
                self.head = None;
                if !self.source.unpack(reader)? {
                    return Ok(());
                }
                self.page = 0;
            }
            let place = |error: Error| self.source.place(self.page, &error);
            let page = self.source.page(self.page, self.page_size);
            let page = page.ok_or_else(|| place(Error::new("the last sub-buffer is cut off")))?;
            self.walk = Some(Walk::start(layout, page).map_err(place)?);
        }
    }
}

impl Source<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Source::Plain { data, .. } => data,
            Source::Chunks { unpacked, .. } => unpacked,
        }
    }

    fn page(&self, start: usize, size: usize) -> Option<&[u8]> {
        self.bytes().get(start..start.checked_add(size)?)
    }

    fn is_used_up(&self, start: usize) -> bool {
        start >= self.bytes().len()
    }

    /// Unpacks the next chunk; false when there is none.
    fn unpack(&mut self, reader: &Reader<'_>) -> Result<bool> {
        let (order, rest, left, unpacked, at) = match self {
            Source::Plain { missing: 0, .. } => return Ok(false),
            Source::Plain { missing, .. } => {
                return Err(Error::new(format!("the file ends {missing} bytes before this CPU's data do")));
            }
            Source::Chunks { order, rest, left, unpacked, at } => (order, rest, left, unpacked, at),
        };
        if *left == 0 {
            return Ok(false);
        }
        let sizes = (order.u32_at(rest, 0), order.u32_at(rest, 4));
        let packed = sizes.0.and_then(|size| rest.get(8..8 + size as usize));
        let (Some(packed), (_, Some(size))) = (packed, sizes) else {
            return Err(Error::new(format!(
                "the chunk at offset 0x{:x} is cut off",
                reader.data.len() - rest.len()
            )));
        };
        *at = reader.data.len() - rest.len();
        *left -= 1;
        *rest = &rest[8 + packed.len()..];
        reader
            .compression
            .unpack(packed, size, unpacked)
            .map_err(|error| Error::new(format!("the chunk at offset 0x{at:x}: {error}")))?;
        Ok(true)
    }

    /// An error with where in the file it is.
    fn place(&self, page: usize, error: &Error) -> Error {
        match self {
            Source::Plain { offset, .. } => {
                Error::new(format!("the sub-buffer at offset 0x{:x}: {error}", offset.saturating_add(page)))
            }
            Source::Chunks { at, .. } => {
                Error::new(format!("the sub-buffer at byte {page} of the chunk at offset 0x{at:x}: {error}"))
            }
        }
    }
}
