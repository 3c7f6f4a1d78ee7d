//! In which formats the results of a run are written.

use std::path::PathBuf;

use crate::ci::events::Format;

/// A JUnit file, and the format of standard output.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct OutputArgs {
    /// Write the results as a JUnit file
    #[arg(long, value_name = "FILE")]
    pub(in crate::commands) junit: Option<PathBuf>,
    /// Format of standard output; docs/ci.md describes each
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(in crate::commands) message_format: Format,
}
