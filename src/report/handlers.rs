//! Events that are not printed by the kernel's print format, but as trace-cmd and its plug-ins do it.

use std::io::Write;

use super::call::Call;
use super::columns;
use super::config::Style;
use super::fields::FunctionFields;
use super::futex::futex;
use super::handler::Handler;
use super::line::{Around, Line};
use super::text::Printer;
use trace_dat::Record;
use trace_dat::bytes::until_nul;
use trace_dat::event::Event;

impl Printer<'_> {
    /// Appends the text of an event that has a handler; false if the print format is to be used.
    pub(super) fn handle(
        &mut self,
        handler: &Handler,
        line: &Line,
        record: &Record<'_>,
        event: &Event,
    ) -> bool {
        match handler {
            Handler::None => false,
            Handler::Function(fields) => self.function(fields, line, record).is_some(),
            Handler::GraphEntry(fields) => match Call::read(fields, self.plan, record) {
                Some(entry) => {
                    let leaf = match line.around {
                        Around::Leaf(duration, returned) => Some((duration, returned)),
                        _ => None,
                    };
                    self.graph_entry(&entry, leaf, fields, record);
                    true
                }
                None => false,
            },
            Handler::GraphExit(fields) => match Call::read(fields, self.plan, record) {
                Some(exit) => {
                    self.graph_exit(&exit);
                    true
                }
                None => false,
            },
            Handler::KernelStack => self.kernel_stack(record, event).is_some(),
            Handler::RawData => self.raw_data(record, event).is_some(),
            Handler::BinaryPrint => self.binary_print(record, event).is_some(),
            Handler::SchedSwitch | Handler::SchedWakeup if !self.trace_cmd() => false,
            Handler::SchedSwitch => self.sched_switch(record, event).is_some(),
            Handler::SchedWakeup => self.sched_wakeup(record, event).is_some(),
            Handler::CallSite => {
                self.call_site(record, event);
                false
            }
            Handler::HrtimerExpire => self.hrtimer_expire(record, event).is_some(),
            Handler::HrtimerStart => self.hrtimer_start(record, event).is_some(),
            Handler::TlbFlush => self.tlb_flush(record, event).is_some(),
            Handler::Futex => {
                let order = self.context.order;
                let value = |name: &str| event.field(name)?.number(order, record.data);
                futex(value, &mut self.out).is_some()
            }
        }
    }

    fn value(&self, record: &Record<'_>, event: &Event, name: &str) -> Option<u64> {
        event.field(name)?.number(self.context.order, record.data)
    }

    fn function(&mut self, fields: &FunctionFields, line: &Line, record: &Record<'_>) -> Option<()> {
        let [function, caller] = fields.read(self.context.order, record.data)?;
        if let Around::Depth(depth) = line.around {
            columns::blanks(depth * 3, &mut self.out);
        }
        self.function_name(function);
        if fields.arguments.is_some() && matches!(self.config.style, Style::Snaptrace | Style::TraceCmd34) {
            self.arguments_in_brackets(function, fields.arguments, record);
        }
        if self.config.parent.unwrap_or(!self.trace_cmd()) {
            self.out.extend_from_slice(b" <-- ");
            self.function_name(caller);
        }
        Some(())
    }

    fn function_name(&mut self, address: u64) {
        match self.symbol(address) {
            Some(symbol) => {
                self.out.extend_from_slice(symbol.name.as_bytes());
                if self.config.offset {
                    let _ = write!(self.out, "+0x{:x} ", (address - symbol.address) as u32);
                }
            }
            None => drop(write!(self.out, "0x{address:x}")),
        }
    }

    fn kernel_stack(&mut self, record: &Record<'_>, event: &Event) -> Option<()> {
        // The record holds more frames than the declared array.
        let frames = record.data.get(event.field("caller")?.offset..)?;
        self.out.extend_from_slice(if self.trace_cmd() { b"<stack trace >\n" } else { b"<stack trace>\n" });
        for frame in frames.chunks_exact(self.context.long_size) {
            let address = self.context.order.number(frame)?;
            let end = if self.context.long_size == 8 { u64::MAX } else { u64::from(u32::MAX) };
            if address == end || address as u32 == u32::MAX {
                break;
            }
            let _ = match self.symbol(address) {
                Some(symbol) if self.config.offset => {
                    writeln!(self.out, "=> {}+0x{:x}  ({address:x})", symbol.name, address - symbol.address)
                }
                Some(symbol) => writeln!(self.out, "=> {} ({address:x})", symbol.name),
                None => writeln!(self.out, "=> {address:x}"),
            };
        }
        Some(())
    }

    fn raw_data(&mut self, record: &Record<'_>, event: &Event) -> Option<()> {
        let id = self.value(record, event, "id")?;
        let bytes = record.data.get(event.field("buf")?.offset..)?;
        let buf = if self.trace_cmd() { "" } else { " buf:" };
        let _ = write!(self.out, "# {id:x}{buf}");
        for byte in bytes {
            let _ = write!(self.out, " {byte:02x}");
        }
        Some(())
    }

    fn sched_switch(&mut self, record: &Record<'_>, event: &Event) -> Option<()> {
        let previous = self.value(record, event, "prev_pid")?;
        self.comm(record, event, "prev_comm");
        let _ = write!(self.out, ":{previous} ");
        if let Some(priority) = self.value(record, event, "prev_prio") {
            let _ = write!(self.out, "[{}] ", priority as i32);
        }
        if let Some(state) = self.value(record, event, "prev_state") {
            let states = self.plan.states.as_deref();
            self.state(state, states.unwrap_or(b"SDTtZXxW"));
        }
        self.out.extend_from_slice(b" ==> ");
        let next = self.value(record, event, "next_pid")?;
        self.comm(record, event, "next_comm");
        let _ = write!(self.out, ":{next}");
        if let Some(priority) = self.value(record, event, "next_prio") {
            let _ = write!(self.out, " [{}]", priority as i32);
        }
        Some(())
    }

    fn state(&mut self, state: u64, letters: &[u8]) {
        let start = self.out.len();
        for (bit, letter) in letters.iter().enumerate() {
            if state >> bit & 1 != 0 {
                if self.out.len() > start {
                    self.out.push(b'|');
                }
                self.out.push(*letter);
            }
        }
        if self.out.len() == start {
            self.out.push(b'R');
        }
    }

    fn sched_wakeup(&mut self, record: &Record<'_>, event: &Event) -> Option<()> {
        let pid = self.value(record, event, "pid")?;
        self.comm(record, event, "comm");
        let _ = write!(self.out, ":{pid}");
        if let Some(priority) = self.value(record, event, "prio") {
            let _ = write!(self.out, " [{priority}]");
        }
        if let Some(success) = self.value(record, event, "success") {
            let _ = write!(self.out, " success={success}");
        }
        if let Some(cpu) = self.value(record, event, "target_cpu") {
            let _ = write!(self.out, " CPU:{cpu:03}");
        }
        Some(())
    }

    fn comm(&mut self, record: &Record<'_>, event: &Event, field: &str) {
        let bytes = event.field(field).and_then(|field| field.bytes(self.context.order, record.data));
        self.out.extend_from_slice(bytes.map_or(b"", until_nul));
    }

    fn call_site(&mut self, record: &Record<'_>, event: &Event) {
        let site = self.value(record, event, "call_site");
        if let Some((site, symbol)) = site.and_then(|site| Some((site, self.symbol(site)?))) {
            let _ = write!(self.out, "({}+0x{:x}) ", symbol.name, (site - symbol.address) as u32);
        }
    }

    fn hrtimer_expire(&mut self, record: &Record<'_>, event: &Event) -> Option<()> {
        self.hrtimer(record, event)?;
        let now = self.value(record, event, "now")?;
        let _ = write!(self.out, " now={now}");
        self.timer_function(record, event);
        Some(())
    }

    fn hrtimer_start(&mut self, record: &Record<'_>, event: &Event) -> Option<()> {
        self.hrtimer(record, event)?;
        self.timer_function(record, event);
        let (expires, soft) =
            (self.value(record, event, "expires")?, self.value(record, event, "softexpires")?);
        let _ = write!(self.out, " expires={expires} softexpires={soft}");
        Some(())
    }

    fn hrtimer(&mut self, record: &Record<'_>, event: &Event) -> Option<()> {
        let timer = self.value(record, event, "timer").or_else(|| self.value(record, event, "hrtimer"))?;
        let _ = write!(self.out, "hrtimer=0x{timer:x}");
        Some(())
    }

    fn timer_function(&mut self, record: &Record<'_>, event: &Event) {
        let Some(address) = self.value(record, event, "function") else { return };
        let _ = match self.symbol(address) {
            Some(symbol) => {
                write!(self.out, " function={}/0x{:x}", symbol.name, symbol.address.wrapping_sub(address))
            }
            None => write!(self.out, " function=0x{address:08x}"),
        };
    }

    fn tlb_flush(&mut self, record: &Record<'_>, event: &Event) -> Option<()> {
        let pages = self.value(record, event, "pages")?;
        let reason = self.value(record, event, "reason")?;
        let name = match reason {
            0 => "flush on task switch",
            1 => "remote shootdown",
            2 => "local shootdown",
            3 => "local mm shootdown",
            _ => "",
        };
        let _ = write!(self.out, "pages={} reason={name} ({reason})", pages as i64);
        Some(())
    }
}
