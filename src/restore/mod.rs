//! Control files restored to their old values, also after a kill.

pub mod journal;
pub mod session;
