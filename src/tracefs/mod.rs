//! The tracing directory and its instances, and the values that its files hold.

mod directory;
pub mod filter;
pub mod filter_files;
#[cfg(test)]
pub(crate) mod fixture;
pub mod options;
pub mod tracers;

pub use directory::{Instance, Mode, Tracefs};
