//! `cost`: what the functions of a graph case cost.

use super::args::{KernelArgs, SetupArgs};
use super::interface::{Global, Subcommand};
use crate::base::error::Result;
use crate::base::verdict::Verdict;
use crate::explain::cost::{self, Options};

/// Show what the functions of a graph case cost, in instructions
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: cargo xtask cost function-graph --against debian-6.1")]
pub(super) struct Args {
    /// Names of graph cases
    #[arg(value_name = "CASE", required = true)]
    cases: Vec<String>,
    #[command(flatten)]
    on: KernelArgs,
    /// Compare with this kernel instead of the reviewed table
    #[arg(long, value_name = "NAME")]
    against: Option<String>,
    /// Save the tables as the reviewed ones
    #[arg(long, conflicts_with = "against")]
    update: bool,
    #[command(flatten)]
    setup: SetupArgs,
}

impl Subcommand for Args {
    const NAME: &'static str = "cost";

    fn run(self, global: &Global) -> Result<u8> {
        let options = Options {
            cases: self.cases,
            kernel: self.on.kernel,
            against: self.against,
            update: self.update,
            append: self.setup.append,
            put: self.setup.put,
        };
        cost::run(&global.workspace()?, &options).map(Verdict::exit_code)
    }
}
