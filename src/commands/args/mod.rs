//! Arguments that several subcommands share.

pub(super) mod cpus;
pub(super) mod input;
pub(super) mod instance;
pub(super) mod output;
pub(super) mod traced;
