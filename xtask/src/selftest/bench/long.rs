//! Makes long recordings from a short one by repeating its sub-buffers with later times.

use std::io::Write;

use crate::base::error::{Context, Error, Result};

/// Writes a recording of version 6 with the sub-buffers of each CPU repeated `times` times.
///
/// Each repetition adds the same time on all CPUs, so that the times of each CPU stay in order. The last
/// sub-buffer of a CPU is left out: its start time is known, but not its end.
///
/// # Errors
/// The bytes are no such recording, or one with a single sub-buffer; or it cannot be written.
pub fn repeat(file: &[u8], times: usize, out: &mut impl Write) -> Result<()> {
    let odd = |what: &str| Error::new("cannot make a long recording").because(what);
    let page = number(file, 14, 4).ok_or_else(|| odd("the file has no header"))? as usize;
    let tag = b"flyrecord\0";
    let table = file
        .windows(tag.len())
        .position(|window| window == tag)
        .map(|at| at + tag.len())
        .filter(|_| file.starts_with(b"\x17\x08\x44tracing6\0\0\x08") && page > 0)
        .ok_or_else(|| odd("the file is not of version 6, little-endian and 64-bit"))?;
    // The table ends at or before the data of the first CPU; CPUs without data have size 0.
    let mut cpus: Vec<Vec<&[u8]>> = Vec::new();
    let mut start = file.len();
    while table + (cpus.len() + 1) * 16 <= start {
        let entry = table + cpus.len() * 16;
        let field = |at| number(file, at, 8).map(|value| value as usize);
        let (Some(offset), Some(size)) = (field(entry), field(entry + 8)) else { break };
        let whole = offset % page == 0 && size % page == 0 && offset > table;
        let Some(data) = offset.checked_add(size).and_then(|end| file.get(offset..end)).filter(|_| whole)
        else {
            break;
        };
        start = start.min(offset);
        cpus.push(data.chunks(page).collect());
    }
    let time = |page: &[u8]| number(page, 0, 8).unwrap_or(0);
    for pages in &mut cpus {
        if let (Some(first), Some(last)) = (pages.first(), pages.last())
            && time(last) <= time(first)
        {
            return Err(odd("a CPU has a single sub-buffer"));
        }
    }
    let lasts = cpus.iter().filter_map(|pages| Some(time(pages.last()?) - time(pages.first()?)));
    let step = lasts.max().ok_or_else(|| odd("there are no data"))?;

    let mut head = file[..start].to_vec();
    let mut offset = start as u64;
    for (cpu, pages) in cpus.iter().enumerate() {
        let size = (kept(pages).len() * page * times) as u64;
        head[table + cpu * 16..][..8].copy_from_slice(&offset.to_le_bytes());
        head[table + cpu * 16 + 8..][..8].copy_from_slice(&size.to_le_bytes());
        offset += size;
    }
    let failed = || "cannot write a long recording".into();
    out.write_all(&head).context(failed)?;
    for pages in &cpus {
        for turn in 0..times as u64 {
            for page in kept(pages) {
                let later = time(page) + turn * step;
                out.write_all(&later.to_le_bytes())
                    .and_then(|()| out.write_all(&page[8..]))
                    .context(failed)?;
            }
        }
    }
    out.flush().context(failed)
}

/// All pages except the last one.
fn kept<'a, 'b>(pages: &'b [&'a [u8]]) -> &'b [&'a [u8]] {
    &pages[..pages.len().saturating_sub(1)]
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with pages of 64 bytes: one CPU with data, one without.
    fn file(times: &[u64]) -> Vec<u8> {
        let mut file = b"\x17\x08\x44tracing6\0\0\x08".to_vec();
        file.extend(64_u32.to_le_bytes());
        file.extend(b"options  \0\0\0flyrecord\0");
        for number in [128, 64 * times.len() as u64, 128, 0] {
            file.extend(number.to_le_bytes());
        }
        file.resize(128, 0);
        for (index, time) in times.iter().enumerate() {
            file.extend(time.to_le_bytes());
            file.extend([index as u8; 56]);
        }
        file
    }

    fn repeated(file: &[u8], times: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        repeat(file, times, &mut out).map(|()| out)
    }

    #[test]
    fn pages_are_repeated_later_and_the_last_is_left_out() {
        let long = repeated(&file(&[100, 150, 170]), 3).unwrap();
        let pages: Vec<(u64, u8)> =
            long[128..].chunks(64).map(|page| (number(page, 0, 8).unwrap(), page[8])).collect();
        assert_eq!(pages, [(100, 0), (150, 1), (170, 0), (220, 1), (240, 0), (290, 1)]);
        let table = long.len() - 6 * 64 - (128 - 40);
        assert_eq!((number(&long, table, 8), number(&long, table + 8, 8)), (Some(128), Some(6 * 64)));
        assert_eq!(number(&long, table + 24, 8), Some(0));
    }

    #[test]
    fn what_cannot_be_repeated_is_refused() {
        assert!(repeated(&file(&[100]), 3).unwrap_err().to_string().contains("a single sub-buffer"));
        assert!(repeated(b"something else", 3).is_err());
        assert!(repeated(&file(&[1, 2])[..80], 3).is_err());
    }
}
