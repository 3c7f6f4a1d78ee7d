//! Runs cases and single commands in guests; judges, stores and sums up the results.

pub mod bundle;
pub mod compare;
pub mod kernels;
pub mod repeat;
pub mod results;
pub mod side_by_side;
pub mod single;
pub mod test_vm;
