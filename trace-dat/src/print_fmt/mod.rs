//! Print formats: C expressions that are compiled once and run for each record; pure.

pub(crate) mod as_trace_cmd;
pub(crate) mod c;
pub(crate) mod eval;
pub(crate) mod plugins;
pub(crate) mod pointed;
pub mod printf;
pub(crate) mod program;
pub(crate) mod token;

pub use eval::{Run, Way};
pub use program::Program;
