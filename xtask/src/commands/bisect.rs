//! `bisect`: the commit that changed a case's output.

use std::path::PathBuf;

use super::interface::{Global, Subcommand};
use crate::base::error::Result;
use crate::explain::bisect::step::Settings;
use crate::explain::bisect::{self, Options};

/// Find the commit that changed a case's output, with git bisect
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: cargo xtask bisect --good A --bad B --case function ~/linux")]
pub(super) struct Args {
    /// A revision on which the case's output is right
    #[arg(long, value_name = "A")]
    good: String,
    /// A later revision on which the case's output is wrong
    #[arg(long, value_name = "B")]
    bad: String,
    /// The case
    #[arg(long, value_name = "CASE")]
    case: String,
    /// The git repository of the kernel
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// The kernel whose configuration each commit is built with
    #[arg(long, value_name = "NAME", default_value = "5.4")]
    kernel: String,
    /// The compiler, such as gcc-12
    #[arg(long, value_name = "COMPILER")]
    cc: Option<String>,
}

impl Subcommand for Args {
    const NAME: &'static str = "bisect";

    fn run(self, global: &Global) -> Result<u8> {
        let settings = Settings { kernel: self.kernel, case: self.case, cc: self.cc };
        let options = Options { source: self.source, good: self.good, bad: self.bad, settings };
        bisect::bisect(&global.workspace()?, &options).map(|()| 0)
    }
}
