//! The start of every file, in both versions: version, byte order, size of a long, page size.

use std::fmt;

use super::cursor::Cursor;
use super::id::MAGIC;
use super::input::View;
use crate::bytes::ByteOrder;
use crate::error::{ErrorKind, Result};

/// The version of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// All parts in a fixed order; every trace-cmd reads it.
    V6,
    /// Sections and compression; trace-cmd 3.0 and later read it.
    V7,
}

/// Its number, 6 or 7.
impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Version::V6 => "6",
            Version::V7 => "7",
        })
    }
}

/// The first bytes of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub version: Version,
    pub order: ByteOrder,
    /// The size of a long in bytes, 4 or 8.
    pub long_size: usize,
    /// The page size in bytes, a power of two.
    pub page_size: usize,
}

impl Header {
    /// Reads the header; also returns a cursor after it.
    pub fn read(file: View<'_>) -> Result<(Header, Cursor<'_>)> {
        // The byte order is not known yet, and not needed for the fields before it.
        let mut cursor = Cursor::new(file, 0, ByteOrder::Little, "header");
        let size = MAGIC.len() as u64;
        if file.size() < size || *cursor.clone().bytes(size)? != *MAGIC {
            return Err(cursor.error_of(ErrorKind::NotTraceDat, "it does not begin like a trace.dat"));
        }
        cursor.skip(size)?;
        let version = match cursor.text()?.as_str() {
            "6" => Version::V6,
            "7" => Version::V7,
            other => {
                let what = format!("version '{other}' is neither 6 nor 7");
                return Err(cursor.error_of(ErrorKind::UnsupportedVersion, &what));
            }
        };
        let order = match *cursor.bytes(1)? {
            [0] => ByteOrder::Little,
            [1] => ByteOrder::Big,
            _ => return Err(cursor.error("the byte order is neither 0 nor 1")),
        };
        let long_size = match *cursor.bytes(1)? {
            [size @ (4 | 8)] => usize::from(size),
            _ => return Err(cursor.error("the size of a long is neither 4 nor 8")),
        };
        let mut cursor = Cursor::new(file, cursor.at(), order, "header");
        let page_size = page_size(&mut cursor)?;
        Ok((Header { version, order, long_size, page_size }, cursor))
    }
}

/// Reads a page size; fails when no machine can have it.
pub(crate) fn page_size(cursor: &mut Cursor<'_>) -> Result<usize> {
    let size = cursor.u32()?;
    if size.is_power_of_two() && (64..=1 << 24).contains(&size) {
        return Ok(size as usize);
    }
    Err(cursor.error(&format!("a page size of {size} bytes is not possible")))
}
