//! `trace.dat`, the file of trace-cmd and KernelShark, versions 6 and 7; pure.
//!
//! The formats are those of trace-cmd's manual pages `trace-cmd.dat.v6.5` and `.v7.5`. Sizes from
//! the file are never trusted; sections and options that are not known are skipped.

mod compression;
mod cursor;
mod input;
mod read;
mod records;
mod sections;
pub mod write;

pub use input::Input;
pub use read::{Buffer, CpuData, Reader};
pub use records::{Record, Records};

/// What every file starts with; version, byte order, size of a long and page size follow.
pub const MAGIC: &[u8] = b"\x17\x08\x44tracing";

/// Ids of options, which version 7 uses as ids of sections too.
mod id {
    pub const OPTIONS: u16 = 0;
    pub const DONE: u16 = 0;
    pub const DATE: u16 = 1;
    pub const CPUSTAT: u16 = 2;
    pub const BUFFER: u16 = 3;
    pub const TRACECLOCK: u16 = 4;
    pub const UNAME: u16 = 5;
    pub const OFFSET: u16 = 7;
    pub const CPUCOUNT: u16 = 8;
    pub const VERSION: u16 = 9;
    pub const TRACEID: u16 = 11;
    pub const TSC2NSEC: u16 = 14;
    pub const STRINGS: u16 = 15;
    pub const HEADER_INFO: u16 = 16;
    pub const FTRACE_FORMATS: u16 = 17;
    pub const EVENT_FORMATS: u16 = 18;
    pub const KALLSYMS: u16 = 19;
    pub const PRINTK: u16 = 20;
    pub const CMDLINES: u16 = 21;
}
