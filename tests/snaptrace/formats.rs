//! The print formats of real kernels: each is understood, or on the list of those that no reader can
//! have. `formats/README.md` tells where they are from.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;

use ruzstd::decoding::StreamingDecoder;
use snaptrace::analysis::check_events;
use snaptrace::report::{Config, report};
use trace_dat::Reader;
use trace_dat::bytes::ByteOrder;
use trace_dat::event::{Event, Events};
use trace_dat::ring_buffer::Missed;
use trace_dat::ring_buffer::SubBuffers;
use trace_dat::write::{Metadata, System};

use crate::fixture::made_up::{metadata, written};
use crate::fixture::stored::folder;

const PAGE: usize = 4096;

/// What every format file begins with.
const COMMON: &str = "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
    \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n";

/// A format of `formats.txt.zst`.
struct Format {
    system: String,
    name: String,
    /// The kernels that have it.
    kernels: String,
    /// Fields and print format.
    text: String,
}

impl Format {
    /// As the kernel's file would have it.
    fn file(&self, id: usize) -> String {
        let (fields, print) = self.text.split_at(self.text.find("print fmt:").unwrap());
        format!("name: {}\nID: {id}\nformat:\n{COMMON}\n{fields}\n{print}", self.name)
    }

    /// What `of` has to say of the event.
    fn with<T>(&self, of: impl Fn(&Event) -> T) -> T {
        let mut events = Events::default();
        events.add(&self.system, &self.file(1), 8).unwrap();
        of(events.get(0).unwrap())
    }

    fn why_not(&self) -> Option<String> {
        self.with(|event| event.why_not().map(str::to_owned))
    }

    fn full_name(&self) -> String {
        format!("{}:{}", self.system, self.name)
    }
}

/// All formats: behind a line `=== SYSTEM/EVENT: KERNEL...`, the format without what all have.
fn formats() -> Vec<Format> {
    let packed = File::open(folder("formats").join("formats.txt.zst")).unwrap();
    let mut all = String::new();
    StreamingDecoder::new(packed).unwrap().read_to_string(&mut all).unwrap();
    let formats = all.strip_prefix("=== ").unwrap().split("\n=== ").map(|part| {
        let (head, text) = part.split_once('\n').unwrap();
        let (event, kernels) = head.split_once(": ").unwrap();
        let (system, name) = event.split_once('/').unwrap();
        Format { system: system.into(), name: name.into(), kernels: kernels.into(), text: text.into() }
    });
    formats.collect()
}

/// An entry of `not-understood.txt`: what formats need, why no reader can have it, and their events.
struct Reason {
    needs: String,
    why: String,
    events: BTreeSet<String>,
}

/// The list: `[NEEDS]`, `why: …`, then an event a line.
fn not_understood() -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    let list = fs::read_to_string(folder("formats").join("not-understood.txt")).unwrap();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(needs) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            reasons.push(Reason { needs: needs.into(), why: String::new(), events: BTreeSet::new() });
        } else if let Some(why) = line.strip_prefix("why: ") {
            reasons.last_mut().unwrap().why = why.into();
        } else {
            assert!(reasons.last_mut().unwrap().events.insert(line.into()), "{line} is listed twice");
        }
    }
    reasons
}

fn listed(event: &str, reasons: &[Reason]) -> bool {
    reasons.iter().any(|reason| reason.events.contains(event))
}

#[test]
fn every_format_is_understood_or_listed_with_the_reason() {
    let (formats, reasons) = (formats(), not_understood());
    // As many as were taken; a file that was cut would pass everything below.
    assert!(formats.len() > 10_000, "only {} formats", formats.len());
    let mut seen = BTreeSet::new();
    let mut wrong = BTreeSet::new();
    for format in &formats {
        let name = format.full_name();
        let Some(said) = format.why_not() else { continue };
        // On another kernel the same event may need something else.
        match reasons.iter().find(|reason| said.contains(&reason.needs) && reason.events.contains(&name)) {
            Some(reason) => drop(seen.insert((&reason.needs, name))),
            None => drop(wrong.insert(format!("{name} of {} {said}, and is not listed", format.kernels))),
        }
    }
    // The list may only shrink.
    for reason in &reasons {
        assert!(!reason.why.is_empty(), "{} has no reason", reason.needs);
        let understood =
            reason.events.iter().filter(|name| !seen.contains(&(&reason.needs, (*name).clone())));
        wrong
            .extend(understood.map(|name| format!("{name} needs no {}: take it off the list", reason.needs)));
    }
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), formats.len(), wrong.join("\n"));
}

/// A recording with one record of each format that is not understood, all zeros.
fn recording(formats: &[Format]) -> (Metadata, Vec<u8>) {
    let systems: BTreeSet<&str> = formats.iter().map(|format| format.system.as_str()).collect();
    let of = |system: &str| -> Vec<Vec<u8>> {
        let numbered = formats.iter().enumerate().filter(|(_, format)| format.system == system);
        numbered.map(|(id, format)| format.file(id + 1).into_bytes()).collect()
    };
    let systems = systems.into_iter().map(|name| System { name: name.into(), formats: of(name) }).collect();
    let metadata = Metadata { systems, ..metadata(PAGE) };
    let mut buffers = SubBuffers::new(ByteOrder::Little, 8, PAGE);
    for (index, format) in formats.iter().enumerate() {
        let id = index + 1;
        let mut record = (id as u16).to_le_bytes().to_vec();
        let end = |event: &Event| event.own_fields().iter().map(|field| field.offset + field.size).max();
        record.resize(format.with(end).unwrap().next_multiple_of(4), 0);
        assert!(buffers.add(1000 * id as u64, Missed::No, &record));
    }
    let data = buffers.finish();
    let file = written(&metadata, &[&data]);
    (metadata, file)
}

#[test]
fn what_is_not_understood_is_printed_by_its_fields_and_told_with_the_reason() {
    let reasons = not_understood();
    let formats: Vec<Format> = formats()
        .into_iter()
        .filter(|format| listed(&format.full_name(), &reasons) && format.why_not().is_some())
        .collect();
    let (metadata, file) = recording(&formats);

    let mut out = Vec::new();
    report(&Reader::new("formats", file).unwrap(), &Config::default(), &mut out).unwrap();
    let text = String::from_utf8_lossy(&out);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("[000]")).collect();
    assert_eq!(lines.len(), formats.len(), "{text}");
    for (line, format) in lines.iter().zip(&formats) {
        let fields = |event: &Event| event.own_fields().iter().map(|field| field.name.clone()).collect();
        let names: Vec<String> = format.with(fields);
        for name in names {
            let shown = format!(" {name}=");
            assert!(line.contains(&shown), "{} lacks{shown}: {line}", format.full_name());
        }
    }

    let told = check_events::check(&metadata).text;
    for format in &formats {
        let line = format!("{}: {}", format.full_name(), format.why_not().unwrap());
        assert!(told.lines().any(|told| told == line), "{line:?} is not in:\n{told}");
    }
}
