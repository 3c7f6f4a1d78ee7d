//! What kernels, initramfs and VM are put together for: cases, tours, single commands, benches.

pub mod compare;
