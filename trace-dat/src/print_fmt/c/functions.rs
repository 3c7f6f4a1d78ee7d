//! Calls of the kernel's helper functions in print formats.

use super::parser::{Parser, shown};
use super::types::{
    INT, Result, TEXT, Target, Type, Typed, choice, converted, cut, element, number_type, operation,
};
use crate::bytes::ByteOrder;
use crate::print_fmt::plugins::PluginFunction;
use crate::print_fmt::program::{Expr, Flags, HexDump, Op};
use crate::print_fmt::token::{Token, unescaped};

impl Parser<'_> {
    /// Parses the arguments of a function, up to its closing bracket.
    pub(super) fn call(&mut self, name: &str) -> Result<Typed> {
        let long = self.long_bits();
        let made = |expr| Ok(Typed { expr, of: TEXT });
        match name {
            "__print_flags" | "__print_flags_u64" => {
                let bits = if name == "__print_flags" { long } else { 64 };
                let value = self.wide(bits)?;
                self.expect(",")?;
                let delimiter = match self.next() {
                    Some(Token::Text(text)) => unescaped(&text),
                    Some(Token::Word(word)) if word == "NULL" => Vec::new(),
                    token => return Err(format!("has {} where a text should stand", shown(token.as_ref()))),
                };
                let names = self.names(bits)?;
                made(Expr::Flags(Box::new(value), Flags { delimiter, names, as_trace_cmd: false }))
            }
            "__print_symbolic" | "__print_symbolic_u64" => {
                let bits = if name == "__print_symbolic" { long } else { 64 };
                let value = self.wide(bits)?;
                let names = self.names(bits)?;
                made(Expr::Symbolic(Box::new(value), names))
            }
            "__print_hex" | "__print_hex_str" => {
                let bytes = Box::new(self.bytes()?);
                let count = Box::new(self.next_number()?);
                made(Expr::Hex { bytes, count, joined: name == "__print_hex_str" })
            }
            "__print_hex_dump" => {
                let Some(Token::Text(prefix)) = self.next() else {
                    return Err("has no text before the lines of __print_hex_dump".into());
                };
                let (kind, row, group) = (self.next_number()?, self.next_number()?, self.next_number()?);
                self.expect(",")?;
                let bytes = self.bytes()?;
                let (count, ascii) = (self.next_number()?, self.next_number()?);
                let prefix = unescaped(&prefix);
                made(Expr::HexDump(Box::new(HexDump { prefix, kind, row, group, bytes, count, ascii })))
            }
            "__print_array" => {
                let array = Box::new(self.bytes()?);
                let (count, size) = (Box::new(self.next_number()?), Box::new(self.next_number()?));
                made(Expr::Array { array, count, size, in_braces: true })
            }
            "__print_dynamic_array" => {
                let field = self.field()?;
                self.expect(",")?;
                let start = self.at;
                let size = self.argument()?;
                let end = std::mem::replace(&mut self.at, start);
                let again = self.argument()?;
                self.at = end;
                let count = operation(Op::Divide, Expr::DynamicLength(field), again);
                let array = Box::new(Expr::Bytes(field));
                made(Expr::Array { array, count: Box::new(count), size: Box::new(size), in_braces: true })
            }
            "__get_str" | "__get_rel_str" => made(Expr::Bytes(self.field()?)),
            "__get_dynamic_array"
            | "__get_rel_dynamic_array"
            | "__get_sockaddr"
            | "__get_rel_sockaddr"
            | "__get_sockaddr_rel" => {
                let field = self.field()?;
                let to = element(&self.fields[field], self.long_size);
                Ok(Typed { expr: Expr::Bytes(field), of: Type::Pointer { to, record: true } })
            }
            "__get_dynamic_array_len" | "__get_rel_dynamic_array_len" => {
                let of = Type::Int { bits: 32, signed: false };
                Ok(Typed { expr: Expr::DynamicLength(self.field()?), of })
            }
            "__get_bitmask" | "__get_rel_bitmask" | "__get_cpumask" | "__get_rel_cpumask" => {
                made(Expr::Bitmask(self.field()?))
            }
            "__get_stacktrace" | "__get_rel_stacktrace" => made(Expr::Stack(self.field()?)),
            "__print_ns_to_secs" | "__print_ns_without_secs" => {
                let value = self.wide(64)?;
                let second = Expr::Number(1_000_000_000);
                let (op, bits) = match name {
                    "__print_ns_to_secs" => (Op::Divide, 64),
                    _ => (Op::Remainder, 32),
                };
                Ok(Typed { expr: operation(op, value, second), of: Type::Int { bits, signed: false } })
            }
            "__builtin_expect" | "__builtin_expect_with_probability" => {
                let value = self.choice()?;
                while self.accept(",") {
                    self.choice()?;
                }
                Ok(value)
            }
            "__builtin_constant_p" => {
                let value = self.choice()?;
                let constant = matches!(value.expr, Expr::Number(_) | Expr::Text(_));
                Ok(Typed { expr: Expr::Number(u64::from(constant)), of: INT })
            }
            "__builtin_choose_expr" => {
                let condition = self.choice()?;
                self.expect(",")?;
                let then = self.choice()?;
                self.expect(",")?;
                let otherwise = self.choice()?;
                match condition.expr {
                    Expr::Number(value) => Ok(if value != 0 { then } else { otherwise }),
                    _ => Err("chooses by __builtin_choose_expr what is no constant".into()),
                }
            }
            "sizeof" | "__alignof__" => self.size_of(),
            "ERR_PTR" => {
                let value = self.wide(64)?;
                let of = Type::Pointer { to: Target::UNKNOWN, record: false };
                Ok(Typed { expr: value, of })
            }
            "PTR_ERR" => {
                let value = self.argument()?;
                Ok(Typed { expr: value, of: Type::Int { bits: long, signed: true } })
            }
            "IS_ERR" => {
                let value = self.argument()?;
                let least = Expr::Number(4095_u64.wrapping_neg());
                Ok(Typed { expr: operation(Op::GreaterEqual, value, least), of: INT })
            }
            "__builtin_ffs" | "__builtin_ffsl" | "__builtin_ffsll" => match self.argument()? {
                Expr::Number(value) => {
                    let first = if value == 0 { 0 } else { value.trailing_zeros() + 1 };
                    Ok(Typed { expr: Expr::Number(u64::from(first)), of: INT })
                }
                _ => Err(format!("calls {name}() of what is no constant")),
            },
            "str_yes_no" => self.one_of_two("yes", "no"),
            "str_on_off" => self.one_of_two("on", "off"),
            "str_true_false" => self.one_of_two("true", "false"),
            "str_enable_disable" => self.one_of_two("enable", "disable"),
            "str_enabled_disabled" => self.one_of_two("enabled", "disabled"),
            "str_read_write" => self.one_of_two("read", "write"),
            "str_high_low" => self.one_of_two("high", "low"),
            "str_up_down" => self.one_of_two("up", "down"),
            // The length of a jiffy depends on HZ, which is not in a recording. trace-cmd shows jiffies.
            "jiffies_to_msecs" => self.choice(),
            "jbd2_dev_to_name" => made(Expr::PluginFunction(PluginFunction::Device, vec![self.argument()?])),
            "xen_hypercall_name" => {
                made(Expr::PluginFunction(PluginFunction::XenHypercall, vec![self.argument()?]))
            }
            "scsi_trace_parse_cdb" => {
                // The first argument is the kernel's buffer for the text.
                self.choice()?;
                self.expect(",")?;
                let bytes = self.bytes()?;
                let size = self.next_number()?;
                made(Expr::PluginFunction(
                    PluginFunction::ScsiCommand { as_trace_cmd: false },
                    vec![bytes, size],
                ))
            }
            _ => match swapped(name) {
                Some((order, size, pointer)) => {
                    let value =
                        if pointer { Expr::Load(Box::new(self.bytes()?), size) } else { self.argument()? };
                    let bits = 8 * size as u32;
                    let of = Type::Int { bits, signed: false };
                    Ok(Typed { expr: Expr::Ordered(order, size, Box::new(value)), of })
                }
                None => Err(format!("calls {name}(), which only the kernel has")),
            },
        }
    }

    /// Parses an argument that selects one of two texts: `yes` if it is not 0.
    pub(super) fn one_of_two(&mut self, yes: &str, no: &str) -> Result<Typed> {
        let condition = self.argument()?;
        let [yes, no] = [yes, no].map(|text| Expr::Text(text.into()));
        Ok(Typed { expr: choice(condition, yes, no), of: TEXT })
    }

    /// Parses an argument as a number.
    pub(super) fn argument(&mut self) -> Result<Expr> {
        let value = self.choice()?;
        self.number(value)
    }

    pub(super) fn next_number(&mut self) -> Result<Expr> {
        self.expect(",")?;
        self.argument()
    }

    /// Parses an argument as an unsigned number with this many bits.
    pub(super) fn wide(&mut self, bits: u32) -> Result<Expr> {
        let value = self.choice()?;
        let of = Type::Int { bits, signed: false };
        match value.of {
            Type::Int { .. } => Ok(converted(value, of)),
            _ => Ok(cut(self.number(value)?, bits, false)),
        }
    }

    /// Parses an argument as bytes of the record.
    pub(super) fn bytes(&mut self) -> Result<Expr> {
        let value = self.choice()?;
        match value.of {
            Type::Pointer { record: true, .. } => Ok(value.expr),
            _ => Err("prints bytes behind a pointer, which are not in the record".into()),
        }
    }

    pub(super) fn size_of(&mut self) -> Result<Typed> {
        let of = Type::Int { bits: self.long_bits(), signed: false };
        let mut names: Vec<String> = Vec::new();
        let mut at = self.at;
        while let Some(Token::Word(word)) = self.tokens.get(at) {
            names.push(word.clone());
            at += 1;
        }
        // A structure without a name is a compile-time check of the kernel: it has no size.
        if names.first().is_some_and(|name| name == "struct") && self.tokens.get(at) == Some(&Token::Op("{"))
        {
            let size = self.closing(at + 1, "{", "}").ok_or("has a structure that does not end")?;
            self.at = at + 1 + size;
            return Ok(Typed { expr: Expr::Number(0), of });
        }
        let stars = self.tokens.get(at..).unwrap_or_default().iter();
        let stars = stars.take_while(|token| **token == Token::Op("*")).count();
        let size = |size: usize| Ok(Typed { expr: Expr::Number(size as u64), of });
        let is_type = self.tokens.get(at + stars) == Some(&Token::Op(")")) && !names.is_empty();
        if is_type && names != ["REC"] {
            self.at = at + stars;
            let words: Vec<&str> = names.iter().map(String::as_str).collect();
            if stars > 0 {
                return size(self.long_size);
            }
            if let Some((bytes, _)) = number_type(&words, self.long_size) {
                return size(bytes);
            }
            return match self.structure(&words).size {
                0 => Err(format!("needs the size of {}, which no format tells", words.join(" "))),
                bytes => size(bytes),
            };
        }
        // An array's size is that of all its elements, not that of a pointer.
        let value = self.choice()?;
        match (value.expr, value.of) {
            (Expr::Place(field), _) => size(self.fields[field].size),
            (Expr::Text(text), _) => size(text.len() + 1),
            (_, Type::Int { bits, .. }) => size(bits as usize / 8),
            _ => size(self.long_size),
        }
    }

    pub(super) fn field(&mut self) -> Result<usize> {
        let token = self.next();
        let Some(Token::Word(name)) = &token else {
            return Err(format!("has {} where a field should stand", shown(token.as_ref())));
        };
        let found = self.fields.iter().position(|field| field.name == *name);
        found.ok_or_else(|| format!("uses the field '{name}', which it does not have"))
    }

    /// Parses `, { value, "name" }, …` up to the closing bracket.
    pub(super) fn names(&mut self, bits: u32) -> Result<Vec<(Option<u64>, Vec<u8>)>> {
        let mut names = Vec::new();
        while self.accept(",") {
            if !self.accept("{") {
                // A list may end with a comma, or be empty.
                break;
            }
            if self.accept("}") {
                continue;
            }
            let value = self.choice()?;
            let value = match (value.expr, value.of) {
                (Expr::Number(value), _) if bits < 64 => Some(value & ((1 << bits) - 1)),
                (Expr::Number(value), _) => Some(value),
                _ => None,
            };
            if !self.accept(",") {
                self.expect("}")?;
                continue;
            }
            let name = self.choice()?;
            self.accept(",");
            self.expect("}")?;
            match name.expr {
                Expr::Text(name) => names.push((value, name)),
                // A null pointer instead of a name ends the kernel's own list; 7.x includes it in formats.
                Expr::Number(0) => {}
                _ => return Err("has a list of names with what is no text in it".into()),
            }
        }
        Ok(names)
    }
}

/// For a function that swaps the bytes of a number: the byte order that it reads (`None` if it always
/// swaps), the size, and whether its argument is a pointer to the number.
fn swapped(name: &str) -> Option<(Option<ByteOrder>, usize, bool)> {
    let size = |bits: &str| match bits {
        "16" => Some(2),
        "32" => Some(4),
        "64" => Some(8),
        _ => None,
    };
    match name {
        "ntohs" | "htons" => return Some((Some(ByteOrder::Big), 2, false)),
        "ntohl" | "htonl" => return Some((Some(ByteOrder::Big), 4, false)),
        _ => {}
    }
    for prefix in ["__builtin_bswap", "__fswab", "__swab", "___constant_swab"] {
        if let Some(size) = name.strip_prefix(prefix).and_then(size) {
            return Some((None, size, false));
        }
    }
    let name = name.trim_start_matches('_');
    for (prefix, order) in [("be", ByteOrder::Big), ("le", ByteOrder::Little)] {
        if let Some(rest) = name.strip_prefix(prefix) {
            let (bits, pointer) = match rest.strip_suffix("_to_cpup") {
                Some(bits) => (bits, true),
                None => (rest.strip_suffix("_to_cpu")?, false),
            };
            return Some((Some(order), size(bits)?, pointer));
        }
        if let Some(bits) = name.strip_prefix("cpu_to_").and_then(|rest| rest.strip_prefix(prefix)) {
            return Some((Some(order), size(bits)?, false));
        }
    }
    None
}
