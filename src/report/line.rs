//! The columns of a line, without the cost of general formatting: each line has them.

use std::collections::HashMap;

use super::{Config, Style};
use crate::trace_dat::Reader;

/// The command of a pid.
pub(super) fn comm(comms: &HashMap<i32, Vec<u8>>, pid: i32) -> &[u8] {
    match pid {
        0 => b"<idle>",
        _ => comms.get(&pid).map_or(b"<...>", Vec::as_slice),
    }
}

/// Appends blanks.
pub(super) fn blanks(count: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + count, b' ');
}

/// Appends a text, moved to the right of a column.
pub(super) fn right(text: &[u8], width: usize, out: &mut Vec<u8>) {
    blanks(width.saturating_sub(text.len()), out);
    out.extend_from_slice(text);
}

/// Appends a number, filled up from the left.
pub(super) fn number(value: u64, width: usize, fill: u8, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let digits = &digits[at..];
    out.resize(out.len() + width.saturating_sub(digits.len()), fill);
    out.extend_from_slice(digits);
}

/// Appends `-PID`, filled up to the right.
pub(super) fn pid(pid: i32, out: &mut Vec<u8>) {
    let start = out.len() + 1;
    out.push(b'-');
    if pid < 0 {
        out.push(b'-');
    }
    number(u64::from(pid.unsigned_abs()), 0, b' ', out);
    blanks((start + 5).saturating_sub(out.len()), out);
}

/// Appends ` [CPU]`.
pub(super) fn cpu(cpu: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b" [");
    number(u64::from(cpu), 3, b'0', out);
    out.push(b']');
}

/// Appends seconds with a fraction of `digits` digits; `time` is in units of the last digit.
pub(super) fn seconds(time: u64, digits: usize, style: Style, out: &mut Vec<u8>) {
    let second = 10u64.pow(digits as u32);
    if style != Style::Snaptrace && time <= second {
        // trace-cmd shows the first second after boot without a point.
        number(time, 12, b' ', out);
        return;
    }
    number(time / second, 5, b' ', out);
    out.push(b'.');
    number(time % second, digits, b'0', out);
}

/// Appends a record's time, and gives it in units of its last digit.
pub(super) fn time(reader: &Reader, config: &Config, stamp: u64, out: &mut Vec<u8>) -> u64 {
    let nanoseconds = reader.is_nanoseconds() && !config.raw_time;
    let time = if config.raw_time { stamp } else { reader.shown_time(stamp) };
    let time = time.wrapping_add_signed(config.time_offset);
    // trace-cmd 3.1 puts no blank before what is not in seconds.
    if nanoseconds || config.style == Style::Snaptrace {
        out.push(b' ');
    }
    if !nanoseconds {
        number(time, 12, b' ', out);
        time
    } else if config.nanoseconds {
        seconds(time, 9, config.style, out);
        time
    } else {
        let microseconds = time.wrapping_add(500) / 1000;
        seconds(microseconds, 6, config.style, out);
        microseconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(make: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        make(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_have_their_width() {
        assert_eq!(text(|out| pid(7, out)), "-7    ");
        assert_eq!(text(|out| pid(-1, out)), "--1   ");
        assert_eq!(text(|out| pid(1_234_567, out)), "-1234567");
        assert_eq!(text(|out| cpu(3, out)), " [003]");
        assert_eq!(text(|out| right(b"sh", 4, out)), "  sh");
        assert_eq!(text(|out| number(0, 3, b' ', out)), "  0");
        assert_eq!(text(|out| number(u64::MAX, 0, b' ', out)), "18446744073709551615");
    }

    #[test]
    fn the_first_second_has_a_point_in_our_style_only() {
        assert_eq!(text(|out| seconds(1_500_000, 6, Style::TraceCmd31, out)), "    1.500000");
        assert_eq!(text(|out| seconds(500_000, 6, Style::TraceCmd31, out)), "      500000");
        assert_eq!(text(|out| seconds(500_000, 6, Style::Snaptrace, out)), "    0.500000");
    }
}
