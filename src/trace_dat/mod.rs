//! trace.dat, trace-cmd's file format, versions 6 and 7.
//!
//! Pure: bytes go in and come out; no file is opened here.

pub mod write;
