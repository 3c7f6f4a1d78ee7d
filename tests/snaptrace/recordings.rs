//! `report` on the recordings of `tests/recordings`, against the text that trace-cmd prints, and that
//! the kernel itself would print where ours is asked for.

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;

use snaptrace::report::{Config, Style, report};
use trace_dat::ring_buffer::SubBuffers;
use trace_dat::write::{Compression, CpuData, write};
use trace_dat::{Reader, Version};

use crate::fixture::stored::{bytes, folder, names};

/// What recordings with a `filter.txt` are filtered by.
const FILTER: &str = "sched_switch: prev_comm =~ \"s\" && next_pid & 1 || COMM != \"sh\"";

/// What follows a recording's name in that of a text, and how the report is asked for it.
fn variants() -> Vec<(&'static str, Config)> {
    let usual = Config { style: Style::TraceCmd31, ..Config::default() };
    let latest = Config { style: Style::TraceCmd34, ..Config::default() };
    vec![
        ("ours.txt", Config::default()),
        ("ours.raw.txt", Config { raw_fields: true, ..Config::default() }),
        ("txt", usual.clone()),
        ("ns.txt", Config { nanoseconds: true, ..usual.clone() }),
        ("latency.txt", Config { latency: true, ..usual.clone() }),
        ("raw.txt", Config { raw_fields: true, ..usual.clone() }),
        ("kernel.txt", Config { kernel_formats: true, ..usual.clone() }),
        ("parent.txt", Config { parent: Some(true), ..usual.clone() }),
        ("wakeups.txt", Config { wakeups: true, ..usual.clone() }),
        ("filter.txt", Config { include: vec![FILTER.into()], ..usual }),
        ("3.4.txt", latest.clone()),
        ("3.4.latency.txt", Config { latency: true, ..latest.clone() }),
        ("3.4.raw.txt", Config { raw_fields: true, ..latest.clone() }),
        ("3.4.kernel.txt", Config { kernel_formats: true, ..latest.clone() }),
        ("3.4.parent.txt", Config { parent: Some(true), offset: true, ..latest }),
    ]
}

fn printed(recording: &str, config: &Config) -> String {
    let mut out = Vec::new();
    let reader = Reader::new(recording, bytes(recording)).unwrap();
    report(&reader, config, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn every_recording_is_printed_as_its_texts_say() {
    let (mut compared, mut differing, mut with_text) = (0, Vec::new(), BTreeSet::new());
    for recording in names(".dat") {
        for (ending, config) in variants() {
            let name = format!("{recording}.{ending}");
            let Ok(expected) = fs::read_to_string(folder("recordings").join(&name)) else { continue };
            compared += 1;
            with_text.insert(recording.clone());
            let printed = printed(&recording, &config);
            let lines = printed.lines().zip(expected.lines());
            match lines.enumerate().find(|(_, (printed, expected))| printed != expected) {
                Some((at, (printed, expected))) => differing
                    .push(format!("{name}, line {}\n  printed:  {printed}\n  expected: {expected}", at + 1)),
                None if printed != expected => differing.push(format!("{name}: another number of lines")),
                None => {}
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert_eq!(with_text, names(".dat"), "a recording has no text");
    // No text without a recording: it would compare with nothing.
    assert_eq!(compared, names(".txt").len());
}

#[test]
fn what_was_reported_is_printed_in_both_styles() {
    // The text behind the event's name: trace-cmd's, and ours.
    for (recording, trace_cmd, ours) in [
        (
            "btrfs_chunk_alloc",
            "00010203-0405-0607-0809-0a0b0c0d0e0f: root=2(EXTENT_TREE) offset=4096 size=8192",
            "00010203-0405-0607-0809-0a0b0c0d0e0f: root=2(EXTENT_TREE) offset=4096 size=8192",
        ),
        ("stridx", "", " yes"),
        ("vlan", "skbaddr=0xffff888000000000K len=60", "skbaddr=0xffff888000000000 len=60"),
        ("ext4_mflags", "mflags ", "mflags "),
        (
            "ipi_send_cpumask",
            "cpumask=0,2 callsite=startup_64+0x10 callback=do_one+0x0",
            "cpumask=00000000,00000005 callsite=startup_64+0x10 callback=do_one+0x0",
        ),
    ] {
        for (style, expected) in [(Style::TraceCmd31, trace_cmd), (Style::Snaptrace, ours)] {
            let text = printed(recording, &Config { style, ..Config::default() });
            assert!(text.ends_with(&format!(" {expected}\n")), "{recording}: {text}");
        }
    }
    // Every one of them has a text of ours, too.
    let old = printed("bprint_old", &Config { raw_fields: true, ..Config::default() });
    assert_eq!(old.lines().count(), 2, "{old}");
    assert!(names(".ours.txt").len() >= 13);
}

#[test]
fn clocks_count_what_the_kernel_says() {
    let recorded = bytes("clock-tai");
    let at = recorded.windows(5).position(|bytes| bytes == b"[tai]").unwrap();
    // The clock as the file has it, and whether it counts nanoseconds: to the kernel, and to trace-cmd.
    for (clock, ours, trace_cmd) in [
        ("[tai]", true, true),
        ("[boot]", true, false),
        ("[uptime]", false, true),
        ("[mono_raw]", true, true),
        ("[counter]", false, false),
        ("[x86-tsc]", false, false),
    ] {
        let mut bytes = recorded.clone();
        bytes[at - 8..at].copy_from_slice(&(clock.len() as u64).to_le_bytes());
        bytes[at..at + clock.len()].copy_from_slice(clock.as_bytes());
        for (style, nanoseconds) in [(Style::Snaptrace, ours), (Style::TraceCmd31, trace_cmd)] {
            let mut out = Vec::new();
            let reader = Reader::new(clock, bytes.clone()).unwrap();
            report(&reader, &Config { style, ..Config::default() }, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            let time = if nanoseconds { " 1795794500.607290: " } else { "1795794500607289930: " };
            assert!(text.contains(time), "{clock}, {style:?}: {text}");
        }
    }
}

#[test]
fn recordings_differ_in_what_they_are_there_for() {
    let read = |name: &str| Reader::new(name, bytes(name)).unwrap();
    assert_eq!(read("5.4-v6").container().version(), Version::V6);
    assert_eq!(read("5.4-trace-cmd-v6").container().version(), Version::V6);
    assert_eq!(read("5.4-function").container().version(), Version::V7);
    assert_eq!(read("5.4-events").clock(), Some("mono"));
    let instances: Vec<String> =
        read("5.4-trace-cmd-instance").buffers().iter().map(|buffer| buffer.name.clone()).collect();
    assert_eq!(instances, ["", "other"]);
    let stack = printed("5.4-stack", &Config::default());
    assert!(stack.contains("__kmalloc <-- security_prepare_creds"), "{stack}");
    assert!(stack.contains("=> security_prepare_creds (ffffffff811f747c)\n=> prepare_creds ("), "{stack}");
    for name in ["5.4-events", "5.4-trace-cmd-v6", "debian-6.1-graph"] {
        let text = printed(name, &Config::default());
        assert!(text.starts_with("cpus=2\n"), "{name}");
        assert!(["[000]", "[001]"].iter().all(|cpu| text.contains(cpu)), "{name} has one CPU only");
    }
}

#[test]
fn arguments_are_printed_as_the_kernel_prints_them() {
    for (name, start, caller) in
        [("debian-7-args-function", "function: ", " <-- "), ("debian-7-args-graph", "|  ", "\n")]
    {
        let trace = fs::read_to_string(folder("recordings").join(format!("{name}.trace"))).unwrap();
        // What stands before differs: the kernel has other columns.
        let kernel: Vec<String> = trace
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(if start == "|  " { start } else { ": " }))
            .map(|(_, text)| text.replace(" <-", caller))
            .collect();
        let text = with_types(name);
        let ours: Vec<String> = text
            .lines()
            .filter_map(|line| line.split_once(start))
            .map(|(_, text)| text.trim_start_matches(if start == "|  " { "" } else { " " }).to_owned())
            .collect();
        assert!(ours.iter().any(|line| line.contains("(file=0xffff")), "{text}");
        assert_eq!(ours, kernel, "{name}");
    }
}

/// The own text of a recording that was made without the kernel's types, with them put in.
fn with_types(name: &str) -> String {
    let reader = Reader::new(name, bytes(name)).unwrap();
    let mut metadata = reader.container().metadata().unwrap();
    metadata.btf = fs::read(folder("recordings").join("debian-7.btf")).unwrap();
    let context = reader.context();
    let mut pages = SubBuffers::new(context.order, context.long_size, reader.buffers()[0].page_size);
    let mut records = reader.records();
    while let Some(record) = records.next() {
        assert!(pages.add(record.time, record.missed, record.data));
    }
    let pages = pages.finish();
    let cpu = CpuData { cpu: 0, size: pages.len() as u64, data: &mut pages.as_slice() };
    let mut file = Cursor::new(Vec::new());
    write(&mut file, Version::V7, Compression::Zstd, &metadata, &mut [cpu]).unwrap();
    let reader = Reader::new(name, file.into_inner()).unwrap();
    assert_eq!(reader.container().metadata().unwrap().btf, metadata.btf);
    let mut out = Vec::new();
    report(&reader, &Config::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}
