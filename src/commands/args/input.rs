//! The recording that a subcommand reads.

use std::path::PathBuf;

use crate::capture::recording;
use crate::error::Result;
use trace_dat::Reader;

#[derive(Debug, clap::Args)]
pub(in crate::commands) struct InputArgs {
    /// The recording; - is standard input [default: trace.dat]
    #[arg(short = 'i', value_name = "FILE", conflicts_with = "file")]
    input: Option<PathBuf>,
    /// The recording; - is standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl InputArgs {
    /// Opens the recording.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub(in crate::commands) fn open(&self) -> Result<Reader> {
        let path = self.input.as_ref().or(self.file.as_ref()).cloned();
        recording::open(&path.unwrap_or_else(|| PathBuf::from("trace.dat")))
    }
}
