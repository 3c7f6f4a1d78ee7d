//! `show`: prints the buffer's text and keeps it in the buffer.

use std::io;

use super::args::instance::InstanceArgs;
use super::interface::{Kernel, Subcommand};
use crate::error::Result;

/// Print the buffer and keep it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  snaptrace show | head -30")]
pub(super) struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
}

impl Subcommand for Args {
    const NAME: &'static str = "show";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        self.instance.of(&kernel.tracefs()?)?.copy("trace", &mut io::stdout().lock())?;
        Ok(0)
    }
}
