//! An event filter, a NUL and a record: the filter compiled for two events, and asked of the record.

#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use trace_dat::bytes::ByteOrder;
use trace_dat::event::{Context, Events, Symbols};
use trace_dat::filter::Grouping;
use trace_dat::filter::{Filter, Subject};

const FORMATS: [&str; 2] = [include_str!("../formats/switch.txt"), include_str!("../formats/mark.txt")];

fuzz_target!(|data: &[u8]| {
    let (text, record) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[][..]),
    };
    let text = String::from_utf8_lossy(text);
    let mut events = Events::default();
    for format in FORMATS {
        events.add("demo", format, 8).expect("the formats are sound");
    }
    let context = Context {
        order: ByteOrder::Little,
        long_size: 8,
        symbols: Symbols::parse("1000 T open\n2000 T close\n".to_owned()),
        printk: HashMap::new(),
    };
    for grouping in [Grouping::AsC, Grouping::LeftToRight] {
        let Ok(filter) = Filter::compile(&text, &events, grouping) else { continue };
        for event in events.iter() {
            filter.matches(event, Subject { data: record, cpu: 1, time: 1 << 40, comm: b"cat" }, &context);
        }
    }
});
