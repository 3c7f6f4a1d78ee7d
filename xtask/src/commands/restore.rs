//! `restore`: the proof that every command of the tracer restores the kernel.

use super::args::ReferencesArgs;
use super::interface::{Global, Subcommand};
use crate::base::error::Result;
use crate::base::verdict::Verdict;
use crate::selftest::restore::{self, Options, Program};

/// Prove that every command of the tracer restores the kernel
#[derive(Debug, clap::Args)]
#[command(alias = "put-back", after_help = "Example: cargo xtask restore --kernel 5.4 record-graph/KILL")]
pub(super) struct Args {
    /// Cells, COMMAND/END/STATE or parts of such a name; without one, all
    #[arg(value_name = "CELL")]
    cells: Vec<String>,
    #[command(flatten)]
    on: ReferencesArgs,
    /// A few cells of each kind
    #[arg(long)]
    quick: bool,
    /// Test only snaptrace or only trace-cmd [default: snaptrace on each kernel, trace-cmd on the references
    /// and on kernels given by --kernel]
    #[arg(long, value_name = "PROGRAM")]
    only: Option<Program>,
}

impl Subcommand for Args {
    const NAME: &'static str = "restore";

    fn run(self, global: &Global) -> Result<u8> {
        let Args { cells, on: ReferencesArgs { kernels, all_kernels }, quick, only } = self;
        let options = Options { cells, kernels, all_kernels, quick, only };
        restore::restore(&global.workspace()?, &options).map(Verdict::exit_code)
    }
}
