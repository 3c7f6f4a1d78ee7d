//! `restart`: switches recording on again.

use super::args::instance::InstanceArgs;
use super::interface::{Kernel, Subcommand};
use crate::error::Result;

/// Record again after 'stop'
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  snaptrace restart")]
pub(super) struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
}

impl Subcommand for Args {
    const NAME: &'static str = "restart";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        self.instance.of(&kernel.tracefs()?)?.write("tracing_on", "1")?;
        Ok(0)
    }
}
