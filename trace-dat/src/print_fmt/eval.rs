//! Runs print formats on a record: prints the values of fields by printf's conversions.
//!
//! Values are unsigned numbers of 64 bits. As in trace-cmd, a conversion uses as many bits as its length
//! says. So a negative int is shown as negative by `%d`, but not by `%ld`.

use std::cell::Cell;
use std::io::Write;

use super::pointed;
use super::printf::{Given, Spec};
use super::program::{self as expr, Expr, Flags, HexDump, Piece, Program};
use crate::bytes::until_nul;
use crate::event::context::Context;
use crate::event::field::{Dynamic, Field};
use crate::event::format::Event;

/// How fields are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Our own.
    Ours,
    /// As in trace-cmd 3.1.
    TraceCmd,
    /// As in trace-cmd since 3.3.
    LaterTraceCmd,
}

/// One record being printed.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use trace_dat::Reader;
/// use trace_dat::print_fmt::{Run, Way};
/// let bytes = std::fs::read("../tests/recordings/5.4-events.dat")?;
/// let reader = Reader::new("5.4-events.dat", bytes)?;
/// let mut records = reader.records();
/// let mut text = Vec::new();
/// while let Some(record) = records.next() {
///     let Some(event) = reader.events().of(reader.context().order, record.data) else { continue };
///     if event.name != "sched_wakeup" {
///         continue;
///     }
///     let run = Run::new(event, record.data, reader.context());
///     match event.print(false) {
///         Some(program) => run.print(program, &mut text),
///         // Its print format needs data that only the kernel has.
///         None => run.fields(None, Way::Ours, &mut text),
///     }
///     break;
/// }
/// assert_eq!(String::from_utf8(text)?, "comm=snaptrace pid=102 prio=120 target_cpu=001");
/// # Ok(())
/// # }
/// ```
pub struct Run<'a> {
    event: &'a Event,
    record: &'a [u8],
    context: &'a Context,
    short: Cell<bool>,
}

impl<'a> Run<'a> {
    /// Prepares to print `record`, a record of `event`.
    #[inline]
    pub fn new(event: &'a Event, record: &'a [u8], context: &'a Context) -> Run<'a> {
        Run { event, record, context, short: Cell::new(false) }
    }

    /// Whether a printed value is beyond the record's end; it was printed as 0 or as nothing.
    #[inline]
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

    /// Appends ` name=value` for each of the event's own fields. A number that the print format shows
    /// unchanged is printed by the same conversion. As in trace-cmd, the search for a field begins after the
    /// piece that was found last and wraps around, but finds nothing once the last piece was used.
    ///
    /// In our own way, a field without a size contains the rest of the record, and a line has no line
    /// breaks. In trace-cmd since 3.3, the address of each function follows its name.
    pub fn fields(&self, program: Option<&Program>, way: Way, out: &mut Vec<u8>) {
        let pieces = program.map_or(&[][..], |program| &program.pieces);
        let mut from = 0;
        for (index, field) in self.event.fields.iter().enumerate().skip(self.event.common) {
            out.push(b' ');
            out.extend_from_slice(field.name.as_bytes());
            out.push(b'=');
            let start = out.len();
            let around = (from..pieces.len()).chain(0..from);
            let shown = if field.array || from == pieces.len() { None } else { found(pieces, around, index) };
            match shown {
                Some((at, prefix, spec, value)) => {
                    out.extend_from_slice(prefix);
                    let address =
                        Some(self.value(field)).filter(|_| way == Way::LaterTraceCmd && spec.is_function());
                    if address.is_none_or(|address| self.context.symbols.find(address).is_some()) {
                        self.conversion(spec, &[], value, out);
                    }
                    if let Some(address) = address {
                        let _ = write!(out, " (0x{address:x})");
                    }
                    from = at + 1;
                }
                None if way == Way::LaterTraceCmd && field.array && field.size == 0 && !field.is_string() => {
                    out.extend_from_slice(b"ARRAY[]");
                }
                None => self.field(field, way != Way::Ours, out),
            }
            if way == Way::Ours && out[start..].contains(&b'\n') {
                let lines = out.split_off(start);
                for byte in lines {
                    out.extend_from_slice(if byte == b'\n' { b"\\n" } else { std::slice::from_ref(&byte) });
                }
            }
        }
    }

    fn field(&self, field: &Field, as_trace_cmd: bool, out: &mut Vec<u8>) {
        // Older kernels declare the rest of a record as a number without a size.
        let rest = field.size == 0 && field.dynamic == Dynamic::No;
        if rest && as_trace_cmd {
            out.extend_from_slice(if field.array { b"ARRAY[]" } else { b"0" });
            return;
        }
        // A value of another size is a structure, whatever its type says; trace-cmd prints it as 0.
        let number = matches!(field.size, 1 | 2 | 4 | 8);
        if field.array || rest || !(number || as_trace_cmd) {
            let bytes = self.bytes(field);
            let text = until_nul(bytes);
            // It counts as text even if it is empty, or followed by zeros.
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
        let value = if number { self.value(field) } else { 0 };
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
        match spec.takes() {
            Given::Text => self.text(spec, value, out),
            Given::Number => spec.number(self.number(value), self.context, out),
            Given::Bytes(_) if matches!(value, Expr::PluginFunction(..)) => self.text(spec, value, out),
            Given::Bytes(_) => {
                // The kernel may read beyond the end of a field, trace-cmd does not.
                let bytes = if spec.is_of_kernel() { self.reached(value) } else { self.pointed(value) };
                if spec.print_bytes(bytes, self.context, out).is_none() && spec.is_of_kernel() {
                    self.short.set(true);
                }
            }
        }
    }

    /// The value of an expression as a number. Texts and bytes count as 1, that is as true.
    pub(crate) fn number(&self, expr: &Expr) -> u64 {
        match expr {
            Expr::Number(value) => *value,
            Expr::Name(name, address) => {
                *address.get_or_init(|| self.context.symbols.address_of(name).unwrap_or(0))
            }
            Expr::Field(index) => self.value(&self.event.fields[*index]),
            Expr::Cast(mask, of) => self.number(of) & mask,
            Expr::Signed(bits, of) => expr::sign_extended(*bits, self.number(of)),
            Expr::Unary(operator, of) => expr::unary(*operator, self.number(of)),
            Expr::Binary(op, left, right) => self.binary(*op, left, right),
            Expr::Choice(condition, then, otherwise) => {
                self.number(if self.number(condition) != 0 { then } else { otherwise })
            }
            // An element beyond the end of an array is 0.
            Expr::Load(place, size) => {
                self.context.order.number_at(self.reached(place), 0, *size).unwrap_or(0)
            }
            Expr::Ordered(order, size, of) => {
                let value = self.number(of);
                if *order == Some(self.context.order) {
                    return value;
                }
                value.swap_bytes() >> (64 - 8 * (*size).clamp(1, 8))
            }
            Expr::DynamicLength(field) => self.value(&self.event.fields[*field]) >> 16 & 0xffff,
            _ => 1,
        }
    }

    fn binary(&self, op: expr::Op, left: &Expr, right: &Expr) -> u64 {
        let left = self.number(left);
        match op {
            // As in C, the right operand is not evaluated if the left one decides.
            expr::Op::And if left == 0 => 0,
            expr::Op::Or if left != 0 => 1,
            _ => op.apply(left, self.number(right)).unwrap_or(0),
        }
    }

    fn text(&self, spec: &Spec, expr: &Expr, out: &mut Vec<u8>) {
        match expr {
            Expr::Text(text) => spec.text(text, out),
            Expr::Field(index) => {
                // A pointer to a constant string of the kernel.
                let address = self.value(&self.event.fields[*index]);
                match self.context.printk.get(&address) {
                    Some(text) if spec.is_of_kernel() => spec.text(text, out),
                    Some(text) => out.extend_from_slice(text),
                    None => drop(write!(out, "{address:x}")),
                }
            }
            Expr::Place(_) | Expr::Bytes(_) | Expr::Behind(..) => {
                let bytes = self.pointed(expr);
                // trace-cmd prints nothing for an empty value, not even its width.
                let left_out = bytes.is_empty() && matches!(expr, Expr::Bytes(_)) && !spec.is_of_kernel();
                if !left_out {
                    spec.text(until_nul(bytes), out);
                }
            }
            Expr::Choice(condition, then, otherwise) => {
                self.text(spec, if self.number(condition) != 0 { then } else { otherwise }, out);
            }
            // The kernel pads the whole text; trace-cmd pads each name.
            Expr::Flags(..) | Expr::Symbolic(..) if spec.is_of_kernel() && !spec.is_plain() => {
                let mut text = Vec::new();
                self.text(&Spec::plain(), expr, &mut text);
                spec.text(&text, out);
            }
            Expr::Flags(value, flags) => self.flags(spec, self.number(value), flags, out),
            Expr::Symbolic(value, names) => {
                let value = self.number(value);
                match names.iter().find(|name| name.0 == Some(value)) {
                    Some((_, name)) => spec.text(name, out),
                    None => drop(write!(out, "0x{value:x}")),
                }
            }
            Expr::Number(0) => spec.text(b"(null)", out),
            // trace-cmd ignores the width of these.
            Expr::Hex { .. } | Expr::Array { .. } | Expr::PluginFunction(..) if !spec.is_of_kernel() => {
                self.made(expr, out);
            }
            _ => {
                let mut text = Vec::new();
                self.made(expr, &mut text);
                spec.text(&text, out);
            }
        }
    }

    /// Appends the text of a kernel function.
    fn made(&self, expr: &Expr, out: &mut Vec<u8>) {
        let size = |expr: &Expr| usize::try_from(self.number(expr)).unwrap_or(usize::MAX);
        match expr {
            Expr::Hex { bytes, count, joined } => {
                let count = usize::try_from(self.number(count) as u32).unwrap_or(usize::MAX);
                let bytes = self.pointed(bytes);
                if count > bytes.len() {
                    self.short.set(true);
                }
                for (index, byte) in bytes.iter().take(count).enumerate() {
                    let _ = write!(out, "{}{byte:02x}", if index > 0 && !joined { " " } else { "" });
                }
            }
            Expr::HexDump(dump) => self.hex_dump(dump, out),
            Expr::Array { array, count, size: element, in_braces } => {
                let (count, element) = (self.number(count), size(element));
                let array = self.pointed(array);
                out.extend_from_slice(if *in_braces { b"{" } else { b"" });
                if matches!(element, 1 | 2 | 4 | 8) {
                    let elements = array.chunks_exact(element);
                    if (elements.len() as u64) < count {
                        self.short.set(true);
                    }
                    for (index, element) in (0..count).zip(elements) {
                        let value = self.context.order.number(element).unwrap_or(0);
                        let _ = match (in_braces, index) {
                            (true, 0) => write!(out, "0x{value:x}"),
                            (true, _) => write!(out, ",0x{value:x}"),
                            (false, 0) => write!(out, "{value}"),
                            (false, _) => write!(out, " {value}"),
                        };
                    }
                } else {
                    // The elements are printed as bytes. The kernel prints all bytes of the array, trace-cmd
                    // only as many as there are elements.
                    let count = if *in_braces { count.saturating_mul(element as u64) } else { count };
                    for (index, byte) in (0..count).zip(array) {
                        let _ = match (index, in_braces) {
                            (0, _) => write!(out, "BAD SIZE:{element} 0x{byte:x}"),
                            (_, true) => write!(out, ",0x{byte:x}"),
                            (_, false) => write!(out, " {byte}"),
                        };
                    }
                }
                out.extend_from_slice(if *in_braces { b"}" } else { b"" });
            }
            Expr::PluginFunction(function, given) => match given.as_slice() {
                [bytes, count] => {
                    let bytes = self.pointed(bytes);
                    if function.bytes(&bytes[..size(count).min(bytes.len())], out).is_none() {
                        self.short.set(true);
                    }
                }
                [number] => function.number(self.number(number), out),
                _ => {}
            },
            Expr::Bitmask(field) => {
                let bytes = self.bytes(&self.event.fields[*field]);
                pointed::bitmap(bytes, 8 * bytes.len(), self.context, out);
            }
            Expr::CpuList(field) => {
                let bytes = self.bytes(&self.event.fields[*field]);
                pointed::list(bytes, 8 * bytes.len(), self.context, out);
            }
            Expr::Stack(field) => {
                let long = self.context.long_size;
                for address in self.bytes(&self.event.fields[*field]).chunks_exact(long) {
                    let address = self.context.order.number(address).unwrap_or(0);
                    if address == 0 {
                        break;
                    }
                    let _ = match self.context.symbols.find(address) {
                        Some(symbol) => {
                            writeln!(out, "=> {}+0x{:x}", symbol.name, address - symbol.address)
                        }
                        None => writeln!(out, "=> 0x{address:x}"),
                    };
                }
            }
            _ => {}
        }
    }

    fn flags(&self, spec: &Spec, value: u64, flags: &Flags, out: &mut Vec<u8>) {
        let mut left = value;
        let mut first = true;
        for (flag, name) in &flags.names {
            if left == 0 && !flags.as_trace_cmd {
                break;
            }
            match flag {
                None if left == 0 => {
                    spec.text(name, out);
                    break;
                }
                // The kernel also shows a flag with value 0, together with others.
                Some(flag) if left & flag == *flag && (*flag != 0 || !flags.as_trace_cmd) => {
                    if !first {
                        out.extend_from_slice(&flags.delimiter);
                    }
                    spec.text(name, out);
                    first = false;
                    left &= !flag;
                }
                _ => {}
            }
        }
        if left != 0 {
            out.extend_from_slice(if first { b"" } else { &flags.delimiter });
            let _ = write!(out, "0x{left:x}");
        }
    }

    /// Appends lines of bytes in hexadecimal, as the kernel's `print_hex_dump` prints them.
    fn hex_dump(&self, dump: &HexDump, out: &mut Vec<u8>) {
        let row = if self.number(&dump.row) == 32 { 32 } else { 16 };
        let group = match self.number(&dump.group) {
            group @ (2 | 4 | 8) => group as usize,
            _ => 1,
        };
        let bytes = self.pointed(&dump.bytes);
        let count = usize::try_from(self.number(&dump.count) as u32).unwrap_or(usize::MAX);
        if count > bytes.len() {
            self.short.set(true);
        }
        let (kind, ascii) = (self.number(&dump.kind), self.number(&dump.ascii) != 0);
        out.push(b'\n');
        for (index, line) in bytes[..count.min(bytes.len())].chunks(row).enumerate() {
            out.extend_from_slice(&dump.prefix);
            // The address of the bytes in the kernel's memory is unknown: print the offset instead.
            if matches!(kind, 1 | 2) {
                let _ = write!(out, "{:08x}: ", index * row);
            }
            let start = out.len();
            let group = if line.len() % group == 0 { group } else { 1 };
            for (index, bytes) in line.chunks(group).enumerate() {
                let value = self.context.order.number(bytes).unwrap_or(0);
                let _ =
                    write!(out, "{}{value:0width$x}", if index > 0 { " " } else { "" }, width = 2 * group);
            }
            if ascii {
                let column = row * 2 + row / group + 1;
                out.resize(out.len().max(start + column), b' ');
                out.extend(line.iter().map(|byte| if matches!(byte, b' '..=b'~') { *byte } else { b'.' }));
            }
            out.push(b'\n');
        }
    }

    fn value(&self, field: &Field) -> u64 {
        if let Some(value) = field.number(self.context.order, self.record) {
            return value;
        }
        // Arrays have no value, so they need not be in the record; any other field must be.
        self.short.set(self.short.get() || !field.array || field.dynamic != Dynamic::No);
        0
    }

    fn bytes(&self, field: &Field) -> &'a [u8] {
        field.bytes(self.context.order, self.record).unwrap_or_else(|| {
            self.short.set(true);
            &[]
        })
    }

    /// The bytes from the target of an expression up to the end of the record.
    fn reached<'e>(&self, expr: &'e Expr) -> &'e [u8]
    where
        'a: 'e,
    {
        let order = self.context.order;
        let field = |index: usize| &self.event.fields[index];
        let found = match expr {
            Expr::Place(index) => self.record.get(field(*index).offset..),
            Expr::Bytes(index) => {
                field(*index).start(order, self.record).and_then(|at| self.record.get(at..))
            }
            Expr::Behind(start, by) => {
                let by = usize::try_from(self.number(by)).ok();
                return by.and_then(|by| self.reached(start).get(by..)).unwrap_or_default();
            }
            Expr::Choice(condition, then, otherwise) => {
                return self.reached(if self.number(condition) != 0 { then } else { otherwise });
            }
            _ => return self.pointed(expr),
        };
        found.unwrap_or_else(|| {
            self.short.set(true);
            &[]
        })
    }

    /// The bytes from the target of an expression up to the end of its field or text.
    fn pointed<'e>(&self, expr: &'e Expr) -> &'e [u8]
    where
        'a: 'e,
    {
        match expr {
            Expr::Text(text) => text,
            Expr::Bytes(index) => self.bytes(&self.event.fields[*index]),
            Expr::Place(index) => {
                let field = &self.event.fields[*index];
                let end = if field.size == 0 { self.record.len() } else { field.offset + field.size };
                if end > self.record.len() && field.dynamic != Dynamic::No {
                    self.short.set(true);
                }
                self.record.get(field.offset..end.min(self.record.len())).unwrap_or_else(|| {
                    self.short.set(true);
                    &[]
                })
            }
            Expr::Behind(start, by) => {
                let by = usize::try_from(self.number(by)).ok();
                by.and_then(|by| self.pointed(start).get(by..)).unwrap_or_default()
            }
            Expr::Choice(condition, then, otherwise) => {
                self.pointed(if self.number(condition) != 0 { then } else { otherwise })
            }
            _ => &[],
        }
    }
}

/// The first of these pieces that prints only this field: its index, the `0x` before it, the conversion
/// and the expression.
fn found(
    pieces: &[Piece],
    indices: impl Iterator<Item = usize>,
    field: usize,
) -> Option<(usize, &'static [u8], &Spec, &Expr)> {
    let mut prefix: &[u8] = b"";
    for at in indices {
        match &pieces[at] {
            Piece::Text(text) => prefix = if text.ends_with(b"0x") { b"0x" } else { b"" },
            Piece::Print { spec, stars, value } => {
                let whole = value;
                let mut value = value;
                while let Expr::Cast(_, inside) | Expr::Signed(_, inside) = value {
                    value = inside;
                }
                if matches!(value, Expr::Field(found) if *found == field) && stars.is_empty() {
                    return Some((at, prefix, spec, whole));
                }
                prefix = b"";
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
