//! The harness and the tracer tried on themselves: faults, ways to end, benchmarks.

pub mod bench;
pub mod faults;
pub mod restore;
