//! What is asked for, checked, and what is written for it.

pub mod events;
pub mod start;
