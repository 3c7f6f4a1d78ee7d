//! Analyses of a recording besides its report; pure.

pub mod check_events;
pub mod dump;
pub mod hist;
pub mod profile;
pub mod split;
