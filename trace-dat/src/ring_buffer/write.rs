//! Writes records to sub-buffers, the inverse of [`read`](super::read); pure.

use crate::bytes::ByteOrder;
use crate::ring_buffer::read::Missed;

/// Events were lost before a sub-buffer; with `MISSED_STORED` their number follows its data.
const MISSED_EVENTS: u64 = 1 << 31;
const MISSED_STORED: u64 = 1 << 30;
const TYPE_TIME_EXTEND: u32 = 30;
const DELTA_BITS: u32 = 27;
/// A longer event stores its length in a separate word.
const LONGEST_SHORT: usize = 28 * 4;
/// The size of the time stamp, which is followed by `commit`, a long.
const TIME_STAMP: usize = 8;

/// The sub-buffers of one CPU, as its kernel would have filled them.
#[derive(Debug)]
pub struct SubBuffers {
    order: ByteOrder,
    long_size: usize,
    size: usize,
    /// Whole sub-buffers; the header of the last one is not filled in yet.
    bytes: Vec<u8>,
    /// Where the last sub-buffer begins; `None` when the next record begins a new one.
    open: Option<usize>,
    /// The first time stamp and the missed events of the last sub-buffer.
    head: (u64, Missed),
    time: u64,
}

impl SubBuffers {
    /// Begins without a sub-buffer. Each will have `size` bytes, which is a multiple of 4.
    pub fn new(order: ByteOrder, long_size: usize, size: usize) -> SubBuffers {
        SubBuffers { order, long_size, size, bytes: Vec::new(), open: None, head: (0, Missed::No), time: 0 }
    }

    /// Adds a record; false when it is larger than a sub-buffer can hold.
    ///
    /// A record after missed events begins a new sub-buffer, because only a header can state them. A record
    /// that is earlier than the previous one also begins a new sub-buffer.
    pub fn add(&mut self, time: u64, missed: Missed, data: &[u8]) -> bool {
        if self.header() + 8 + data.len().next_multiple_of(4) + self.long_size > self.size {
            return false;
        }
        if self.begins(time, missed, data.len()) {
            self.close();
            self.open = Some(self.bytes.len());
            self.bytes.resize(self.bytes.len() + self.header(), 0);
            self.head = (time, missed);
            self.time = time;
        }
        let delta = time.wrapping_sub(self.time);
        if delta >> DELTA_BITS > 0 {
            self.event(TYPE_TIME_EXTEND, delta & ((1 << DELTA_BITS) - 1));
            self.word((delta >> DELTA_BITS) as u32);
        }
        let delta = if delta >> DELTA_BITS > 0 { 0 } else { delta };
        if !data.is_empty() && data.len() <= LONGEST_SHORT {
            self.event(data.len().div_ceil(4) as u32, delta);
        } else {
            self.event(0, delta);
            self.word(data.len() as u32 + 4);
        }
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.time = time;
        true
    }

    /// Whether a record would begin a new sub-buffer.
    pub fn begins(&self, time: u64, missed: Missed, size: usize) -> bool {
        let Some(start) = self.open else { return true };
        // Room for a time extend, a length and the number of missed events.
        let end = self.bytes.len() - start + 8 + 8 + size.next_multiple_of(4) + self.long_size;
        missed != Missed::No || time < self.time || time - self.time >= 1 << 59 || end > self.size
    }

    /// The number of sub-buffers.
    pub fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.size)
    }

    /// The bytes of all sub-buffers.
    pub fn finish(mut self) -> Vec<u8> {
        self.close();
        self.bytes
    }

    fn header(&self) -> usize {
        TIME_STAMP + self.long_size
    }

    fn close(&mut self) {
        let Some(start) = self.open.take() else { return };
        let data = self.bytes.len() - start - self.header();
        let (time, missed) = self.head;
        let flags = match missed {
            Missed::No => 0,
            Missed::Some => MISSED_EVENTS,
            Missed::Count(_) => MISSED_EVENTS | MISSED_STORED,
        };
        if let Missed::Count(count) = missed {
            let count = self.number(count, self.long_size);
            self.bytes.extend(count);
        }
        self.bytes.resize(start + self.size, 0);
        let head = [self.number(time, 8), self.number(data as u64 | flags, self.long_size)].concat();
        self.bytes[start..start + head.len()].copy_from_slice(&head);
    }

    fn event(&mut self, kind: u32, delta: u64) {
        self.word(match self.order {
            ByteOrder::Little => kind | (delta as u32) << 5,
            ByteOrder::Big => kind << DELTA_BITS | delta as u32,
        });
    }

    fn word(&mut self, word: u32) {
        let word = self.number(u64::from(word), 4);
        self.bytes.extend(word);
    }

    fn number(&self, value: u64, size: usize) -> Vec<u8> {
        match self.order {
            ByteOrder::Little => value.to_le_bytes()[..size].to_vec(),
            ByteOrder::Big => value.to_be_bytes()[8 - size..].to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring_buffer::read::{Layout, Walk};

    /// Reads the records of sub-buffers: time, missed events, payload.
    fn read(bytes: &[u8], order: ByteOrder, long_size: usize, size: usize) -> Vec<(u64, Missed, Vec<u8>)> {
        let layout = Layout::usual(order, long_size);
        let mut found = Vec::new();
        for page in bytes.chunks(size) {
            let mut walk = Walk::start(&layout, page).unwrap();
            while walk.advance(&layout, page).unwrap() {
                found.push((walk.time(), walk.missed(), page[walk.payload()].to_vec()));
            }
        }
        found
    }

    #[test]
    fn what_is_written_is_read_back() {
        let records = [
            (1_000, Missed::No, vec![1; 16]),
            (1_000, Missed::No, vec![2; 112]),
            (2_000, Missed::No, vec![3; 116]),
            // Too late for 27 bits, then earlier than the previous record, then after missed events.
            (5_000_000_000, Missed::No, vec![4; 4]),
            (4_000_000_000, Missed::No, vec![5; 8]),
            (4_000_000_001, Missed::Some, vec![6; 8]),
            (4_000_000_002, Missed::Count(9), vec![7; 8]),
            (u64::MAX, Missed::No, vec![8; 8]),
        ];
        for (order, long_size) in [(ByteOrder::Little, 8), (ByteOrder::Big, 8), (ByteOrder::Big, 4)] {
            let mut pages = SubBuffers::new(order, long_size, 256);
            for (time, missed, data) in &records {
                assert!(pages.add(*time, *missed, data));
            }
            let count = pages.count();
            let bytes = pages.finish();
            assert_eq!(bytes.len(), count * 256);
            assert_eq!(read(&bytes, order, long_size, 256), records);
        }
    }

    #[test]
    fn full_sub_buffers_are_followed_by_others() {
        let mut pages = SubBuffers::new(ByteOrder::Little, 8, 128);
        for time in 0..100 {
            assert!(pages.add(time, Missed::Count(time), &[time as u8; 12]));
            assert!(pages.add(time, Missed::No, &[time as u8; 20]));
        }
        assert!(!pages.add(100, Missed::No, &[0; 104]), "it cannot hold its header too");
        assert_eq!(pages.count(), 100);
        let found = read(&pages.finish(), ByteOrder::Little, 8, 128);
        assert_eq!(found.len(), 200);
        assert_eq!(found[199], (99, Missed::No, vec![99; 20]));
        assert_eq!(found[198].1, Missed::Count(99));
    }
}
