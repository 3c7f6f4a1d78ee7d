//! The harness behind `cargo xtask`.
pub mod apt;
pub mod cache;
pub mod download;
pub mod error;
pub mod harness;
pub mod kernel;
pub mod matrix;
pub mod setup;
pub mod ui;
pub mod verdict;
