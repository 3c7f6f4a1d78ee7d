//! `hist`: counts the functions and events of each process in a recording.

use std::io;

use super::args::cpus::{CpuList, cpu_list};
use super::args::input::InputArgs;
use super::interface::{Kernel, Subcommand};
use crate::analysis::hist;
use crate::error::Result;

/// Count the functions and events of each process, with callers
#[derive(Debug, clap::Args)]
#[command(after_help = "An event is shown in asterisks, any other name is a function. A function's
caller is its parent, or is taken from the recorded call stack.

Example:
  snaptrace hist
  snaptrace hist -P trace.dat")]
pub(super) struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// Count all processes together
    #[arg(short = 'P')]
    all_pids: bool,
    /// Only these CPUs: numbers and ranges, such as 0,2-3
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    cpu: Option<CpuList>,
}

impl Subcommand for Args {
    const NAME: &'static str = "hist";

    fn run(self, _: &Kernel) -> Result<u8> {
        let reader = self.input.open()?;
        let cpus = self.cpu.map_or_else(Vec::new, |list| list.0);
        let config = hist::Config { all_pids: self.all_pids, cpus };
        hist::hist(&reader, &config, &mut io::stdout().lock())?;
        Ok(0)
    }
}
