//! `trace.dat`, the file of trace-cmd and KernelShark, versions 6 and 7; pure.
//!
//! The formats are those of trace-cmd's manual pages `trace-cmd.dat.v6.5` and `.v7.5`. Sizes from
//! the file are never trusted; sections and options that are not known are skipped.

mod compression;
mod cursor;
pub mod id;
mod input;
pub mod outline;
mod read;
mod records;
mod sections;
pub mod write;

pub use input::Input;
pub use read::{Buffer, CpuData, Reader};
pub use records::{Record, Records};
pub(crate) use sections::cmdlines;

/// What every file starts with; version, byte order, size of a long and page size follow.
pub const MAGIC: &[u8] = b"\x17\x08\x44tracing";
