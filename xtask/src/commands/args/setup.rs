//! Additions to a guest: words on the kernel command line, and files.

use crate::guest::put::Put;

/// Words on the kernel command line, and the user's files.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct SetupArgs {
    /// A word for the kernel command line (repeatable)
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(in crate::commands) append: Vec<String>,
    /// A file or folder to put into the guest, by default into /extra
    /// (repeatable)
    #[arg(long, value_name = "PATH[:GUEST]", alias = "extra-file")]
    pub(in crate::commands) put: Vec<Put>,
}
