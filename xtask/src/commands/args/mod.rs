//! Arguments that several subcommands have in common.

mod exact;
mod guest;
mod kernel;
mod output;
mod references;
mod setup;

pub(super) use exact::ExactArgs;
pub(super) use guest::GuestArgs;
pub(super) use kernel::KernelArgs;
pub(super) use output::OutputArgs;
pub(super) use references::ReferencesArgs;
pub(super) use setup::SetupArgs;
