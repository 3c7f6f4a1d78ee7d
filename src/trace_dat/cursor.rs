//! Reading forwards through bytes, every step checked; errors say what was read and where.

use crate::bytes::ByteOrder;
use crate::error::{Error, Result};

/// A position in the file, or in a section that was unpacked from it.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    data: &'a [u8],
    at: usize,
    order: ByteOrder,
    /// What this is, and where the file has it.
    place: String,
}

impl<'a> Cursor<'a> {
    pub fn new(data: &'a [u8], at: usize, order: ByteOrder, place: impl Into<String>) -> Cursor<'a> {
        Cursor { data, at, order, place: place.into() }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn left(&self) -> usize {
        self.data.len().saturating_sub(self.at)
    }

    /// The next `size` bytes.
    pub fn bytes(&mut self, size: u64) -> Result<&'a [u8]> {
        let end = usize::try_from(size).ok().and_then(|size| self.at.checked_add(size));
        match end.and_then(|end| Some((end, self.data.get(self.at..end)?))) {
            Some((end, bytes)) => {
                self.at = end;
                Ok(bytes)
            }
            None => Err(self.error(&format!("{size} bytes are announced, {} are left", self.left()))),
        }
    }

    pub fn u16(&mut self) -> Result<u16> {
        Ok(self.number(2)? as u16)
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(self.number(4)? as u32)
    }

    pub fn u64(&mut self) -> Result<u64> {
        self.number(8)
    }

    fn number(&mut self, size: u64) -> Result<u64> {
        let bytes = self.bytes(size)?;
        Ok(self.order.number(bytes).unwrap_or(0))
    }

    /// A text up to its NUL, which is skipped.
    pub fn text(&mut self) -> Result<String> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        match rest.iter().position(|byte| *byte == 0) {
            Some(end) => {
                self.at += end + 1;
                Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
            }
            None => Err(self.error("a text does not end")),
        }
    }

    /// Skips bytes that have to be there in exactly this form.
    pub fn tag(&mut self, tag: &str) -> Result<()> {
        let from = self.at;
        if self.bytes(tag.len() as u64)? == tag.as_bytes() {
            return Ok(());
        }
        self.at = from;
        Err(self.error(&format!("'{}' is not there", tag.trim_end_matches('\0').trim_end())))
    }

    /// The error of something wrong at this position.
    pub fn error(&self, what: &str) -> Error {
        Error::new(format!("{}, byte {} (0x{:x}): {what}", self.place, self.at, self.at))
    }
}
