//! Additions to a guest: words on the kernel command line, and files.

use std::path::PathBuf;

/// Words on the kernel command line, and files in `/extra`.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct SetupArgs {
    /// A word for the kernel command line (repeatable)
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(in crate::commands) append: Vec<String>,
    /// A file to put into the guest's /extra (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(in crate::commands) extra_file: Vec<PathBuf>,
}
