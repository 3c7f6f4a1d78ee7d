//! `bisect-step`, hidden: one step of `bisect`, started by git.

use std::path::PathBuf;

use super::interface::{Global, Subcommand};
use crate::base::error::Result;
use crate::explain::bisect::step;

/// One step of `bisect`; git starts it
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = "Example: cargo xtask bisect --help")]
pub(super) struct Args {
    /// The folder of the bisection
    folder: PathBuf,
}

impl Subcommand for Args {
    const NAME: &'static str = "bisect-step";

    fn run(self, global: &Global) -> Result<u8> {
        Ok(step::run(&global.workspace()?, &self.folder))
    }
}
