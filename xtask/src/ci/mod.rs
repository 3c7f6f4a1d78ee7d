//! For CI: results as events, KTAP and JUnit, and the merging of the shards of a run.

pub mod events;
pub mod junit;
pub mod ktap;
pub mod merge;
pub mod same_tree;
mod stable_names;
