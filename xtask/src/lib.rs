//! The harness behind `cargo xtask`: kernels, initramfs, virtual machines and snapshots.

pub mod apt;
pub mod cache;
pub mod cargo;
pub mod child;
pub mod chromium;
pub mod clock;
pub mod download;
pub mod error;
pub mod harness;
pub mod initramfs;
pub mod kernel;
pub mod matrix;
pub mod scratch;
pub mod setup;
pub mod suite;
pub mod terminal;
pub mod trace_cmd;
pub mod ui;
pub mod verdict;
pub mod vm;
