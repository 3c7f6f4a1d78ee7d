//! Recordings as files: opened here, read piece by piece by [`trace_dat`](crate::trace_dat).

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::trace_dat::{Input, Reader};

/// A regular file and its size when it was opened.
#[derive(Debug)]
struct OnDisk {
    file: File,
    size: u64,
}

impl Input for OnDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }
}

/// Opens the recording at `path`; what can only be read in a row, as a pipe, is read whole.
///
/// Fails when it cannot be opened (exit code 2) and as [`Reader::new`] does.
pub fn open(path: &Path) -> Result<Reader> {
    let failed = |cause: io::Error| {
        Error::usage(format!("cannot read {}", path.display()))
            .because(&cause)
            .help("name a recording with -i FILE; 'snaptrace record' makes one")
    };
    let mut file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    let name = path.display().to_string();
    if about.is_file() {
        return Reader::new(&name, OnDisk { file, size: about.len() });
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    Reader::new(&name, bytes)
}
