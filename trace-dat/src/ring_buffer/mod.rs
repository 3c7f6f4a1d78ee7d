//! The kernel's ring buffer: reads records from sub-buffers, and writes them; pure.

pub(crate) mod read;
pub(crate) mod write;

pub use read::{Layout, Missed, Walk};
pub use write::SubBuffers;
