//! The instance that a subcommand works on.

use crate::error::Result;
use crate::tracefs::{Instance, Tracefs};

#[derive(Debug, clap::Args)]
pub(in crate::commands) struct InstanceArgs {
    /// Use this instance, not the top-level one
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
}

impl InstanceArgs {
    /// The name that was given.
    pub(in crate::commands) fn name(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// The instance, or the top-level one.
    ///
    /// # Errors
    /// The instance does not exist.
    pub(in crate::commands) fn of(&self, tracefs: &Tracefs) -> Result<Instance> {
        tracefs.instance(self.name())
    }
}
