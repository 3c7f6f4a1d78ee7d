//! `trace_printk`: a record with the address of its format and the arguments as the kernel's
//! `vbin_printf` packs them: words of 32 bits, longer numbers as two, strings up to their NUL.

use std::io::Write;

use super::printer::Printer;
use crate::event::Event;
use crate::event::print::until_nul;
use crate::event::printf::conversions;
use crate::trace_dat::Record;

impl Printer<'_> {
    /// Appends the text of a bprint record.
    pub(super) fn binary_print(&mut self, record: &Record<'_>, event: &Event) -> Option<()> {
        let order = self.context.order;
        let value = |name: &str| event.field(name)?.number(order, record.data);
        let (caller, address) = (value("ip")?, value("fmt")?);
        let mut packed = Packed { bytes: record.data.get(event.field("buf")?.offset..)?, short: false };
        let context = self.context;
        match context.symbols.find(caller) {
            Some(symbol) => self.out.extend_from_slice(symbol.name.as_bytes()),
            None => drop(write!(self.out, "0x{caller:x}")),
        }
        self.out.extend_from_slice(b": ");
        let Some(pieces) = context.printk.get(&address).map(|format| conversions(format)) else {
            let _ = write!(self.out, "(NO FORMAT FOUND at {address:x})");
            return Some(());
        };
        let Some(pieces) = pieces else {
            let _ = write!(self.out, "(format at {address:x} is not known)");
            return Some(());
        };
        for (text, spec) in pieces {
            self.out.extend_from_slice(&text);
            let Some(spec) = spec else { continue };
            let stars: Vec<u64> = (0..spec.stars()).map(|_| packed.number(4, order)).collect();
            let spec = spec.with_stars(stars.into_iter());
            if spec.is_text() || spec.follows_pointer() {
                // The kernel has printed what a pointer points at into the record.
                let text = packed.text();
                if spec.is_text() {
                    spec.text(text, &mut self.out);
                } else {
                    self.out.extend_from_slice(text);
                }
            } else {
                let number = packed.number(spec.bytes(context.long_size), order);
                spec.number(number, context, &mut self.out);
            }
        }
        if packed.short {
            self.note(record, "its arguments end before its format does");
        }
        Some(())
    }
}

struct Packed<'a> {
    bytes: &'a [u8],
    short: bool,
}

impl<'a> Packed<'a> {
    fn number(&mut self, size: usize, order: crate::bytes::ByteOrder) -> u64 {
        match order.number_at(self.bytes, 0, size) {
            Some(number) => {
                self.skip(size);
                number
            }
            None => {
                self.short = true;
                0
            }
        }
    }

    fn text(&mut self) -> &'a [u8] {
        let text = until_nul(self.bytes);
        self.short |= text.len() == self.bytes.len();
        self.skip(text.len() + 1);
        text
    }

    fn skip(&mut self, size: usize) {
        self.bytes = self.bytes.get(size.next_multiple_of(4)..).unwrap_or_default();
    }
}
