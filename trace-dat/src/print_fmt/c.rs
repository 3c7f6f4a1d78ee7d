//! Print formats as the kernel's compiler reads them: C's types, promotions and pointers.
//!
//! What an argument may be follows `Documentation/trace/events.rst` and the kernel's
//! `include/trace/stages`. Pointers may point into the record; what others point at is not in a
//! recording. A format that needs more is refused with the reason.

use std::sync::OnceLock;

use super::helpers::Helper;
use super::printf::{Given, Spec, conversions};
use super::program::{Expr, Flags, HexDump, Op, Piece, Program, known, sign_extended, unary};
use super::token::{Token, tokens, unescaped};
use crate::bytes::ByteOrder;
use crate::event::field::{Dynamic, Field};

/// Why a format is not understood, in words that follow the event's name.
type Result<T> = std::result::Result<T, String>;

/// Nesting beyond this is refused, so that a made-up format cannot exhaust the stack.
const DEEPEST: usize = 64;
/// A chain of operators is a deep tree too. Real formats have some hundreds, in lists of flags.
const MOST_OPERATORS: usize = 2048;

/// Compiles what follows `print fmt:`, or tells why it cannot be.
pub(crate) fn compile(text: &str, fields: &[Field], long_size: usize) -> Result<Program> {
    if text.is_empty() {
        return Err("has no print format".into());
    }
    // A text that ends with a quote stands in the file without its escape.
    let parts = text.find("\"\", ").map(|end| text.split_at(end));
    match parts.and_then(|(format, arguments)| Some((format.strip_prefix('"')?, arguments))) {
        Some((format, arguments)) if !format.contains("\", ") => {
            let format = format.replace('"', "\\\"");
            compile_quoted(&format!("\"{format}\\{arguments}"), fields, long_size)
        }
        _ => compile_quoted(text, fields, long_size),
    }
}

fn compile_quoted(text: &str, fields: &[Field], long_size: usize) -> Result<Program> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, fields, long_size, depth: 0, operators: 0 };
    let Some(Token::Text(format)) = parser.next() else {
        return Err("has a print format that is no text in quotes".into());
    };
    let mut arguments = Vec::new();
    while parser.accept(",") {
        arguments.push(parser.choice()?);
    }
    if let Some(token) = parser.peek() {
        return Err(format!("has {} where its print format should end", shown(Some(token))));
    }
    let mut arguments = arguments.into_iter();
    let mut pieces = Vec::new();
    for (text, spec) in conversions(format.as_bytes())? {
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        let Some(spec) = spec else { continue };
        let mut next = || arguments.next().ok_or("has fewer arguments than its print format asks for");
        let mut stars = Vec::new();
        for _ in 0..spec.stars() {
            stars.push(parser.number(next()?)?);
        }
        let value = next()?;
        let value = match spec.takes() {
            Given::Number if matches!(value.of, Type::Pointer { record: true, .. }) => {
                return Err("prints where something stood in the kernel's memory".into());
            }
            Given::Number => parser.number(value)?,
            Given::Text => parser.text(value)?,
            Given::Bytes(what) => match value {
                Typed { expr, of: Type::Pointer { record: true, .. } } => expr,
                _ => return Err(format!("prints {what} behind a pointer, which is not in the record")),
            },
        };
        pieces.push(Piece::Print { spec, stars, value });
    }
    name_probes(&mut pieces, fields);
    Ok(Program { pieces })
}

/// The kernel prints where a probe is by code of its own, whatever the format says: by the names of
/// functions, and for a return where it goes to before where it comes from.
fn name_probes(pieces: &mut [Piece], fields: &[Field]) {
    let mut returns = Vec::new();
    for (at, piece) in pieces.iter_mut().enumerate() {
        let Piece::Print { spec, value: Expr::Field(index), .. } = piece else { continue };
        if !spec.is_long_hex() {
            continue;
        }
        let name = fields[*index].name.as_str();
        match name {
            "__probe_ip" | "__probe_ret_ip" => *spec = Spec::probe(true),
            "__probe_func" => *spec = Spec::probe(false),
            _ => continue,
        }
        if name != "__probe_ip" {
            returns.push((at, name));
        }
    }
    if let [(from, "__probe_func"), (to, "__probe_ret_ip")] = returns[..] {
        pieces.swap(from, to);
    }
}

/// An expression and its type.
struct Typed {
    expr: Expr,
    of: Type,
}

/// What is known of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Int {
        bits: u32,
        signed: bool,
    },
    Pointer {
        to: Target,
        /// It points at bytes of the record, or at a text of the format.
        record: bool,
    },
    /// A name that is only known as that of a symbol.
    Symbol,
}

/// What a pointer points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    /// Bytes of one; 0 when that is not known, or it is no number.
    size: usize,
    signed: bool,
    number: bool,
}

impl Target {
    const CHAR: Target = Target { size: 1, signed: true, number: true };
    const UNKNOWN: Target = Target { size: 0, signed: false, number: false };
}

const INT: Type = Type::Int { bits: 32, signed: true };
const TEXT: Type = Type::Pointer { to: Target::CHAR, record: true };

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    fields: &'a [Field],
    long_size: usize,
    depth: usize,
    operators: usize,
}

/// Binary operators by how tightly they bind, the loosest first.
const LEVELS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

fn shown(token: Option<&Token>) -> String {
    match token {
        None => "nothing".into(),
        Some(Token::Text(text)) => format!("\"{text}\""),
        Some(Token::Char(byte)) => format!("the character {byte}"),
        Some(Token::Word(word)) => format!("'{word}'"),
        Some(Token::Op(operator)) => format!("'{operator}'"),
    }
}

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

    fn expect(&mut self, operator: &str) -> Result<()> {
        if self.accept(operator) {
            return Ok(());
        }
        Err(format!("has {} where '{operator}' should stand", shown(self.peek())))
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEEPEST { Err("is nested too deeply".into()) } else { Ok(()) }
    }

    fn one_more(&mut self) -> Result<()> {
        self.operators += 1;
        if self.operators > MOST_OPERATORS { Err("has too many operators".into()) } else { Ok(()) }
    }

    fn choice(&mut self) -> Result<Typed> {
        self.deeper()?;
        let start = self.at;
        let condition = self.binary(0)?;
        let result = if self.accept("?") {
            self.one_more()?;
            let then = if matches!(self.peek(), Some(Token::Op(":"))) {
                // `a ?: b` is `a ? a : b`: it is read once more.
                let end = std::mem::replace(&mut self.at, start);
                let again = self.binary(0)?;
                self.at = end;
                again
            } else {
                self.choice()?
            };
            self.expect(":")?;
            let otherwise = self.choice()?;
            let condition = self.truth(condition)?;
            self.one_of(condition, then, otherwise)?
        } else {
            condition
        };
        self.depth -= 1;
        Ok(result)
    }

    fn one_of(&self, condition: Expr, then: Typed, otherwise: Typed) -> Result<Typed> {
        let of = match (then.of, otherwise.of) {
            (Type::Int { .. }, Type::Int { .. }) => {
                let of = common(then.of, otherwise.of);
                let (then, otherwise) = (converted(then, of), converted(otherwise, of));
                return Ok(Typed { expr: choice(condition, then, otherwise), of });
            }
            (Type::Pointer { to, record }, Type::Pointer { record: other, .. }) => {
                Type::Pointer { to, record: record && other }
            }
            // A null pointer is there for either.
            (of @ Type::Pointer { .. }, _) | (_, of @ Type::Pointer { .. }) => of,
            _ => Type::Symbol,
        };
        Ok(Typed { expr: choice(condition, then.expr, otherwise.expr), of })
    }

    fn binary(&mut self, level: usize) -> Result<Typed> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = operators.iter().copied().find(|operator| self.accept(operator)) {
            self.one_more()?;
            let right = self.binary(level + 1)?;
            let op = Op::of(operator).ok_or_else(|| format!("uses the operator '{operator}'"))?;
            left = self.combined(op, left, right)?;
        }
        Ok(left)
    }

    fn combined(&self, op: Op, left: Typed, right: Typed) -> Result<Typed> {
        let unknown = left.of == Type::Symbol || right.of == Type::Symbol;
        if matches!(op, Op::Or | Op::And) && !unknown {
            return Ok(Typed { expr: operation(op, self.truth(left)?, self.truth(right)?), of: INT });
        }
        match (left.of, right.of, op) {
            (Type::Pointer { to, record }, Type::Int { .. }, Op::Add | Op::Subtract) => {
                return Ok(moved(left.expr, to, record, op, right.expr));
            }
            (Type::Int { .. }, Type::Pointer { to, record }, Op::Add) => {
                return Ok(moved(right.expr, to, record, op, left.expr));
            }
            // It is still not known what it is.
            (Type::Symbol, ..) | (_, Type::Symbol, _) => {
                return Ok(Typed { expr: operation(op, left.expr, right.expr), of: Type::Symbol });
            }
            _ => {}
        }
        let shift = matches!(op, Op::Left | Op::Right);
        let of = match (left.of, right.of) {
            (Type::Int { .. }, Type::Int { .. }) if shift => promoted(left.of),
            (Type::Int { .. }, Type::Int { .. }) => common(left.of, right.of),
            _ => Type::Int { bits: self.long_bits(), signed: false },
        };
        let Type::Int { bits, signed } = of else { return Err("computes with what is no number".into()) };
        let left = converted(left, of);
        let right = match (shift, right.expr) {
            // As processors shift, which C leaves open.
            (true, right) => operation(Op::BitAnd, right, Expr::Number(u64::from(bits - 1))),
            (false, expr) => converted(Typed { expr, of: right.of }, of),
        };
        let op = if signed { op.signed() } else { op };
        let result = operation(op, left, right);
        Ok(match op {
            Op::Equal | Op::NotEqual => Typed { expr: result, of: INT },
            Op::Less | Op::Greater | Op::LessEqual | Op::GreaterEqual => Typed { expr: result, of: INT },
            Op::SignedLess | Op::SignedGreater | Op::SignedLessEqual | Op::SignedGreaterEqual => {
                Typed { expr: result, of: INT }
            }
            // These may leave the type's range.
            Op::Add | Op::Subtract | Op::Multiply | Op::Left => Typed { expr: cut(result, bits, signed), of },
            _ => Typed { expr: result, of },
        })
    }

    fn unary(&mut self) -> Result<Typed> {
        self.deeper()?;
        let operator = ["!", "~", "-", "+", "*", "&"].into_iter().find(|operator| self.accept(operator));
        let result = match operator {
            Some("*") => {
                let pointer = self.unary()?;
                self.loaded(pointer, Expr::Number(0))?
            }
            Some("&") => self.address()?,
            Some("!") => {
                let of = self.unary()?;
                match of.of {
                    Type::Symbol => Typed { expr: not(of.expr), of: Type::Symbol },
                    _ => Typed { expr: not(of.expr), of: INT },
                }
            }
            Some(operator) => {
                let operand = self.unary()?;
                let of = match operand.of {
                    Type::Int { .. } => promoted(operand.of),
                    _ => Type::Int { bits: self.long_bits(), signed: false },
                };
                if operand.of == Type::Symbol {
                    let expr = negated(operator.as_bytes()[0], operand.expr);
                    self.depth -= 1;
                    return Ok(Typed { expr, of: Type::Symbol });
                }
                let value = converted(operand, of);
                let Type::Int { bits, signed } = of else { return Err("has a sign before no number".into()) };
                match operator {
                    "+" => Typed { expr: value, of },
                    _ => Typed { expr: cut(negated(operator.as_bytes()[0], value), bits, signed), of },
                }
            }
            None => match self.cast() {
                Some(of) => {
                    let operand = self.unary()?;
                    self.cast_to(of, operand)?
                }
                None => self.postfix()?,
            },
        };
        self.depth -= 1;
        Ok(result)
    }

    /// What stands behind `&`: a pointer to it.
    fn address(&mut self) -> Result<Typed> {
        let operand = self.unary()?;
        match (operand.expr, operand.of) {
            (Expr::Load(pointer, size), Type::Int { signed, .. }) => {
                let to = Target { size, signed, number: true };
                Ok(Typed { expr: *pointer, of: Type::Pointer { to, record: true } })
            }
            (Expr::Signed(_, inside), of) if matches!(*inside, Expr::Load(..) | Expr::Field(_)) => {
                self.address_of(*inside, of)
            }
            // An array is where it is.
            (expr @ (Expr::Place(_) | Expr::Bytes(_) | Expr::Behind(..)), of) => Ok(Typed { expr, of }),
            (Expr::Field(field), of) => self.address_of(Expr::Field(field), of),
            // Of a symbol there is nothing but its address.
            (expr @ Expr::Name(..), _) => Ok(Typed { expr, of: Type::Symbol }),
            _ => Err("has '&' before what has no address".into()),
        }
    }

    fn address_of(&self, expr: Expr, of: Type) -> Result<Typed> {
        let signed = matches!(of, Type::Int { signed: true, .. });
        let (expr, size) = match expr {
            Expr::Load(pointer, size) => (*pointer, size),
            Expr::Field(field) => (Expr::Place(field), self.fields[field].size),
            _ => return Err("has '&' before what has no address".into()),
        };
        let to = Target { size, signed, number: true };
        Ok(Typed { expr, of: Type::Pointer { to, record: true } })
    }

    /// The element of a number behind a pointer.
    fn loaded(&mut self, pointer: Typed, index: Expr) -> Result<Typed> {
        let Type::Pointer { to, record } = pointer.of else {
            return Err("looks at what a number points at".into());
        };
        if !record {
            return Err("follows a pointer, and what it points at is not in the record".into());
        }
        if !to.number || !matches!(to.size, 1 | 2 | 4 | 8) {
            return Err("looks into what has no known size".into());
        }
        let place = behind(pointer.expr, scaled(index, to.size));
        Ok(loaded_number(place, to))
    }

    /// The type of a cast that stands here, with the parser behind it.
    fn cast(&mut self) -> Option<Type> {
        let rest = self.tokens.get(self.at..)?;
        if rest.first() != Some(&Token::Op("(")) {
            return None;
        }
        if let [_, Token::Word(word), Token::Op("("), ..] = rest
            && matches!(word.as_str(), "typeof" | "__typeof__")
        {
            let end = self.at + 3 + self.closing(self.at + 3, "(", ")")?;
            if self.tokens.get(end) != Some(&Token::Op(")")) {
                return None;
            }
            self.at = end + 1;
            return Some(Type::Int { bits: 64, signed: false });
        }
        let inside: Vec<&Token> = rest[1..].iter().take_while(|token| **token != Token::Op(")")).collect();
        let mut words: Vec<&str> = Vec::new();
        let mut stars = 0;
        for token in &inside {
            match token {
                Token::Word(word) if stars == 0 || matches!(word.as_str(), "const" | "volatile") => {
                    words.push(word);
                }
                Token::Op("*") if !words.is_empty() => stars += 1,
                _ => return None,
            }
        }
        let operand = match rest.get(inside.len() + 2)? {
            Token::Op("(" | "~" | "!") | Token::Text(_) | Token::Char(_) | Token::Word(_) => true,
            Token::Op("-" | "+" | "*" | "&") => stars > 0 || number_type(&words, self.long_size).is_some(),
            _ => false,
        };
        if words.is_empty() || words == ["REC"] || !operand {
            return None;
        }
        if words[0].starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let number = number_type(&words, self.long_size);
        let of = match (stars, number) {
            (0, Some((size, signed))) => Type::Int { bits: 8 * size as u32, signed },
            // A type of its own name is mostly a number that holds all that it is given.
            (0, None) => Type::Int { bits: 64, signed: false },
            (1, Some((size, signed))) => {
                Type::Pointer { to: Target { size, signed, number: true }, record: false }
            }
            (1, None) => Type::Pointer { to: self.structure(&words), record: false },
            _ => {
                let to = Target { size: self.long_size, signed: false, number: true };
                Type::Pointer { to, record: false }
            }
        };
        self.at += inside.len() + 2;
        Some(of)
    }

    /// How many tokens there are from here up to the bracket that closes, with it.
    fn closing(&self, from: usize, open: &'static str, close: &'static str) -> Option<usize> {
        let mut depth = 1;
        for (index, token) in self.tokens.get(from..)?.iter().enumerate() {
            depth += usize::from(*token == Token::Op(open));
            depth -= usize::from(*token == Token::Op(close));
            if depth == 0 {
                return Some(index + 1);
            }
        }
        None
    }

    /// What a pointer to a type that is no number points at: its size is that of a field of it.
    fn structure(&self, words: &[&str]) -> Target {
        let field = self.fields.iter().find(|field| {
            let declared = field.type_name.split_whitespace().filter(|word| *word != "const");
            declared.eq(words.iter().copied().filter(|word| *word != "const"))
        });
        let size = field.map_or(0, |field| field.size / field.elements.unwrap_or(1).max(1));
        Target { size, ..Target::UNKNOWN }
    }

    fn cast_to(&self, of: Type, operand: Typed) -> Result<Typed> {
        match (of, operand.of) {
            (Type::Int { .. }, Type::Int { .. }) => Ok(Typed { expr: converted(operand, of), of }),
            (Type::Int { .. }, Type::Symbol) => Ok(operand),
            (Type::Int { bits, signed }, _) => {
                Ok(Typed { expr: cut(self.number(operand)?, bits, signed), of })
            }
            (Type::Pointer { to, .. }, Type::Pointer { record, .. }) => {
                Ok(Typed { expr: operand.expr, of: Type::Pointer { to, record } })
            }
            (_, _) => Ok(Typed { expr: operand.expr, of }),
        }
    }

    /// A value and what follows it: indices and members.
    fn postfix(&mut self) -> Result<Typed> {
        let mut value = self.primary()?;
        loop {
            if self.accept("[") {
                self.one_more()?;
                let index = self.choice()?;
                let index = self.number(index)?;
                self.expect("]")?;
                value = self.loaded(value, index)?;
            } else if self.accept("->") {
                let member = shown(self.next().as_ref());
                let record = matches!(value.of, Type::Pointer { record: true, .. });
                return Err(if record {
                    format!("looks at the member {member} of a structure, whose layout no format tells")
                } else {
                    format!("follows a pointer to {member}, which is not in the record")
                });
            } else if self.accept(".") {
                let member = shown(self.next().as_ref());
                return Err(format!(
                    "looks at the member {member} of a structure, whose layout no format tells"
                ));
            } else {
                return Ok(value);
            }
        }
    }

    fn primary(&mut self) -> Result<Typed> {
        match self.next() {
            Some(Token::Op("(")) => {
                if matches!(self.tokens.get(self.at..), Some([Token::Word(rec), Token::Op(")"), ..]) if rec == "REC")
                {
                    self.at += 2;
                    return self.record();
                }
                let inside = self.choice()?;
                self.expect(")")?;
                Ok(inside)
            }
            Some(Token::Text(text)) => Ok(Typed { expr: Expr::Text(unescaped(&text)), of: TEXT }),
            Some(Token::Char(byte)) => {
                Ok(Typed { expr: Expr::Number(sign_extended(8, u64::from(byte))), of: INT })
            }
            Some(Token::Word(word)) if word.starts_with(|c: char| c.is_ascii_digit()) => {
                literal(&word, self.long_size).ok_or_else(|| format!("has '{word}', which is no number"))
            }
            Some(Token::Word(word)) if word == "REC" => self.record(),
            Some(Token::Word(word)) if self.accept("(") => {
                self.deeper()?;
                let call = self.call(&word)?;
                self.expect(")")?;
                self.depth -= 1;
                Ok(call)
            }
            Some(Token::Word(word)) => Ok(match known(&word) {
                Some(value) => Typed { expr: Expr::Number(value), of: INT },
                None => Typed { expr: Expr::Name(word, OnceLock::new()), of: Type::Symbol },
            }),
            token => Err(match token {
                Some(Token::Op("{")) => "has statements, not only an expression".into(),
                token => format!("has {} where a value should stand", shown(token.as_ref())),
            }),
        }
    }

    /// What stands behind `REC`.
    fn record(&mut self) -> Result<Typed> {
        self.expect("->")?;
        let Some(Token::Word(mut name)) = self.next() else { return Err("names no field behind REC".into()) };
        // The head of the record: a structure, whose members the format lists as common fields.
        if name == "ent"
            && let Some([Token::Op("."), Token::Word(member), ..]) = self.tokens.get(self.at..)
        {
            name = format!("common_{member}");
            self.at += 2;
        }
        if let Some(index) = self.fields.iter().position(|field| field.name == name) {
            return Ok(self.field_value(index));
        }
        let inner = ["__data_loc_", "__rel_loc_"].iter().find_map(|prefix| name.strip_prefix(prefix));
        match inner.and_then(|name| self.fields.iter().position(|field| field.name == name)) {
            // Where the bytes of the field are, as a number.
            Some(index) => Ok(Typed { expr: Expr::Field(index), of: Type::Int { bits: 32, signed: false } }),
            None => Err(format!("uses the field '{name}', which it does not have")),
        }
    }

    fn field_value(&self, index: usize) -> Typed {
        let field = &self.fields[index];
        if field.array {
            let expr = match field.dynamic {
                Dynamic::No => Expr::Place(index),
                _ => Expr::Bytes(index),
            };
            return Typed { expr, of: Type::Pointer { to: element(field, self.long_size), record: true } };
        }
        if field.is_pointer() {
            let words = words(field.type_name.trim_end_matches(['*', ' ']));
            let to = match number_type(&words, self.long_size) {
                Some((size, signed)) => Target { size, signed, number: true },
                None => self.structure(&words),
            };
            return Typed { expr: Expr::Field(index), of: Type::Pointer { to, record: false } };
        }
        let structure = field.type_name.starts_with("struct ") || field.type_name.starts_with("union ");
        if structure || !matches!(field.size, 1 | 2 | 4 | 8) {
            let to = Target { size: field.size, ..Target::UNKNOWN };
            return Typed { expr: Expr::Place(index), of: Type::Pointer { to, record: true } };
        }
        let bits = 8 * field.size as u32;
        let expr = match field.signed && bits < 64 {
            true => Expr::Signed(bits, Box::new(Expr::Field(index))),
            false => Expr::Field(index),
        };
        Typed { expr, of: Type::Int { bits, signed: field.signed } }
    }

    /// The arguments of a function, up to its closing bracket.
    fn call(&mut self, name: &str) -> Result<Typed> {
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
            // How long a jiffy is depends on HZ, which a recording does not say: trace-cmd shows jiffies.
            "jiffies_to_msecs" => self.choice(),
            "jbd2_dev_to_name" => made(Expr::Helper(Helper::Device, vec![self.argument()?])),
            "xen_hypercall_name" => made(Expr::Helper(Helper::XenHypercall, vec![self.argument()?])),
            "scsi_trace_parse_cdb" => {
                // The first one is where the kernel puts the text.
                self.choice()?;
                self.expect(",")?;
                let bytes = self.bytes()?;
                let size = self.next_number()?;
                made(Expr::Helper(Helper::ScsiCommand { as_trace_cmd: false }, vec![bytes, size]))
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

    /// A text that tells whether an argument is not 0.
    fn one_of_two(&mut self, yes: &str, no: &str) -> Result<Typed> {
        let condition = self.argument()?;
        let [yes, no] = [yes, no].map(|text| Expr::Text(text.into()));
        Ok(Typed { expr: choice(condition, yes, no), of: TEXT })
    }

    fn long_bits(&self) -> u32 {
        8 * self.long_size as u32
    }

    /// An argument as a number.
    fn argument(&mut self) -> Result<Expr> {
        let value = self.choice()?;
        self.number(value)
    }

    fn next_number(&mut self) -> Result<Expr> {
        self.expect(",")?;
        self.argument()
    }

    /// An argument as an unsigned number of so many bits.
    fn wide(&mut self, bits: u32) -> Result<Expr> {
        let value = self.choice()?;
        let of = Type::Int { bits, signed: false };
        match value.of {
            Type::Int { .. } => Ok(converted(value, of)),
            _ => Ok(cut(self.number(value)?, bits, false)),
        }
    }

    /// An argument as bytes of the record.
    fn bytes(&mut self) -> Result<Expr> {
        let value = self.choice()?;
        match value.of {
            Type::Pointer { record: true, .. } => Ok(value.expr),
            _ => Err("prints bytes behind a pointer, which are not in the record".into()),
        }
    }

    /// The number that a value is.
    fn number(&self, value: Typed) -> Result<Expr> {
        match value.of {
            Type::Symbol => {
                let name = name_in(&value.expr).unwrap_or("a name");
                Err(format!("uses {name}, whose value no format tells"))
            }
            _ => Ok(value.expr),
        }
    }

    /// A value that is printed as text.
    fn text(&self, value: Typed) -> Result<Expr> {
        match value.of {
            Type::Int { .. } if matches!(value.expr, Expr::Number(0)) => Ok(value.expr),
            Type::Int { .. } => Err("prints a number as text".into()),
            Type::Symbol => {
                let name = name_in(&value.expr).unwrap_or("a name");
                Err(format!("prints the text at {name}, which is not in the record"))
            }
            Type::Pointer { .. } => Ok(value.expr),
        }
    }

    /// A value as a condition.
    fn truth(&self, value: Typed) -> Result<Expr> {
        self.number(value)
    }

    fn size_of(&mut self) -> Result<Typed> {
        let of = Type::Int { bits: self.long_bits(), signed: false };
        let mut names: Vec<String> = Vec::new();
        let mut at = self.at;
        while let Some(Token::Word(word)) = self.tokens.get(at) {
            names.push(word.clone());
            at += 1;
        }
        // A structure without a name has but a check at compile time in it.
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
        // Of an array all of it, not that of a pointer.
        let value = self.choice()?;
        match (value.expr, value.of) {
            (Expr::Place(field), _) => size(self.fields[field].size),
            (Expr::Text(text), _) => size(text.len() + 1),
            (_, Type::Int { bits, .. }) => size(bits as usize / 8),
            _ => size(self.long_size),
        }
    }

    fn field(&mut self) -> Result<usize> {
        let token = self.next();
        let Some(Token::Word(name)) = &token else {
            return Err(format!("has {} where a field should stand", shown(token.as_ref())));
        };
        let found = self.fields.iter().position(|field| field.name == *name);
        found.ok_or_else(|| format!("uses the field '{name}', which it does not have"))
    }

    /// `, { value, "name" }, …` up to the closing bracket.
    fn names(&mut self, bits: u32) -> Result<Vec<(Option<u64>, Vec<u8>)>> {
        let mut names = Vec::new();
        while self.accept(",") {
            if !self.accept("{") {
                // A list may end with a comma, or have nothing in it.
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
                // A null pointer in a name's place ends the kernel's own list, as 7.x writes out.
                Expr::Number(0) => {}
                _ => return Err("has a list of names with what is no text in it".into()),
            }
        }
        Ok(names)
    }
}

/// The first name in an expression that is only known as a symbol.
fn name_in(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Name(name, _) => Some(name),
        Expr::Binary(_, left, right) => name_in(left).or_else(|| name_in(right)),
        Expr::Choice(condition, then, otherwise) => {
            name_in(condition).or_else(|| name_in(then)).or_else(|| name_in(otherwise))
        }
        Expr::Unary(_, of) | Expr::Cast(_, of) | Expr::Signed(_, of) => name_in(of),
        _ => None,
    }
}

/// Functions that turn the bytes of a number round: the order they read, or none if they always do
/// it, the size, and whether they are given a pointer to it.
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

/// The pointer moved by a number of elements.
fn moved(pointer: Expr, to: Target, record: bool, op: Op, by: Expr) -> Typed {
    let by = scaled(by, to.size.max(1));
    let expr = match (record, op) {
        (false, _) => operation(op, pointer, by),
        (true, Op::Subtract) => behind(pointer, negated(b'-', by)),
        (true, _) => behind(pointer, by),
    };
    Typed { expr, of: Type::Pointer { to, record } }
}

fn scaled(index: Expr, size: usize) -> Expr {
    if size == 1 { index } else { operation(Op::Multiply, index, Expr::Number(size as u64)) }
}

fn behind(pointer: Expr, by: Expr) -> Expr {
    match (pointer, by) {
        (pointer, Expr::Number(0)) => pointer,
        (Expr::Behind(pointer, before), by) => {
            Expr::Behind(pointer, Box::new(operation(Op::Add, *before, by)))
        }
        (pointer, by) => Expr::Behind(Box::new(pointer), Box::new(by)),
    }
}

/// The number of a type that stands at a place.
fn loaded_number(place: Expr, to: Target) -> Typed {
    let bits = 8 * to.size as u32;
    let load = Expr::Load(Box::new(place), to.size);
    let expr = if to.signed && bits < 64 { Expr::Signed(bits, Box::new(load)) } else { load };
    Typed { expr, of: Type::Int { bits, signed: to.signed } }
}

/// An operation, done at once on constants.
fn operation(op: Op, left: Expr, right: Expr) -> Expr {
    if let (Expr::Number(left), Expr::Number(right)) = (&left, &right)
        && let Some(value) = op.apply(*left, *right)
    {
        return Expr::Number(value);
    }
    Expr::Binary(op, Box::new(left), Box::new(right))
}

fn negated(operator: u8, value: Expr) -> Expr {
    match value {
        Expr::Number(value) => Expr::Number(unary(operator, value)),
        value => Expr::Unary(operator, Box::new(value)),
    }
}

fn not(value: Expr) -> Expr {
    // A text is there.
    if matches!(value, Expr::Text(_)) { Expr::Number(0) } else { negated(b'!', value) }
}

fn choice(condition: Expr, then: Expr, otherwise: Expr) -> Expr {
    match condition {
        Expr::Number(value) => {
            if value != 0 {
                then
            } else {
                otherwise
            }
        }
        condition => Expr::Choice(Box::new(condition), Box::new(then), Box::new(otherwise)),
    }
}

/// The low bits of a number as one of this type.
fn cut(value: Expr, bits: u32, signed: bool) -> Expr {
    if bits >= 64 {
        return value;
    }
    let mask = (1_u64 << bits) - 1;
    match value {
        Expr::Number(value) if signed => Expr::Number(sign_extended(bits, value)),
        Expr::Number(value) => Expr::Number(value & mask),
        value if signed => Expr::Signed(bits, Box::new(value)),
        value => Expr::Cast(mask, Box::new(value)),
    }
}

/// A number converted to another type.
fn converted(value: Typed, to: Type) -> Expr {
    let (Type::Int { bits: from, signed: was }, Type::Int { bits, signed }) = (value.of, to) else {
        return value.expr;
    };
    let fits = match (was, signed) {
        (true, true) | (false, false) => from <= bits,
        (false, true) => from < bits,
        (true, false) => bits >= 64,
    };
    if fits { value.expr } else { cut(value.expr, bits, signed) }
}

/// The type that a number has in an operation.
fn promoted(of: Type) -> Type {
    match of {
        Type::Int { bits, .. } if bits < 32 => INT,
        of => of,
    }
}

/// The type that two numbers have in an operation.
fn common(left: Type, right: Type) -> Type {
    match (promoted(left), promoted(right)) {
        (Type::Int { bits: a, signed: s }, Type::Int { bits: b, signed: t }) if a == b => {
            Type::Int { bits: a, signed: s && t }
        }
        (left @ Type::Int { bits: a, .. }, right @ Type::Int { bits: b, .. }) => {
            if a > b {
                left
            } else {
                right
            }
        }
        (left, _) => left,
    }
}

/// A number as C reads it, with its type.
fn literal(word: &str, long_size: usize) -> Option<Typed> {
    let digits = word.trim_end_matches(['u', 'U', 'l', 'L']);
    let suffix = word[digits.len()..].to_ascii_lowercase();
    let prefixed = digits.len() > 1 && digits.starts_with('0');
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None => match digits.strip_prefix("0b").or_else(|| digits.strip_prefix("0B")) {
            Some(digits) => u64::from_str_radix(digits, 2).ok()?,
            None if prefixed => u64::from_str_radix(digits, 8).ok()?,
            None => digits.parse().ok()?,
        },
    };
    let unsigned = suffix.contains('u');
    let least = match suffix.matches('l').count() {
        0 => 32,
        1 => 8 * long_size as u32,
        _ => 64,
    };
    let bits = if value >> 32 == 0 { least } else { 64 };
    // Decimal numbers become longer rather than unsigned.
    let over = value >> (bits - 1) != 0;
    let (bits, signed) = match (unsigned, over, prefixed || bits == 64) {
        (true, ..) => (bits, false),
        (false, true, true) => (bits, false),
        (false, true, false) => (64, true),
        (false, false, _) => (bits, true),
    };
    Some(Typed { expr: Expr::Number(value), of: Type::Int { bits, signed } })
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Size and sign of a type that is a number; `None` for any other.
fn number_type(words: &[&str], long_size: usize) -> Option<(usize, bool)> {
    let mut words: Vec<&str> = words.to_vec();
    words
        .retain(|word| !matches!(*word, "const" | "volatile" | "__attribute__" | "__data_loc" | "__rel_loc"));
    let unsigned = words.contains(&"unsigned");
    let signs = words.iter().any(|word| matches!(*word, "unsigned" | "signed"));
    words.retain(|word| !matches!(*word, "unsigned" | "signed"));
    let longs = words.iter().filter(|word| **word == "long").count();
    if longs > 0 {
        let rest = words.iter().all(|word| matches!(*word, "long" | "int"));
        return rest.then_some((if longs > 1 { 8 } else { long_size }, !unsigned));
    }
    Some(match words.as_slice() {
        ["char"] => (1, !unsigned),
        ["short"] | ["short", "int"] => (2, !unsigned),
        ["int"] => (4, !unsigned),
        [] if signs => (4, !unsigned),
        ["enum", _] => (4, false),
        [name] => {
            let signed = name.trim_start_matches("__").starts_with(['s', 'i']);
            match name.trim_start_matches('_') {
                "u8" | "s8" | "uint8_t" | "int8_t" | "u_char" | "uchar" | "unchar" => (1, signed),
                "bool" | "Bool" => (1, false),
                "u16" | "s16" | "uint16_t" | "int16_t" | "le16" | "be16" | "ushort" | "sum16" => {
                    (2, signed && *name != "__sum16")
                }
                "u32" | "s32" | "uint32_t" | "int32_t" | "le32" | "be32" | "uint" | "wsum" => (4, signed),
                "pid_t" | "gid_t" | "uid_t" | "dev_t" | "gfp_t" | "umode_t" | "mode_t" | "poll_t"
                | "fmode_t" => match *name {
                    "pid_t" => (4, true),
                    "umode_t" => (2, false),
                    _ => (4, false),
                },
                "u64" | "s64" | "uint64_t" | "int64_t" | "le64" | "be64" | "ktime_t" | "loff_t"
                | "time64_t" => (8, signed || matches!(*name, "ktime_t" | "loff_t" | "time64_t")),
                "size_t" | "uintptr_t" | "ulong" | "kernel_ulong_t" => (long_size, false),
                "ssize_t" | "intptr_t" | "ptrdiff_t" => (long_size, true),
                "sector_t" | "blkcnt_t" | "dma_addr_t" | "phys_addr_t" | "resource_size_t" => (8, false),
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// What the elements of an array are.
fn element(field: &Field, long_size: usize) -> Target {
    let name = field.type_name.trim_end_matches(['[', ']', ' ']);
    if name.ends_with('*') {
        return Target { size: long_size, signed: false, number: true };
    }
    let words = words(name);
    match number_type(&words, long_size) {
        // The kernel's own word for char, whose sign differs between processors.
        Some((1, _)) if words.contains(&"char") => Target { size: 1, signed: field.signed, number: true },
        Some((size, signed)) => Target { size, signed, number: true },
        None => {
            let size = match field.elements {
                Some(count) if count > 0 && field.dynamic == Dynamic::No => field.size / count,
                _ => 0,
            };
            let structure = words.contains(&"struct") || words.contains(&"union");
            let number = !structure && matches!(size, 1 | 2 | 4 | 8);
            Target { size, signed: field.signed, number }
        }
    }
}
