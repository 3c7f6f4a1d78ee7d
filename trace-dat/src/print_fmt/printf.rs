//! printf's conversions: parses them, and prints a value with one.

use std::io::Write;

use super::pointed::{self, Pointed};
use crate::event::context::Context;

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
    /// The size of the number; `l` and pointers have the size of a long.
    size: Size,
    kind: Kind,
    /// Whether it is a conversion of the kernel's printf, not of trace-cmd.
    of_kernel: bool,
    /// Whether there is an argument for a width that is not used.
    unused_star: bool,
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
    /// `%ps`, and `%pS` with the offset in the function.
    Function {
        offset: bool,
    },
    /// `%pB`: the function that contains a return address.
    Caller,
    /// The place of a probe: in a kernel function, or at an address of a program.
    Probe {
        offset: bool,
    },
    /// `%pe`: the name of an error, or a pointer.
    Error,
    /// The target of a pointer.
    Pointed(Pointed),
    /// The target of a pointer, of a kind that is never in a recording.
    Behind(&'static str),
    /// Prints nothing.
    Nothing,
}

/// The kind of argument that a conversion takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// A number.
    Number,
    /// A text.
    Text,
    /// Bytes at a pointer's target; their kind in words.
    Bytes(&'static str),
}

/// The largest width or precision: longer than any line, but short enough to be harmless.
const WIDEST: usize = 4096;

impl Spec {
    /// The number of arguments for width and precision.
    pub fn stars(&self) -> usize {
        usize::from(self.width == Amount::Star)
            + usize::from(self.precision == Amount::Star)
            + usize::from(self.unused_star)
    }

    /// The size in bytes of the number that the conversion takes; a long has `long_size`.
    pub fn bytes(&self, long_size: usize) -> usize {
        match self.size {
            Size::Char => 1,
            Size::Short => 2,
            Size::Int => 4,
            // trace-cmd uses its own long, which has 64 bits, not the kernel's.
            Size::Long => {
                if self.of_kernel {
                    long_size
                } else {
                    8
                }
            }
            Size::LongLong => 8,
        }
    }

    /// Whether it is a conversion of the kernel's printf, not of trace-cmd, which uses libc's.
    pub(crate) fn is_of_kernel(&self) -> bool {
        self.of_kernel
    }

    /// Whether an address is printed as the function that contains it.
    pub fn is_function(&self) -> bool {
        matches!(self.kind, Kind::Function { .. })
    }

    /// The kind of its argument.
    pub fn takes(&self) -> Given {
        match self.kind {
            Kind::Text => Given::Text,
            Kind::Pointed(what) => Given::Bytes(what.name()),
            Kind::Behind(what) => Given::Bytes(what),
            _ => Given::Number,
        }
    }

    /// Whether it is `%lx` and nothing more.
    pub(crate) fn is_long_hex(&self) -> bool {
        let plain = Spec { kind: Kind::Hex, size: Size::Long, of_kernel: self.of_kernel, ..Spec::default() };
        *self == plain
    }

    /// A conversion for the place of a probe, optionally with the offset in its function.
    pub(crate) fn probe(offset: bool) -> Spec {
        Spec { kind: Kind::Probe { offset }, size: Size::Long, of_kernel: true, ..Spec::default() }
    }

    /// `%s` of the kernel.
    pub(crate) fn plain() -> Spec {
        Spec { kind: Kind::Text, of_kernel: true, ..Spec::default() }
    }

    /// Whether it has neither width nor precision.
    pub(crate) fn is_plain(&self) -> bool {
        self.width == Amount::None && self.precision == Amount::None
    }

    /// Whether it is `%ph`.
    pub(crate) fn is_dump(&self) -> bool {
        matches!(self.kind, Kind::Pointed(Pointed::Dump(_)))
    }

    /// Whether it is `%pIS`.
    pub(crate) fn is_socket_address(&self) -> bool {
        matches!(self.kind, Kind::Pointed(Pointed::Socket { .. }))
    }

    /// Whether the kernel packs its argument for `trace_printk` as text: a text, or the formatted target of
    /// most pointers.
    pub fn is_packed_as_text(&self) -> bool {
        matches!(self.kind, Kind::Text | Kind::Pointed(_) | Kind::Behind(_) | Kind::Caller)
    }

    /// The size in bytes of a number that is packed for `trace_printk`.
    pub fn packed_bytes(&self, long_size: usize) -> usize {
        match self.size {
            _ if self.kind == Kind::Char => 1,
            Size::Long => long_size,
            _ => self.bytes(long_size),
        }
    }

    /// Replaces each `*` by the value of its argument.
    pub fn with_stars(&self, mut values: impl Iterator<Item = u64>) -> Spec {
        let mut spec = self.clone();
        if spec.width == Amount::Star {
            let width = values.next().unwrap_or(0) as i32;
            spec.left |= width < 0;
            // With a negative width trace-cmd dumps all bytes.
            let all = width < 0 && spec.is_dump() && !spec.of_kernel;
            let width = if all { WIDEST } else { width.unsigned_abs() as usize };
            spec.width = Amount::Fixed(width.min(WIDEST));
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
        // A 64-bit number has at most 22 digits, so the writes below fit.
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
                if self.alternate && (cut != 0 || self.of_kernel) { b"0x" } else { b"" }
            }
            Kind::UpperHex => {
                let _ = write!(end, "{cut:X}");
                if self.alternate && (cut != 0 || self.of_kernel) { b"0X" } else { b"" }
            }
            Kind::Pointer if value == 0 => return self.pad(b"", b"(nil)", false, out),
            Kind::Pointer => {
                let _ = write!(end, "{value:x}");
                b"0x"
            }
            Kind::Nothing => return,
            Kind::Char => return self.pad(b"", &[value as u8], false, out),
            Kind::Function { offset } => return function(value, offset, context, out),
            Kind::Probe { offset } => {
                // Kernel addresses are in the upper half of the address space, programs in the lower half.
                if cut >> (8 * context.long_size as u32 - 1) == 1 {
                    return function(value, offset, context, out);
                }
                let _ = write!(out, "0x{cut:x}");
                return;
            }
            Kind::Caller => {
                // The call instruction is just before the return address.
                let _ = match context.symbols.find(value.wrapping_sub(1)) {
                    Some(symbol) => write!(out, "{}+0x{:x}", symbol.name, value - symbol.address),
                    None => write!(out, "0x{value:x}"),
                };
                return;
            }
            Kind::Error => match pointed::error_name(value) {
                Some(name) => return self.pad(b"-", name.as_bytes(), false, out),
                None if value == 0 => return self.pad(b"", b"(nil)", false, out),
                None => {
                    let _ = write!(end, "{value:x}");
                    b"0x"
                }
            },
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

    /// Appends the text for bytes; `None` when there are too few.
    pub(crate) fn print_bytes(&self, bytes: &[u8], context: &Context, out: &mut Vec<u8>) -> Option<()> {
        let Kind::Pointed(what) = self.kind else { return Some(()) };
        let width = if let Amount::Fixed(width) = self.width { Some(width) } else { None };
        if what.takes_width() {
            return what.print(bytes, width, context, out);
        }
        let mut text = Vec::new();
        what.print(bytes, None, context, &mut text)?;
        self.pad(b"", &text, false, out);
        Some(())
    }
}

/// Appends the function that contains an address, optionally with the offset.
fn function(address: u64, offset: bool, context: &Context, out: &mut Vec<u8>) {
    let _ = match context.symbols.find(address) {
        Some(symbol) if offset => write!(out, "{}+0x{:x}", symbol.name, address - symbol.address),
        Some(symbol) => write!(out, "{}", symbol.name),
        None => write!(out, "0x{address:x}"),
    };
}

/// Text, and the conversion after it.
type TextAndConversion = (Vec<u8>, Option<Spec>);

/// Splits a printf format of the kernel into pairs: the text before each conversion, and the conversion.
/// The last pair may have text only. Fails with the reason when a conversion is unknown.
pub fn conversions(format: &[u8]) -> Result<Vec<TextAndConversion>, String> {
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
    Ok(pieces)
}

/// Parses one conversion after its `%`; also returns the rest of the format.
fn conversion(format: &[u8]) -> Result<(Spec, &[u8]), String> {
    let mut spec = Spec { of_kernel: true, ..Spec::default() };
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
            (b'l', Size::Long) | (b'L' | b'j' | b'q', _) => Size::LongLong,
            (b'l' | b'z' | b'Z' | b't', _) => Size::Long,
            _ => break,
        };
        rest = tail;
    }
    let [letter, tail @ ..] = rest else {
        return Err("has a print format that ends within a conversion".into());
    };
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
            // All letters that follow belong to the conversion, even if they have no meaning.
            let letters = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            let (letters, after) = rest.split_at(letters);
            rest = after;
            pointer(letters)
        }
        other => return Err(format!("has %{}, which no printf knows", char::from(*other).escape_default())),
    };
    Ok((spec, rest))
}

/// The kind of conversion for the letters after `%p`.
fn pointer(letters: &[u8]) -> Kind {
    match letters {
        // The kernel may hide these pointers; a recording contains the real values.
        [] | [b'K' | b'x', ..] => Kind::Pointer,
        [b'f', b'w', ..] => Kind::Behind("a firmware node (%pfw)"),
        [b'F' | b'S', ..] => Kind::Function { offset: true },
        [b'f' | b's', ..] => Kind::Function { offset: false },
        [b'B', ..] => Kind::Caller,
        [b'e', ..] => Kind::Error,
        _ => match Pointed::named(letters) {
            Some(what) => Kind::Pointed(what),
            None => Kind::Behind(match letters[0] {
                b'd' => "the name of a dentry (%pd)",
                b'D' => "the name of a file (%pD)",
                b'g' => "the name of a block device (%pg)",
                b'V' => "a format with its arguments (%pV)",
                b'r' | b'R' => "a struct resource (%pR)",
                b'C' => "a clock (%pC)",
                b'O' => "a device node (%pOF)",
                b'G' => "flags by the kernel's own names (%pG)",
                b'N' => "features of a network device (%pNF)",
                b't' => "a time (%pt)",
                _ => "what the kernel's own %p conversion takes",
            }),
        },
    }
}

/// A conversion and whether it is one of a pointer, or the text that trace-cmd prints instead.
pub type TraceCmdConversion = Result<(Spec, bool), Vec<u8>>;

/// Parses one conversion after its `%` as trace-cmd does; also returns the rest of the format. `None` if
/// trace-cmd gives up.
pub fn trace_cmd_conversion(format: &[u8]) -> Option<(TraceCmdConversion, &[u8])> {
    let mut rest = format;
    let mut longs = 0;
    let mut stars = 0;
    while let [letter, tail @ ..] = rest {
        rest = tail;
        match letter {
            b'#' | b'.' | b'0'..=b'9' | b'-' => {}
            b'h' => longs -= 1,
            b'l' => longs += 1,
            b'L' => longs = 2,
            b'z' | b'Z' => longs = 1,
            b'*' => {
                stars += 1;
                if stars > 1 {
                    return None;
                }
            }
            b'p' => {
                // Width and flags only serve as the length of a dump.
                let (kind, used) = trace_cmd_pointer(rest);
                let dump = matches!(kind, Kind::Pointed(Pointed::Dump(_)));
                let width = match (dump, stars) {
                    (true, 0) => Amount::Fixed(1),
                    (true, _) => Amount::Star,
                    // The width is read and ignored.
                    (false, _) => Amount::None,
                };
                let spec = Spec {
                    kind,
                    width,
                    size: Size::Long,
                    unused_star: !dump && stars > 0,
                    ..Spec::default()
                };
                return Some((Ok((spec, true)), &rest[used..]));
            }
            b'd' | b'u' | b'i' | b'x' | b'X' | b'o' | b's' => {
                if !(-2..=2).contains(&longs) {
                    return None;
                }
                let length = format.len() - tail.len();
                let (mut spec, _) = conversion(format.get(..length)?).ok()?;
                spec.of_kernel = false;
                return Some((Ok((spec, false)), tail));
            }
            other => return Some((Err(vec![b'>', *other, b'<']), tail)),
        }
    }
    // The format ends within the conversion: nothing is printed.
    Some((Err(Vec::new()), rest))
}

/// The kind of conversion that trace-cmd sees in the letters after `%p`, and how many letters it uses. The
/// others are printed as text.
fn trace_cmd_pointer(rest: &[u8]) -> (Kind, usize) {
    let at = |index: usize| rest.get(index).copied().unwrap_or(0);
    let one_of = |index: usize, letters: &[u8]| usize::from(letters.contains(&at(index)));
    match at(0) {
        b'F' | b'S' => (Kind::Function { offset: true }, 1),
        b'f' | b's' => (Kind::Function { offset: false }, 1),
        b'M' | b'm' => {
            let between = match (at(0), at(1)) {
                (b'm', _) => None,
                (_, b'F') => Some(b'-'),
                _ => Some(b':'),
            };
            let what = Pointed::Mac { between, reversed: at(1) == b'R' };
            (Kind::Pointed(what), 1 + one_of(1, b"RF"))
        }
        b'U' => {
            let (upper, swapped) = match at(1) {
                b'L' => (true, true),
                b'l' => (false, true),
                b'B' => (true, false),
                _ => (false, false),
            };
            (Kind::Pointed(Pointed::Uuid { upper, swapped }), 1 + one_of(1, b"LlBb"))
        }
        b'h' => {
            let between = match at(1) {
                b'C' => Some(b':'),
                b'D' => Some(b'-'),
                b'N' => None,
                _ => Some(b' '),
            };
            (Kind::Pointed(Pointed::Dump(between)), 1 + one_of(1, b"CDN"))
        }
        family @ (b'I' | b'i') => match at(1) {
            b'4' => {
                let order = Pointed::order(at(2));
                (Kind::Pointed(Pointed::Ip4 { zeros: family == b'i', order }), 2 + one_of(2, b"hnlb"))
            }
            b'6' => {
                let short = at(2) == b'c';
                let what = Pointed::Ip6 { short: short && family == b'I', colons: family == b'I' };
                (Kind::Pointed(what), 2 + usize::from(short))
            }
            b'S' => {
                // trace-cmd skips these letters and ignores them.
                let mut used = 2;
                while matches!(at(used), b'p' | b'f' | b's') {
                    used += 1;
                }
                used += one_of(used, b"hnlb");
                used += one_of(used, b"c");
                let capital = family == b'I';
                let port = capital && at(2) == b'p';
                let next = 2 + usize::from(port);
                let short = capital && at(next) == b'c';
                let order = Pointed::order(at(next + usize::from(short)));
                let what = Pointed::Socket {
                    zeros: !capital,
                    colons: capital,
                    short,
                    port,
                    flow: false,
                    scope: false,
                    order,
                    as_trace_cmd: true,
                };
                (Kind::Pointed(what), used)
            }
            // trace-cmd skips the letter and prints nothing.
            _ => (Kind::Nothing, 1),
        },
        _ => (Kind::Pointer, 0),
    }
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
