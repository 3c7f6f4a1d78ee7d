//! The columns of a line. Every line has them, so they avoid the cost of general formatting.

use super::config::{Config, Style};

/// Appends blanks.
pub(super) fn blanks(count: usize, out: &mut Vec<u8>) {
    const BLANKS: [u8; 64] = [b' '; 64];
    match BLANKS.get(..count) {
        Some(blanks) => out.extend_from_slice(blanks),
        None => out.resize(out.len() + count, b' '),
    }
}

/// The digits of all numbers below 1000.
pub(super) const THREE_DIGITS: [[u8; 3]; 1000] = {
    let mut all = [[0; 3]; 1000];
    let mut number = 0;
    while number < all.len() {
        all[number] =
            [b'0' + (number / 100) as u8, b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    all
};

/// Fills `place`, whose size is a multiple of three, with a number's last digits.
pub(super) fn digits(value: u64, place: &mut [u8]) {
    // No number here has more than nine digits, and 32-bit division is faster.
    let mut rest = value as u32;
    for three in place.rchunks_exact_mut(3) {
        three.copy_from_slice(&THREE_DIGITS[rest as usize % 1000]);
        rest /= 1000;
    }
}

/// Appends a text, right-aligned in a column.
pub(super) fn right(text: &[u8], width: usize, out: &mut Vec<u8>) {
    blanks(width.saturating_sub(text.len()), out);
    out.extend_from_slice(text);
}

/// Writes a number to the start of `place`, which has room for it; returns the number of digits.
pub(super) fn write_number(value: u64, place: &mut [u8]) -> usize {
    if value < 1000 {
        let zeros = usize::from(value < 100) + usize::from(value < 10);
        let digits = &THREE_DIGITS[value as usize][zeros..];
        place[..digits.len()].copy_from_slice(digits);
        return digits.len();
    }
    let mut all = [0; 21];
    let mut at = all.len();
    let mut rest = value;
    while rest > 0 {
        at -= 3;
        all[at..at + 3].copy_from_slice(&THREE_DIGITS[(rest % 1000) as usize]);
        rest /= 1000;
    }
    let zeros = all[at..].iter().take_while(|digit| **digit == b'0').count();
    let digits = &all[at + zeros..];
    place[..digits.len()].copy_from_slice(digits);
    digits.len()
}

/// Appends a number, padded on the left with `fill`.
pub(super) fn number(value: u64, width: usize, fill: u8, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let count = write_number(value, &mut digits);
    if count < width {
        out.resize(out.len() + width - count, fill);
    }
    out.extend_from_slice(&digits[..count]);
}

/// Appends `-PID`, padded on the right with blanks.
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
pub(super) fn seconds(time: u64, digits: usize, out: &mut Vec<u8>) {
    let second = 10u64.pow(digits as u32);
    number(time / second, 5, b' ', out);
    out.push(b'.');
    number(time % second, digits, b'0', out);
}

/// Appends a time, given in units of its last digit, as seconds or as a plain number.
pub(super) fn time(time: u64, in_seconds: bool, config: &Config, out: &mut Vec<u8>) {
    // trace-cmd 3.1 prints no space before times that are not in seconds.
    if in_seconds || config.style == Style::Snaptrace {
        out.push(b' ');
    }
    match (in_seconds, config.nanoseconds) {
        (false, _) => number(time, 12, b' ', out),
        (true, true) => seconds(time, 9, out),
        (true, false) => seconds(time, 6, out),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 512, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Default::default()
        })]

        #[test]
        fn columns_are_as_the_formatter_makes_them(
            value in (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift),
            width in 0_usize..24,
        ) {
            prop_assert_eq!(text(|out| number(value, width, b' ', out)), format!("{value:width$}"));
            prop_assert_eq!(text(|out| number(value, width, b'0', out)), format!("{value:0width$}"));
            let (whole, part) = (value / 1_000_000, value % 1_000_000);
            prop_assert_eq!(text(|out| seconds(value, 6, out)), format!("{whole:5}.{part:06}"));
            let (id, processor) = (value as i32, value as u32);
            prop_assert_eq!(text(|out| pid(id, out)), format!("-{id:<5}"));
            prop_assert_eq!(text(|out| cpu(processor, out)), format!(" [{processor:03}]"));
            let mut place = [0; 9];
            digits(value % 1_000_000_000, &mut place);
            prop_assert_eq!(String::from_utf8_lossy(&place), format!("{:09}", value % 1_000_000_000));
        }
    }

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
        assert_eq!(text(|out| number(1000, 0, b' ', out)), "1000");
        assert_eq!(text(|out| number(20, 0, b' ', out)), "20");
    }

    #[test]
    fn the_first_second_has_a_point_too() {
        assert_eq!(text(|out| seconds(1_500_000, 6, out)), "    1.500000");
        assert_eq!(text(|out| seconds(2, 6, out)), "    0.000002");
        assert_eq!(text(|out| seconds(1_590, 9, out)), "    0.000001590");
    }
}
