//! Records of buffers that are still being filled. The buffers are read in pieces, and the records are
//! returned by time.

use std::collections::VecDeque;

use crate::error::{Error, Result};
use crate::recording::Reader;
use crate::records::Record;
use crate::ring_buffer::read::{Layout, Missed, Walk};

/// A record is held back for at most this many passes.
const HELD: u64 = 2;

/// The data that a pass has read from one CPU, for example from `per_cpu/cpu0/trace_pipe_raw`.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Index of its buffer in [`Reader::buffers`].
    pub buffer: usize,
    /// The CPU's number.
    pub cpu: u32,
    /// Whole sub-buffers; none when nothing was recorded.
    pub data: &'a [u8],
    /// Whether the pass has read everything that was there.
    pub whole: bool,
}

/// The records of live buffers, merged by time.
///
/// The buffers are read in passes, and in each pass one CPU after the other. So a CPU that was read late in
/// a pass may have records that are younger than some that an early CPU returns in the next pass. Therefore
/// a record is returned only when every CPU was read up to its time, or after two more passes.
///
/// Bytes are kept until their records are taken. Damaged data end the records of their CPU; the other CPUs
/// are not affected, and [`LiveRecords::finish`] returns the first error.
///
/// The formats of the events come from a recording without records, which is made once, before the first
/// pass:
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::io::Cursor;
/// use trace_dat::bytes::ByteOrder;
/// use trace_dat::ring_buffer::{Missed, SubBuffers};
/// use trace_dat::live::{LiveRecords, Part};
/// use trace_dat::{Compression, Metadata, Reader, Version, write};
///
/// // From the tracing directory: events/header_page and the formats of what is traced.
/// let metadata = Metadata {
///     long_size: 8,
///     page_size: 4096,
///     sub_buffer_size: 4096,
///     header_page: b"\tfield: u64 timestamp;\toffset:0;\tsize:8;\n\
///         \tfield: local_t commit;\toffset:8;\tsize:8;\n\tfield: char data;\toffset:16;\tsize:4080;\n".to_vec(),
///     cpu_count: 2,
///     ..Metadata::default()
/// };
/// let mut file = Cursor::new(Vec::new());
/// write::write(&mut file, Version::V7, Compression::None, &metadata, &mut [])?;
/// let reader = Reader::new("live", file.into_inner())?;
///
/// // As if read from trace_pipe_raw: one sub-buffer of each CPU.
/// let sub_buffer = |time| {
///     let mut buffer = SubBuffers::new(ByteOrder::Little, 8, 4096);
///     buffer.add(time, Missed::No, &[1, 0, 0, 0]);
///     buffer.finish()
/// };
/// let (first, second) = (sub_buffer(20), sub_buffer(10));
///
/// let mut live = LiveRecords::new(&reader);
/// live.pass(&[
///     Part { buffer: 0, cpu: 0, data: &first, whole: true },
///     Part { buffer: 0, cpu: 1, data: &second, whole: true },
/// ]);
/// let mut times = Vec::new();
/// while let Some(next) = live.next() {
///     times.push((next.record().time, next.record().cpu));
///     live.take(1);
/// }
/// assert_eq!(times, [(10, 1), (20, 0)]);
/// live.finish()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LiveRecords<'r> {
    reader: &'r Reader,
    /// Sorted by buffer and CPU.
    streams: Vec<LiveStream>,
    /// The number of the pass. A pass that left data unread counts as one with the next pass.
    pass: u64,
    /// Whether the last pass has read everything.
    whole: bool,
    /// The time of the youngest record.
    youngest: u64,
    /// The time up to which every CPU was read.
    complete: u64,
    /// The stream with the earliest record; valid for records before this time.
    run: (usize, u64),
    /// Whether no more passes will follow.
    ended: bool,
    damage: Option<Error>,
}

/// The records of one CPU of one buffer that were not taken yet.
#[derive(Debug)]
struct LiveStream {
    buffer: usize,
    cpu: u32,
    page_size: usize,
    /// Sub-buffers, beginning with that of the first pending record.
    bytes: Vec<u8>,
    found: VecDeque<PendingRecord>,
    /// The time of the last record.
    youngest: u64,
    /// Whether damage has ended the stream.
    ended: bool,
}

#[derive(Debug, Clone, Copy)]
struct PendingRecord {
    time: u64,
    missed: Missed,
    /// Where its event begins in the stream's bytes.
    start: usize,
    size: usize,
    /// The pass in which it was read.
    pass: u64,
}

/// The next record, and the one after it, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Next<'a> {
    record: Record<'a>,
    live: &'a LiveRecords<'a>,
    stream: usize,
}

impl<'r> LiveRecords<'r> {
    /// Begins without records; records of `reader` itself are not used.
    pub fn new(reader: &'r Reader) -> LiveRecords<'r> {
        LiveRecords {
            reader,
            streams: Vec::new(),
            pass: 0,
            whole: false,
            youngest: 0,
            complete: 0,
            run: (0, 0),
            ended: false,
            damage: None,
        }
    }

    /// Takes the data of all CPUs, in the order in which they were read. Every pass must have a part for
    /// each CPU. Parts of buffers that the recording does not have are ignored.
    pub fn pass(&mut self, parts: &[Part<'_>]) {
        self.pass += u64::from(self.whole);
        self.whole = parts.iter().all(|part| part.whole);
        self.run = (0, 0);
        let (layout, pass) = (self.reader.layout(), self.pass);
        let mut complete = u64::MAX;
        for part in parts {
            let Some(stream) = self.stream(part) else { continue };
            let outcome = stream.add(layout, part.data, pass);
            let own = stream.youngest;
            self.youngest = self.youngest.max(own);
            // This CPU was just read, so its later records are younger than everything read so far.
            complete = complete.min(if part.whole { self.youngest } else { own });
            if let Err(error) = outcome {
                let name = self.reader.name();
                self.damage.get_or_insert_with(|| error.on_cpu(part.cpu).in_file(name));
            }
        }
        self.complete = self.complete.max(complete);
    }

    /// Ends the passes: all remaining records are returned now.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The next record, if no earlier one can follow; does not take it.
    #[expect(clippy::should_implement_trait, reason = "records borrow from this, items of iterators cannot")]
    pub fn next(&mut self) -> Option<Next<'_>> {
        let in_run = |stream: &LiveStream| stream.time(0).is_some_and(|time| time < self.run.1);
        if !self.streams.get(self.run.0).is_some_and(in_run) {
            self.run = self.first()?;
        }
        let stream = self.streams.get(self.run.0)?;
        if !self.is_due(stream.found.front()?) {
            return None;
        }
        Some(Next { record: stream.record(0)?, live: self, stream: self.run.0 })
    }

    /// Takes the record that [`LiveRecords::next`] returned, and the next ones of the same CPU, `count` in
    /// all.
    pub fn take(&mut self, count: usize) {
        if let Some(stream) = self.streams.get_mut(self.run.0) {
            stream.found.drain(..count.min(stream.found.len()));
        }
    }

    /// Whether all records were taken.
    pub fn is_empty(&self) -> bool {
        self.streams.iter().all(|stream| stream.found.is_empty())
    }

    /// The first damage, as an error.
    pub fn finish(&mut self) -> Result<()> {
        self.damage.take().map_or(Ok(()), Err)
    }

    fn stream(&mut self, part: &Part<'_>) -> Option<&mut LiveStream> {
        let page_size = self.reader.buffers().get(part.buffer)?.page_size;
        let place = |stream: &LiveStream| (stream.buffer, stream.cpu).cmp(&(part.buffer, part.cpu));
        let index = self.streams.binary_search_by(place).unwrap_or_else(|index| {
            self.streams.insert(index, LiveStream::new(part.buffer, part.cpu, page_size));
            index
        });
        self.streams.get_mut(index)
    }

    /// Whether no earlier record can follow, or this one was held back long enough.
    fn is_due(&self, found: &PendingRecord) -> bool {
        self.ended || found.time <= self.complete || self.was_held(found)
    }

    fn was_held(&self, found: &PendingRecord) -> bool {
        self.pass >= found.pass + HELD
    }

    /// The stream with the earliest record, and the time up to which it stays the earliest.
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

    /// The record of the same buffer that follows the first record of a stream: its stream, and its index
    /// there.
    fn behind(&self, index: usize) -> Option<(usize, usize)> {
        let place = |of: usize| usize::from(of == index);
        let buffer = self.streams.get(index)?.buffer;
        let streams = self.streams.iter().enumerate().filter(|(_, stream)| stream.buffer == buffer);
        let times = streams.filter_map(|(of, stream)| Some((stream.time(place(of))?, of)));
        times.min().map(|(_, of)| (of, place(of)))
    }
}

impl<'a> Next<'a> {
    /// The record.
    pub fn record(&self) -> Record<'a> {
        self.record
    }

    /// The next record of the same buffer, as far as it is known.
    pub fn following(&self) -> Option<Record<'a>> {
        let (stream, at) = self.live.behind(self.stream)?;
        self.live.streams.get(stream)?.record(at)
    }

    /// Whether [`Next::following`] may return another record after the next pass. A caller that needs the
    /// final one should wait for that pass. False for a record that was held back for two passes already.
    pub fn may_change(&self) -> bool {
        let found = |stream: usize, at: usize| self.live.streams.get(stream)?.found.get(at);
        let following = self.live.behind(self.stream).and_then(|(stream, at)| found(stream, at));
        let held = found(self.stream, 0).is_some_and(|found| self.live.was_held(found));
        !(following.is_some_and(|following| self.live.is_due(following)) || self.live.ended || held)
    }
}

impl LiveStream {
    fn new(buffer: usize, cpu: u32, page_size: usize) -> LiveStream {
        let (bytes, found) = (Vec::new(), VecDeque::new());
        LiveStream { buffer, cpu, page_size, bytes, found, youngest: 0, ended: false }
    }

    /// Adds the records of sub-buffers; if these are damaged, the records before the damage.
    fn add(&mut self, layout: &Layout, data: &[u8], pass: u64) -> Result<()> {
        if data.is_empty() || self.ended {
            return Ok(());
        }
        self.forget();
        let mut page = self.bytes.len();
        self.bytes.extend_from_slice(data);
        let outcome = loop {
            match self.bytes.get(page..page + self.page_size) {
                Some(bytes) => {
                    if let Err(error) = find(layout, bytes, page, pass, &mut self.found) {
                        break Err(error);
                    }
                }
                None if page == self.bytes.len() => break Ok(()),
                None => break Err(Error::cut("the last sub-buffer is cut off")),
            }
            page += self.page_size;
        };
        self.ended = outcome.is_err();
        self.youngest = self.found.back().map_or(self.youngest, |last| last.time);
        outcome
    }

    /// Frees the sub-buffers whose records were all taken.
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

/// Finds the records of a sub-buffer, which begins at `start` in its stream's bytes.
fn find(
    layout: &Layout,
    page: &[u8],
    start: usize,
    pass: u64,
    into: &mut VecDeque<PendingRecord>,
) -> Result<()> {
    let mut walk = Walk::start(layout, page)?;
    while walk.advance(layout, page)? {
        let (at, time, missed) = (walk.payload(), walk.time(), walk.missed());
        into.push_back(PendingRecord { time, missed, start: start + at.start, size: at.len(), pass });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::ByteOrder;
    use crate::file::compression::Compression;
    use crate::file::header::Version;
    use crate::file::metadata::Metadata;
    use crate::file::write::write;
    use crate::ring_buffer::write::SubBuffers;

    fn recording() -> Reader {
        let header_page = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\n\tfield: local_t commit;\toffset:8;\t\
                           size:8;\n\tfield: char data;\toffset:16;\tsize:112;\n";
        let metadata = Metadata {
            long_size: 8,
            page_size: 128,
            sub_buffer_size: 128,
            header_page: header_page.into(),
            ..Metadata::default()
        };
        let mut file = std::io::Cursor::new(Vec::new());
        write(&mut file, Version::V7, Compression::None, &metadata, &mut []).unwrap();
        Reader::new("live", file.into_inner()).unwrap()
    }

    fn sub_buffers(times: &[u64]) -> Vec<u8> {
        let mut pages = SubBuffers::new(ByteOrder::Little, 8, 128);
        times.iter().for_each(|time| assert!(pages.add(*time, Missed::No, &[0; 8])));
        pages.finish()
    }

    fn pass(live: &mut LiveRecords<'_>, first: &[u64], second: &[u64]) -> Vec<u64> {
        let (first, second) = (sub_buffers(first), sub_buffers(second));
        live.pass(&[
            Part { buffer: 0, cpu: 0, data: &first, whole: true },
            Part { buffer: 0, cpu: 1, data: &second, whole: true },
        ]);
        given(live)
    }

    fn given(live: &mut LiveRecords<'_>) -> Vec<u64> {
        let mut times = Vec::new();
        while let Some(next) = live.next() {
            times.push(next.record().time);
            live.take(1);
        }
        times
    }

    #[test]
    fn a_record_waits_until_nothing_can_belong_before_it() {
        let reader = recording();
        let mut live = LiveRecords::new(&reader);
        // The first CPU may have recorded something before 30 after it was read.
        assert_eq!(pass(&mut live, &[10, 20], &[15, 30]), [10, 15, 20]);
        assert_eq!(pass(&mut live, &[25, 40], &[]), [25, 30, 40]);
        assert_eq!(pass(&mut live, &[], &[50]), []);
        // Since then the first CPU was read once more, and had nothing before 50.
        assert_eq!(pass(&mut live, &[], &[]), [50]);
        assert_eq!(pass(&mut live, &[], &[60]), []);
        live.end();
        assert_eq!(given(&mut live), [60]);
        assert!(live.is_empty() && live.finish().is_ok());
    }

    #[test]
    fn damage_ends_a_cpu_and_what_is_unknown_is_left_out() {
        let reader = recording();
        let mut live = LiveRecords::new(&reader);
        let (sound, mut damaged) = (sub_buffers(&[10, 20]), sub_buffers(&[5]));
        damaged.extend([0xff; 128]);
        live.pass(&[
            Part { buffer: 0, cpu: 0, data: &damaged, whole: true },
            Part { buffer: 0, cpu: 1, data: &sound, whole: true },
            Part { buffer: 7, cpu: 0, data: &sound, whole: true },
        ]);
        live.end();
        assert_eq!(given(&mut live), [5, 10, 20]);
        assert_eq!(live.finish().unwrap_err().cpu(), Some(0));
    }
}
