//! The harness behind `cargo xtask`: kernels, initramfs, virtual machines and snapshots.

pub mod base;
pub mod ci;
pub mod commands;
pub mod explain;
pub mod fetch;
pub mod guest;
pub mod kernel;
pub mod matrix;
pub mod outcome;
pub mod run;
pub mod selftest;
pub mod snapshots;
pub mod vm;
