//! The arguments of functions, which kernels since 6.15 record on demand. The record holds registers;
//! the kernel's types (BTF) give names and types to them.

use std::io::Write;

use super::text::Printer;
use trace_dat::Record;
use trace_dat::event::btf::{Parameter, Value};

/// How many registers the kernel records.
const RECORDED: usize = 6;

impl Printer<'_> {
    /// Appends the recorded arguments in brackets, or nothing if the record is too short for them: our
    /// style needs all [`RECORDED`] registers, that of trace-cmd only the first.
    pub(super) fn arguments_in_brackets(&mut self, function: u64, start: Option<u32>, record: &Record<'_>) {
        let count = if self.trace_cmd() { 1 } else { RECORDED };
        let least = start.map_or(0, |start| start as usize + count * self.context.long_size);
        if record.data.len() < least {
            return;
        }
        self.out.push(b'(');
        self.arguments(function, start, record);
        self.out.push(b')');
    }

    /// Appends the recorded arguments of a function; nothing if it has no symbol.
    pub(super) fn arguments(&mut self, function: u64, start: Option<u32>, record: &Record<'_>) {
        let bytes = start.and_then(|start| record.data.get(start as usize..)).unwrap_or_default();
        let order = self.context.order;
        let values: Vec<u64> =
            bytes.chunks_exact(self.context.long_size).filter_map(|bytes| order.number(bytes)).collect();
        let own = !self.trace_cmd();
        if start.is_none() || own && values.len() < RECORDED {
            return;
        }
        let Some(symbol) = self.symbol(function) else { return };
        let plan = self.plan;
        let Some(parameters) = plan.reader.btf().and_then(|btf| btf.parameters(symbol.name)) else {
            // Without types the number of arguments is unknown: print all registers.
            for (index, value) in values.iter().enumerate() {
                let _ = write!(self.out, "{}{value:x}", if index > 0 { ", " } else { "" });
            }
            return;
        };
        let mut next = 0;
        for (index, parameter) in parameters.iter().enumerate() {
            if index > 0 {
                self.out.extend_from_slice(b", ");
            }
            if next >= values.len() {
                self.out.extend_from_slice(b"...");
                return;
            }
            if !self.argument(parameter, &values, &mut next, own) {
                return;
            }
        }
    }

    /// Appends one argument and advances `next` past its registers; false if some of them were not
    /// recorded.
    fn argument(&mut self, parameter: &Parameter<'_>, values: &[u64], next: &mut usize, own: bool) -> bool {
        self.out.extend_from_slice(parameter.name);
        self.out.push(b'=');
        let value = values[*next];
        *next += 1;
        let _ = match parameter.value {
            Value::Open if !own => Ok(()),
            Value::Open | Value::Unknown => write!(self.out, "?0x{value:x}"),
            Value::Pointer => write!(self.out, "0x{value:x}"),
            Value::Enum => write!(self.out, "{}", value as i64),
            Value::Integer { signed, bits } => {
                let value = if bits < 64 { value & ((1 << bits) - 1) } else { value };
                match signed {
                    true => write!(self.out, "{}", value as i64),
                    false => write!(self.out, "0x{value:x}"),
                }
            }
            Value::Other(kind, size) => {
                let _ = write!(self.out, "({kind})[0x{value:x}");
                for _ in 1..(size as usize).div_ceil(8).max(1) {
                    let Some(value) = values.get(*next) else {
                        self.out.extend_from_slice(b":...]");
                        return false;
                    };
                    let _ = write!(self.out, ":0x{value:x}");
                    *next += 1;
                }
                self.out.write_all(b"]")
            }
        };
        true
    }
}
