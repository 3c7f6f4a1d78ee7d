//! `setup`: what this host lacks is installed.

use super::subcommand::{Global, Subcommand};
use crate::base::error::Result;
use crate::fetch::setup;

/// Install what this host lacks
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: cargo xtask --yes setup")]
pub(super) struct Args {}

impl Subcommand for Args {
    const NAME: &'static str = "setup";

    fn run(self, global: &Global) -> Result<u8> {
        setup::setup(&global.harness()?).map(|()| 0)
    }
}
