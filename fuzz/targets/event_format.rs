//! A format file, a NUL and a record: the format compiled, the record printed by it.

#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use trace_dat::bytes::ByteOrder;
use trace_dat::event::{Context, Events, Symbols};
use trace_dat::print_fmt::{Run, Way};

fuzz_target!(|data: &[u8]| {
    let (text, record) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[][..]),
    };
    let text = String::from_utf8_lossy(text);
    for (order, long_size) in [(ByteOrder::Little, 8), (ByteOrder::Big, 4)] {
        let mut events = Events::default();
        if events.add("demo", &text, long_size).is_err() {
            continue;
        }
        let context = Context {
            order,
            long_size,
            symbols: Symbols::parse("1000 T open\n2000 T close [demo]\n3000 T last\n".to_owned()),
            printk: HashMap::from([(0x1000, b"%s and %d\n".to_vec())]),
        };
        let mut out = Vec::new();
        events.of(order, record);
        events.latency(order, record, &mut out);
        for event in events.iter() {
            for program in [event.print(false), event.print(true)] {
                let run = Run::new(event, record, &context);
                if let Some(program) = program {
                    run.print(program, &mut out);
                }
                for way in [Way::Ours, Way::TraceCmd, Way::LaterTraceCmd] {
                    run.fields(program, way, &mut out);
                }
            }
        }
    }
});
