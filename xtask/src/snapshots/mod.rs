//! Snapshots: what cases are known to say, and what becomes of a difference.

pub mod compare;
pub mod difference;
pub mod invariants;
pub mod lines;
pub mod names;
pub mod redact;
pub mod review;
pub mod reviewed;
pub mod store;
