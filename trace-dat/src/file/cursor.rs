//! Reads bytes forwards and checks every step; errors say what was read, and where.

use std::borrow::Cow;

use super::input::View;
use crate::bytes::ByteOrder;
use crate::error::{Error, ErrorKind, Result};

/// The longest text that ends with a NUL (names of systems, instances and clocks).
const LONGEST_TEXT: u64 = 4096;

/// A position in the file, or in a section that was unpacked from it.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    data: View<'a>,
    at: u64,
    order: ByteOrder,
    /// The name of these bytes in errors, such as `section 16 at offset 0x5a`.
    place: String,
}

impl<'a> Cursor<'a> {
    pub fn new(data: View<'a>, at: u64, order: ByteOrder, place: impl Into<String>) -> Cursor<'a> {
        Cursor { data, at, order, place: place.into() }
    }

    /// A cursor at the start of bytes in memory.
    pub fn over(data: &'a [u8], order: ByteOrder, place: impl Into<String>) -> Cursor<'a> {
        Cursor::new(View::Bytes(data), 0, order, place)
    }

    pub fn at(&self) -> u64 {
        self.at
    }

    pub fn left(&self) -> u64 {
        self.data.size().saturating_sub(self.at)
    }

    /// The next `size` bytes.
    pub fn bytes(&mut self, size: u64) -> Result<Cow<'a, [u8]>> {
        let bytes = self
            .data
            .bytes(self.at, size)
            .map_err(|cause| self.within(Error::read("reading failed", cause)))?;
        let Some(bytes) = bytes else {
            return Err(self.cut(size));
        };
        self.at += size;
        Ok(bytes)
    }

    /// Skips `size` bytes; fails when fewer are left.
    pub fn skip(&mut self, size: u64) -> Result<()> {
        if size > self.left() {
            return Err(self.cut(size));
        }
        self.at += size;
        Ok(())
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
        Ok(self.order.number(&bytes).unwrap_or(0))
    }

    /// Reads a text up to its NUL, and skips the NUL.
    pub fn text(&mut self) -> Result<String> {
        let from = self.at;
        let rest = self.bytes(self.left().min(LONGEST_TEXT))?;
        match rest.iter().position(|byte| *byte == 0) {
            Some(end) => {
                self.at = from + end as u64 + 1;
                Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
            }
            None => {
                self.at = from;
                Err(self.error("a text does not end"))
            }
        }
    }

    /// Skips exactly these bytes; fails when other bytes follow.
    pub fn tag(&mut self, tag: &str) -> Result<()> {
        let from = self.at;
        if *self.bytes(tag.len() as u64)? == *tag.as_bytes() {
            return Ok(());
        }
        self.at = from;
        Err(self.error(&format!("'{}' is not there", tag.trim_end_matches('\0').trim_end())))
    }

    /// A [`ErrorKind::Malformed`] error at this position.
    pub fn error(&self, what: &str) -> Error {
        self.error_of(ErrorKind::Malformed, what)
    }

    /// An error of any kind at this position.
    pub fn error_of(&self, kind: ErrorKind, what: &str) -> Error {
        self.within(Error::new(kind, what))
    }

    /// The error when fewer than `size` bytes are left.
    pub fn cut(&self, size: u64) -> Error {
        let what = format!("{size} bytes are announced, {} are left", self.left());
        self.error_of(ErrorKind::Cut, &what)
    }

    /// Adds this position to an error that has no position.
    pub fn within(&self, error: Error) -> Error {
        error.at(&self.place, self.at)
    }
}
