//! `dump`: the parts of a recording's file.

use std::io;

use super::args::input::InputArgs;
use super::interface::{Kernel, Subcommand, print};
use crate::analysis::dump;
use crate::error::Result;
use trace_dat::Reader;

/// Print the parts of a recording's file
#[derive(Debug, clap::Args)]
#[command(after_help = "The lines are those of 'trace-cmd dump'. Without an option a summary is shown.

Example:
  snaptrace dump
  snaptrace dump --systems --options trace.dat
  snaptrace dump -v trace.dat")]
pub(super) struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// Only check whether the whole file can be read
    #[arg(short = 'v', long)]
    validate: bool,
    /// All of the following
    #[arg(long)]
    all: bool,
    /// The format, and the number and size of all parts
    #[arg(long)]
    summary: bool,
    /// The fields of a sub-buffer's header
    #[arg(long)]
    head_page: bool,
    /// The fields of an event's header
    #[arg(long)]
    head_event: bool,
    /// Formats of ftrace's own events
    #[arg(long)]
    ftrace_events: bool,
    /// Systems of events
    #[arg(long)]
    systems: bool,
    /// Formats of all other events
    #[arg(long)]
    events: bool,
    /// Functions by address
    #[arg(long)]
    kallsyms: bool,
    /// Formats of trace_printk
    #[arg(long)]
    printk: bool,
    /// Commands by pid
    #[arg(long)]
    cmd_lines: bool,
    /// Options with their content
    #[arg(long)]
    options: bool,
    /// Where the data of each CPU are
    #[arg(long)]
    flyrecord: bool,
    /// The trace clocks
    #[arg(long)]
    clock: bool,
}

impl Subcommand for Args {
    const NAME: &'static str = "dump";

    fn run(self, _: &Kernel) -> Result<u8> {
        let file = self.input.container()?;
        if self.validate {
            // This also reads parts that no record needs.
            file.sections()?;
            file.metadata()?;
            let reader = Reader::of(file)?;
            let mut records = reader.records();
            while records.next().is_some() {}
            records.finish()?;
            print(&format!("File {} is a valid trace-cmd file\n", reader.name()))?;
            return Ok(0);
        }
        let mut config = dump::Config {
            summary: self.summary,
            head_page: self.head_page,
            head_event: self.head_event,
            ftrace_events: self.ftrace_events,
            systems: self.systems,
            events: self.events,
            kallsyms: self.kallsyms,
            printk: self.printk,
            cmd_lines: self.cmd_lines,
            options: self.options,
            flyrecord: self.flyrecord,
            clock: self.clock,
            sections: false,
        };
        if self.all {
            config = dump::Config::all();
        } else if config == dump::Config::default() {
            config.summary = true;
        }
        dump::dump(&file, &config, &mut io::stdout().lock())?;
        Ok(0)
    }
}
