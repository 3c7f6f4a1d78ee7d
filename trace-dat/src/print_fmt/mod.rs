//! Print formats: C expressions, compiled once and run per record; pure.

pub(crate) mod as_trace_cmd;
pub(crate) mod c;
pub mod eval;
pub mod helpers;
pub(crate) mod pointed;
pub mod printf;
pub mod program;
pub(crate) mod token;
