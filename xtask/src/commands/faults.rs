//! `faults`: causes faults; each has to end with its expected verdict.

use super::args::ReferencesArgs;
use super::interface::{Global, Subcommand};
use crate::base::error::Result;
use crate::selftest::faults::{self, Options};

/// Cause faults and check that each ends with its expected verdict
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 each fault ended as expected, 1 one did not, 217 none was caused,
or one that was named cannot be caused here.
Example: cargo xtask faults --kernel debian-6.1 panic oops")]
pub(super) struct Args {
    /// Names of faults; without one, all of them
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    on: ReferencesArgs,
    /// Only the faults that `test` includes, on one kernel
    #[arg(long)]
    quick: bool,
    /// List the faults with their expected verdicts
    #[arg(long, conflicts_with_all = ["kernels", "all_kernels", "quick"])]
    list: bool,
}

impl Subcommand for Args {
    const NAME: &'static str = "faults";

    fn run(self, global: &Global) -> Result<u8> {
        let Args { names, on: ReferencesArgs { kernels, all_kernels }, quick, list } = self;
        let workspace = global.workspace()?;
        if list {
            faults::list();
            return Ok(0);
        }
        let by_name = !names.is_empty();
        let options = Options { names, kernels, all_kernels, quick };
        Ok(faults::run(&workspace, &options)?.exit_code(by_name))
    }
}
