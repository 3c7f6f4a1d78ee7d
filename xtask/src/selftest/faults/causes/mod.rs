//! The faults, by where they happen.

pub mod around_guest;
pub mod before_guest;
pub mod in_guest;
