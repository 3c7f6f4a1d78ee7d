//! Print formats: the C expression of a format file, compiled to a small program.
//!
//! A print format is a printf string and its arguments. What an argument may be follows
//! `Documentation/trace/events.rst` and the kernel's `include/trace/stages`. A format that uses
//! anything else compiles to nothing, and the event is shown by its fields.

use std::sync::OnceLock;

use super::format::Field;
use super::helper::Helper;
use super::printf::{Spec, conversions};
use super::token::{Token, tokens};

/// A compiled print format: literal text and conversions in turn.
#[derive(Debug)]
pub struct Program {
    /// The pieces, to be printed one after the other.
    pub pieces: Vec<Piece>,
}

/// A part of a print format.
#[derive(Debug)]
pub enum Piece {
    /// Text printed as it is.
    Text(Vec<u8>),
    /// A printf conversion and what it prints; `stars` are the arguments of `*` in it.
    Print {
        /// The conversion.
        spec: Spec,
        /// Width and precision given as arguments.
        stars: Vec<Expr>,
        /// What is printed.
        value: Expr,
    },
}

/// An argument of a print format. Fields are indices into the event's fields.
#[derive(Debug)]
pub enum Expr {
    /// A number.
    Number(u64),
    /// A name that the format does not explain: the address of a symbol of that name, or 0; it is
    /// looked up once.
    Name(String, OnceLock<u64>),
    /// A text in quotes.
    Text(String),
    /// The value of a field.
    Field(usize),
    /// An element of a field that is an array.
    Element(usize, Box<Expr>),
    /// `!`, `~` or `-` and its operand.
    Unary(u8, Box<Expr>),
    /// An operation, by its C name, of two operands.
    Binary(&'static str, Box<Expr>, Box<Expr>),
    /// `condition ? then : otherwise`.
    Choice(Box<Expr>, Box<Expr>, Box<Expr>),
    /// A cast: the bits that stay.
    Cast(u64, Box<Expr>),
    /// `__print_flags`: value, delimiter, names.
    Flags(Box<Expr>, String, Vec<(Option<u64>, String)>),
    /// `__print_symbolic`: value, names.
    Symbolic(Box<Expr>, Vec<(Option<u64>, String)>),
    /// `__print_hex` and, when joined, `__print_hex_str`: bytes, their number.
    Hex {
        /// The bytes.
        bytes: Box<Expr>,
        /// How many.
        count: Box<Expr>,
        /// No blanks between them.
        joined: bool,
    },
    /// `__print_array`: array, number of elements, size of one.
    Array(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `__get_str`.
    Str(usize),
    /// `__get_dynamic_array`.
    DynamicArray(usize),
    /// `__get_dynamic_array_len`.
    DynamicLength(usize),
    /// `__get_bitmask`.
    Bitmask(usize),
    /// A function that trace-cmd has a plug-in for, and what it is given: a number, or bytes and
    /// their number.
    Helper(Helper, Vec<Expr>),
}

/// How operators and brackets are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// As in C.
    C,
    /// As trace-cmd 3.1.6 does it: brackets right of an operator do not hold together what binds
    /// less tightly, so `a & (b | c)` is `(a & b) | c`; and a text with a tab is not accepted.
    TraceCmd,
}

/// Compiles what follows `print fmt:`; `None` when it cannot be.
pub(super) fn compile(text: &str, fields: &[Field], long_size: usize, reading: Reading) -> Option<Program> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, fields, long_size, depth: 0, operators: 0, reading };
    let Token::Text(format) = parser.next()? else { return None };
    if reading == Reading::TraceCmd && format.contains('\t') {
        return None;
    }
    let mut arguments = Vec::new();
    while parser.accept(",") {
        arguments.push(parser.choice()?);
    }
    if parser.at < tokens.len() {
        return None;
    }
    let mut arguments = arguments.into_iter();
    let mut pieces = Vec::new();
    for (text, spec) in conversions(format.as_bytes())? {
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        let Some(spec) = spec else { continue };
        let stars: Option<Vec<Expr>> = (0..spec.stars()).map(|_| arguments.next()).collect();
        pieces.push(Piece::Print { spec, stars: stars?, value: arguments.next()? });
    }
    Some(Program { pieces })
}

/// Nesting beyond this is refused, so that a made-up format cannot exhaust the stack.
const DEEPEST: usize = 64;
/// A chain of operators is a deep tree too. Real formats have some hundreds, in lists of flags.
const MOST_OPERATORS: usize = 2048;

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    fields: &'a [Field],
    long_size: usize,
    depth: usize,
    operators: usize,
    reading: Reading,
}

/// Binary operators by how tightly they bind, the loosest first.
const LEVELS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<", ">", "<=", ">="],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

impl Parser<'_> {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn accept(&mut self, operator: &str) -> bool {
        let there = matches!(self.peek(), Some(Token::Op(found)) if *found == operator);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, operator: &str) -> Option<()> {
        self.accept(operator).then_some(())
    }

    fn choice(&mut self) -> Option<Expr> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let condition = self.binary(0)?;
        let result = if self.accept("?") {
            let then = self.choice()?;
            self.expect(":")?;
            Expr::Choice(Box::new(condition), Box::new(then), Box::new(self.choice()?))
        } else {
            condition
        };
        self.depth -= 1;
        Some(result)
    }

    fn binary(&mut self, level: usize) -> Option<Expr> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = operators.iter().copied().find(|operator| self.accept(operator)) {
            self.operators += 1;
            if self.operators > MOST_OPERATORS {
                return None;
            }
            let right = self.binary(level + 1)?;
            left = match self.reading {
                Reading::C => Expr::Binary(operator, Box::new(left), Box::new(right)),
                Reading::TraceCmd => apply_to_first(operator, level, left, right),
            };
        }
        Some(left)
    }

    fn unary(&mut self) -> Option<Expr> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let operator = ["!", "~", "-", "+"].into_iter().find(|operator| self.accept(operator));
        let result = match operator {
            Some("+") => self.unary()?,
            Some(operator) => Expr::Unary(operator.as_bytes()[0], Box::new(self.unary()?)),
            None => match self.cast() {
                Some(mask) => Expr::Cast(mask, Box::new(self.unary()?)),
                None => self.primary()?,
            },
        };
        self.depth -= 1;
        Some(result)
    }

    /// The mask of a cast that stands here, with the parser behind it.
    fn cast(&mut self) -> Option<u64> {
        let rest = self.tokens.get(self.at..)?;
        if rest.first() != Some(&Token::Op("(")) {
            return None;
        }
        let inside: Vec<&Token> = rest[1..].iter().take_while(|token| **token != Token::Op(")")).collect();
        let mut words: Vec<&str> = Vec::new();
        let mut pointer = false;
        for token in &inside {
            match token {
                Token::Word(word) if !pointer && !word.starts_with(|c: char| c.is_ascii_digit()) => {
                    words.push(word);
                }
                Token::Op("*") if !words.is_empty() => pointer = true,
                _ => return None,
            }
        }
        let operand = match rest.get(inside.len() + 2)? {
            Token::Op("(") | Token::Op("~") | Token::Op("!") | Token::Text(_) | Token::Word(_) => true,
            Token::Op("-") => pointer || words.iter().any(|word| matches!(*word, "int" | "long" | "short")),
            _ => false,
        };
        if words.is_empty() || !operand {
            return None;
        }
        self.at += inside.len() + 2;
        if pointer {
            return Some(u64::MAX);
        }
        words.retain(|word| *word != "unsigned" && *word != "const");
        Some(match words.as_slice() {
            ["char" | "u8" | "s8"] => 0xff,
            ["short" | "u16" | "s16"] => 0xffff,
            ["int" | "u32" | "s32"] | [] => 0xffff_ffff,
            _ => u64::MAX,
        })
    }

    fn primary(&mut self) -> Option<Expr> {
        match self.next()? {
            Token::Op("(") => {
                let inside = self.choice()?;
                self.expect(")")?;
                Some(inside)
            }
            Token::Text(text) => Some(Expr::Text(text)),
            Token::Word(word) if word.starts_with(|c: char| c.is_ascii_digit()) => {
                number(&word).map(Expr::Number)
            }
            Token::Word(word) if word == "REC" => {
                self.expect("->")?;
                let field = self.field()?;
                if !self.accept("[") {
                    return Some(Expr::Field(field));
                }
                let index = self.choice()?;
                self.expect("]")?;
                Some(Expr::Element(field, Box::new(index)))
            }
            Token::Word(word) if self.peek() == Some(&Token::Op("(")) => {
                self.at += 1;
                let call = self.call(&word)?;
                self.expect(")")?;
                // `((u8 *)__get_dynamic_array(x))[i]` and the like.
                Some(call)
            }
            Token::Word(word) => Some(Expr::Name(word, OnceLock::new())),
            Token::Op(_) => None,
        }
    }

    /// The arguments of a function, up to its closing bracket.
    fn call(&mut self, name: &str) -> Option<Expr> {
        Some(match name {
            "__print_flags" => {
                let value = Box::new(self.choice()?);
                self.expect(",")?;
                let Token::Text(delimiter) = self.next()? else { return None };
                Expr::Flags(value, delimiter, self.names()?)
            }
            "__print_symbolic" => {
                let value = Box::new(self.choice()?);
                Expr::Symbolic(value, self.names()?)
            }
            "__print_hex" | "__print_hex_str" => {
                let bytes = Box::new(self.choice()?);
                self.expect(",")?;
                Expr::Hex { bytes, count: Box::new(self.choice()?), joined: name == "__print_hex_str" }
            }
            "__print_array" => {
                let array = Box::new(self.choice()?);
                self.expect(",")?;
                let count = Box::new(self.choice()?);
                self.expect(",")?;
                Expr::Array(array, count, Box::new(self.choice()?))
            }
            "__get_str" | "__get_rel_str" => Expr::Str(self.field()?),
            "__get_dynamic_array" | "__get_rel_dynamic_array" => Expr::DynamicArray(self.field()?),
            "__get_dynamic_array_len" | "__get_rel_dynamic_array_len" => Expr::DynamicLength(self.field()?),
            "__get_bitmask" | "__get_rel_bitmask" => Expr::Bitmask(self.field()?),
            "__builtin_expect" => {
                let value = self.choice()?;
                self.expect(",")?;
                self.choice()?;
                value
            }
            "sizeof" => Expr::Number(self.size_of()?),
            // How long a jiffy is depends on HZ, which a recording does not say: trace-cmd shows jiffies.
            "jiffies_to_msecs" => self.choice()?,
            "jbd2_dev_to_name" => Expr::Helper(Helper::Device, vec![self.choice()?]),
            "xen_hypercall_name" => Expr::Helper(Helper::XenHypercall, vec![self.choice()?]),
            "scsi_trace_parse_cdb" => {
                // The first one is where the kernel puts the text.
                self.choice()?;
                self.expect(",")?;
                let bytes = self.choice()?;
                self.expect(",")?;
                let as_trace_cmd = self.reading == Reading::TraceCmd;
                Expr::Helper(Helper::ScsiCommand { as_trace_cmd }, vec![bytes, self.choice()?])
            }
            _ => return None,
        })
    }

    fn size_of(&mut self) -> Option<u64> {
        let Token::Word(word) = self.next()? else { return None };
        if word == "REC" {
            self.expect("->")?;
            return Some(self.fields[self.field()?].size as u64);
        }
        let mut last = word;
        while let Some(Token::Word(word)) = self.peek() {
            last = word.clone();
            self.at += 1;
        }
        match last.as_str() {
            "char" | "u8" | "s8" | "__u8" | "__s8" => Some(1),
            "short" | "u16" | "s16" | "__u16" | "__s16" => Some(2),
            "int" | "u32" | "s32" | "__u32" | "__s32" | "unsigned" => Some(4),
            "u64" | "s64" | "__u64" | "__s64" => Some(8),
            "long" => Some(self.long_size as u64),
            _ => None,
        }
    }

    fn field(&mut self) -> Option<usize> {
        let Token::Word(name) = self.next()? else { return None };
        self.fields.iter().position(|field| field.name == name)
    }

    /// `, { value, "name" }, …` up to the closing bracket.
    fn names(&mut self) -> Option<Vec<(Option<u64>, String)>> {
        let mut names = Vec::new();
        while self.accept(",") {
            self.expect("{")?;
            let value = self.choice()?;
            self.expect(",")?;
            if let Some(Token::Text(name)) = self.peek().cloned() {
                self.at += 1;
                names.push((constant(&value), name));
            } else {
                // A null pointer in a name's place ends the kernel's own list, as 7.x writes out.
                constant(&self.choice()?).filter(|null| *null == 0)?;
            }
            self.expect("}")?;
        }
        Some(names)
    }
}

/// Applies an operator to the first operand of what stands right of it, if that binds less tightly.
fn apply_to_first(operator: &'static str, level: usize, left: Expr, right: Expr) -> Expr {
    match right {
        Expr::Binary(inner, first, second)
            if LEVELS.iter().take(level).any(|level| level.contains(&inner)) =>
        {
            Expr::Binary(inner, Box::new(apply_to_first(operator, level, left, *first)), second)
        }
        Expr::Choice(condition, then, otherwise) => {
            Expr::Choice(Box::new(apply_to_first(operator, level, left, *condition)), then, otherwise)
        }
        right => Expr::Binary(operator, Box::new(left), Box::new(right)),
    }
}

fn number(word: &str) -> Option<u64> {
    let digits = word.trim_end_matches(['u', 'U', 'l', 'L']);
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8).ok(),
        None => digits.parse().ok(),
    }
}

/// Names that formats use without explaining them.
const KNOWN: [(&str, u64); 12] = [
    ("HI_SOFTIRQ", 0),
    ("TIMER_SOFTIRQ", 1),
    ("NET_TX_SOFTIRQ", 2),
    ("NET_RX_SOFTIRQ", 3),
    ("BLOCK_SOFTIRQ", 4),
    ("IRQ_POLL_SOFTIRQ", 5),
    ("TASKLET_SOFTIRQ", 6),
    ("SCHED_SOFTIRQ", 7),
    ("HRTIMER_SOFTIRQ", 8),
    ("RCU_SOFTIRQ", 9),
    ("HRTIMER_NORESTART", 0),
    ("HRTIMER_RESTART", 1),
];

/// The value of an expression without fields; `None` when it has some or an unknown name.
fn constant(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Number(value) => Some(*value),
        Expr::Name(name, _) => KNOWN.iter().find(|known| known.0 == name).map(|known| known.1),
        Expr::Unary(operator, of) => Some(unary(*operator, constant(of)?)),
        Expr::Binary(operator, left, right) => binary(operator, constant(left)?, constant(right)?),
        Expr::Cast(mask, of) => Some(constant(of)? & mask),
        Expr::Choice(condition, then, otherwise) => {
            constant(if constant(condition)? != 0 { then } else { otherwise })
        }
        _ => None,
    }
}

/// `!`, `~` or `-` of a number.
pub(super) fn unary(operator: u8, value: u64) -> u64 {
    match operator {
        b'!' => u64::from(value == 0),
        b'~' => !value,
        _ => value.wrapping_neg(),
    }
}

/// An operation on unsigned numbers of 64 bits; `None` for a division by zero.
pub(super) fn binary(operator: &str, left: u64, right: u64) -> Option<u64> {
    Some(match operator {
        "||" => u64::from(left != 0 || right != 0),
        "&&" => u64::from(left != 0 && right != 0),
        "|" => left | right,
        "^" => left ^ right,
        "&" => left & right,
        "==" => u64::from(left == right),
        "!=" => u64::from(left != right),
        "<" => u64::from(left < right),
        ">" => u64::from(left > right),
        "<=" => u64::from(left <= right),
        ">=" => u64::from(left >= right),
        "<<" => left.checked_shl(u32::try_from(right).unwrap_or(64)).unwrap_or(0),
        ">>" => left.checked_shr(u32::try_from(right).unwrap_or(64)).unwrap_or(0),
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        "/" => left.checked_div(right)?,
        _ => left.checked_rem(right)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::print::Run;
    use super::super::{Context, Event, Symbols};
    use crate::bytes::ByteOrder;

    /// What a print format makes of a record with `a` = 6, `b` = -1, `s` = "text" and `loc`, which
    /// points at "abc"; read as C, and as trace-cmd does.
    fn shown(print: &str) -> [Option<String>; 2] {
        let text = format!(
            "name: demo\nID: 1\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
             \tfield:u64 a;\toffset:8;\tsize:8;\tsigned:0;\n\tfield:int b;\toffset:16;\tsize:4;\tsigned:1;\n\
             \tfield:__data_loc char[] loc;\toffset:20;\tsize:4;\tsigned:1;\n\
             \tfield:char s[8];\toffset:24;\tsize:8;\tsigned:1;\n\nprint fmt: {print}\n"
        );
        let event = Event::parse("demo", &text, 8).unwrap();
        let mut record = vec![0; 8];
        record.extend(6u64.to_le_bytes());
        record.extend((-1i32).to_le_bytes());
        record.extend((32u32 | 4 << 16).to_le_bytes());
        record.extend(b"text\0\0\0\0abc\0");
        let context = Context {
            order: ByteOrder::Little,
            long_size: 8,
            symbols: Symbols::parse("1000 T open\n1000 D KNOWN\n2000 T close\n".to_string()),
            printk: Default::default(),
        };
        [false, true].map(|trace_cmd| {
            let program = event.print(trace_cmd)?;
            let mut out = Vec::new();
            Run::new(&event, &record, &context).print(program, &mut out);
            String::from_utf8(out).ok()
        })
    }

    #[test]
    fn print_formats_are_run() {
        for (print, expected) in [
            ("\"%d %u %x\", REC->b, REC->b, (u8)REC->b", "-1 4294967295 ff"),
            ("\"%s|%-6s|%.2s|%5s\", REC->s, REC->s, REC->s, __get_str(loc)", "text|text  |te|  abc"),
            ("\"%03llu %#lx %p %p\", REC->a, REC->a, (void *)REC->a, (void *)0", "006 0x6 0x6 (nil)"),
            ("\"%ps %pS\", (void *)0x1004, (void *)(0x1000 + REC->a)", "open open+0x6"),
            ("\"%d\", 2 + 3 * 4 - 1 << 1 == 26 && !0 ? 7 : 8", "7"),
            ("\"%*d|%d\", 4, (int)REC->a, REC->a > 5 ? 1 : 0", "   6|1"),
            ("\"%s\", __print_flags(REC->a, \"+\", { 1UL << 1, \"two\" }, { 4, \"four\" })", "two+four"),
            ("\"%s\", __print_symbolic(REC->a, { 6, \"si\" \"x\" })", "six"),
            ("\"%s\", __print_symbolic(REC->a, { 5, \"five\" })", "0x6"),
            (
                "\"%s %d\", __print_hex(__get_dynamic_array(loc), 3), __get_dynamic_array_len(loc)",
                "61 62 63 4",
            ),
            ("\"%c%%\\n\", REC->s[1]", "e%\n"),
            ("\"%lx %s\", KNOWN + REC->a, REC->a ? \"yes\" : \"no\"", "1006 yes"),
        ] {
            assert_eq!(shown(print)[0].as_deref(), Some(expected), "{print}");
        }
    }

    #[test]
    fn brackets_are_lost_where_trace_cmd_loses_them() {
        let [ours, theirs] = shown("\"%llx\", REC->a & (0x100 | 0x200 | 4)").map(|text| text.unwrap());
        assert_eq!((ours.as_str(), theirs.as_str()), ("4", "204"));
        let [ours, theirs] = shown("\"%llx\", (REC->a | 1) * 2").map(|text| text.unwrap());
        assert_eq!((ours.as_str(), theirs.as_str()), ("e", "e"));
    }

    #[test]
    fn a_null_pointer_ends_a_list_of_names() {
        let flags = "\"%s\", __print_flags(REC->a, \"|\", {4, \"FOUR\"}, {2, \"TWO\"}, { 0, ((void *)0) } )";
        let [ours, theirs] = shown(flags).map(|text| text.unwrap());
        assert_eq!((ours.as_str(), theirs.as_str()), ("FOUR|TWO", "FOUR|TWO"));
        assert_eq!(shown("\"%s\", __print_flags(REC->a, \"|\", {4, 1})"), [None, None]);
    }

    #[test]
    fn what_is_not_known_does_not_compile() {
        for print in
            ["\"%d\"", "\"%d\", REC->none", "\"%d\", f(REC->a)", "\"%pV\", REC->a", "\"%d\", (REC->a", "x"]
        {
            assert_eq!(shown(print), [None, None], "{print}");
        }
        let deep = format!("\"%d\", {}1{}", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(shown(&deep)[0], None);
        let long = format!("\"%d\", 1{}", " + 1".repeat(100_000));
        assert_eq!(shown(&long)[0], None);
    }
}
