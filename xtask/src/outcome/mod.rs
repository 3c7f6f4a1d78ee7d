//! The result of a run as data: kernels, cases, verdicts, shard and table.

pub mod shard;
pub mod summary;
pub mod table;
