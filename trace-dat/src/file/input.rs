//! The bytes of a recording, in memory or elsewhere, read as they are needed.

use std::borrow::Cow;
use std::io;

/// A recording's bytes.
///
/// Files are read, not mapped into memory: if another process truncates a mapped file, the reader is
/// killed by SIGBUS. Reading large pieces is as fast.
pub trait Input: std::fmt::Debug + Send + Sync {
    /// The number of bytes.
    fn size(&self) -> u64;

    /// Fills `into` with the bytes from `offset` on.
    ///
    /// Fails when they cannot be read, or end before `into` is full.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

impl Input for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.get(start..).and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// The bytes under a [`super::cursor::Cursor`]: the file, or a part of it in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View<'a> {
    File(&'a dyn Input),
    Bytes(&'a [u8]),
}

impl<'a> View<'a> {
    pub fn size(self) -> u64 {
        match self {
            View::File(input) => input.size(),
            View::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// The bytes of a range, or `None` when it goes beyond the end. In that case nothing is allocated.
    pub fn bytes(self, offset: u64, size: u64) -> io::Result<Option<Cow<'a, [u8]>>> {
        let Some(end) = offset.checked_add(size).filter(|end| *end <= self.size()) else { return Ok(None) };
        match self {
            View::File(input) => {
                let mut bytes = vec![0; size as usize];
                input.read_at(offset, &mut bytes)?;
                Ok(Some(Cow::Owned(bytes)))
            }
            View::Bytes(bytes) => Ok(bytes.get(offset as usize..end as usize).map(Cow::Borrowed)),
        }
    }
}
