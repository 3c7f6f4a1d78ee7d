//! What stands in the sections, which is the same in both versions.

use std::borrow::Cow;
use std::collections::HashMap;

use super::cursor::Cursor;
use crate::bytes::ByteOrder;
use crate::error::Result;
use crate::event::events::Events;
use crate::ring_buffer::read::Layout;

/// `header_page` and `header_event`.
pub(crate) fn header_info(cursor: &mut Cursor<'_>, order: ByteOrder, long_size: usize) -> Result<Layout> {
    cursor.tag("header_page\0")?;
    let size = cursor.u64()?;
    let page = String::from_utf8_lossy(&cursor.bytes(size)?).into_owned();
    let layout = Layout::parse(&page, order, long_size).map_err(|error| cursor.within(error))?;
    cursor.tag("header_event\0")?;
    let size = cursor.u64()?;
    cursor.bytes(size)?;
    Ok(layout)
}

/// The formats of the events of ftrace itself.
pub(crate) fn ftrace_formats(cursor: &mut Cursor<'_>, events: &mut Events, long_size: usize) -> Result<()> {
    let count = cursor.u32()?;
    formats(cursor, "ftrace", count, events, long_size)
}

/// The formats of all other events, by system.
pub(crate) fn event_formats(cursor: &mut Cursor<'_>, events: &mut Events, long_size: usize) -> Result<()> {
    for _ in 0..cursor.u32()? {
        let system = cursor.text()?;
        let count = cursor.u32()?;
        formats(cursor, &system, count, events, long_size)?;
    }
    Ok(())
}

/// Goes over the formats of all events.
pub(crate) fn skip_formats(cursor: &mut Cursor<'_>) -> Result<()> {
    let skip = |cursor: &mut Cursor<'_>, count: u32| -> Result<()> {
        (0..count).try_for_each(|_| cursor.u64().and_then(|size| cursor.skip(size)))
    };
    let of_ftrace = cursor.u32()?;
    skip(cursor, of_ftrace)?;
    for _ in 0..cursor.u32()? {
        cursor.text()?;
        let count = cursor.u32()?;
        skip(cursor, count)?;
    }
    Ok(())
}

fn formats(
    cursor: &mut Cursor<'_>,
    system: &str,
    count: u32,
    events: &mut Events,
    long_size: usize,
) -> Result<()> {
    for _ in 0..count {
        let size = cursor.u64()?;
        let bytes = cursor.bytes(size)?;
        // Nearly all are UTF-8, which is quicker to find out than to mend.
        let text = str::from_utf8(&bytes).map_or_else(|_| String::from_utf8_lossy(&bytes), Cow::Borrowed);
        events.add(system, &text, long_size).map_err(|error| cursor.within(error))?;
    }
    Ok(())
}

/// The formats of `trace_printk`: lines of `0xADDRESS : "TEXT\n"`, by address and bare.
pub(crate) fn printk(text: &[u8]) -> HashMap<u64, Vec<u8>> {
    let mut found = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        let Some((address, text)) = line.split_once(':') else { continue };
        let address = address.trim();
        let Ok(address) = u64::from_str_radix(address.strip_prefix("0x").unwrap_or(address), 16) else {
            continue;
        };
        let text = text.trim_start().trim_start_matches('"');
        let text = text.strip_suffix('"').unwrap_or(text);
        let text = text.strip_suffix("\\n").unwrap_or(text);
        found.insert(address, text.as_bytes().to_vec());
    }
    found
}

/// Commands by pid: lines of `PID COMMAND`.
pub fn cmdlines(text: &[u8]) -> HashMap<i32, Vec<u8>> {
    let mut found = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(blank) = line.iter().position(|byte| *byte == b' ') else { continue };
        let pid = std::str::from_utf8(&line[..blank]).ok().and_then(|pid| pid.parse().ok());
        if let Some(pid) = pid {
            found.insert(pid, line[blank + 1..].to_vec());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printk_formats_are_bare() {
        let found = printk(b"0xff10 : \"a: %d\\n\"\n0xff20 : \"b\"\nnonsense\n");
        assert_eq!(found.get(&0xff10).unwrap(), b"a: %d");
        assert_eq!(found.get(&0xff20).unwrap(), b"b");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn commands_keep_their_blanks() {
        let found = cmdlines(b"12 tmux: server\n13 sh\nx y\n");
        assert_eq!(found.get(&12).unwrap(), b"tmux: server");
        assert_eq!(found.len(), 2);
    }
}
