//! A byte that chooses the machine, and a sub-buffer: its records walked, written again, and equal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trace_dat::bytes::ByteOrder;
use trace_dat::ring_buffer::SubBuffers;
use trace_dat::ring_buffer::{Layout, Missed, Walk};

/// Time, missed events and payload of the records up to the first damage.
fn records(layout: &Layout, page: &[u8]) -> Vec<(u64, Missed, Vec<u8>)> {
    let mut records = Vec::new();
    let Ok(mut walk) = Walk::start(layout, page) else { return records };
    while let Ok(true) = walk.advance(layout, page) {
        records.push((walk.time(), walk.missed(), page[walk.payload()].to_vec()));
    }
    records
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, page)) = data.split_first() else { return };
    let order = if choice & 1 == 0 { ByteOrder::Little } else { ByteOrder::Big };
    let long_size = if choice & 2 == 0 { 8 } else { 4 };
    if choice & 4 != 0 {
        let (text, page) = page.split_at(page.len() / 2);
        if let Ok(layout) = Layout::parse(&String::from_utf8_lossy(text), order, long_size) {
            records(&layout, page);
        }
        return;
    }
    let layout = Layout::usual(order, long_size);
    let found = records(&layout, page);
    // As every page is, and with room for what the other one left out.
    let size = (page.len() + 64).next_multiple_of(4);
    let mut written = SubBuffers::new(order, long_size, size);
    for (time, missed, payload) in &found {
        assert!(written.add(*time, *missed, payload), "a record of a smaller page has room");
    }
    let bytes = written.finish();
    let again: Vec<_> = bytes.chunks(size).flat_map(|page| records(&layout, page)).collect();
    assert_eq!(again.len(), found.len());
    for (again, found) in again.iter().zip(&found) {
        assert_eq!((again.0, &again.2), (found.0, &found.2));
    }
});
