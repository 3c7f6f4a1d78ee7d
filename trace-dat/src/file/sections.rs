//! The contents of sections, which are the same in both versions.

use std::borrow::Cow;

use super::cursor::Cursor;
use super::metadata::System;
use crate::error::Result;

/// `header_page` and `header_event`.
pub(crate) fn header_info(cursor: &mut Cursor<'_>) -> Result<(Vec<u8>, Vec<u8>)> {
    cursor.tag("header_page\0")?;
    let page = with_u64(cursor)?.into_owned();
    cursor.tag("header_event\0")?;
    Ok((page, with_u64(cursor)?.into_owned()))
}

/// Passes the formats of a system to `each`, one by one.
pub(crate) fn formats(cursor: &mut Cursor<'_>, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    for _ in 0..cursor.u32()? {
        let format = with_u64(cursor)?;
        each(&format).map_err(|error| cursor.within(error))?;
    }
    Ok(())
}

/// Passes the formats of all systems to `each`, one by one, with the system's name.
pub(crate) fn formats_by_system(
    cursor: &mut Cursor<'_>,
    mut each: impl FnMut(&str, &[u8]) -> Result<()>,
) -> Result<()> {
    for _ in 0..cursor.u32()? {
        let system = cursor.text()?;
        formats(cursor, |format| each(&system, format))?;
    }
    Ok(())
}

/// All systems with their formats.
pub(crate) fn systems(cursor: &mut Cursor<'_>) -> Result<Vec<System>> {
    let mut systems = Vec::new();
    for _ in 0..cursor.u32()? {
        let mut system = System { name: cursor.text()?, formats: Vec::new() };
        formats(cursor, |format| {
            system.formats.push(format.to_vec());
            Ok(())
        })?;
        systems.push(system);
    }
    Ok(systems)
}

/// Reads a length of 32 bits, and that many bytes.
pub(crate) fn with_u32<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>> {
    let size = cursor.u32()?;
    cursor.bytes(u64::from(size))
}

/// Reads a length of 64 bits, and that many bytes.
pub(crate) fn with_u64<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>> {
    let size = cursor.u64()?;
    cursor.bytes(size)
}

/// Skips `header_page` and `header_event`.
pub(crate) fn skip_header_info(cursor: &mut Cursor<'_>) -> Result<()> {
    cursor.tag("header_page\0")?;
    skip_with_u64(cursor)?;
    cursor.tag("header_event\0")?;
    skip_with_u64(cursor)
}

/// Skips the formats of a system.
pub(crate) fn skip_formats(cursor: &mut Cursor<'_>) -> Result<()> {
    (0..cursor.u32()?).try_for_each(|_| skip_with_u64(cursor))
}

/// Skips the formats of all systems.
pub(crate) fn skip_systems(cursor: &mut Cursor<'_>) -> Result<()> {
    for _ in 0..cursor.u32()? {
        cursor.text()?;
        skip_formats(cursor)?;
    }
    Ok(())
}

/// Skips a length of 32 bits, and that many bytes.
pub(crate) fn skip_with_u32(cursor: &mut Cursor<'_>) -> Result<()> {
    let size = cursor.u32()?;
    cursor.skip(u64::from(size))
}

/// Skips a length of 64 bits, and that many bytes.
pub(crate) fn skip_with_u64(cursor: &mut Cursor<'_>) -> Result<()> {
    let size = cursor.u64()?;
    cursor.skip(size)
}
