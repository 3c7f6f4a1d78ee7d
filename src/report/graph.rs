//! Function graphs: calls with their durations. An entry and its exit share a line when nothing is
//! recorded between them.

use std::io::Write;

use super::call::Call;
use super::columns;
use super::config::{Returns, Style};
use super::fields::CallFields;
use super::text::Printer;
use trace_dat::Record;

impl Printer<'_> {
    /// Appends the text of an entry. For a leaf, `leaf` holds the duration in nanoseconds and the return
    /// value, and the line includes the exit.
    pub(super) fn graph_entry(
        &mut self,
        entry: &Call,
        leaf: Option<(u64, u64)>,
        fields: &CallFields,
        record: &Record<'_>,
    ) {
        match leaf {
            Some((duration, _)) => self.duration(duration),
            None => self.out.extend_from_slice(b"             |  "),
        }
        self.depth(entry);
        let returned = leaf.map(|(_, returned)| returned).filter(|_| self.shows_returns());
        let caller = fields.caller.and_then(|place| place.number(self.context.order, record.data));
        if returned.is_none() && caller.is_none() && fields.arguments.is_none() {
            self.graph_function(entry.function);
            self.out.extend_from_slice(if leaf.is_some() { b"();" } else { b"() {" });
            return self.depth_note(entry);
        }
        let own = !self.trace_cmd();
        let caller = caller.filter(|caller| own || self.symbol(*caller).is_some());
        let is_named = self.symbol(entry.function).is_some();
        let later = own || self.config.style == Style::TraceCmd34;
        // For a function without a symbol trace-cmd 3.4 prints neither address nor opening bracket.
        if is_named || caller.is_some() || leaf.is_some() || self.config.style != Style::TraceCmd34 {
            self.graph_function(entry.function);
            self.out.push(b'(');
        }
        if later && is_named {
            self.arguments(entry.function, fields.arguments, record);
        }
        self.out.push(b')');
        match (leaf.is_some(), own) {
            (true, _) => self.out.push(b';'),
            (false, true) => {
                self.out.extend_from_slice(b" {");
                self.caller(caller, " /* <-", " */");
            }
            (false, false) => {
                self.caller(caller, " /* <-", " */");
                self.out.extend_from_slice(b" {");
            }
        }
        if !own {
            self.depth_note(entry);
        }
        if leaf.is_some() {
            match own {
                false => self.caller(caller, " /* <-", " */"),
                true if returned.is_some() || caller.is_some() => {
                    self.out.extend_from_slice(b" /*");
                    self.caller(caller, " <-", "");
                    self.returned(returned);
                    self.out.extend_from_slice(b" */");
                }
                true => {}
            }
        }
        if own {
            self.depth_note(entry);
        } else {
            self.returned(returned);
        }
    }

    /// Appends the return address of a function.
    fn caller(&mut self, caller: Option<u64>, before: &str, behind: &str) {
        let Some(caller) = caller else { return };
        self.out.extend_from_slice(before.as_bytes());
        let symbol = self.symbol(caller);
        let _ = match (symbol, self.trace_cmd()) {
            (Some(symbol), true) => write!(self.out, "{}", symbol.name),
            // With offset and size, as the kernel prints it.
            (Some(symbol), false) => {
                let size = self.context.symbols.end_of(symbol).unwrap_or(caller) - symbol.address;
                write!(self.out, "{}+0x{:x}/0x{size:x}", symbol.name, caller - symbol.address)
            }
            (None, _) => write!(self.out, "0x{caller:x}"),
        };
        self.out.extend_from_slice(behind.as_bytes());
    }

    /// Whether return values were recorded and are printed.
    fn shows_returns(&self) -> bool {
        self.plan.has_returns
            && self.config.returns != Returns::Skip
            && self.config.style != Style::TraceCmd31
    }

    /// Appends a return value; by default a value that looks like an error code is printed as decimal.
    fn returned(&mut self, returned: Option<u64>) {
        let Some(returned) = returned else { return };
        let own = !self.trace_cmd();
        let is_error = |value: u64| value >= (-4095_i64) as u64;
        // A function that returns an int leaves the upper half of the register unchanged.
        let value = match own && self.context.long_size == 8 && returned >> 31 == 1 {
            true => returned as u32 as i32 as u64,
            false => returned,
        };
        let decimal = match self.config.returns {
            Returns::ByValue => is_error(value),
            Returns::Decimal => true,
            Returns::Hexadecimal | Returns::Skip => false,
        };
        let (before, behind) = if own { (" ret=", "") } else { (" (ret=", ")") };
        let _ = match decimal {
            true if own => write!(self.out, "{before}{}{behind}", value as i64),
            true => write!(self.out, "{before}{}{behind}", returned as i64),
            false => write!(self.out, "{before}0x{returned:x}{behind}"),
        };
    }

    /// Appends the text of an exit that is not part of its entry's line.
    pub(super) fn graph_exit(&mut self, exit: &Call) {
        self.duration(exit.duration);
        self.depth(exit);
        self.out.push(b'}');
        let returned = Some(exit.returned).filter(|_| self.shows_returns());
        if returned.is_some() && !self.trace_cmd() {
            self.out.extend_from_slice(b" /* ");
            self.graph_function(exit.function);
            self.returned(returned);
            self.out.extend_from_slice(b" */");
            return self.depth_note(exit);
        }
        if self.config.graph_tail {
            // trace-cmd ends the line here if the function has no symbol.
            if self.trace_cmd() && self.symbol(exit.function).is_none() {
                return;
            }
            self.out.extend_from_slice(b" /* ");
            self.graph_function(exit.function);
            self.out.extend_from_slice(b" */");
        }
        self.depth_note(exit);
        self.returned(returned);
    }

    fn depth(&mut self, call: &Call) {
        // No kernel stack is deeper; the limit keeps a damaged depth from filling the line.
        columns::blanks(call.depth.min(1024) as usize * 2, &mut self.out);
    }

    fn depth_note(&mut self, call: &Call) {
        if self.config.graph_depth {
            let _ = write!(self.out, " ({})", call.depth as i64);
        }
    }

    fn graph_function(&mut self, address: u64) {
        match self.symbol(address) {
            Some(symbol) => self.out.extend_from_slice(symbol.name.as_bytes()),
            None => drop(write!(self.out, "{address:x}")),
        }
    }

    /// Appends a duration in microseconds, with three digits after the point or, as the kernel prints
    /// it, as many as fit into seven characters. A mark before the number shows long calls.
    fn duration(&mut self, duration: u64) {
        if duration >= 1_000_000 {
            return self.long_duration(duration);
        }
        let [first, second] = *self.mark(duration);
        let [hundreds, tens, ones] = columns::THREE_DIGITS[duration as usize / 1000];
        let [a, b, c] = columns::THREE_DIGITS[duration as usize % 1000];
        // Nearly all durations are this short, so the column has a fixed layout for each number of digits.
        let column = match duration {
            0..10_000 => [first, second, ones, b'.', a, b, c, b' ', b'u', b's', b' ', b' ', b' '],
            10_000..100_000 => [first, second, tens, ones, b'.', a, b, c, b' ', b'u', b's', b' ', b' '],
            _ => [first, second, hundreds, tens, ones, b'.', a, b, c, b' ', b'u', b's', b' '],
        };
        self.out.extend_from_slice(&column);
        self.out.extend_from_slice(b"|  ");
    }

    /// Appends a duration of a millisecond or more.
    fn long_duration(&mut self, duration: u64) {
        let mut column = [b' '; 40];
        column[..2].copy_from_slice(self.mark(duration));
        let mut at = 2 + columns::write_number(duration / 1000, &mut column[2..]);
        if at < 2 + 7 {
            let count = if self.trace_cmd() { 3 } else { 3.min(2 + 7 - at) };
            column[at] = b'.';
            let digits = &columns::THREE_DIGITS[(duration % 1000) as usize][..count];
            column[at + 1..at + 1 + count].copy_from_slice(digits);
            at += 1 + count;
        }
        column[at + 1..at + 3].copy_from_slice(b"us");
        at = at.max(2 + 7) + 4;
        column[at] = b'|';
        self.out.extend_from_slice(&column[..at + 3]);
    }

    fn mark(&self, duration: u64) -> &'static [u8; 2] {
        let all = self.config.style == Style::Snaptrace;
        match duration {
            u64::MAX => b"  ",
            1_000_000_001.. => b"$ ",
            100_000_001.. if all => b"@ ",
            10_000_001.. if all => b"* ",
            1_000_001.. => b"# ",
            100_001.. => b"! ",
            10_001.. => b"+ ",
            _ => b"  ",
        }
    }
}
