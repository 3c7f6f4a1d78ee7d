//! `snaptrace report` on files that are damaged: cut, changed at random, changed where it hurts.
//!
//! It never panics, never hangs and never takes more than [`MOST`] of memory; and what cannot be
//! part of a recording is an error. The test starts this program again for it: what is counted is the
//! memory of the whole process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use snaptrace::report::{Config, Style, report};
use trace_dat::{Input, Reader};

/// The most memory that reading a damaged file may take, in bytes.
const MOST: usize = 64 << 20;
/// A file is cut at every multiple of this many bytes.
const STEP: usize = 997;
/// Files with bytes changed at random.
const MUTATIONS: u64 = 1500;
/// What they are made from, in turn: compressed, not compressed, and of version 6.
const MUTATED: [&str; 3] = ["5.4-trace-cmd.dat", "5.4-graph.dat", "5.4-trace-cmd-v6.dat"];
/// Seconds after which a file counts as one that hangs its reader: thousands of times what it takes.
const HANG: u64 = 60;

/// The system's allocator, which also keeps the peak of what is in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator with the very arguments given.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: likewise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A file whose end is missing, without copying what is there.
#[derive(Debug)]
struct Cut {
    bytes: Arc<Vec<u8>>,
    size: usize,
}

impl Input for Cut {
    fn size(&self) -> u64 {
        self.size as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        let bytes = self.bytes[..self.size].get(start..).and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Counts the files that were read, for the watch on hangs.
static READ: AtomicU64 = AtomicU64::new(0);

/// Reports a file to nowhere; gives the error's text, if any, and the memory it took.
fn read(input: impl Input + 'static) -> (Result<(), String>, usize) {
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let config = Config { style: Style::TraceCmd31, ..Config::default() };
    let outcome = Reader::new("hostile.dat", input)
        .map_err(snaptrace::Error::from)
        .and_then(|reader| report(&reader, &config, io::sink()))
        .map_err(|error| error.to_string());
    READ.fetch_add(1, Ordering::Relaxed);
    (outcome, PEAK.load(Ordering::Relaxed).saturating_sub(before))
}

/// What went wrong, told together at the end.
#[derive(Default)]
struct Complaints(Vec<String>);

impl Complaints {
    fn memory(&mut self, what: &str, took: usize) {
        if took > MOST {
            self.0.push(format!("{what}: {} MiB were taken", took >> 20));
        }
    }

    fn passed(&mut self, what: &str) {
        self.0.push(format!("{what}: passes for a sound recording"));
    }
}

#[test]
fn damaged_recordings_are_errors_and_take_little_memory() {
    let alone =
        ["--exact", "hostile::in_a_process_of_its_own", "--ignored", "--nocapture", "--test-threads=1"];
    let output = Command::new(env::current_exe().unwrap()).args(alone).output().unwrap();
    let [told, said] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success() && told.contains("1 passed"), "{}\n{told}\n{said}", output.status);
}

#[test]
#[ignore = "started by the test above"]
#[allow(clippy::print_stdout, reason = "read when it fails")]
fn in_a_process_of_its_own() {
    watch();
    let own = recordings(&root().join("tests/recordings"));
    let samples = recordings(&root().join("tests/samples"));
    let mut complaints = Complaints::default();
    let mut read = 0;
    for path in own.iter().chain(&samples) {
        read += cut(path, &mut complaints);
    }
    println!("cut: {read} files, {} of them no error", complaints.0.len());
    let small = MUTATED.map(|name| bytes(&root().join("tests/recordings").join(name)));
    mutate(&small, &mut complaints);
    for path in &own {
        harm(path, &mut complaints);
    }
    let first: Vec<&str> = complaints.0.iter().take(40).map(String::as_str).collect();
    assert!(first.is_empty(), "{} complaints:\n{}", complaints.0.len(), first.join("\n"));
}

/// Ends the process when no file is finished for [`HANG`] seconds.
#[allow(clippy::print_stdout, reason = "read when it fails")]
fn watch() {
    thread::spawn(|| {
        let mut last = 0;
        loop {
            thread::sleep(Duration::from_secs(HANG));
            let now = READ.load(Ordering::Relaxed);
            if now == last {
                println!("the file after the first {now} hangs its reader");
                std::process::exit(1);
            }
            last = now;
        }
    });
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn recordings(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "dat")).collect();
    files.sort();
    files
}

fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A file cut anywhere is an error.
fn cut(path: &Path, complaints: &mut Complaints) -> usize {
    let bytes = Arc::new(bytes(path));
    let (outcome, took) = read(Cut { bytes: bytes.clone(), size: bytes.len() });
    if let Err(error) = outcome {
        complaints.0.push(format!("{}: whole, and yet: {error}", name(path)));
    }
    complaints.memory(&name(path), took);
    let sizes = (0..bytes.len()).step_by(STEP);
    let count = sizes.len();
    for size in sizes {
        let what = format!("{} cut after {size} bytes", name(path));
        let (outcome, took) = read(Cut { bytes: bytes.clone(), size });
        complaints.memory(&what, took);
        if outcome.is_ok() {
            complaints.passed(&what);
        }
    }
    count
}

/// One of the files with some of its bytes changed; the same seed makes the same changes everywhere.
fn mutated(files: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let bytes = &files[seed as usize % files.len()];
    // An xorshift generator; what counts is that it needs nothing and never changes.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below
    };
    let mut bytes = bytes.clone();
    for _ in 0..=next(4) {
        // Half of the changes go where files tell their structure.
        let end = if next(2) == 0 { 4096.min(bytes.len()) } else { bytes.len() };
        let at = next(end);
        let width = [1, 2, 4, 8][next(4)].min(bytes.len() - at);
        let value = match next(4) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << next(64),
            _ => next(usize::MAX) as u64,
        };
        bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }
    bytes
}

/// Anything may come of random changes, but a panic, a hang, or much memory.
#[allow(clippy::print_stdout, reason = "read when it fails")]
fn mutate(files: &[Vec<u8>], complaints: &mut Complaints) {
    let (mut errors, mut most) = (0, 0);
    for seed in 1..=MUTATIONS {
        let (outcome, took) = read(mutated(files, seed));
        complaints.memory(&format!("mutation {seed}"), took);
        errors += usize::from(outcome.is_err());
        most = most.max(took);
    }
    println!("changed at random: {MUTATIONS} files, {errors} of them errors, at most {} KiB", most >> 10);
}

/// Number fields that hold a file together, with what none of them can be.
fn harm(path: &Path, complaints: &mut Complaints) {
    let bytes = bytes(path);
    for (what, at, values) in structure(&bytes) {
        for value in values {
            let mut changed = bytes.clone();
            if changed[at..at + value.len()] == value[..] {
                continue;
            }
            changed[at..at + value.len()].copy_from_slice(&value);
            let what = format!("{}: {what} at 0x{at:x} as {value:x?}", name(path));
            let (outcome, took) = read(changed);
            complaints.memory(&what, took);
            match outcome {
                Ok(()) => complaints.passed(&what),
                Err(error) if !error.contains("hostile.dat") => {
                    complaints.0.push(format!("{what}: the error does not name the file: {error}"));
                }
                Err(_) => {}
            }
        }
    }
}

/// What a field is, where it stands, and values that it cannot have.
type Field = (String, usize, Vec<Vec<u8>>);

/// The structure of a little-endian file, told by itself: prefix, sections, options, pages.
fn structure(bytes: &[u8]) -> Vec<Field> {
    let n = |at: usize, size: usize| {
        bytes[at..at + size].iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let end = |from: usize| from + bytes[from..].iter().position(|byte| *byte == 0).unwrap_or_default() + 1;
    let le = |value: u64, size: usize| value.to_le_bytes()[..size].to_vec();
    let ones = |size: usize| vec![0xff; size];
    let mut fields: Vec<Field> = vec![
        ("the magic".into(), 0, vec![vec![0x18], vec![0x17, 0x08, 0x45], b"\x17\x08\x44Tracing".to_vec()]),
        ("the version".into(), 10, vec![vec![b'9'], vec![b'x'], vec![0]]),
        ("the byte order".into(), 12, vec![vec![1], vec![2], vec![0xff]]),
        ("the size of long".into(), 13, vec![vec![0], vec![3], vec![0xff]]),
        ("the page size".into(), 14, vec![le(0, 4), ones(4), le(1 << 31, 4), le(4097, 4)]),
    ];
    if bytes[10] == b'6' {
        // header_page and header_event follow, each a name and the size of a text.
        let page = 18;
        fields.push(("the name of header_page".into(), page, vec![vec![b'H'], vec![0]]));
        let size = page + b"header_page\0".len();
        fields.push(("the size of header_page".into(), size, vec![ones(8), le(0, 8), le(1 << 40, 8)]));
        let event = size + 8 + n(size, 8) as usize;
        fields.push(("the name of header_event".into(), event, vec![vec![b'H'], vec![0]]));
        let size = event + b"header_event\0".len();
        fields.push(("the size of header_event".into(), size, vec![ones(8), le(1 << 40, 8)]));
        let formats = size + 8 + n(size, 8) as usize;
        fields.push(("the number of formats".into(), formats, vec![ones(4), le(1 << 20, 4)]));
        fields.push(("the size of a format".into(), formats + 4, vec![ones(8), le(1 << 40, 8)]));
        return fields;
    }
    let compression = end(18);
    let options = end(compression);
    fields.push(("the compression".into(), 18, vec![vec![b'?']]));
    fields.push(("the offset of the options".into(), options, vec![ones(8), le(3, 8), le(1 << 40, 8)]));
    let mut section = n(options, 8) as usize;
    while section != 0 {
        fields.push(("the id of options".into(), section, vec![le(77, 2), ones(2)]));
        fields.push(("the size of options".into(), section + 8, vec![ones(8), le(3, 8), le(1 << 40, 8)]));
        let compressed = n(section + 2, 2) & 1 == 1;
        let (mut at, stop) = (section + 16, section + 16 + n(section + 8, 8) as usize);
        section = 0;
        if compressed {
            fields.push(("the packed size of options".into(), at, vec![ones(4), le(1 << 28, 4)]));
            break;
        }
        while at + 6 <= stop {
            let (id, size, data) = (n(at, 2), n(at + 2, 4) as usize, at + 6);
            fields.push((format!("the size of option {id}"), at + 2, vec![ones(4), le(1 << 28, 4)]));
            if id == 0 {
                section = n(data, 8) as usize;
                fields.push(("the offset of more options".into(), data, vec![ones(8), le(1 << 40, 8)]));
                break;
            }
            if (16..=21).contains(&id) {
                let target = n(data, 8) as usize;
                let wrong = vec![ones(8), le(0, 8), le(1 << 40, 8)];
                fields.push((format!("the offset in option {id}"), data, wrong));
                fields.push((format!("the id of section {id}"), target, vec![le(77, 2), ones(2)]));
                let wrong = vec![ones(8), le(1 << 40, 8)];
                fields.push((format!("the size of section {id}"), target + 8, wrong));
            }
            if id == 3 {
                buffer(bytes, data, &mut fields);
            }
            at = data + size;
        }
    }
    fields
}

/// The fields of a BUFFER option and of the data it points to.
fn buffer(bytes: &[u8], data: usize, fields: &mut Vec<Field>) {
    let n = |at: usize, size: usize| {
        bytes[at..at + size].iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let end = |from: usize| from + bytes[from..].iter().position(|byte| *byte == 0).unwrap_or_default() + 1;
    let le = |value: u64, size: usize| value.to_le_bytes()[..size].to_vec();
    let ones = |size: usize| vec![0xff; size];
    let page_size = end(end(data + 8));
    fields.push(("a buffer's page size".into(), page_size, vec![le(0, 4), ones(4), le(5, 4)]));
    fields.push(("a buffer's number of CPUs".into(), page_size + 4, vec![ones(4), le(1 << 20, 4)]));
    let section = n(data, 8) as usize;
    let compressed = n(section + 2, 2) & 1 == 1;
    for cpu in 0..n(page_size + 4, 4) as usize {
        let entry = page_size + 8 + cpu * 20;
        let (offset, size) = (n(entry + 4, 8) as usize, n(entry + 12, 8));
        fields.push(("the offset of a CPU's data".into(), entry + 4, vec![ones(8), le(1 << 40, 8)]));
        if size == 0 {
            continue;
        }
        if compressed {
            let wrong = vec![ones(4), le(1 << 20, 4)];
            fields.push(("a CPU's number of chunks".into(), offset, wrong.clone()));
            fields.push(("a chunk's packed size".into(), offset + 4, vec![ones(4), le(0, 4)]));
            fields.push(("a chunk's unpacked size".into(), offset + 8, vec![ones(4), le(1, 4), le(0, 4)]));
        } else {
            fields.push(("the size of a CPU's data".into(), entry + 12, vec![ones(8), le(1 << 40, 8)]));
            // The page header's commit, then the first record's head: a length that cannot be.
            fields.push(("a page's commit".into(), offset + 8, vec![le(0x07ff_ffff, 4), le(0x1000, 4)]));
            let length = [le(0, 4), le(1 << 20, 4)].concat();
            let tiny = [le(0, 4), le(1, 4)].concat();
            fields.push(("a record's length".into(), offset + 16, vec![length, tiny]));
        }
    }
}
