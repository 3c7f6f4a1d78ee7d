//! `profile`: sums up a recorded graph.

use std::io;

use clap::ValueEnum;

use super::args::cpus::{CpuList, cpu_list};
use super::args::input::InputArgs;
use super::interface::{Kernel, Subcommand};
use crate::analysis::profile;
use crate::error::Result;

/// Sum up a recorded graph: calls and times of each function
#[derive(Debug, clap::Args)]
#[command(after_help = "A call is counted if its return was recorded. The self time of a function is
its time without the time of the recorded functions that it called.

Example:
  snaptrace record -p function_graph -g vfs_read cat /etc/hostname
  snaptrace profile
  snaptrace profile --sort self -n 10 trace.dat")]
pub(super) struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// The order of the functions
    #[arg(long, value_name = "KEY", default_value = "total")]
    sort: SortKey,
    /// Only this many functions
    #[arg(short = 'n', value_name = "N")]
    rows: Option<usize>,
    /// Only these CPUs: numbers and ranges, such as 0,2-3
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    cpu: Option<CpuList>,
    /// Only these processes
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<i32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SortKey {
    /// Time from call to return
    Total,
    /// Time without the called functions
    #[value(name = "self")]
    Own,
    /// Number of calls
    Calls,
    /// Average time of a call
    Average,
    /// Time of the longest call
    Maximum,
    /// The function's name
    Name,
}

impl Subcommand for Args {
    const NAME: &'static str = "profile";

    fn run(self, _: &Kernel) -> Result<u8> {
        let reader = self.input.open()?;
        let sort = match self.sort {
            SortKey::Total => profile::Sort::Total,
            SortKey::Own => profile::Sort::Own,
            SortKey::Calls => profile::Sort::Calls,
            SortKey::Average => profile::Sort::Average,
            SortKey::Maximum => profile::Sort::Maximum,
            SortKey::Name => profile::Sort::Name,
        };
        let cpus = self.cpu.map_or_else(Vec::new, |list| list.0);
        let config = profile::Config { sort, rows: self.rows, cpus, pids: self.pid };
        let (rows, damage) = profile::profile(&reader, &config)?;
        profile::print(&rows, &config, &mut io::stdout().lock())?;
        damage.map(|()| 0)
    }
}
