//! `cargo xtask faults`: faults are caused, and the harness has to report each as expected.
//!
//! A fault is a record: what happens, the verdict and exit code that are expected, and how long the
//! command may take. Each is really caused, by a command of the harness in a workspace, a cache
//! and a folder for temporary files of its own. Afterwards the bundle has to be complete and
//! nothing may be left: no process, no temporary file, no lock, no half-made entry.

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
