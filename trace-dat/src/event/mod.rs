//! Events: format files to fields and print formats, functions by address, types; pure.

pub mod btf;
pub(crate) mod events;
pub(crate) mod format;
pub(crate) mod symbols;

pub use events::{Context, Events, irq};
pub use format::{Dynamic, Event, Field, Place};
pub use symbols::{Symbol, Symbols};
