//! The parts of a file: header, options, sections; pure.

pub(crate) mod compression;
pub(crate) mod cursor;
pub mod id;
pub(crate) mod input;
pub mod outline;
pub(crate) mod sections;
pub mod write;
