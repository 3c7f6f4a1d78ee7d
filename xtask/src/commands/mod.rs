//! Commands of `cargo xtask` that put the other rooms together.

pub mod doctor;
pub mod test;
pub mod tour;
