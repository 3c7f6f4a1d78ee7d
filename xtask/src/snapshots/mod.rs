//! Snapshots: the expected output of cases, and the handling of differences.

pub mod compare;
pub mod difference;
pub mod invariants;
pub mod lines;
pub mod names;
pub mod redact;
pub mod review;
pub mod reviewed;
pub mod store;
