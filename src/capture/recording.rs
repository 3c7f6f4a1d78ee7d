//! Recordings as files: they are opened and written here; [`trace_dat`] reads them piece by piece.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, IsTerminal, Read, Seek};
use std::mem;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::SpooledData;

use crate::error::{Error, Result};
use trace_dat::write::{self, Compression, CpuData, Metadata, Version};
use trace_dat::{Container, Input, Reader};

/// A regular file and its size when it was opened.
#[derive(Debug)]
struct OnDisk {
    file: File,
    size: u64,
    window: Mutex<Window>,
}

/// Bytes of a file from the last small read on. Numbers that are read one by one, as those of a file's
/// header, then need no system call each.
#[derive(Debug, Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

/// The size of the window. Reads of at most a quarter of it go through the window.
const WINDOW: usize = 64 << 10;

impl Input for OnDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let left = self.size.saturating_sub(offset);
        if into.len() > WINDOW / 4 || into.len() as u64 > left {
            return self.file.read_exact_at(into, offset);
        }
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.part(offset, into.len()).is_none() {
            let size = left.min(WINDOW as u64) as usize;
            // Taken out first: after a failed read the window stays empty and holds no wrong bytes.
            let mut bytes = mem::take(&mut window.bytes);
            bytes.resize(size, 0);
            self.file.read_exact_at(&mut bytes, offset)?;
            *window = Window { start: offset, bytes };
        }
        let part = window.part(offset, into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(part);
        Ok(())
    }
}

impl Window {
    fn part(&self, offset: u64, size: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(start..start.checked_add(size)?)
    }
}

/// The path that stands for standard input.
pub const STDIN: &str = "-";
/// Up to this size, a recording from a pipe is kept in memory; a larger one is kept in an unnamed file.
const IN_MEMORY: usize = 64 << 20;

/// Opens the recording at `path`, or standard input for [`STDIN`]. A source that cannot seek, such as a
/// pipe, is read to its end first.
///
/// Fails when it cannot be opened (exit code 2) and as [`Reader::new`] does.
pub fn open(path: &Path) -> Result<Reader> {
    Ok(Reader::of(container(path)?)?)
}

/// The same, without interpreting the parts of the file.
///
/// Fails when it cannot be opened (exit code 2) and as [`Container::open`] does.
pub fn container(path: &Path) -> Result<Container> {
    if path == Path::new(STDIN) {
        return standard_input();
    }
    let failed = |cause: io::Error| {
        Error::usage(format!("cannot read {}", path.display()))
            .because(cause)
            .help("name a recording with -i FILE; 'snaptrace record' makes one")
    };
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    let name = path.display().to_string();
    if about.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if about.is_file() {
        return Ok(Container::open(&name, on_disk(file, about.len()))?);
    }
    copied(&name, file)
}

fn on_disk(file: File, size: u64) -> OnDisk {
    OnDisk { file, size, window: Mutex::default() }
}

fn standard_input() -> Result<Container> {
    const NAME: &str = "standard input";
    let failed = |cause: io::Error| {
        Error::usage(format!("cannot read {NAME}"))
            .because(cause)
            .help("pass a recording, as in 'snaptrace report - < trace.dat'")
    };
    let input = io::stdin();
    if input.is_terminal() {
        return Err(Error::usage(format!("cannot read a recording from {NAME}: it is a terminal"))
            .help("pass a recording, as in 'ssh HOST cat trace.dat | snaptrace report -'"));
    }
    let mut file = File::from(input.as_fd().try_clone_to_owned().map_err(failed)?);
    let about = file.metadata().map_err(failed)?;
    // Another program may have read a part of it before.
    if about.is_file() && file.stream_position().map_err(failed)? == 0 {
        return Ok(Container::open(NAME, on_disk(file, about.len()))?);
    }
    copied(NAME, file)
}

/// Reads a source that cannot seek to its end, and opens the copy.
fn copied(name: &str, mut input: impl Read) -> Result<Container> {
    let mut kept = tempfile::spooled_tempfile(IN_MEMORY);
    let failed = |cause: io::Error| {
        Error::new(format!("cannot keep the recording from {name}"))
            .because(cause)
            .help("make room in the folder for temporary files, choose another with TMPDIR, or name a file")
    };
    io::copy(&mut input, &mut kept).map_err(failed)?;
    match kept.into_inner() {
        SpooledData::InMemory(bytes) => Ok(Container::open(name, bytes.into_inner())?),
        SpooledData::OnDisk(file) => {
            let size = file.metadata().map_err(failed)?.len();
            Ok(Container::open(name, on_disk(file, size))?)
        }
    }
}

/// Writes a recording from sub-buffers in memory, given with their CPU's number. A temporary file is
/// written and renamed, so that the path always names a complete file.
///
/// Fails when it cannot be written.
pub fn write(
    path: &Path,
    version: Version,
    compression: Compression,
    metadata: &Metadata,
    cpus: &[(u32, Vec<u8>)],
) -> Result<()> {
    let failed = |cause: io::Error| {
        Error::io("write", path, cause).help("make room there, or choose another folder with -o")
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut aside = tempfile::Builder::new()
        .prefix(".snaptrace-")
        // The umask applies to it, as to any other new file.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(failed)?;
    let mut bytes: Vec<(u32, &[u8])> = cpus.iter().map(|(cpu, bytes)| (*cpu, bytes.as_slice())).collect();
    let mut data: Vec<CpuData<'_>> = bytes
        .iter_mut()
        .map(|(cpu, bytes)| CpuData { cpu: *cpu, size: bytes.len() as u64, data: bytes })
        .collect();
    let mut out = BufWriter::with_capacity(1 << 20, aside.as_file_mut());
    write::write(&mut out, version, compression, metadata, &mut data).map_err(failed)?;
    drop(out);
    aside.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn reads_of_all_sizes_see_the_same_bytes() {
        let content: Vec<u8> =
            (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, &content).unwrap();
        let size = content.len() as u64;
        let file = OnDisk { file: File::open(&path).unwrap(), size, window: Mutex::default() };
        for (offset, length) in
            [(0, 8), (60_000, 16_384), (70_000, 4), (64, 60_000), (60_001, 1), (199_990, 10), (5, 0), (3, 9)]
        {
            let mut bytes = vec![0; length];
            file.read_at(offset as u64, &mut bytes).unwrap();
            assert_eq!(bytes, content[offset..offset + length], "{length} bytes at {offset}");
        }
        assert!(file.read_at(199_990, &mut [0; 11]).is_err());
        // A file that was truncated meanwhile is an error; its old bytes are not returned.
        fs::write(&path, &content[..100]).unwrap();
        assert!(file.read_at(100_000, &mut [0; 8]).is_err());
        assert!(file.read_at(100_000, &mut [0; 8]).is_err());
    }
}
