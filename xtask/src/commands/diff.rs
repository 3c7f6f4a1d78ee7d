//! `diff`: what changed between two kernels, case by case.

use std::path::PathBuf;

use super::interface::{Global, Subcommand};
use crate::base::error::Result;
use crate::base::verdict::Verdict;
use crate::explain::diff::{self, Options};

/// Show what changed between two kernels, case by case
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A and B are kernels, source trees or tarballs (built like the kernel of the
matrix that fits), or earlier results: RUN or RUN/KERNEL of target/vm.
Exit codes: 0 if the sides were compared, even if they differ; with --exit-code
200 (mismatch) if they differ. If a case failed on a side, the code of its
verdict.
Example: cargo xtask diff debian-5.10 debian-6.1 function-graph
         cargo xtask diff 5.4 ~/linux --html diff.html
         cargo xtask diff latest/5.4 5.4 --exit-code")]
pub(super) struct Args {
    /// The old side
    #[arg(value_name = "A")]
    old: String,
    /// The new side
    #[arg(value_name = "B")]
    new: String,
    /// Names of cases; without one, all of them
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// Write the comparison as one HTML file that needs no network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Exit with 200 (mismatch) if something differs
    #[arg(long)]
    exit_code: bool,
}

impl Subcommand for Args {
    const NAME: &'static str = "diff";

    fn run(self, global: &Global) -> Result<u8> {
        let Args { old, new, cases, html, exit_code } = self;
        let options = Options { old, new, cases, html, exit_code };
        diff::diff(&global.workspace()?, &options).map(Verdict::exit_code)
    }
}
