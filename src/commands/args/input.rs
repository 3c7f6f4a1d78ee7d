//! The recording that a subcommand reads.

use std::path::{Path, PathBuf};

use crate::capture::recording;
use crate::error::Result;
use trace_dat::{Container, Reader};

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
    /// The file cannot be read, or is not a recording.
    pub(in crate::commands) fn open(&self) -> Result<Reader> {
        recording::open(self.path())
    }

    /// Opens the file without interpreting its parts.
    ///
    /// # Errors
    /// The file cannot be read, or is not a recording.
    pub(in crate::commands) fn container(&self) -> Result<Container> {
        recording::container(self.path())
    }

    fn path(&self) -> &Path {
        self.input.as_ref().or(self.file.as_ref()).map_or(Path::new("trace.dat"), PathBuf::as_path)
    }
}
