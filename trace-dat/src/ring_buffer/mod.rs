//! The kernel's ring buffer: sub-buffer bytes to records, and the way back; pure.

pub(crate) mod read;
pub(crate) mod write;

pub use read::{Layout, Missed, Walk};
pub use write::SubBuffers;
