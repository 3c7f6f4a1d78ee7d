//! Requests: checked and turned into a list of writes.
//!
//! A [`request::Request`] is checked by itself, and then against the kernel, which yields plain values
//! (`checked`). The list of control files to write is made from these values alone (`control_files`) and
//! written in one place (`apply`).

pub(crate) mod apply;
pub(crate) mod checked;
pub(crate) mod control_files;
pub mod events;
pub mod program;
pub mod request;
