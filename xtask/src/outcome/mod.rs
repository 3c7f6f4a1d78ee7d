//! What a run comes to, as data: kernels, cases and verdicts, the part of a run that it is, and its table.

pub mod shard;
pub mod summary;
pub mod table;
