//! The base of all other rooms: errors, files, processes, output.

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
