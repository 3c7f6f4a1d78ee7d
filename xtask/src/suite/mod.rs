//! What kernels, initramfs and VM are put together for: cases, tours, single commands, benches.

pub mod bench;
pub mod bisect;
pub mod bundle;
pub mod cases;
pub mod ci;
pub mod compare;
pub mod cost;
pub mod diff;
pub mod doctor;
pub mod faults;
pub mod graph;
pub mod guest;
pub mod kernels;
pub mod put_back;
pub mod repeat;
pub mod results;
pub mod run;
pub mod side_by_side;
pub mod summary;
pub mod table;
pub mod test;
pub mod test_vm;
pub mod tour;
