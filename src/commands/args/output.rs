//! The trace.dat that a subcommand writes.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::capture::output::Output;
use trace_dat::write::{Compression, Version};

#[derive(Debug, clap::Args)]
pub(in crate::commands) struct OutputArgs {
    /// The file to write
    #[arg(short = 'o', value_name = "FILE", default_value = "trace.dat")]
    output: PathBuf,
    /// Version of the file format
    #[arg(long, value_name = "VERSION", default_value = "7")]
    file_version: FileVersion,
    /// Compression of the data, in version 7 of the file format [default: zstd]
    #[arg(long, value_name = "NAME")]
    compression: Option<CompressionName>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FileVersion {
    /// Readable by every trace-cmd
    #[value(name = "6")]
    V6,
    /// Readable by trace-cmd 3.0 and later; smaller
    #[value(name = "7")]
    V7,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CompressionName {
    /// Not compressed
    None,
    /// Some builds of trace-cmd cannot read it
    Zlib,
    /// What trace-cmd uses
    Zstd,
}

impl OutputArgs {
    /// The file, its version and its compression.
    pub(in crate::commands) fn config(&self) -> Output {
        let version = match self.file_version {
            FileVersion::V6 => Version::V6,
            FileVersion::V7 => Version::V7,
        };
        let compression = match (self.compression, version) {
            (Some(CompressionName::None), _) | (None, Version::V6) => Compression::None,
            (Some(CompressionName::Zlib), _) => Compression::Zlib,
            (Some(CompressionName::Zstd), _) | (None, Version::V7) => Compression::Zstd,
        };
        Output { path: self.output.clone(), version, compression }
    }
}
