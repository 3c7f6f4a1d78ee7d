//! Reads, writes and prints `trace.dat`, the recordings of ftrace that trace-cmd, KernelShark and
//! snaptrace make.
//!
//! The crate works on bytes only: it opens no file and does not ask for the time. The bytes of a recording
//! come from an [`Input`], such as a `Vec<u8>`.
//!
//! | to | use |
//! | --- | --- |
//! | open a recording and go through its records | [`Reader`], [`Records`] |
//! | print an event as the kernel does, or as trace-cmd does | [`print_fmt::Run`] |
//! | choose records by their fields | [`filter::Filter`] |
//! | see the structure of a file: sections, options, buffers | [`Container`] |
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
//! // Damage is reported at the end, after all readable records.
//! records.finish()?;
//! assert!(switches > 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Units
//!
//! Sizes and offsets are bytes. Times are units of the recording's trace clock: nanoseconds for most,
//! see [`Reader::is_nanoseconds`]. [`Reader::shown_time`] adds the offset that the file states. CPUs have
//! the kernel's numbers. Numbers have the byte order that the file states, never the host's.
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
//! A size from a file is never trusted: it is compared with the bytes of the file before anything is
//! allocated. Unknown sections and options are skipped. Damaged data end the records of their CPU only;
//! other CPUs are not affected. An [`Error`] has a kind, a section and an offset.

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
