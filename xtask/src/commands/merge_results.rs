//! `merge-results`: merges the parts of a run.

use std::path::PathBuf;

use super::args::OutputArgs;
use super::interface::{Global, Subcommand};
use crate::base::error::Result;
use crate::base::verdict::Verdict;
use crate::ci::merge::{self, Options};

/// Merge the parts of a run that --shard made
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: cargo xtask merge-results --junit all.xml part-1 part-2")]
pub(super) struct Args {
    /// The parts, each a folder target/vm/RUN of the machine that ran it
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Subcommand for Args {
    const NAME: &'static str = "merge-results";

    fn run(self, _: &Global) -> Result<u8> {
        let OutputArgs { junit, message_format: format } = self.output;
        merge::run(&Options { folders: self.folders, junit, format }).map(Verdict::exit_code)
    }
}
