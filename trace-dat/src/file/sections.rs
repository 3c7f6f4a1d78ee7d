//! What stands in the sections, which is the same in both versions.

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

/// Gives the formats of a system to `each`, one by one.
pub(crate) fn formats(cursor: &mut Cursor<'_>, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    for _ in 0..cursor.u32()? {
        let format = with_u64(cursor)?;
        each(&format).map_err(|error| cursor.within(error))?;
    }
    Ok(())
}

/// Gives the formats of all systems to `each`, each with the system's name.
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

/// Bytes behind a length of 32 bits.
pub(crate) fn with_u32<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>> {
    let size = cursor.u32()?;
    cursor.bytes(u64::from(size))
}

/// Bytes behind a length of 64 bits.
pub(crate) fn with_u64<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>> {
    let size = cursor.u64()?;
    cursor.bytes(size)
}

/// Goes over `header_page` and `header_event`.
pub(crate) fn skip_header_info(cursor: &mut Cursor<'_>) -> Result<()> {
    cursor.tag("header_page\0")?;
    skip_with_u64(cursor)?;
    cursor.tag("header_event\0")?;
    skip_with_u64(cursor)
}

/// Goes over the formats of a system.
pub(crate) fn skip_formats(cursor: &mut Cursor<'_>) -> Result<()> {
    (0..cursor.u32()?).try_for_each(|_| skip_with_u64(cursor))
}

/// Goes over the formats of all systems.
pub(crate) fn skip_systems(cursor: &mut Cursor<'_>) -> Result<()> {
    for _ in 0..cursor.u32()? {
        cursor.text()?;
        skip_formats(cursor)?;
    }
    Ok(())
}

/// Goes over bytes behind a length of 32 bits.
pub(crate) fn skip_with_u32(cursor: &mut Cursor<'_>) -> Result<()> {
    let size = cursor.u32()?;
    cursor.skip(u64::from(size))
}

/// Goes over bytes behind a length of 64 bits.
pub(crate) fn skip_with_u64(cursor: &mut Cursor<'_>) -> Result<()> {
    let size = cursor.u64()?;
    cursor.skip(size)
}
