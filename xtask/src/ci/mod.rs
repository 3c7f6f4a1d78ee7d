//! What CI elsewhere needs of a run: its parts and their putting together, and what is said of it
//! to programs.

pub mod events;
pub mod junit;
pub mod ktap;
pub mod merge;
pub mod same_tree;
mod stable_names;
