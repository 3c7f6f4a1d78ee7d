//! The contents of a guest: programs, kernel, and the cases that it runs.

pub mod cases;
pub mod fingerprint;
pub mod folders;
pub mod initramfs;
pub mod prepared;
pub mod put;
