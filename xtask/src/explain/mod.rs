//! Explains differences: two kernels compared, costs, and the commit that made a change.

pub mod bisect;
pub mod cost;
pub mod diff;
pub mod graph;
