//! The kernel's ring buffer: reads records from sub-buffers; pure.
//!
//! A sub-buffer (one page, or several) is a header (`time_stamp`, `commit`) followed by events.
//! Each event starts with 32 bits, `type_len` and `time_delta`; their meaning is defined in the kernel's
//! `include/linux/ring_buffer.h`. The places of the header's parts come from `header_page`.

use std::ops::Range;

use crate::bytes::ByteOrder;
use crate::error::{Error, Result};
use crate::header_page;

/// The low bits of `commit`: the size of the data in bytes.
const COMMIT_MASK: u64 = 0x7ff_ffff;
/// Events were lost before this sub-buffer.
const MISSED_EVENTS: u64 = 1 << 31;
/// The number of lost events follows the data.
const MISSED_STORED: u64 = 1 << 30;

const TYPE_PADDING: u32 = 29;
const TYPE_TIME_EXTEND: u32 = 30;
const TYPE_TIME_STAMP: u32 = 31;
/// `time_delta` has 27 bits; a time extend carries the higher ones.
const DELTA_BITS: u32 = 27;
/// An absolute time stamp has 59 bits; the higher bits are those of the previous time.
const STAMP_MASK: u64 = (1 << 59) - 1;

/// How many events were lost before a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// None.
    No,
    /// Some; the kernel did not say how many.
    Some,
    /// This many.
    Count(u64),
}

/// The places of the parts of a sub-buffer, and the byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    order: ByteOrder,
    long_size: usize,
    time_stamp: usize,
    commit: usize,
    data: usize,
}

impl Layout {
    /// Reads the text of `header_page`. `long_size` is that of the recorded kernel, 4 or 8.
    ///
    /// Fails when a field is missing, or is beyond any page.
    ///
    /// ```
    /// use trace_dat::bytes::ByteOrder;
    /// use trace_dat::ring_buffer::Layout;
    /// let text = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
    ///             \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
    ///             \tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n";
    /// assert!(Layout::parse(text, ByteOrder::Little, 8).is_ok());
    /// assert!(Layout::parse("", ByteOrder::Little, 8).is_err());
    /// ```
    pub fn parse(header_page: &str, order: ByteOrder, long_size: usize) -> Result<Layout> {
        let offset = |name: &str| -> Result<usize> {
            header_page::part(header_page, name)
                .map(|part| part.offset)
                .filter(|offset| *offset < 4096)
                .ok_or_else(|| Error::malformed(format!("header_page has no usable field '{name}'")))
        };
        Ok(Layout {
            order,
            long_size,
            time_stamp: offset("timestamp")?,
            commit: offset("commit")?,
            data: offset("data")?,
        })
    }

    /// The layout that every kernel uses so far, for files that do not state it.
    pub fn usual(order: ByteOrder, long_size: usize) -> Layout {
        Layout { order, long_size, time_stamp: 0, commit: 8, data: 8 + long_size }
    }

    /// The size of the header, which is also the smallest size of a sub-buffer.
    pub fn header_size(&self) -> usize {
        self.data
    }
}

/// A position in one sub-buffer. The sub-buffer is passed to each call, so nothing is borrowed or
/// allocated.
///
/// It holds the time and place of the current record. They are not returned as a value, because copying
/// that would take as long as decoding the next record.
#[derive(Debug, Clone)]
pub struct Walk {
    next: usize,
    end: usize,
    start: usize,
    size: usize,
    time: u64,
    missed: Missed,
    /// The events lost before the first record.
    missed_before: Missed,
}

impl Walk {
    /// A position before the first record of a sub-buffer.
    ///
    /// Fails when the header, or the data that it announces, do not fit into `page`.
    pub fn start(layout: &Layout, page: &[u8]) -> Result<Walk> {
        let long = |offset| layout.order.number_at(page, offset, layout.long_size);
        let (time, commit) = match (layout.order.number_at(page, layout.time_stamp, 8), long(layout.commit)) {
            (Some(time), Some(commit)) => (time, commit),
            _ => return Err(Error::malformed(format!("a sub-buffer of {} bytes has no header", page.len()))),
        };
        let size = (commit & COMMIT_MASK) as usize;
        let end = layout.data + size;
        if end > page.len() {
            return Err(Error::malformed(format!(
                "a sub-buffer of {} bytes announces {size} bytes of data",
                page.len()
            )));
        }
        let missed = match (commit & MISSED_EVENTS != 0, commit & MISSED_STORED != 0) {
            (false, _) => Missed::No,
            (true, false) => Missed::Some,
            (true, true) => long(end).map_or(Missed::Some, Missed::Count),
        };
        Ok(Walk {
            next: layout.data,
            end,
            start: end,
            size: 0,
            time,
            missed: Missed::No,
            missed_before: missed,
        })
    }

    /// The time of the record, in units of the trace clock.
    #[inline]
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Events lost before the record.
    #[inline]
    pub fn missed(&self) -> Missed {
        self.missed
    }

    /// The place of the payload in the sub-buffer: the event, from its common fields on.
    #[inline]
    pub fn payload(&self) -> Range<usize> {
        self.start..self.start + self.size
    }

    /// Goes to the next record; false at the end of the data.
    ///
    /// Fails when an event does not fit into the data; what follows it cannot be read.
    #[inline(always)]
    pub fn advance(&mut self, layout: &Layout, page: &[u8]) -> Result<bool> {
        // Nearly all events are records with their size in the first 32 bits.
        if self.next < self.end
            && let Some(head) = layout.order.u32_at(page, self.next)
        {
            let (type_len, delta) = split_head(layout.order, head);
            let end = self.next + 4 + 4 * type_len as usize;
            if (1..TYPE_PADDING).contains(&type_len) && end <= self.end {
                self.time = self.time.wrapping_add(delta);
                (self.start, self.size) = (self.next + 4, 4 * type_len as usize);
                self.next = end;
                self.missed = std::mem::replace(&mut self.missed_before, Missed::No);
                return Ok(true);
            }
        }
        self.advance_over_any(layout, page)
    }

    /// The same for an event of any type.
    fn advance_over_any(&mut self, layout: &Layout, page: &[u8]) -> Result<bool> {
        let word = |offset: usize| {
            layout.order.u32_at(page, offset).filter(|_| offset + 4 <= self.end).ok_or_else(|| cut(offset))
        };
        while self.next < self.end {
            let at = self.next;
            let head = word(at)?;
            let (type_len, delta) = split_head(layout.order, head);
            let (start, size) = match type_len {
                TYPE_PADDING if delta == 0 => return Ok(false),
                TYPE_PADDING => {
                    self.time = self.time.wrapping_add(delta);
                    self.next = advance(at, 4, word(at + 4)? as usize, self.end)?;
                    continue;
                }
                TYPE_TIME_EXTEND => {
                    let high = u64::from(word(at + 4)?);
                    self.time = self.time.wrapping_add((high << DELTA_BITS) + delta);
                    self.next = at + 8;
                    continue;
                }
                TYPE_TIME_STAMP => {
                    let stamp = (u64::from(word(at + 4)?) << DELTA_BITS) + delta;
                    self.time = self.time & !STAMP_MASK | stamp & STAMP_MASK;
                    self.next = at + 8;
                    continue;
                }
                0 => {
                    // The length includes its own four bytes.
                    let length = word(at + 4)? as usize;
                    let payload = length.checked_sub(4).filter(|n| *n > 0).ok_or_else(|| cut(at))?;
                    (at + 8, payload.next_multiple_of(4))
                }
                words => (at + 4, words as usize * 4),
            };
            self.next = advance(start, 0, size, self.end)?;
            self.time = self.time.wrapping_add(delta);
            (self.start, self.size) = (start, size);
            self.missed = std::mem::replace(&mut self.missed_before, Missed::No);
            return Ok(true);
        }
        Ok(false)
    }
}

/// An event's `type_len` and `time_delta`.
#[inline]
fn split_head(order: ByteOrder, head: u32) -> (u32, u64) {
    let (type_len, delta) = match order {
        ByteOrder::Little => (head & 31, head >> 5),
        ByteOrder::Big => (head >> DELTA_BITS, head & ((1 << DELTA_BITS) - 1)),
    };
    (type_len, u64::from(delta))
}

fn advance(from: usize, header: usize, size: usize, end: usize) -> Result<usize> {
    from.checked_add(header)
        .and_then(|next| next.checked_add(size))
        .filter(|next| *next <= end)
        .ok_or_else(|| cut(from))
}

fn cut(offset: usize) -> Error {
    Error::malformed(format!("the event at byte {offset} of a sub-buffer goes beyond its data"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(order: ByteOrder, long_size: usize, commit: u64, words: &[u32]) -> Vec<u8> {
        let number = |value: u64, size: usize| match order {
            ByteOrder::Little => value.to_le_bytes()[..size].to_vec(),
            ByteOrder::Big => value.to_be_bytes()[8 - size..].to_vec(),
        };
        let mut page = number(1000, 8);
        page.extend(number(commit | (words.len() as u64 * 4), long_size));
        words.iter().for_each(|word| page.extend(number(u64::from(*word), 4)));
        page.extend(number(7, long_size));
        page
    }

    fn head(order: ByteOrder, type_len: u32, delta: u32) -> u32 {
        match order {
            ByteOrder::Little => type_len | delta << 5,
            ByteOrder::Big => type_len << 27 | delta,
        }
    }

    fn walk(layout: &Layout, page: &[u8]) -> Result<Vec<Walk>> {
        let mut walk = Walk::start(layout, page)?;
        let mut found = Vec::new();
        while walk.advance(layout, page)? {
            found.push(walk.clone());
        }
        Ok(found)
    }

    #[test]
    fn every_kind_of_event_in_both_byte_orders_and_long_sizes() {
        for (order, long) in
            [(ByteOrder::Little, 8), (ByteOrder::Big, 8), (ByteOrder::Little, 4), (ByteOrder::Big, 4)]
        {
            let words = [
                head(order, 2, 5),
                1,
                2,
                head(order, TYPE_TIME_EXTEND, 1),
                2,
                head(order, TYPE_PADDING, 1),
                4,
                head(order, 0, 3),
                4 + 6,
                8,
                9,
                head(order, TYPE_TIME_STAMP, 4),
                1,
                head(order, 1, 1),
                3,
                head(order, TYPE_PADDING, 0),
                99,
            ];
            let found = walk(&Layout::usual(order, long), &page(order, long, 0, &words)).unwrap();
            let base = 8 + long;
            let extended = 1005 + (2 << 27) + 1 + 1 + 3;
            let expected = [(1005, base + 4, 8), (extended, base + 36, 8), ((1 << 27) + 5, base + 56, 4)];
            let found: Vec<_> =
                found.iter().map(|walk| (walk.time(), walk.payload().start, walk.payload().len())).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn missed_events_belong_to_the_first_record() {
        let order = ByteOrder::Little;
        let words = [head(order, 1, 0), 0, head(order, 1, 0), 0];
        let missed = |commit| -> Vec<Missed> {
            let page = page(order, 8, commit, &words);
            walk(&Layout::usual(order, 8), &page).unwrap().iter().map(Walk::missed).collect()
        };
        assert_eq!(missed(0), [Missed::No, Missed::No]);
        assert_eq!(missed(MISSED_EVENTS), [Missed::Some, Missed::No]);
        assert_eq!(missed(MISSED_EVENTS | MISSED_STORED), [Missed::Count(7), Missed::No]);
    }

    #[test]
    fn events_beyond_the_data_are_errors() {
        let order = ByteOrder::Little;
        for words in [
            vec![head(order, 3, 0), 0],
            vec![head(order, 0, 0), 0xffff_fff0],
            vec![head(order, 0, 0), 0],
            vec![head(order, 0, 0)],
            vec![head(order, TYPE_TIME_EXTEND, 0)],
            vec![head(order, TYPE_PADDING, 1), 0xffff_ffff],
        ] {
            assert!(walk(&Layout::usual(order, 8), &page(order, 8, 0, &words)).is_err(), "{words:x?}");
        }
        assert!(Walk::start(&Layout::usual(order, 8), &page(order, 8, 4096, &[])).is_err());
        assert!(Walk::start(&Layout::usual(order, 8), &[0; 15]).is_err());
    }
}
