//! `check-events`: lists events whose print formats are not understood.

use std::path::PathBuf;

use super::interface::{Kernel, Subcommand, print};
use crate::analysis::check_events;
use crate::capture::{metadata, recording};
use crate::error::{Error, Result};

/// List events whose print formats are not understood
#[derive(Debug, clap::Args)]
#[command(after_help = "Each such event is listed with the kernel function or the pointer that its
format needs; the exit code is 1 then. 'report' prints its fields instead.

Example:
  snaptrace check-events
  snaptrace check-events trace.dat")]
pub(super) struct Args {
    /// Check a recording, not the running kernel; - is standard input
    #[arg(short = 'i', value_name = "FILE", conflicts_with = "file")]
    input: Option<PathBuf>,
    /// Check a recording, not the running kernel; - is standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Subcommand for Args {
    const NAME: &'static str = "check-events";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        let metadata = match self.input.as_ref().or(self.file.as_ref()) {
            Some(path) => recording::open(path)?.container().metadata()?,
            None => metadata::gather(&kernel.as_it_is()?, |_| true)?,
        };
        let report = check_events::check(&metadata);
        print(&report.text)?;
        Ok(if report.all_good { 0 } else { Error::GENERAL })
    }
}
