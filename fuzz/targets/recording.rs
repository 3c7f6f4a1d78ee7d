//! A trace.dat of whatever bytes: opened, reported in several ways, dumped and counted.

#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;
use snaptrace::report::{Config, Style, report};
use trace_dat::Reader;
use snaptrace::analysis::{check_events, dump, hist, profile};

fuzz_target!(|data: &[u8]| {
    let Ok(reader) = Reader::new("fuzz.dat", data.to_vec()) else { return };
    let plain = Config { style: Style::TraceCmd31, ..Config::default() };
    let rich = Config {
        latency: true,
        raw_fields: true,
        kernel_formats: true,
        time_difference: true,
        offset: true,
        graph_tail: true,
        graph_depth: true,
        wakeups: true,
        pids: vec![7],
        ..Config::default()
    };
    // Errors are welcome here; panics, hangs and memory without bounds are not.
    let _ = report(&reader, &plain, io::sink());
    let _ = report(&reader, &rich, io::sink());
    let _ = hist::hist(&reader, &hist::Config::default(), &mut io::sink());
    let _ = profile::profile(&reader, &profile::Config::default());
    let _ = dump::dump(reader.container(), &dump::Config::all(), &mut io::sink());
    if let Ok(metadata) = reader.container().metadata() {
        check_events::check(&metadata);
    }
});
