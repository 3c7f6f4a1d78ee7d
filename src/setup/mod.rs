//! Requests: checked and turned into a list of writes.
//!
//! A [`request::Request`] is checked by itself and held against the kernel, which gives plain values
//! (`checked`); from them comes the list of writes, pure (`writes`), and one place makes them
//! (`apply`).

pub(crate) mod apply;
pub(crate) mod checked;
pub mod events;
pub mod program;
pub mod request;
pub(crate) mod writes;
