//! Why results differ: two kernels side by side, costs, and the commit that made a change.

pub mod bisect;
pub mod cost;
pub mod diff;
pub mod graph;
