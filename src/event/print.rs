//! Print formats run on a record: printf's conversions over the values of fields.
//!
//! Values are unsigned numbers of 64 bits, and a conversion takes the bits that its length asks
//! for, as trace-cmd does it. So a negative int shows as such under `%d`, not under `%ld`.

use std::cell::Cell;
use std::io::Write;

use super::expr::{self, Expr, Piece, Program};
use super::printf::Spec;
use super::{Context, Dynamic, Event, Field};

/// One record being printed.
pub struct Run<'a> {
    event: &'a Event,
    record: &'a [u8],
    context: &'a Context,
    short: Cell<bool>,
}

impl<'a> Run<'a> {
    /// Prepares to print `record`, which is of `event`.
    pub fn new(event: &'a Event, record: &'a [u8], context: &'a Context) -> Run<'a> {
        Run { event, record, context, short: Cell::new(false) }
    }

    /// Whether something that was printed lies beyond the record's end; it shows as 0 or nothing.
    pub fn is_short(&self) -> bool {
        self.short.get()
    }

    /// Appends the text of a print format.
    pub fn print(&self, program: &Program, out: &mut Vec<u8>) {
        for piece in &program.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Print { spec, stars, value } => self.conversion(spec, stars, value, out),
            }
        }
    }

    /// Appends ` name=value` for each of the event's own fields. Numbers that the print format
    /// shows as they are keep its conversion, unless the last piece of the format was used before:
    /// trace-cmd's way, which looks for each field from where it found the one before.
    ///
    /// With `addresses`, as trace-cmd has it since 3.3, the address of each function follows its name, and
    /// an array without a declared size is empty.
    pub fn fields(&self, program: Option<&Program>, addresses: bool, out: &mut Vec<u8>) {
        let pieces = program.map_or(&[][..], |program| &program.pieces);
        let mut from = 0;
        for (index, field) in self.event.fields.iter().enumerate().skip(self.event.common) {
            out.push(b' ');
            out.extend_from_slice(field.name.as_bytes());
            out.push(b'=');
            let around = (from..pieces.len()).chain(0..from);
            let shown = if field.array || from == pieces.len() { None } else { found(pieces, around, index) };
            match shown {
                Some((at, prefix, spec)) => {
                    out.extend_from_slice(prefix);
                    let address = Some(self.value(field)).filter(|_| addresses && spec.is_function());
                    if address.is_none_or(|address| self.context.symbols.find(address).is_some()) {
                        self.conversion(spec, &[], &Expr::Field(index), out);
                    }
                    if let Some(address) = address {
                        let _ = write!(out, " (0x{address:x})");
                    }
                    from = at + 1;
                }
                None if addresses && field.array && field.size == 0 && !field.is_string() => {
                    out.extend_from_slice(b"ARRAY[]");
                }
                None => self.field(field, out),
            }
        }
    }

    fn field(&self, field: &Field, out: &mut Vec<u8>) {
        if field.array {
            let bytes = self.bytes(field);
            let text = until_nul(bytes);
            // Text or empty; zeros behind it belong to it.
            let printable = text.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'..=b'\r'));
            if field.is_string() && printable {
                out.extend_from_slice(text);
                return;
            }
            out.extend(b"ARRAY[");
            for (index, byte) in bytes.iter().enumerate() {
                let _ = write!(out, "{}{byte:02x}", if index > 0 { ", " } else { "" });
            }
            out.push(b']');
            return;
        }
        let value = self.value(field);
        let _ = match (field.is_pointer(), field.signed, field.is_long(), field.size) {
            (true, ..) | (_, false, true, _) => write!(out, "0x{value:x}"),
            (_, true, true, 4) => write!(out, "0x{:x}", value as u32),
            (_, true, _, 4) => write!(out, "{}", value as i32),
            (_, true, _, 2) => write!(out, "{:2}", value as i16),
            (_, true, _, 1) => write!(out, "{}", value as i8),
            (_, true, ..) => write!(out, "{}", value as i64),
            _ => write!(out, "{value}"),
        };
    }

    fn conversion(&self, spec: &Spec, stars: &[Expr], value: &Expr, out: &mut Vec<u8>) {
        let changed;
        let spec = if stars.is_empty() {
            spec
        } else {
            changed = spec.with_stars(stars.iter().map(|star| self.number(star)));
            &changed
        };
        if spec.is_text() {
            self.text(spec, value, out);
        } else if spec.follows_pointer() {
            if spec.address(self.pointed(value), out).is_none() {
                self.short.set(true);
            }
        } else {
            spec.number(self.number(value), self.context, out);
        }
    }

    /// The number that an expression is; texts count as 0.
    pub fn number(&self, expr: &Expr) -> u64 {
        match expr {
            Expr::Number(value) => *value,
            Expr::Name(name, address) => {
                *address.get_or_init(|| self.context.symbols.address_of(name).unwrap_or(0))
            }
            Expr::Field(index) => self.value(&self.event.fields[*index]),
            Expr::Cast(mask, of) => self.number(of) & mask,
            Expr::Unary(operator, of) => expr::unary(*operator, self.number(of)),
            Expr::Binary(operator, left, right) => {
                expr::binary(operator, self.number(left), self.number(right)).unwrap_or(0)
            }
            Expr::Choice(condition, then, otherwise) => {
                self.number(if self.number(condition) != 0 { then } else { otherwise })
            }
            Expr::Element(field, index) => {
                let field = &self.event.fields[*field];
                let size = element_size(field, self.context.long_size);
                let start =
                    usize::try_from(self.number(index)).ok().and_then(|index| index.checked_mul(size));
                start
                    .and_then(|start| self.context.order.number_at(self.bytes(field), start, size))
                    .unwrap_or(0)
            }
            Expr::DynamicLength(field) => self.value(&self.event.fields[*field]) >> 16 & 0xffff,
            Expr::DynamicArray(field) => self.value(&self.event.fields[*field]) & 0xffff,
            _ => 0,
        }
    }

    fn text(&self, spec: &Spec, expr: &Expr, out: &mut Vec<u8>) {
        match expr {
            Expr::Text(text) | Expr::Name(text, _) => spec.text(text.as_bytes(), out),
            Expr::Number(value) => spec.text(value.to_string().as_bytes(), out),
            Expr::Field(index) => {
                let field = &self.event.fields[*index];
                if !field.array && field.size == self.context.long_size {
                    // A pointer to a constant string of the kernel.
                    let address = self.value(field);
                    match self.context.printk.get(&address) {
                        Some(text) => out.extend_from_slice(text),
                        None => drop(write!(out, "{address:x}")),
                    }
                } else {
                    spec.text(until_nul(self.bytes(field)), out);
                }
            }
            Expr::Str(field) => spec.text(until_nul(self.bytes(&self.event.fields[*field])), out),
            Expr::Choice(condition, then, otherwise) => {
                self.text(spec, if self.number(condition) != 0 { then } else { otherwise }, out);
            }
            Expr::Flags(value, delimiter, names) => {
                self.flags(spec, self.number(value), delimiter, names, out)
            }
            Expr::Symbolic(value, names) => {
                let value = self.number(value);
                match names.iter().find(|name| name.0.unwrap_or(u64::MAX) == value) {
                    Some((_, name)) => spec.text(name.as_bytes(), out),
                    None => drop(write!(out, "0x{value:x}")),
                }
            }
            Expr::Hex { bytes, count, joined } => {
                let count = usize::try_from(self.number(count)).unwrap_or(usize::MAX);
                let bytes = self.pointed(bytes);
                if count > bytes.len() {
                    self.short.set(true);
                }
                for (index, byte) in bytes.iter().take(count).enumerate() {
                    let _ = write!(out, "{}{byte:02x}", if index > 0 && !joined { " " } else { "" });
                }
            }
            Expr::Array(array, count, size) => {
                let (count, size) = (self.number(count), self.number(size) as usize);
                if !matches!(size, 1 | 2 | 4 | 8) {
                    let _ = write!(out, "BAD SIZE:{size}");
                    return;
                }
                let elements = self.pointed(array).chunks_exact(size);
                if (elements.len() as u64) < count {
                    self.short.set(true);
                }
                for (index, element) in (0..count).zip(elements) {
                    let value = self.context.order.number(element).unwrap_or(0);
                    let _ = write!(out, "{}{value}", if index > 0 { " " } else { "" });
                }
            }
            Expr::Helper(helper, given) => {
                let mut text = Vec::new();
                match given.as_slice() {
                    [bytes, size] => {
                        let bytes = self.pointed(bytes);
                        let size = usize::try_from(self.number(size)).unwrap_or(usize::MAX);
                        if helper.bytes(&bytes[..size.min(bytes.len())], &mut text).is_none() {
                            self.short.set(true);
                        }
                    }
                    [number] => helper.number(self.number(number), &mut text),
                    _ => {}
                }
                spec.text(&text, out);
            }
            Expr::Bitmask(field) => {
                let mut text = Vec::new();
                self.bitmask(self.bytes(&self.event.fields[*field]), &mut text);
                spec.text(&text, out);
            }
            _ => {}
        }
    }

    fn flags(
        &self,
        spec: &Spec,
        value: u64,
        delimiter: &str,
        names: &[(Option<u64>, String)],
        out: &mut Vec<u8>,
    ) {
        let mut left = value;
        let mut first = true;
        for (flag, name) in names {
            match flag {
                None if left == 0 => {
                    spec.text(name.as_bytes(), out);
                    break;
                }
                Some(flag) if *flag != 0 && left & flag == *flag => {
                    if !first {
                        out.extend_from_slice(delimiter.as_bytes());
                    }
                    spec.text(name.as_bytes(), out);
                    first = false;
                    left &= !flag;
                }
                _ => {}
            }
        }
        if left != 0 {
            let _ = write!(out, "{}0x{left:x}", if first { "" } else { delimiter });
        }
    }

    /// Words of 32 bits in hexadecimal, the highest first and without leading zeros, separated by
    /// commas: the kernel's way to print a bitmap.
    fn bitmask(&self, bytes: &[u8], out: &mut Vec<u8>) {
        let words = bytes.chunks_exact(4).map(|word| self.context.order.number(word).unwrap_or(0));
        let words: Vec<u64> = words.collect();
        // A big-endian kernel of 64 bits keeps the low word of each long behind the high one.
        let swapped = self.context.order == crate::bytes::ByteOrder::Big && self.context.long_size == 8;
        let word = |index: usize| words.get(if swapped { index ^ 1 } else { index }).copied().unwrap_or(0);
        let mut started = false;
        for index in (0..words.len()).rev() {
            let _ = match (started, word(index), index) {
                (false, 0, 1..) => continue,
                (false, value, _) => write!(out, "{value:x}"),
                (true, value, _) => write!(out, ",{value:08x}"),
            };
            started = true;
        }
    }

    fn value(&self, field: &Field) -> u64 {
        if let Some(value) = field.number(self.context.order, self.record) {
            return value;
        }
        // Arrays have no value; any other field has to be in the record.
        self.short.set(self.short.get() || !field.array || field.dynamic != Dynamic::No);
        0
    }

    fn bytes(&self, field: &Field) -> &'a [u8] {
        field.bytes(self.context.order, self.record).unwrap_or_else(|| {
            self.short.set(true);
            &[]
        })
    }

    /// The bytes that an array expression stands for.
    fn pointed(&self, expr: &Expr) -> &'a [u8] {
        match expr {
            Expr::Field(index) | Expr::DynamicArray(index) | Expr::Str(index) => {
                self.bytes(&self.event.fields[*index])
            }
            Expr::Cast(_, of) => self.pointed(of),
            _ => &[],
        }
    }
}

/// The first of these pieces that shows a field alone: its index, the `0x` before it, and how.
fn found(
    pieces: &[Piece],
    indices: impl Iterator<Item = usize>,
    field: usize,
) -> Option<(usize, &'static [u8], &Spec)> {
    let mut prefix: &[u8] = b"";
    for at in indices {
        match &pieces[at] {
            Piece::Text(text) => prefix = if text.ends_with(b"0x") { b"0x" } else { b"" },
            Piece::Print { spec, stars, value } => {
                let mut value = value;
                while let Expr::Cast(_, inside) = value {
                    value = inside;
                }
                if matches!(value, Expr::Field(found) if *found == field) && stars.is_empty() {
                    return Some((at, prefix, spec));
                }
                prefix = b"";
            }
        }
    }
    None
}

fn element_size(field: &Field, long_size: usize) -> usize {
    let name = field.type_name.as_str();
    let has = |names: &[&str]| names.iter().any(|part| name.contains(part));
    match () {
        () if has(&["long long", "64"]) => 8,
        () if has(&["long", "*"]) => long_size,
        () if has(&["char", "u8", "s8", "bool"]) => 1,
        () if has(&["short", "16"]) => 2,
        () => 4,
    }
}

/// A C string: the bytes before the first NUL.
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}
