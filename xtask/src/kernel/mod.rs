//! Obtains, verifies, configures and builds kernels, and keeps them in the cache.
//!
//! A kernel is an entry `kernels/<key>` of the cache, the key being a digest of everything
//! that made it; `names/<name>` says which entry a name means.
//!
//! Architecture invariant: nothing here knows of virtual machines.

mod build;
mod compiler;
pub mod config;
mod contents;
mod debian;
mod debian_source;
mod entry;
mod external;
mod failure;
mod fragments;
pub mod image;
mod kept;
mod key;
mod list;
mod make;
mod menuconfig;
mod modules;
mod names;
mod obtain;
mod own;
pub mod renames;
mod repin;
mod source;

pub use build::{Request, build_tools};
pub use entry::Kernel;
pub use external::module;
pub use fragments::wanted_symbols;
pub use kept::Kept;
pub use list::{clean, list};
pub use menuconfig::menuconfig;
pub use modules::check as check_modules;
pub use obtain::{add, cached, fetch_source, obtain, record_of, unpack};
pub use own::{RUNNING, added, all_added};
pub use repin::repin;

#[cfg(test)]
pub(crate) use list::tests::sample as sample_list;
