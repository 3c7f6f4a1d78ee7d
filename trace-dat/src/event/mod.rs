//! Events: fields and print formats from format files, functions by address, types; pure.

pub mod btf;
pub(crate) mod context;
pub(crate) mod events;
pub(crate) mod field;
pub(crate) mod format;
pub(crate) mod symbols;

pub use context::Context;
pub use events::{Events, irq};
pub use field::{Dynamic, Field, Place};
pub use format::Event;
pub use symbols::{Symbol, Symbols};
