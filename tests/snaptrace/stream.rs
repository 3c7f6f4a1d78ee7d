//! The lines of `stream` are those of `report`, wherever a pass ends: the recordings of
//! `tests/recordings` are taken apart and come in passes.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::Mutex;
use std::thread;

use snaptrace::report::passes::{Passes, Prepared};
use snaptrace::report::{Config, Style, report};
use trace_dat::Reader;
use trace_dat::live::Part;
use trace_dat::ring_buffer::Missed;
use trace_dat::ring_buffer::SubBuffers;
use trace_dat::write::{Compression, Version, write};

use crate::fixture::stored::{bytes, names};

/// A recording taken apart.
struct Recorded {
    name: String,
    reader: Reader,
    /// By time, as a report goes through them.
    records: Vec<Taken>,
    /// Buffers and CPUs, in their order.
    cpus: Vec<(usize, u32)>,
}

struct Taken {
    buffer: usize,
    cpu: u32,
    time: u64,
    missed: Missed,
    data: Vec<u8>,
}

impl Recorded {
    fn open(name: &str) -> Recorded {
        let bytes = bytes(name);
        Recorded::of(name, Reader::new(name, bytes).unwrap())
    }

    fn of(name: &str, reader: Reader) -> Recorded {
        let mut records = Vec::new();
        let mut all = reader.records();
        while let Some(record) = all.next() {
            let data = record.data.to_vec();
            let (buffer, cpu, time, missed) = (record.buffer, record.cpu, record.time, record.missed);
            records.push(Taken { buffer, cpu, time, missed, data });
        }
        all.finish().unwrap();
        let cpus = (0..).zip(reader.buffers());
        let cpus = cpus.flat_map(|(buffer, of)| of.cpus.iter().map(move |data| (buffer, data.cpu))).collect();
        Recorded { name: name.to_owned(), reader, records, cpus }
    }

    /// The text of a report, and whether it found damage.
    fn reported(&self, config: &Config) -> (String, bool) {
        let mut out = Vec::new();
        let outcome = report(&self.reader, config, &mut out);
        (String::from_utf8_lossy(&out).into_owned(), outcome.is_err())
    }

    /// What a pass reads: each CPU's records among these.
    fn sub_buffers<'a>(
        &self,
        records: impl Iterator<Item = &'a Taken> + Clone,
    ) -> Vec<(usize, u32, Vec<u8>)> {
        let context = self.reader.context();
        let of = |&(buffer, cpu): &(usize, u32)| {
            let size = self.reader.buffers()[buffer].page_size;
            let mut pages = SubBuffers::new(context.order, context.long_size, size);
            for record in records.clone().filter(|record| (record.buffer, record.cpu) == (buffer, cpu)) {
                assert!(pages.add(record.time, record.missed, &record.data), "{}", self.name);
            }
            (buffer, cpu, pages.finish())
        };
        self.cpus.iter().map(of).collect()
    }

    /// The text when passes end before the records of these numbers.
    fn passed(&self, config: &Config, ends: &[usize]) -> (String, bool) {
        let prepared = Prepared::new(&self.reader, config).unwrap();
        let mut passes = Passes::new(&prepared);
        let mut out = Vec::new();
        let mut start = 0;
        for &end in ends.iter().chain([&self.records.len()]) {
            let pages = self.sub_buffers(self.records[start..end].iter());
            passes.pass(&parts(&pages), &mut out).unwrap();
            start = end;
        }
        let outcome = passes.finish(&mut out);
        (String::from_utf8_lossy(&out).into_owned(), outcome.is_err())
    }
}

fn parts(pages: &[(usize, u32, Vec<u8>)]) -> Vec<Part<'_>> {
    pages.iter().map(|(buffer, cpu, data)| Part { buffer: *buffer, cpu: *cpu, data, whole: true }).collect()
}

/// Runs a check on every recording, on all processors.
fn on_every_recording(check: impl Fn(&Recorded) + Sync) {
    let names = Mutex::new(names(".dat"));
    let work = || {
        loop {
            let Some(name) = names.lock().unwrap().pop_last() else { return };
            let recorded = Recorded::open(&name);
            if recorded.reader.latency_text().is_none() {
                check(&recorded);
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
}

fn same(recorded: &Recorded, what: &str, passed: &(String, bool), reported: &(String, bool)) {
    if passed == reported {
        return;
    }
    let mut lines = passed.0.lines().zip(reported.0.lines());
    let first = lines.find(|(passed, reported)| passed != reported);
    panic!("{}, {what}: stream and report differ, first in {first:?}", recorded.name);
}

/// Every recording in two passes, the first of which ends after each record in turn.
fn cut_at_any_one_place(config: &Config) {
    on_every_recording(|recorded| {
        let reported = recorded.reported(config);
        for end in 0..=recorded.records.len() {
            same(recorded, &format!("cut at {end}"), &recorded.passed(config, &[end]), &reported);
        }
    });
}

#[test]
fn passes_that_end_at_any_one_place_give_the_lines_of_a_report() {
    cut_at_any_one_place(&Config::default());
}

#[test]
fn passes_that_end_at_any_one_place_give_the_lines_of_a_report_in_the_style_of_trace_cmd() {
    let config =
        Config { style: Style::TraceCmd31, time_difference: true, wakeups: true, ..Config::default() };
    cut_at_any_one_place(&config);
}

#[test]
fn passes_of_one_record_each_give_the_lines_of_a_report() {
    let own = Config::default();
    let theirs = Config { style: Style::TraceCmd31, ..Config::default() };
    let configs = [
        own.clone(),
        Config { nanoseconds: true, time_difference: true, wakeups: true, ..own.clone() },
        Config { graph_tail: true, graph_depth: true, offset: true, ..own.clone() },
        Config { latency: true, raw_time: true, ..own.clone() },
        Config { raw_fields: true, ..own.clone() },
        Config { kernel_formats: true, no_indent: true, ..own },
        Config { time_difference: true, wakeups: true, ..theirs.clone() },
        Config { style: Style::TraceCmd33, latency: true, ..theirs.clone() },
        theirs,
    ];
    on_every_recording(|recorded| {
        let ends: Vec<usize> = (1..recorded.records.len()).collect();
        for config in &configs {
            let reported = recorded.reported(config);
            same(recorded, &format!("{config:?}"), &recorded.passed(config, &ends), &reported);
        }
    });
}

#[test]
fn a_cpu_that_is_read_after_another_does_not_come_before_it() {
    let mut shifted = 0;
    on_every_recording_of_two(|recorded| {
        let config = Config::default();
        let reported = recorded.reported(&config);
        for step in [1, 2, 7] {
            let prepared = Prepared::new(&recorded.reader, &config).unwrap();
            let mut passes = Passes::new(&prepared);
            let mut out = Vec::new();
            let count = recorded.records.len();
            // Of the CPUs after the first a pass sees, too, what came until they were read.
            let end = |pass: usize, place: usize| ((pass + place.min(1)) * step).min(count);
            for pass in 1.. {
                let came = recorded.records.iter().enumerate().filter(|(at, record)| {
                    let place = recorded.cpus.iter().position(|cpu| *cpu == (record.buffer, record.cpu));
                    let start = if pass == 1 { 0 } else { end(pass - 1, place.unwrap()) };
                    (start..end(pass, place.unwrap())).contains(at)
                });
                let pages = recorded.sub_buffers(came.map(|(_, record)| record));
                passes.pass(&parts(&pages), &mut out).unwrap();
                if end(pass, 0) == count {
                    break;
                }
            }
            passes.finish(&mut out).unwrap();
            let passed = (String::from_utf8(out).unwrap(), false);
            same(recorded, &format!("steps of {step}"), &passed, &reported);
        }
        shifted += 1;
    });
    assert!(shifted > 3);
}

fn on_every_recording_of_two(mut check: impl FnMut(&Recorded)) {
    for name in names(".dat") {
        let recorded = Recorded::open(&name);
        if recorded.cpus.len() == 2 && recorded.reader.buffers().iter().any(|buffer| buffer.cpus.len() == 2) {
            check(&recorded);
        }
    }
}

#[test]
fn a_call_is_held_for_two_passes_and_then_goes_on() {
    let recorded = Recorded::open("5.4-graph");
    let config = Config::default();
    let (reported, _) = recorded.reported(&config);
    let leaf = reported.lines().position(|line| line.ends_with("();")).unwrap();
    // Every line before it, but the first, is a record, or two where it is a leaf too; this is the first.
    let pages = recorded.sub_buffers(recorded.records[..leaf].iter());
    let prepared = Prepared::new(&recorded.reader, &config).unwrap();
    let mut passes = Passes::new(&prepared);
    let mut out = Vec::new();
    passes.pass(&parts(&pages), &mut out).unwrap();
    for _ in 0..2 {
        let text = String::from_utf8(out.clone()).unwrap();
        assert!(reported.starts_with(&text), "{text}");
        assert!(text.lines().count() < leaf + 1, "{text}");
        passes.pass(&parts(&recorded.sub_buffers([].iter())), &mut out).unwrap();
    }
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count(), leaf + 1, "{text}");
    assert!(text.ends_with("() {\n"), "{text}");
}

#[test]
fn damage_ends_its_cpu_and_is_told_at_the_end() {
    let recorded = Recorded::open("debian-6.1-events");
    let config = Config::default();
    let prepared = Prepared::new(&recorded.reader, &config).unwrap();
    let mut passes = Passes::new(&prepared);
    let mut out = Vec::new();
    let half = recorded.records.len() / 2;
    let mut pages = recorded.sub_buffers(recorded.records[..half].iter());
    pages[0].2.extend([0xff; 4096]);
    pages[1].2.extend([7; 5]);
    passes.pass(&parts(&pages), &mut out).unwrap();
    let text = String::from_utf8_lossy(&out).into_owned();
    passes.pass(&parts(&recorded.sub_buffers(recorded.records[half..].iter())), &mut out).unwrap();
    let error = passes.finish(&mut out).unwrap_err().to_string();
    assert!(error.contains("CPU 0: a sub-buffer of 4096 bytes announces"), "{error}");
    let all = String::from_utf8_lossy(&out).into_owned();
    assert!(text.lines().count() > half / 2, "{text}");
    assert!(recorded.reported(&config).0.starts_with(&all), "what was sound is printed: {all}");
}

/// Recording, pid, and the command in the stream and in the report, where the kernel tells commands
/// only before the last pass. Until then a process has the one that a switch or a wakeup told.
const LATE: [&str; 16] = [
    "5.4-events: -101 <...> snaptrace",
    "5.4-events: -102 snaptrace workload",
    "5.4-events: -103 snaptrace cpu0",
    "5.4-events: -104 snaptrace cpu1",
    "5.4-events: -105 workload cat",
    "5.4-events: -107 workload cat",
    "5.4-graph: -100 <...> cat",
    "5.4-graph: -94 <...> snaptrace",
    "5.4-graph: -95 <...> workload",
    "5.4-graph: -96 <...> cpu0",
    "5.4-graph: -97 <...> cpu1",
    "5.4-graph: -98 <...> cat",
    "debian-6.1-v6: -211 <...> snaptrace",
    "debian-6.1-v6: -212 snaptrace workload",
    "debian-6.1-v6: -215 workload cat",
    "debian-6.1-v6: -217 workload cat",
];

#[test]
fn a_command_that_is_known_later_is_the_only_difference() {
    let mut late = BTreeSet::new();
    for name in ["5.4-events", "5.4-graph", "debian-6.1-v6"] {
        let bytes = bytes(name);
        let whole = Recorded::of(name, Reader::new(name, bytes).unwrap());
        let mut metadata = whole.reader.container().metadata().unwrap();
        let commands = std::mem::take(&mut metadata.cmdlines);
        let mut file = Cursor::new(Vec::new());
        write(&mut file, Version::V7, Compression::None, &metadata, &mut []).unwrap();
        let reader = Reader::new(name, file.into_inner()).unwrap();
        let config = Config::default();
        let prepared = Prepared::new(&reader, &config).unwrap();
        let mut passes = Passes::new(&prepared);
        let mut out = Vec::new();
        let (last, first) = whole.records.split_last().unwrap();
        for record in first {
            passes.pass(&parts(&whole.sub_buffers([record].into_iter())), &mut out).unwrap();
        }
        passes.learn(commands);
        passes.pass(&parts(&whole.sub_buffers([last].into_iter())), &mut out).unwrap();
        passes.finish(&mut out).unwrap();
        let passed = String::from_utf8(out).unwrap();
        let (reported, _) = whole.reported(&config);
        assert_eq!(passed.lines().count(), reported.lines().count(), "{name}");
        for (passed, reported) in passed.lines().zip(reported.lines()).skip(1) {
            // The command's column.
            let (in_stream, rest) = passed.split_at(16);
            let (in_report, expected) = reported.split_at(16);
            assert_eq!(rest, expected, "{name}");
            if in_stream != in_report {
                let pid = rest.split_whitespace().next().unwrap();
                late.insert(format!("{name}: {pid} {} {}", in_stream.trim(), in_report.trim()));
            }
        }
    }
    assert_eq!(late.iter().map(String::as_str).collect::<Vec<_>>(), LATE);
}
