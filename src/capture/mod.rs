//! Recording: from an instance's buffers to a file or to live output.

pub mod command;
mod date;
pub mod drain;
pub mod engine;
pub(crate) mod live;
pub mod metadata;
pub mod output;
mod progress;
pub mod recording;
