//! What host and guest share: the job that goes in, and the frames that come out.
//!
//! The host packs a [`Job`] into the initramfs as `/job.json`; PID 1 (`init`) carries it
//! out and writes [`protocol`] frames to a virtio-serial port. Neither side links the tracer.

pub mod early;
pub mod job;
pub mod protocol;
pub mod spawn;

pub use job::{Job, Step};
