//! The harness behind `cargo xtask`.
pub mod error;
pub mod verdict;
