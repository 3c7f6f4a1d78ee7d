//! printf's conversions: parsed, and run on one value each.

use std::io::Write;

use super::Context;

/// A printf conversion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    blank: bool,
    alternate: bool,
    width: Amount,
    precision: Amount,
    /// Bytes of the number; for `l` and pointers that of a long.
    size: Size,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Amount {
    #[default]
    None,
    Fixed(usize),
    Star,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Size {
    Char,
    Short,
    #[default]
    Int,
    Long,
    LongLong,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Signed,
    Unsigned,
    Octal,
    Hex,
    UpperHex,
    Char,
    Text,
    Pointer,
    /// `%ps`, and with the offset in the function `%pS`.
    Function {
        offset: bool,
    },
    /// `%pM`, `%pMF` and `%pm`: six bytes and what stands between them.
    Mac(Option<u8>),
    /// `%pI4` and, with leading zeros, `%pi4`.
    Ip4 {
        zeros: bool,
    },
    /// `%pI6`, and short as `%pI6c`.
    Ip6 {
        short: bool,
    },
}

/// No width or precision beyond this: longer than any line, short enough to be harmless.
const WIDEST: usize = 4096;

impl Spec {
    /// How many arguments give width and precision.
    pub fn stars(&self) -> usize {
        usize::from(self.width == Amount::Star) + usize::from(self.precision == Amount::Star)
    }

    /// Bytes of the number that the conversion takes; a long has `long_size`.
    pub fn bytes(&self, long_size: usize) -> usize {
        match self.size {
            Size::Char => 1,
            Size::Short => 2,
            Size::Int => 4,
            Size::Long => long_size,
            Size::LongLong => 8,
        }
    }

    /// Whether an address is printed as the function that it lies in.
    pub fn is_function(&self) -> bool {
        matches!(self.kind, Kind::Function { .. })
    }

    /// Whether it prints text.
    pub fn is_text(&self) -> bool {
        self.kind == Kind::Text
    }

    /// Whether it prints what a pointer points at, which is not in a record.
    pub fn follows_pointer(&self) -> bool {
        matches!(self.kind, Kind::Mac(_) | Kind::Ip4 { .. } | Kind::Ip6 { .. })
    }

    /// Replaces `*` by the values that its arguments have.
    pub fn with_stars(&self, mut values: impl Iterator<Item = u64>) -> Spec {
        let mut spec = self.clone();
        if spec.width == Amount::Star {
            let width = values.next().unwrap_or(0) as i32;
            spec.left |= width < 0;
            spec.width = Amount::Fixed((width.unsigned_abs() as usize).min(WIDEST));
        }
        if spec.precision == Amount::Star {
            let precision = values.next().unwrap_or(0) as i32;
            spec.precision =
                usize::try_from(precision).map_or(Amount::None, |n| Amount::Fixed(n.min(WIDEST)));
        }
        spec
    }

    /// Appends a text, cut to the precision and padded to the width.
    pub fn text(&self, text: &[u8], out: &mut Vec<u8>) {
        let text = match self.precision {
            Amount::Fixed(most) => &text[..text.len().min(most)],
            _ => text,
        };
        self.pad(b"", text, false, out);
    }

    /// Appends a number.
    pub fn number(&self, value: u64, context: &Context, out: &mut Vec<u8>) {
        let unused = 64 - 8 * self.bytes(context.long_size) as u32;
        let cut = value << unused >> unused;
        let mut digits = [0; 24];
        let mut end = &mut digits[..];
        // A number of 64 bits has at most 22 digits, so the writes below fit.
        let sign: &[u8] = match self.kind {
            Kind::Signed => {
                let value = ((value << unused) as i64) >> unused;
                let _ = write!(end, "{}", value.unsigned_abs());
                match value {
                    value if value < 0 => b"-",
                    _ if self.plus => b"+",
                    _ if self.blank => b" ",
                    _ => b"",
                }
            }
            Kind::Octal => {
                let _ = write!(end, "{cut:o}");
                if self.alternate && cut != 0 { b"0" } else { b"" }
            }
            Kind::Hex => {
                let _ = write!(end, "{cut:x}");
                if self.alternate && cut != 0 { b"0x" } else { b"" }
            }
            Kind::UpperHex => {
                let _ = write!(end, "{cut:X}");
                if self.alternate && cut != 0 { b"0X" } else { b"" }
            }
            Kind::Pointer if value == 0 => return self.pad(b"", b"(nil)", false, out),
            Kind::Pointer => {
                let _ = write!(end, "{value:x}");
                b"0x"
            }
            Kind::Char => return self.pad(b"", &[value as u8], false, out),
            Kind::Function { offset } => return function(value, offset, context, out),
            _ => {
                let _ = write!(end, "{cut}");
                b""
            }
        };
        let left = end.len();
        let used = digits.len() - left;
        let digits = &digits[..used];
        match self.precision {
            Amount::Fixed(least) => {
                let mut longer = vec![b'0'; least.saturating_sub(used)];
                longer.extend(digits);
                self.pad(sign, &longer, false, out);
            }
            _ => self.pad(sign, digits, self.zero && !self.left, out),
        }
    }

    fn pad(&self, sign: &[u8], text: &[u8], zeros: bool, out: &mut Vec<u8>) {
        let width = if let Amount::Fixed(width) = self.width { width } else { 0 };
        let gap = width.saturating_sub(sign.len() + text.len());
        if !self.left && !zeros {
            out.resize(out.len() + gap, b' ');
        }
        out.extend_from_slice(sign);
        if zeros {
            out.resize(out.len() + gap, b'0');
        }
        out.extend_from_slice(text);
        if self.left {
            out.resize(out.len() + gap, b' ');
        }
    }

    /// Appends the bytes of an address of the network.
    pub(super) fn address(&self, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self.kind {
            Kind::Mac(between) => {
                for (index, byte) in bytes.get(..6)?.iter().enumerate() {
                    if let (Some(between), true) = (between, index > 0) {
                        out.push(between);
                    }
                    let _ = write!(out, "{byte:02x}");
                }
            }
            Kind::Ip4 { zeros } => {
                let [a, b, c, d]: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
                let _ = if zeros {
                    write!(out, "{a:03}.{b:03}.{c:03}.{d:03}")
                } else {
                    write!(out, "{a}.{b}.{c}.{d}")
                };
            }
            Kind::Ip6 { short } => {
                let bytes: [u8; 16] = bytes.get(..16)?.try_into().ok()?;
                if short {
                    let _ = write!(out, "{}", std::net::Ipv6Addr::from(bytes));
                } else {
                    for (index, pair) in bytes.chunks(2).enumerate() {
                        let _ = write!(out, "{}", if index > 0 { ":" } else { "" });
                        let _ = pair.iter().try_for_each(|byte| write!(out, "{byte:02x}"));
                    }
                }
            }
            _ => {}
        }
        Some(())
    }
}

/// Appends the function of an address, with its offset when asked for.
fn function(address: u64, offset: bool, context: &Context, out: &mut Vec<u8>) {
    let _ = match context.symbols.find(address) {
        Some(symbol) if offset => write!(out, "{}+0x{:x}", symbol.name, address - symbol.address),
        Some(symbol) => write!(out, "{}", symbol.name),
        None => write!(out, "0x{address:x}"),
    };
}

/// Splits a printf format: the text before each conversion and the conversion, at last text alone.
/// `None` when there is a conversion that this program does not know.
pub fn conversions(format: &[u8]) -> Option<Vec<(Vec<u8>, Option<Spec>)>> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut rest = format;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, rest.first()) {
            (b'\\', Some(escaped)) => {
                text.push(match escaped {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    other => *other,
                });
                rest = &rest[1..];
            }
            (b'%', Some(b'%')) => {
                text.push(b'%');
                rest = &rest[1..];
            }
            (b'%', _) => {
                let (spec, after) = conversion(rest)?;
                pieces.push((std::mem::take(&mut text), Some(spec)));
                rest = after;
            }
            _ => text.push(*first),
        }
    }
    if !text.is_empty() {
        pieces.push((text, None));
    }
    Some(pieces)
}

/// One conversion behind its `%`, and what follows it.
fn conversion(format: &[u8]) -> Option<(Spec, &[u8])> {
    let mut spec = Spec::default();
    let mut rest = format;
    while let [flag, tail @ ..] = rest {
        match flag {
            b'-' => spec.left = true,
            b'0' => spec.zero = true,
            b'+' => spec.plus = true,
            b' ' => spec.blank = true,
            b'#' => spec.alternate = true,
            _ => break,
        }
        rest = tail;
    }
    (spec.width, rest) = amount(rest);
    if let [b'.', tail @ ..] = rest {
        (spec.precision, rest) = amount(tail);
        if spec.precision == Amount::None {
            spec.precision = Amount::Fixed(0);
        }
    }
    while let [letter, tail @ ..] = rest {
        spec.size = match (letter, spec.size) {
            (b'h', Size::Short) => Size::Char,
            (b'h', _) => Size::Short,
            (b'l', Size::Long) | (b'L' | b'j', _) => Size::LongLong,
            (b'l' | b'z' | b'Z' | b't', _) => Size::Long,
            _ => break,
        };
        rest = tail;
    }
    let [letter, tail @ ..] = rest else { return None };
    rest = tail;
    spec.kind = match letter {
        b'd' | b'i' => Kind::Signed,
        b'u' => Kind::Unsigned,
        b'x' => Kind::Hex,
        b'X' => Kind::UpperHex,
        b'o' => Kind::Octal,
        b'c' => Kind::Char,
        b's' => Kind::Text,
        b'p' => {
            spec.size = Size::Long;
            let (kind, used) = match rest {
                [b'F' | b'S', ..] => (Kind::Function { offset: true }, 1),
                [b'f' | b's', ..] => (Kind::Function { offset: false }, 1),
                [b'M', b'F', ..] => (Kind::Mac(Some(b'-')), 2),
                [b'M', ..] => (Kind::Mac(Some(b':')), 1),
                [b'm', ..] => (Kind::Mac(None), 1),
                [b'I', b'4', ..] => (Kind::Ip4 { zeros: false }, 2),
                [b'i', b'4', ..] => (Kind::Ip4 { zeros: true }, 2),
                [b'I', b'6', b'c', ..] => (Kind::Ip6 { short: true }, 3),
                [b'I', b'6', ..] => (Kind::Ip6 { short: false }, 2),
                [letter, ..] if letter.is_ascii_alphabetic() => return None,
                _ => (Kind::Pointer, 0),
            };
            rest = &rest[used..];
            kind
        }
        _ => return None,
    };
    Some((spec, rest))
}

fn amount(format: &[u8]) -> (Amount, &[u8]) {
    if let [b'*', rest @ ..] = format {
        return (Amount::Star, rest);
    }
    let digits = format.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = format.split_at(digits);
    if number.is_empty() {
        return (Amount::None, rest);
    }
    let add = |sum: usize, digit: &u8| (sum * 10 + usize::from(digit - b'0')).min(WIDEST);
    (Amount::Fixed(number.iter().fold(0, add)), rest)
}
