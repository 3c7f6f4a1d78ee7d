//! `stop`: switches recording off; tracer, filters and buffer stay.

use super::args::instance::InstanceArgs;
use super::interface::{Kernel, Subcommand};
use crate::error::Result;

/// Stop recording; tracer, filters and buffer stay
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  snaptrace stop")]
pub(super) struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
}

impl Subcommand for Args {
    const NAME: &'static str = "stop";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        self.instance.of(&kernel.tracefs()?)?.write("tracing_on", "0")?;
        Ok(0)
    }
}
