//! `cargo xtask faults`: causes faults and checks that the harness reports each as expected.
//!
//! A fault is a record: what happens, the expected verdict and exit code, and how long the command may take.
//! Each is really caused, by a command of the harness with its own workspace, cache and temporary folder.
//! Afterwards the failure bundle has to be complete, and nothing may be left: no process, temporary file,
//! lock or partial cache entry.

mod carry_out;
mod causes;
mod fault;
mod fixture;
mod leftovers;
mod run;
pub mod server;
mod setup;
pub mod stand_in;

pub use run::{FaultCounts, Options, list, run};
