//! The parts of a file: header, options, sections; pure.

pub(crate) mod compression;
pub(crate) mod container;
pub(crate) mod cursor;
pub(crate) mod header;
pub mod id;
pub(crate) mod input;
pub(crate) mod metadata;
pub(crate) mod sections;
pub mod write;
