//! What an instance records, on its way out: the engine of recordings and of live output.

pub mod command;
mod date;
pub mod drain;
pub mod engine;
pub(crate) mod live;
pub mod metadata;
pub mod output;
mod progress;
pub mod recording;
