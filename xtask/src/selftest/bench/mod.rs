//! `cargo xtask bench`: ratios, measured alternately within one run.

mod boot;
mod long;
mod measure;
mod programs;
mod record;
mod report;

pub use boot::boot;
pub use record::record;
pub use report::report;
