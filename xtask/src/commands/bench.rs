//! `bench`: measurements, as ratios within one run.

use clap::ValueEnum;

use super::interface::{Global, Subcommand};
use crate::base::error::Result;
use crate::selftest::bench;

/// Measure boots, reports or recordings, as ratios within one run
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: cargo xtask bench boot")]
pub(super) struct Args {
    /// What to measure
    what: Bench,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Bench {
    /// Exact, plain and untuned boots; `run -- true` and a bare boot
    Boot,
    /// `snaptrace report` against trace-cmd's, on long recordings
    Report,
    /// `snaptrace record` against trace-cmd's, under the same load
    Record,
}

impl Subcommand for Args {
    const NAME: &'static str = "bench";

    fn run(self, global: &Global) -> Result<u8> {
        let workspace = global.workspace()?;
        match self.what {
            Bench::Boot => bench::boot(&workspace),
            Bench::Report => bench::report(&workspace),
            Bench::Record => bench::record(&workspace),
        }
        .map(|()| 0)
    }
}
