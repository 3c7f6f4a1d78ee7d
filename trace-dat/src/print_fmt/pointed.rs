//! The kernel's `%p` conversions that print the target of a pointer; see its
//! `Documentation/core-api/printk-formats.rst`.

use std::io::Write;

use crate::bytes::ByteOrder;
use crate::event::context::Context;

/// How the bytes at a pointer's target are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pointed {
    /// `%pM`, `%pMF`, `%pMR`, `%pm` and `%pmR`: six bytes, with a separator.
    Mac { between: Option<u8>, reversed: bool },
    /// `%pI4` and, with leading zeros, `%pi4`.
    Ip4 { zeros: bool, order: Ip4Order },
    /// `%pI6`, `%pI6c` (short), and `%pi6` (without colons).
    Ip6 { short: bool, colons: bool },
    /// `%pIS` and `%piS`: a socket address.
    Socket {
        zeros: bool,
        colons: bool,
        short: bool,
        port: bool,
        flow: bool,
        scope: bool,
        order: Ip4Order,
        as_trace_cmd: bool,
    },
    /// `%pU` with its optional letters.
    Uuid { upper: bool, swapped: bool },
    /// `%ph`: bytes, with a separator.
    Dump(Option<u8>),
    /// `%pb`, and `%pbl` (as ranges).
    Bits { ranges: bool },
    /// `%ptT` and `%ptR`.
    Time { seconds: bool, date: bool, time: bool, raw: bool, blank: bool },
    /// `%pE`: text with escapes.
    Escaped,
    /// `%pa` and `%pad`: a physical or a DMA address.
    Address,
    /// `%p4cc`
    FourCharacters,
}

/// The byte order of an IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ip4Order {
    Network,
    Host,
    Little,
}

/// The most bytes of a dump, as in the kernel.
const MOST_DUMPED: usize = 64;
/// The most bits of a bitmap; the kernel's largest bitmaps of CPUs have fewer.
const MOST_BITS: usize = 1 << 16;

impl Pointed {
    /// The conversion for the letters after `%p`; `None` if it is not one of these.
    pub fn named(letters: &[u8]) -> Option<Pointed> {
        let has = |letter: u8| letters.contains(&letter);
        Some(match letters {
            [kind @ (b'M' | b'm'), rest @ ..] => {
                let between = match (kind, rest.first()) {
                    (b'm', _) => None,
                    (_, Some(b'F')) => Some(b'-'),
                    _ => Some(b':'),
                };
                Pointed::Mac { between, reversed: rest.first() == Some(&b'R') }
            }
            [family, b'4', rest @ ..] if matches!(family, b'I' | b'i') => {
                let order = Pointed::order(rest.first().copied().unwrap_or(0));
                Pointed::Ip4 { zeros: *family == b'i', order }
            }
            [b'I', b'6', b'c', ..] => Pointed::Ip6 { short: true, colons: true },
            [b'I', b'6', ..] => Pointed::Ip6 { short: false, colons: true },
            [b'i', b'6', ..] => Pointed::Ip6 { short: false, colons: false },
            [family @ (b'I' | b'i'), b'S', rest @ ..] => {
                let order = rest.iter().rev().find(|letter| b"hnlb".contains(letter));
                Pointed::Socket {
                    zeros: *family == b'i',
                    colons: *family == b'I',
                    short: *family == b'I' && rest.contains(&b'c'),
                    port: rest.contains(&b'p'),
                    flow: rest.contains(&b'f'),
                    scope: rest.contains(&b's'),
                    order: Pointed::order(order.copied().unwrap_or(0)),
                    as_trace_cmd: false,
                }
            }
            [b'U', rest @ ..] => {
                let first = rest.first().copied().unwrap_or(0);
                Pointed::Uuid { upper: matches!(first, b'B' | b'L'), swapped: matches!(first, b'l' | b'L') }
            }
            [b'h', rest @ ..] => Pointed::Dump(match rest.first() {
                Some(b'C') => Some(b':'),
                Some(b'D') => Some(b'-'),
                Some(b'N') => None,
                _ => Some(b' '),
            }),
            [b'b', rest @ ..] => Pointed::Bits { ranges: rest.first() == Some(&b'l') },
            [b't', kind @ (b'T' | b'R'), rest @ ..] => {
                let only = |letter: u8| rest.first() == Some(&letter);
                Pointed::Time {
                    seconds: *kind == b'T',
                    date: !only(b't'),
                    time: !only(b'd'),
                    raw: rest.contains(&b'r'),
                    blank: rest.contains(&b's'),
                }
            }
            [b'E', ..] => Pointed::Escaped,
            [b'a', ..] => Pointed::Address,
            [b'4', ..] if has(b'c') => Pointed::FourCharacters,
            _ => return None,
        })
    }

    pub fn order(letter: u8) -> Ip4Order {
        match letter {
            b'h' => Ip4Order::Host,
            b'l' => Ip4Order::Little,
            _ => Ip4Order::Network,
        }
    }

    /// The kind of target in words.
    pub fn name(self) -> &'static str {
        match self {
            Pointed::Mac { .. } => "a hardware address",
            Pointed::Ip4 { .. } => "an IPv4 address",
            Pointed::Ip6 { .. } => "an IPv6 address",
            Pointed::Socket { .. } => "an address of a socket",
            Pointed::Uuid { .. } => "a UUID",
            Pointed::Dump(_) => "bytes",
            Pointed::Bits { .. } => "a bitmap",
            Pointed::Time { .. } => "a time",
            Pointed::Escaped => "a text with escapes",
            Pointed::Address => "an address",
            Pointed::FourCharacters => "a code of four characters",
        }
    }

    /// Whether the width is the number of bytes or bits.
    pub fn takes_width(self) -> bool {
        matches!(self, Pointed::Dump(_) | Pointed::Bits { .. } | Pointed::Escaped)
    }

    /// Appends the text; `None` when there are too few bytes.
    pub fn print(
        self,
        bytes: &[u8],
        width: Option<usize>,
        context: &Context,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        match self {
            Pointed::Mac { between, reversed } => {
                let mut bytes: [u8; 6] = bytes.get(..6)?.try_into().ok()?;
                if reversed {
                    bytes.reverse();
                }
                hex(&bytes, between, out);
            }
            Pointed::Ip4 { zeros, order } => ip4(bytes, zeros, order, context, out)?,
            Pointed::Ip6 { short, colons } => ip6(bytes, short, colons, out)?,
            Pointed::Socket { .. } => self.socket(bytes, context, out)?,
            Pointed::Uuid { upper, swapped } => {
                let mut bytes: [u8; 16] = bytes.get(..16)?.try_into().ok()?;
                if swapped {
                    bytes[..4].reverse();
                    bytes[4..6].reverse();
                    bytes[6..8].reverse();
                }
                for (index, byte) in bytes.iter().enumerate() {
                    if matches!(index, 4 | 6 | 8 | 10) {
                        out.push(b'-');
                    }
                    let _ = if upper { write!(out, "{byte:02X}") } else { write!(out, "{byte:02x}") };
                }
            }
            Pointed::Dump(between) => {
                let count = width.unwrap_or(1).min(MOST_DUMPED);
                hex(&bytes[..count.min(bytes.len())], between, out);
                // If bytes are missing, the record is too short.
                bytes.get(..count)?;
            }
            Pointed::Bits { ranges } => {
                let bits = width.unwrap_or(0).min(MOST_BITS);
                let words = bits.div_ceil(8 * context.long_size) * context.long_size;
                let there = &bytes[..words.min(bytes.len())];
                match ranges {
                    true => list(there, bits, context, out),
                    false => bitmap(there, bits, context, out),
                }
                bytes.get(..bits.div_ceil(8))?;
            }
            Pointed::Time { seconds, date, time, raw, blank } => {
                let parts = if seconds {
                    date_and_time(context.order.number_at(bytes, 0, 8)? as i64)
                } else {
                    broken_down(bytes, context.order)?
                };
                let [year, month, day, hour, minute, second] = parts;
                if date {
                    let (year, month) = if raw { (year - 1900, month - 1) } else { (year, month) };
                    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
                }
                if date && time {
                    out.push(if blank { b' ' } else { b'T' });
                }
                if time {
                    let _ = write!(out, "{hour:02}:{minute:02}:{second:02}");
                }
            }
            Pointed::Escaped => {
                let count = width.unwrap_or(1).min(4096);
                escaped(&bytes[..count.min(bytes.len())], out);
                bytes.get(..count)?;
            }
            Pointed::Address => {
                let value = context.order.number_at(bytes, 0, 8).or_else(|| context.order.number(bytes))?;
                let _ = write!(out, "0x{value:0width$x}", width = 2 * bytes.len().min(8));
            }
            Pointed::FourCharacters => {
                let code = context.order.u32_at(bytes, 0)?;
                for byte in (code & !(1 << 31)).to_le_bytes() {
                    out.push(if byte.is_ascii_graphic() || byte == b' ' { byte } else { b'.' });
                }
                let end = if code >> 31 != 0 { "big" } else { "little" };
                let _ = write!(out, " {end}-endian (0x{code:08x})");
            }
        }
        Some(())
    }

    fn socket(self, bytes: &[u8], context: &Context, out: &mut Vec<u8>) -> Option<()> {
        let Pointed::Socket { zeros, colons, short, port, flow, scope, order, as_trace_cmd } = self else {
            return Some(());
        };
        let family = context.order.number_at(bytes, 0, 2)?;
        let number = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
        match family {
            // trace-cmd requires the whole structure.
            2 if as_trace_cmd && bytes.len() < 16 => out.extend(b"INVALIDIPv4"),
            10 if as_trace_cmd && bytes.len() < 28 => out.extend(b"INVALIDIPv6"),
            2 => {
                ip4(bytes.get(4..)?, zeros, order, context, out)?;
                if port {
                    let _ = write!(out, ":{number}");
                }
            }
            10 => {
                let in_brackets = port || flow || scope;
                if in_brackets {
                    out.push(b'[');
                }
                ip6(bytes.get(8..)?, short, colons, out)?;
                if in_brackets {
                    out.push(b']');
                }
                if port {
                    let _ = write!(out, ":{number}");
                }
                if flow {
                    let label = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?) & 0x0fff_ffff;
                    let _ = write!(out, "/{label}");
                }
                if scope {
                    let _ = write!(out, "%{}", context.order.u32_at(bytes, 24)?);
                }
            }
            _ if as_trace_cmd => {}
            _ => out.extend(b"(einval)"),
        }
        Some(())
    }
}

fn hex(bytes: &[u8], between: Option<u8>, out: &mut Vec<u8>) {
    for (index, byte) in bytes.iter().enumerate() {
        if let (Some(between), true) = (between, index > 0) {
            out.push(between);
        }
        let _ = write!(out, "{byte:02x}");
    }
}

fn ip4(bytes: &[u8], zeros: bool, order: Ip4Order, context: &Context, out: &mut Vec<u8>) -> Option<()> {
    let mut bytes: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    if order == Ip4Order::Little || order == Ip4Order::Host && context.order == ByteOrder::Little {
        bytes.reverse();
    }
    let [a, b, c, d] = bytes;
    let _ = if zeros { write!(out, "{a:03}.{b:03}.{c:03}.{d:03}") } else { write!(out, "{a}.{b}.{c}.{d}") };
    Some(())
}

fn ip6(bytes: &[u8], short: bool, colons: bool, out: &mut Vec<u8>) -> Option<()> {
    let bytes: [u8; 16] = bytes.get(..16)?.try_into().ok()?;
    let mut words = [0_u16; 8];
    for (word, pair) in words.iter_mut().zip(bytes.chunks_exact(2)) {
        *word = u16::from_be_bytes([pair[0], pair[1]]);
    }
    if !short {
        for (index, word) in words.iter().enumerate() {
            let _ = write!(out, "{}{word:04x}", if colons && index > 0 { ":" } else { "" });
        }
        return Some(());
    }
    // Addresses that contain an IPv4 address: mapped ones, and those of ISATAP.
    let mapped = words[..5].iter().all(|word| *word == 0) && words[5] == 0xffff;
    let isatap = words[4] & !0x0200 == 0 && words[5] == 0x5efe;
    let count = if mapped || isatap { 6 } else { 8 };
    let zeros = |start: usize| words[start..count].iter().take_while(|word| **word == 0).count();
    let longest = (0..count).map(zeros).max().unwrap_or(0);
    let gap = (0..count).find(|start| longest > 1 && zeros(*start) == longest);
    let mut index = 0;
    let mut colon = false;
    while index < count {
        if gap == Some(index) {
            out.extend_from_slice(b"::");
            colon = false;
            index += longest;
            continue;
        }
        let _ = write!(out, "{}{:x}", if colon { ":" } else { "" }, words[index]);
        colon = true;
        index += 1;
    }
    if count == 6 {
        let [.., a, b, c, d] = bytes;
        let _ = write!(out, "{}{a}.{b}.{c}.{d}", if colon { ":" } else { "" });
    }
    Some(())
}

/// A bit of an array of longs.
fn bit(bytes: &[u8], index: usize, context: &Context) -> bool {
    let long = context.long_size.max(1);
    let byte = index / 8;
    let byte = match context.order {
        ByteOrder::Little => byte,
        ByteOrder::Big => byte / long * long + (long - 1 - byte % long),
    };
    bytes.get(byte).is_some_and(|byte| byte >> (index % 8) & 1 != 0)
}

/// Appends bits as hexadecimal words of 32 bits, the highest first, separated by commas.
pub(crate) fn bitmap(bytes: &[u8], bits: usize, context: &Context, out: &mut Vec<u8>) {
    let bits = bits.min(MOST_BITS);
    for start in (0..bits).step_by(32).rev() {
        let width = (bits - start).min(32);
        let word = (0..width).fold(0_u32, |word, at| word | u32::from(bit(bytes, start + at, context)) << at);
        let _ = write!(out, "{word:0digits$x}", digits = width.div_ceil(4));
        if start > 0 {
            out.push(b',');
        }
    }
}

/// Appends the numbers of the set bits, with ranges.
pub(crate) fn list(bytes: &[u8], bits: usize, context: &Context, out: &mut Vec<u8>) {
    let bits = bits.min(MOST_BITS);
    let (mut index, mut first) = (0, true);
    while index < bits {
        if !bit(bytes, index, context) {
            index += 1;
            continue;
        }
        let start = index;
        while index < bits && bit(bytes, index, context) {
            index += 1;
        }
        let _ = write!(out, "{}{start}", if first { "" } else { "," });
        if index - start > 1 {
            let _ = write!(out, "-{}", index - 1);
        }
        first = false;
    }
}

/// Converts seconds since 1970 to year, month, day, hour, minute, second.
fn date_and_time(seconds: i64) -> [i64; 6] {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin in March here, so that a leap day is the last day of a year. 400 years always have the
    // same number of days.
    let days = days.saturating_add(719_468);
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    [year, month, day, second / 3_600, second / 60 % 60, second % 60]
}

/// The same from a `struct rtc_time`.
fn broken_down(bytes: &[u8], order: ByteOrder) -> Option<[i64; 6]> {
    let at = |index: usize| Some(i64::from(order.u32_at(bytes, 4 * index)? as i32));
    Some([at(5)? + 1900, at(4)? + 1, at(3)?, at(2)?, at(1)?, at(0)?])
}

/// Appends text; bytes that are not printable are escaped.
fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            11 => out.extend(b"\\v"),
            12 => out.extend(b"\\f"),
            7 => out.extend(b"\\a"),
            27 => out.extend(b"\\e"),
            0 => out.extend(b"\\0"),
            b' '..=b'~' => out.push(*byte),
            byte => drop(write!(out, "\\{byte:03o}")),
        }
    }
}

/// The name of the error that a pointer or number encodes.
pub(crate) fn error_name(value: u64) -> Option<&'static str> {
    let number = usize::try_from((value as i64).checked_neg()?).ok()?;
    let name = *ERRORS.get(number.checked_sub(1)?)?;
    (!name.is_empty()).then_some(name)
}

/// Names of errors from 1 on, as most architectures number them.
const ERRORS: [&str; 133] = [
    "EPERM",
    "ENOENT",
    "ESRCH",
    "EINTR",
    "EIO",
    "ENXIO",
    "E2BIG",
    "ENOEXEC",
    "EBADF",
    "ECHILD",
    "EAGAIN",
    "ENOMEM",
    "EACCES",
    "EFAULT",
    "ENOTBLK",
    "EBUSY",
    "EEXIST",
    "EXDEV",
    "ENODEV",
    "ENOTDIR",
    "EISDIR",
    "EINVAL",
    "ENFILE",
    "EMFILE",
    "ENOTTY",
    "ETXTBSY",
    "EFBIG",
    "ENOSPC",
    "ESPIPE",
    "EROFS",
    "EMLINK",
    "EPIPE",
    "EDOM",
    "ERANGE",
    "EDEADLK",
    "ENAMETOOLONG",
    "ENOLCK",
    "ENOSYS",
    "ENOTEMPTY",
    "ELOOP",
    "",
    "ENOMSG",
    "EIDRM",
    "ECHRNG",
    "EL2NSYNC",
    "EL3HLT",
    "EL3RST",
    "ELNRNG",
    "EUNATCH",
    "ENOCSI",
    "EL2HLT",
    "EBADE",
    "EBADR",
    "EXFULL",
    "ENOANO",
    "EBADRQC",
    "EBADSLT",
    "",
    "EBFONT",
    "ENOSTR",
    "ENODATA",
    "ETIME",
    "ENOSR",
    "ENONET",
    "ENOPKG",
    "EREMOTE",
    "ENOLINK",
    "EADV",
    "ESRMNT",
    "ECOMM",
    "EPROTO",
    "EMULTIHOP",
    "EDOTDOT",
    "EBADMSG",
    "EOVERFLOW",
    "ENOTUNIQ",
    "EBADFD",
    "EREMCHG",
    "ELIBACC",
    "ELIBBAD",
    "ELIBSCN",
    "ELIBMAX",
    "ELIBEXEC",
    "EILSEQ",
    "ERESTART",
    "ESTRPIPE",
    "EUSERS",
    "ENOTSOCK",
    "EDESTADDRREQ",
    "EMSGSIZE",
    "EPROTOTYPE",
    "ENOPROTOOPT",
    "EPROTONOSUPPORT",
    "ESOCKTNOSUPPORT",
    "EOPNOTSUPP",
    "EPFNOSUPPORT",
    "EAFNOSUPPORT",
    "EADDRINUSE",
    "EADDRNOTAVAIL",
    "ENETDOWN",
    "ENETUNREACH",
    "ENETRESET",
    "ECONNABORTED",
    "ECONNRESET",
    "ENOBUFS",
    "EISCONN",
    "ENOTCONN",
    "ESHUTDOWN",
    "ETOOMANYREFS",
    "ETIMEDOUT",
    "ECONNREFUSED",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "EALREADY",
    "EINPROGRESS",
    "ESTALE",
    "EUCLEAN",
    "ENOTNAM",
    "ENAVAIL",
    "EISNAM",
    "EREMOTEIO",
    "EDQUOT",
    "ENOMEDIUM",
    "EMEDIUMTYPE",
    "ECANCELED",
    "ENOKEY",
    "EKEYEXPIRED",
    "EKEYREVOKED",
    "EKEYREJECTED",
    "EOWNERDEAD",
    "ENOTRECOVERABLE",
    "ERFKILL",
    "EHWPOISON",
];
