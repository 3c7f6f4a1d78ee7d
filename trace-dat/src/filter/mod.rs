//! Event filters: select records by the values of their fields; pure.

pub(crate) mod bind;
pub(crate) mod parse;

pub use bind::{Filter, Subject};
pub use parse::Grouping;
