//! Cases and single commands run in guests, judged, stored and summed up.

pub mod bundle;
pub mod compare;
pub mod kernels;
pub mod repeat;
pub mod results;
pub mod side_by_side;
pub mod single;
pub mod test_vm;
