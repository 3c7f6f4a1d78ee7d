//! Restores control files to their old values, even after the process was killed.

pub mod journal;
pub mod session;
