//! `keep-terminal`, hidden: the process that restores the terminal after a `shell` that was killed.

use super::interface::{Global, Subcommand};
use crate::base::error::Result;
use crate::base::terminal;

/// Restore the terminal when `shell` is killed
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = "Example: cargo xtask shell --help")]
pub(super) struct Args {}

impl Subcommand for Args {
    const NAME: &'static str = terminal::KEEPER;

    fn run(self, _: &Global) -> Result<u8> {
        // Standard error is the terminal to restore, so errors cannot be reported.
        Ok(u8::from(terminal::keep().is_err()))
    }
}
