//! Shared by host and guest: the job for the guest, and the frames that it sends back.
//!
//! The host packs a [`Job`] into the initramfs as `/job.json`. PID 1 (`init`) runs it and writes
//! [`protocol`] frames to a virtio-serial port. Neither side links the tracer.

pub mod early;
pub mod job;
pub mod protocol;
pub mod spawn;

pub use job::{Job, Step};
