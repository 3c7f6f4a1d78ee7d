//! Reads, writes and prints `trace.dat`, the recordings of ftrace that trace-cmd, KernelShark and
//! snaptrace make.
//!
//! Bytes go in and come out: nothing here opens a file or asks for the time. What a recording's bytes
//! come from is an [`Input`], such as a `Vec<u8>`.
//!
//! | to | use |
//! | --- | --- |
//! | open a recording and go through its records | [`Reader`], [`Records`] |
//! | print an event as the kernel does, or as trace-cmd does | [`print_fmt::Run`] |
//! | choose records by their fields | [`filter::Filter`] |
//! | see how a file is put together: sections, options, buffers | [`Container`] |
//! | write a file | [`write::write()`], [`ring_buffer::SubBuffers`] |
//! | follow buffers that are still being filled | [`live::LiveRecords`] |
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bytes = std::fs::read("../tests/recordings/5.4-events.dat")?;
//! let reader = trace_dat::Reader::new("5.4-events.dat", bytes)?;
//! let mut switches = 0;
//! let mut records = reader.records();
//! while let Some(record) = records.next() {
//!     let event = reader.events().of(reader.context().order, record.data);
//!     switches += u32::from(event.is_some_and(|event| event.name == "sched_switch"));
//! }
//! // Damage is told at the end: what is sound comes first.
//! records.finish()?;
//! assert!(switches > 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Units
//!
//! Sizes and offsets are bytes. Times are units of the recording's trace clock: nanoseconds for most,
//! see [`Reader::is_nanoseconds`]; [`Reader::shown_time`] adds what the file says of its beginning.
//! CPUs are numbered as the kernel does. Numbers have the byte order that the file states, never the
//! host's.
//!
//! # Where the rules come from
//!
//! The file: trace-cmd's manual pages `trace-cmd.dat.v6(5)` and `trace-cmd.dat.v7(5)`, checked against
//! files of trace-cmd 3.1.6. The sub-buffers: `include/linux/ring_buffer.h` of the kernel, and its
//! `events/header_page`. Formats of events: `Documentation/trace/events.rst`. Types:
//! `Documentation/bpf/btf.rst`.
//!
//! # Damage
//!
//! A size from a file is never trusted: it is compared with the bytes that are there before anything is
//! allocated. Sections and options that are not known are skipped. Damage ends the CPU that it is in,
//! and nothing else. An [`Error`] tells its kind, section and offset.

#![forbid(unsafe_code)]

pub mod bytes;
mod error;
pub mod event;
mod file;
pub mod filter;
pub mod header_page;
pub mod live;
pub mod print_fmt;
mod recording;
mod records;
pub mod ring_buffer;
pub mod texts;

pub use error::{Error, ErrorKind, Result};
pub use file::compression::Compression;
pub use file::container::{Buffer, Container, Extent, FileOption, SectionHeader};
pub use file::header::Version;
pub use file::input::Input;
pub use file::metadata::{Metadata, System};
pub use file::{id, write};
pub use recording::Reader;
pub use records::{Record, Records, Run};
