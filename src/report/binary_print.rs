//! `trace_printk`: a record holds the address of its format and the arguments as the kernel's
//! `vbin_printf` packs them. A number is aligned to its size, but to 4 at most; a string ends with a NUL.

use std::io::Write;

use super::text::Printer;
use trace_dat::Record;
use trace_dat::bytes::ByteOrder;
use trace_dat::bytes::until_nul;
use trace_dat::event::Event;
use trace_dat::print_fmt::printf::{Given, conversions, trace_cmd_conversion};

impl Printer<'_> {
    /// Appends the text of a bprint record.
    pub(super) fn binary_print(&mut self, record: &Record<'_>, event: &Event) -> Option<()> {
        let order = self.context.order;
        let value = |name: &str| event.field(name)?.number(order, record.data);
        let (caller, address) = (value("ip")?, value("fmt")?);
        let bytes = record.data.get(event.field("buf")?.offset..)?;
        let mut packed = Packed { bytes, at: 0, short: false };
        let context = self.context;
        match context.symbols.find(caller) {
            Some(symbol) => self.out.extend_from_slice(symbol.name.as_bytes()),
            None => drop(write!(self.out, "0x{caller:x}")),
        }
        self.out.extend_from_slice(b": ");
        let Some(format) = context.printk.get(&address) else {
            let _ = write!(self.out, "(NO FORMAT FOUND at {address:x})");
            return Some(());
        };
        if self.trace_cmd() {
            self.packed_as_trace_cmd(format, &mut packed);
        } else {
            let Ok(pieces) = conversions(format) else {
                let _ = write!(self.out, "(format at {address:x} is not known)");
                return Some(());
            };
            for (text, spec) in pieces {
                self.out.extend_from_slice(&text);
                let Some(spec) = spec else { continue };
                let stars: Vec<u64> = (0..spec.stars()).map(|_| packed.number(4, order)).collect();
                let spec = spec.with_stars(stars.into_iter());
                if spec.takes() == Given::Text {
                    spec.text(packed.text(), &mut self.out);
                } else if spec.is_packed_as_text() {
                    // The kernel has already formatted this pointer's target; the record holds the text.
                    self.out.extend_from_slice(packed.text());
                } else {
                    let number = packed.number(spec.packed_bytes(context.long_size), order);
                    spec.number(number, context, &mut self.out);
                }
            }
        }
        if packed.short {
            self.note(record, "its arguments end before its format does");
        }
        Some(())
    }

    fn packed_as_trace_cmd(&mut self, format: &[u8], packed: &mut Packed<'_>) {
        let order = self.context.order;
        let mut rest = format;
        while let [first, tail @ ..] = rest {
            rest = tail;
            match (first, tail) {
                (b'\\', [escaped, tail @ ..]) => {
                    self.out.push(match escaped {
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'r' => b'\r',
                        other => *other,
                    });
                    rest = tail;
                }
                (b'%', [b'%', tail @ ..]) => {
                    self.out.push(b'%');
                    rest = tail;
                }
                (b'%', _) => {
                    let Some((conversion, tail)) = trace_cmd_conversion(rest) else { return };
                    let letters = rest.iter().skip_while(|byte| **byte != b'p').skip(1);
                    let letters: [u8; 2] = {
                        let mut letters = letters.copied();
                        [letters.next().unwrap_or(0), letters.next().unwrap_or(0)]
                    };
                    rest = tail;
                    let (spec, pointer) = match conversion {
                        Ok(found) => found,
                        Err(shown) => {
                            self.out.extend(shown);
                            continue;
                        }
                    };
                    let stars: Vec<u64> = (0..spec.stars()).map(|_| packed.number(4, order)).collect();
                    let spec = spec.with_stars(stars.into_iter());
                    // trace-cmd takes a pointer with printable bytes for text that the kernel has formatted.
                    let as_text = match letters {
                        [b's' | b'S' | b'x', _] => false,
                        [b'f' | b'F', next] if next != b'w' => false,
                        [letter, _] => letter.is_ascii_alphanumeric() && packed.is_printable(),
                    };
                    if spec.takes() == Given::Text {
                        spec.text(packed.text(), &mut self.out);
                    } else if pointer && (as_text || matches!(spec.takes(), Given::Bytes(_))) {
                        self.out.extend_from_slice(packed.text());
                    } else {
                        let size = spec.packed_bytes(self.context.long_size).max(4);
                        spec.number(packed.number(size, order), self.context, &mut self.out);
                    }
                }
                _ => self.out.push(*first),
            }
        }
    }
}

struct Packed<'a> {
    bytes: &'a [u8],
    at: usize,
    short: bool,
}

impl<'a> Packed<'a> {
    /// The next number, aligned to its size, but to 4 at most.
    fn number(&mut self, size: usize, order: ByteOrder) -> u64 {
        self.at = self.at.next_multiple_of(size.clamp(1, 4));
        match order.number_at(self.bytes, self.at, size) {
            Some(number) => {
                self.at += size;
                number
            }
            None => {
                self.short = true;
                0
            }
        }
    }

    fn text(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let text = until_nul(rest);
        self.short |= text.len() == rest.len();
        self.at += text.len() + 1;
        text
    }

    fn is_printable(&self) -> bool {
        self.bytes.get(self.at).is_some_and(|byte| matches!(byte, b' '..=b'~'))
    }
}
