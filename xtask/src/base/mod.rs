//! What every other room stands on: errors, files, processes, what is printed.

pub mod cache;
pub mod cargo;
pub mod child;
pub mod clock;
pub mod digest;
pub mod error;
pub mod host;
pub mod qemu;
pub mod scratch;
pub mod terminal;
pub mod ui;
pub mod verdict;
pub mod workspace;
