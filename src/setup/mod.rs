//! Requests: checked and turned into a list of writes.
//!
//! A [`request::Request`] is checked by itself and held against the kernel, which gives plain values
//! (`checked`); from them comes the list of control files to write, pure (`control_files`), and one
//! place writes them (`apply`).

pub(crate) mod apply;
pub(crate) mod checked;
pub(crate) mod control_files;
pub mod events;
pub mod program;
pub mod request;
