//! Control files put back as they were, also after a kill.

pub mod journal;
pub mod session;
