//! The result of a run as data: kernels, cases and verdicts, its shard, and its table.

pub mod shard;
pub mod summary;
pub mod table;
