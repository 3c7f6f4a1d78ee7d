//! `trace.dat`, the file of trace-cmd and KernelShark, versions 6 and 7; pure.
//!
//! The formats are those of trace-cmd's manual pages `trace-cmd.dat.v6.5` and `.v7.5`. Sizes from
//! the file are never trusted; sections and options that are not known are skipped.

#![forbid(unsafe_code)]

pub mod bytes;
mod error;
pub mod event;
mod file;
pub mod filter;
pub mod header_page;
mod live;
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
pub use live::{LiveRecords, Next, Part};
pub use recording::Reader;
pub use records::{Record, Records, Run};
