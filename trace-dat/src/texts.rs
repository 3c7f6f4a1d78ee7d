//! Texts of the kernel's own files, which recordings contain unchanged.

use std::borrow::Cow;
use std::collections::HashMap;

/// The name in brackets, as the kernel's `trace_clock` marks the clock in use.
///
/// ```
/// assert_eq!(trace_dat::texts::chosen_clock("local [global] counter\n"), Some("global"));
/// assert_eq!(trace_dat::texts::chosen_clock("local"), None);
/// ```
pub fn chosen_clock(trace_clock: &str) -> Option<&str> {
    let (_, rest) = trace_clock.split_once('[')?;
    rest.split_once(']').map(|(clock, _)| clock)
}

/// Commands by pid, from `saved_cmdlines`: lines of `PID COMMAND`.
pub fn cmdlines(saved_cmdlines: &[u8]) -> HashMap<i32, Vec<u8>> {
    let mut found = HashMap::new();
    for line in saved_cmdlines.split(|byte| *byte == b'\n') {
        let Some(blank) = line.iter().position(|byte| *byte == b' ') else { continue };
        let pid = std::str::from_utf8(&line[..blank]).ok().and_then(|pid| pid.parse().ok());
        if let Some(pid) = pid {
            found.insert(pid, line[blank + 1..].to_vec());
        }
    }
    found
}

/// The formats of `trace_printk` with their addresses, from `printk_formats`: lines of
/// `0xADDRESS : "TEXT\n"`; the texts are returned without quotes and newline.
pub fn printk_formats(text: &[u8]) -> impl Iterator<Item = (u64, Cow<'_, str>)> {
    text.split(|byte| *byte == b'\n').filter_map(|line| match String::from_utf8_lossy(line) {
        Cow::Borrowed(line) => printk_format(line).map(|(address, text)| (address, text.into())),
        Cow::Owned(line) => printk_format(&line).map(|(address, text)| (address, text.to_string().into())),
    })
}

fn printk_format(line: &str) -> Option<(u64, &str)> {
    let (address, text) = line.split_once(':')?;
    let address = address.trim();
    let address = u64::from_str_radix(address.strip_prefix("0x").unwrap_or(address), 16).ok()?;
    let text = text.trim_start().trim_start_matches('"');
    let text = text.strip_suffix('"').unwrap_or(text);
    Some((address, text.strip_suffix("\\n").unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printk_formats_are_bare() {
        let found: Vec<(u64, Cow<'_, str>)> =
            printk_formats(b"0xff10 : \"a: %d\\n\"\n0xff20 : \"b\"\nnonsense\n").collect();
        assert_eq!(found, [(0xff10, "a: %d".into()), (0xff20, "b".into())]);
    }

    #[test]
    fn commands_keep_their_blanks() {
        let found = cmdlines(b"12 tmux: server\n13 sh\nx y\n");
        assert_eq!(found.get(&12).unwrap(), b"tmux: server");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn the_clock_of_a_file_may_end_with_a_nul() {
        assert_eq!(chosen_clock("[x86-tsc]\0"), Some("x86-tsc"));
        assert_eq!(chosen_clock("local [global"), None);
    }
}
