//! `test-vm`: runs the cases in guests and compares them with the snapshots.

use std::path::PathBuf;

use super::args::{ExactArgs, OutputArgs, SetupArgs};
use super::interface::{Global, Subcommand};
use crate::base::error::Result;
use crate::outcome::shard::Shard;
use crate::run::test_vm::{self, Options};
use crate::snapshots::compare::Mode;
use crate::vm::Accel;

/// Run the cases in guests and compare with the snapshots
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: cargo xtask test-vm --kernel debian-6.1 function call-stack
         cargo xtask test-vm --all --junit results.xml
         cargo xtask test-vm --all --shard 1/2 --message-format json")]
pub(super) struct Args {
    /// Names of cases; without one, all of them
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// A kernel (repeatable); the run fails when it is unavailable
    #[arg(long = "kernel", value_name = "NAME")]
    kernels: Vec<String>,
    /// Every kernel but the -src ones; those not cached are fetched or built
    #[arg(long, conflicts_with = "kernels")]
    all: bool,
    /// Only part I of N of all kernels and cases (see merge-results)
    #[arg(long, value_name = "I/N", default_value_t, hide_default_value = true)]
    shard: Shard,
    #[command(flatten)]
    output: OutputArgs,
    /// Accept differences as the new snapshots of the kernels that ran
    #[arg(long, conflicts_with = "review")]
    update: bool,
    /// Show each difference and ask (needs cargo-insta)
    #[arg(long, conflicts_with = "message_format")]
    review: bool,
    /// Compare the results of the last run again, without booting guests
    #[arg(long, conflicts_with_all = ["kernels", "all", "shard", "append", "put", "repeat", "exact", "no_exact", "accel"])]
    stored: bool,
    /// The folder of the snapshots, instead of tests/snapshots
    #[arg(long, value_name = "FOLDER")]
    snapshots: Option<PathBuf>,
    /// Do not fail for differences on kernels that nobody reviewed
    #[arg(long)]
    allow_drift: bool,
    /// Print the SHA-256 of each case's raw transcript
    #[arg(long)]
    digests: bool,
    /// Run each case N times; all raw results have to be equal
    #[arg(long, value_name = "N", conflicts_with = "no_exact", value_parser = clap::value_parser!(u32).range(2..))]
    repeat: Option<u32>,
    /// Keep every core of this host busy during the runs
    #[arg(long, requires = "repeat")]
    load: bool,
    #[command(flatten)]
    exact: ExactArgs,
    /// tcg (the default) or kvm; results under kvm cannot become snapshots
    #[arg(long, value_name = "NAME")]
    accel: Option<Accel>,
    #[command(flatten)]
    setup: SetupArgs,
    /// Seconds that init may take to start
    #[arg(long, value_name = "SECONDS")]
    boot_timeout: Option<u64>,
}

impl Subcommand for Args {
    const NAME: &'static str = "test-vm";

    fn run(self, global: &Global) -> Result<u8> {
        let workspace = global.workspace()?;
        let stored = self.stored;
        let options = self.options();
        let done = if stored {
            test_vm::compare_again(&workspace, &options)
        } else {
            test_vm::run(&workspace, &options)
        };
        done.map(|(worst, _)| worst.exit_code())
    }
}

impl Args {
    fn options(self) -> Options {
        let mode = match (self.update, self.review) {
            (true, _) => Mode::Update,
            (false, true) => Mode::Review,
            (false, false) => Mode::Check,
        };
        Options {
            cases: self.cases,
            kernels: self.kernels,
            all: self.all,
            shard: self.shard,
            junit: self.output.junit,
            format: self.output.message_format,
            append: self.setup.append,
            put: self.setup.put,
            snapshots: self.snapshots,
            mode,
            allow_drift: self.allow_drift,
            digests: self.digests,
            accel: self.accel,
            exact: self.exact.exactness(),
            repeat: self.repeat,
            load: self.load,
            boot_timeout: self.boot_timeout,
        }
    }
}
