//! `clear`: empties the buffer.

use super::args::instance::InstanceArgs;
use super::interface::{Kernel, Subcommand};
use crate::error::Result;

/// Empty the buffer; tracer and filters stay
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  snaptrace clear")]
pub(super) struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
}

impl Subcommand for Args {
    const NAME: &'static str = "clear";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        self.instance.of(&kernel.tracefs()?)?.clear()?;
        Ok(0)
    }
}
