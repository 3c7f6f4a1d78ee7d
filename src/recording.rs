//! Recordings as files: opened and written here, read piece by piece by
//! [`trace_dat`](crate::trace_dat).

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::trace_dat::write::{self, Compression, CpuData, Metadata, Version};
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

/// Writes a recording of sub-buffers that are in memory, by the number of their CPU. The file is
/// written aside and renamed, so that a whole file or the old one is there.
///
/// Fails when it cannot be written.
pub fn write(
    path: &Path,
    version: Version,
    compression: Compression,
    metadata: &Metadata,
    cpus: &[(u32, Vec<u8>)],
) -> Result<()> {
    let failed = |cause: &io::Error| {
        Error::io("write", path, cause).help("make room there, or choose another folder with -o")
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut aside = tempfile::Builder::new()
        .prefix(".snaptrace-")
        // What the umask leaves of it, as for any other new file.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(|cause| failed(&cause))?;
    let mut bytes: Vec<(u32, &[u8])> = cpus.iter().map(|(cpu, bytes)| (*cpu, bytes.as_slice())).collect();
    let mut data: Vec<CpuData<'_>> = bytes
        .iter_mut()
        .map(|(cpu, bytes)| CpuData { cpu: *cpu, size: bytes.len() as u64, data: bytes })
        .collect();
    let mut out = BufWriter::with_capacity(1 << 20, aside.as_file_mut());
    write::write(&mut out, version, compression, metadata, &mut data).map_err(|cause| failed(&cause))?;
    drop(out);
    aside.persist(path).map_err(|error| failed(&error.error))?;
    Ok(())
}
