//! Tests of the harness and the tracer themselves: faults, `restore`, benchmarks.

pub mod bench;
pub mod faults;
pub mod restore;
