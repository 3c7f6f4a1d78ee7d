//! What kernels, initramfs and VM are put together for: cases, tours, single commands, benches.

pub mod bench;
pub mod cases;
pub mod compare;
pub mod cost;
pub mod graph;
pub mod guest;
pub mod normalise;
pub mod repeat;
pub mod results;
pub mod run;
pub mod test;
pub mod test_vm;
pub mod tour;
