//! Print formats: the C expression of a format file, compiled to a small program.
//!
//! A print format is a printf string and its arguments. What an argument may be follows
//! `Documentation/trace/events.rst` and the kernel's `include/trace/stages`. A format that uses
//! anything else compiles to nothing, and the event is shown by its fields.

use super::format::Field;
use super::print::{Spec, conversions};

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
    /// A name that the format does not explain, such as an enum's; counts as 0.
    Name(String),
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
}

/// Compiles what follows `print fmt:`; `None` when it cannot be.
pub(super) fn compile(text: &str, fields: &[Field], long_size: usize) -> Option<Program> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, fields, long_size, depth: 0 };
    let Token::Text(format) = parser.next()? else { return None };
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

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Text(String),
    Word(String),
    Op(&'static str),
}

const OPERATORS: [&str; 28] = [
    "->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "(", ")", "[", "]", "{", "}", ",", "?", ":", "<",
    ">", "!", "~", "+", "-", "*", "/", "%", "&",
];

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut found: Vec<Token> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Some(found) };
        let length = if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let end = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                end
            })?;
            let part = &rest[1..1 + end];
            // Neighbouring literals are one.
            match found.last_mut() {
                Some(Token::Text(before)) => before.push_str(part),
                _ => found.push(Token::Text(part.to_string())),
            }
            end + 2
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            found.push(Token::Word(rest[..end].to_string()));
            end
        } else if first == '\'' {
            let end = rest[1..].find('\'')?;
            let mut chars = rest[1..1 + end].chars();
            let (Some(character), None) = (chars.next(), chars.next()) else { return None };
            found.push(Token::Word((character as u32).to_string()));
            end + 2
        } else {
            let all = OPERATORS.iter().chain(&["|", "^"]);
            let operator = all.copied().find(|operator| rest.starts_with(operator))?;
            found.push(Token::Op(operator));
            operator.len()
        };
        rest = &rest[length..];
    }
}

/// Nesting beyond this is refused, so that a made-up format cannot exhaust the stack.
const DEEPEST: usize = 64;

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    fields: &'a [Field],
    long_size: usize,
    depth: usize,
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
            left = Expr::Binary(operator, Box::new(left), Box::new(self.binary(level + 1)?));
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
            Token::Word(word) => Some(Expr::Name(word)),
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
            "sizeof" => Expr::Number(self.size_of()?),
            // What it makes of jiffies depends on HZ, which a recording does not say.
            "jiffies_to_msecs" => self.choice()?,
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
            let Token::Text(name) = self.next()? else { return None };
            self.expect("}")?;
            names.push((constant(&value), name));
        }
        Some(names)
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
        Expr::Name(name) => KNOWN.iter().find(|known| known.0 == name).map(|known| known.1),
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
