//! Print formats as trace-cmd 3.1.6 reads them: what its library makes of an expression, its
//! misreadings included.
//!
//! Operators are taken one after the other, and what was read is put right by their rank alone: so
//! brackets right of an operator do not hold together what binds less tightly (`a & (b | c)` is
//! `(a & b) | c`), and what follows a choice is applied to all of it. Names of types are texts like
//! any other. Values have 64 bits and no sign, and functions are those of its plug-ins. What makes
//! trace-cmd crash counts as not understood.

use std::sync::OnceLock;

use super::helpers::Helper;
use super::printf::{Given, Spec, trace_cmd_conversion};
use super::program::{Expr, Flags, Op, Piece, Program, known_to_trace_cmd};
use crate::bytes::ByteOrder;
use crate::event::field::{Dynamic, Field};

/// Nesting beyond this is refused, so that a made-up format cannot exhaust the stack.
const DEEPEST: usize = 400;
/// As many tokens are read at most.
const MOST_TOKENS: usize = 16_384;

/// Compiles what follows `print fmt:`; `None` where trace-cmd fails to parse it.
pub(crate) fn compile(text: &str, fields: &[Field], long_size: usize, common: usize) -> Option<Program> {
    let mut parser = Parser { text: text.as_bytes(), at: 0, fields, long_size, common, depth: 0, tokens: 0 };
    let Token::Text(format) = parser.token()? else { return None };
    let mut format = format;
    let arguments = loop {
        match parser.token()? {
            Token::End => break Vec::new(),
            Token::Text(more) => format.extend(more),
            Token::Delimiter(b',') => break parser.arguments()?,
            _ => return None,
        }
    };
    pieces(&format, arguments, &parser)
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    End,
    Word(Vec<u8>),
    Text(Vec<u8>),
    Char(Vec<u8>),
    /// `(`, `)` or `,`
    Delimiter(u8),
    Op(Vec<u8>),
}

impl Token {
    fn is_op(&self, text: &[u8]) -> bool {
        matches!(self, Token::Op(op) if op == text)
    }
}

/// What an argument is to trace-cmd.
#[derive(Debug)]
enum Argument {
    /// Words, or a text.
    Atom(Vec<u8>),
    Field(Option<usize>),
    Flags(Box<Argument>, Vec<u8>, Names),
    Symbolic(Box<Argument>, Names),
    Hex(Box<Argument>, Box<Argument>, bool),
    Array(Box<Argument>, Box<Argument>, Box<Argument>),
    Cast(Vec<u8>, Box<Argument>),
    Str(Option<usize>),
    Bitmask(Option<usize>, bool),
    Dynamic(usize),
    DynamicLength(usize),
    Function(&'static str, Vec<Argument>),
    Op(Vec<u8>, Operands, u32),
}

/// Both operands; the left one is missing where the operator stands alone, the right one while it
/// is read.
type Operands = (Option<Box<Argument>>, Option<Box<Argument>>);

/// Values as they are written, and names.
type Names = Vec<(Vec<u8>, Vec<u8>)>;

/// The number that trace-cmd's own message has for such an argument.
fn kind(argument: &Argument) -> u32 {
    match argument {
        Argument::Atom(_) => 1,
        Argument::Field(_) => 2,
        Argument::Flags(..) => 3,
        Argument::Symbolic(..) => 4,
        Argument::Hex(_, _, false) => 5,
        Argument::Array(..) => 6,
        Argument::Cast(..) => 7,
        Argument::Str(_) => 8,
        Argument::Dynamic(_) => 10,
        Argument::Op(..) => 11,
        Argument::Function(..) => 12,
        Argument::Bitmask(_, false) => 13,
        Argument::DynamicLength(_) => 14,
        Argument::Hex(_, _, true) => 15,
        Argument::Bitmask(_, true) => 16,
    }
}

/// How loosely an operator binds; `None` for what is none.
fn rank(op: &[u8]) -> Option<u32> {
    Some(match op {
        b"++" | b"--" => 3,
        b"~" | b"!" => 4,
        b"*" | b"/" | b"%" => 6,
        b"+" | b"-" => 7,
        b">>" | b"<<" => 8,
        b"<" | b">" | b"<=" | b">=" => 9,
        b"==" | b"!=" => 10,
        b"&" => 11,
        b"^" => 12,
        b"|" => 13,
        b"&&" => 14,
        b"||" => 15,
        b"?" => 16,
        _ => return None,
    })
}

const BINARY: [&[u8]; 18] = [
    b">>", b"<<", b"&", b"|", b"&&", b"||", b"-", b"+", b"*", b"^", b"/", b"%", b"<", b">", b"<=", b">=",
    b"==", b"!=",
];

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    fields: &'a [Field],
    long_size: usize,
    common: usize,
    depth: usize,
    tokens: usize,
}

impl Parser<'_> {
    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next token; what cannot be printed ends the text.
    fn token(&mut self) -> Option<Token> {
        self.tokens += 1;
        if self.tokens > MOST_TOKENS {
            return None;
        }
        while self.byte().is_some_and(|byte| byte.is_ascii_whitespace() || byte == 11) {
            self.at += 1;
        }
        let Some(first) = self.byte() else { return Some(Token::End) };
        let start = self.at;
        self.at += 1;
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        Some(match first {
            b'"' => Token::Text(self.quoted(b'"')),
            b'\'' => Token::Char(self.quoted(b'\'')),
            b'(' | b')' | b',' => Token::Delimiter(first),
            _ if word(first) => {
                while self.byte().is_some_and(word) {
                    self.at += 1;
                }
                Token::Word(self.text[start..self.at].to_vec())
            }
            b'!'..=b'~' => {
                let next = self.byte();
                let double = next == Some(first) && b"-+|&><".contains(&first);
                if first == b'-' && next == Some(b'>') || double {
                    self.at += 1;
                }
                let may_equal = match first {
                    b'<' | b'>' | b'!' | b'=' => true,
                    b'-' => !double && self.at == start + 1,
                    b'+' | b'|' | b'&' => !double,
                    _ => false,
                };
                if may_equal && self.byte() == Some(b'=') {
                    self.at += 1;
                }
                Token::Op(self.text[start..self.at].to_vec())
            }
            _ => Token::End,
        })
    }

    /// What stands up to the closing quote, or to what cannot be printed.
    fn quoted(&mut self, quote: u8) -> Vec<u8> {
        let mut text = Vec::new();
        loop {
            let mut before = 0;
            while let Some(byte) = self.byte() {
                self.at += 1;
                let goes_on =
                    byte != quote && matches!(byte, b' '..=b'~') || before == b'\\' || byte == b'\n';
                if !goes_on {
                    break;
                }
                text.push(byte);
                before = if byte == b'\\' && before == b'\\' { 0 } else { byte };
            }
            // Neighbouring texts are one.
            let end = self.at;
            while self.byte().is_some_and(|byte| byte.is_ascii_whitespace()) {
                self.at += 1;
            }
            if quote != b'"' || self.byte() != Some(b'"') {
                self.at = end;
                return text;
            }
            self.at += 1;
        }
    }

    fn expect(&mut self, token: Token) -> Option<()> {
        (self.token()? == token).then_some(())
    }

    fn word(&mut self) -> Option<Vec<u8>> {
        if let Token::Word(word) = self.token()? { Some(word) } else { None }
    }

    /// Any field by its name; `None` in place of one that is missing.
    fn any_field(&self, name: &[u8]) -> Option<usize> {
        self.fields.iter().position(|field| field.name.as_bytes() == name)
    }

    /// The arguments of the print format.
    fn arguments(&mut self) -> Option<Vec<Argument>> {
        let mut arguments = Vec::new();
        loop {
            let (mut argument, mut token) = self.argument()?;
            if matches!(token, Token::Op(_)) {
                (argument, token) = self.operation(argument, token)?;
                argument = consolidated(argument);
                arguments.push(argument);
                if token == Token::End {
                    return Some(arguments);
                }
                // Whatever stands behind an operation separates it from the next one.
                continue;
            }
            arguments.push(argument);
            if token != Token::Delimiter(b',') {
                return Some(arguments);
            }
        }
    }

    fn argument(&mut self) -> Option<(Argument, Token)> {
        let token = self.token()?;
        self.argument_at(token)
    }

    fn argument_at(&mut self, token: Token) -> Option<(Argument, Token)> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let result = match token {
            Token::Word(word) if word == b"REC" => self.entry()?,
            Token::Word(mut word) => {
                let mut token = self.token()?;
                if token == Token::Delimiter(b'(') {
                    let result = self.function(&word)?;
                    self.depth -= 1;
                    return Some(result);
                }
                // Names of types have several words.
                while let Token::Word(more) = token {
                    word.push(b' ');
                    word.extend(more);
                    token = self.token()?;
                }
                (Argument::Atom(word), token)
            }
            Token::Text(text) | Token::Char(text) => (Argument::Atom(text), self.token()?),
            Token::Delimiter(b'(') => self.brackets()?,
            Token::Op(op) if matches!(op.as_slice(), b"~" | b"!" | b"+" | b"-") => {
                let (mut right, mut token) = self.argument()?;
                if token.is_op(b"[") {
                    (right, token) = self.operation(right, token)?;
                    (Argument::Op(op, (None, Some(Box::new(right))), 0), token)
                } else {
                    let alone = Argument::Op(op, (None, Some(Box::new(right))), 0);
                    self.goes_on(alone, token)?
                }
            }
            _ => return None,
        };
        self.depth -= 1;
        Some(result)
    }

    /// What stands behind `REC`; behind `(REC` its closing bracket, as if it were a word.
    fn entry(&mut self) -> Option<(Argument, Token)> {
        match self.token()? {
            Token::Delimiter(b')') => Some((Argument::Field(None), Token::Word(b")".to_vec()))),
            Token::Op(op) if op == b"->" => {
                let name = self.word()?;
                Some((Argument::Field(self.any_field(&name)), self.token()?))
            }
            _ => None,
        }
    }

    fn brackets(&mut self) -> Option<(Argument, Token)> {
        let (mut inside, mut token) = self.argument()?;
        if matches!(token, Token::Op(_)) {
            (inside, token) = self.operation(inside, token)?;
        }
        if token == Token::Word(b")".to_vec()) {
            return self.entry();
        }
        if token != Token::Delimiter(b')') {
            return None;
        }
        let token = self.token()?;
        if !matches!(token, Token::Word(_) | Token::Text(_) | Token::Char(_) | Token::Delimiter(b'(')) {
            return Some((inside, token));
        }
        // What stood in the brackets was the type of what follows.
        let Argument::Atom(name) = inside else { return None };
        let (item, token) = self.argument_at(token)?;
        Some((Argument::Cast(name, Box::new(item)), token))
    }

    /// An operator behind what was read, and all that follows.
    fn operation(&mut self, left: Argument, token: Token) -> Option<(Argument, Token)> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let Token::Op(op) = token else { return None };
        let result = match op.as_slice() {
            b"?" => {
                let (mut then, mut token) = self.argument()?;
                while matches!(token, Token::Op(_)) && !token.is_op(b":") {
                    (then, token) = self.operation(then, token)?;
                }
                if !token.is_op(b":") {
                    return None;
                }
                let (otherwise, token) = self.argument()?;
                let both = Argument::Op(b":".to_vec(), (Some(Box::new(then)), Some(Box::new(otherwise))), 0);
                let choice = Argument::Op(op, (Some(Box::new(left)), Some(Box::new(both))), 0);
                self.goes_on(choice, token)?
            }
            b"[" => {
                let (index, token) = self.argument()?;
                if !token.is_op(b"]") {
                    return None;
                }
                let token = self.token()?;
                let element = Argument::Op(op, (Some(Box::new(left)), Some(Box::new(index))), 0);
                self.goes_on(element, token)?
            }
            text if BINARY.contains(&text) => {
                let token = self.token()?;
                if op == b"*" && token == Token::Delimiter(b')') {
                    // The type of a pointer.
                    let Argument::Atom(mut name) = left else { return None };
                    name.extend(b" *");
                    self.depth -= 1;
                    return Some((Argument::Atom(name), token));
                }
                let (right, token) = self.argument_at(token)?;
                let place = rank(&op)?;
                let (whole, rotated) = match right {
                    Argument::Op(inner, (first, second), inner_rank)
                        if rank(&inner).unwrap_or(u32::MAX) > place && rank(&inner).is_some() =>
                    {
                        let below = Argument::Op(op, (Some(Box::new(left)), first), place);
                        (Argument::Op(inner, (Some(Box::new(below)), second), inner_rank), true)
                    }
                    right => (Argument::Op(op, (Some(Box::new(left)), Some(Box::new(right))), place), false),
                };
                self.follows(whole, rotated, token)?
            }
            _ => return None,
        };
        self.depth -= 1;
        Some(result)
    }

    /// What follows an operator whose rank does not matter.
    fn goes_on(&mut self, whole: Argument, token: Token) -> Option<(Argument, Token)> {
        match &token {
            Token::Op(op) if op != b":" => {
                // At what is no operator trace-cmd crashes or gives up.
                rank(op)?;
                self.operation(whole, token)
            }
            _ => Some((whole, token)),
        }
    }

    /// What follows an operator: applied to all of it, or to its right side if it binds tighter.
    fn follows(&mut self, whole: Argument, rotated: bool, token: Token) -> Option<(Argument, Token)> {
        let Token::Op(op) = &token else { return Some((whole, token)) };
        if op == b":" {
            return Some((whole, token));
        }
        let next = rank(op);
        let Argument::Op(own, (left, right), place) = whole else { return None };
        if next.is_some_and(|next| next > place) {
            return self.operation(Argument::Op(own, (left, right), place), token);
        }
        // Which side it was read as, before the operators changed places.
        let (left, right, token) = if rotated {
            let (inner, token) = self.operation(*left?, token)?;
            (Some(Box::new(inner)), right, token)
        } else {
            let (inner, token) = self.operation(*right?, token)?;
            (left, Some(Box::new(inner)), token)
        };
        Some((Argument::Op(own, (left, right), place), token))
    }

    /// An argument of a function that ends with this.
    fn part(&mut self, end: u8) -> Option<Argument> {
        let (mut part, mut token) = self.argument()?;
        if matches!(token, Token::Op(_)) {
            (part, token) = self.operation(part, token)?;
            part = consolidated(part);
        }
        (token == Token::Delimiter(end)).then_some(part)
    }

    fn first(&mut self) -> Option<Argument> {
        let (mut first, mut token) = self.argument()?;
        while matches!(token, Token::Op(_)) {
            (first, token) = self.operation(first, token)?;
        }
        (token == Token::Delimiter(b',')).then_some(first)
    }

    fn function(&mut self, name: &[u8]) -> Option<(Argument, Token)> {
        let argument = match name {
            b"__print_flags" => {
                let value = Box::new(self.first()?);
                let mut token = self.token()?;
                let mut delimiter = Vec::new();
                if let Token::Word(text) | Token::Text(text) | Token::Char(text) = token {
                    delimiter = text;
                    token = self.token()?;
                }
                if token != Token::Delimiter(b',') {
                    return None;
                }
                Argument::Flags(value, delimiter, self.names()?)
            }
            b"__print_symbolic" => {
                let value = Box::new(self.first()?);
                Argument::Symbolic(value, self.names()?)
            }
            b"__print_hex" | b"__print_hex_str" => {
                let bytes = Box::new(self.part(b',')?);
                Argument::Hex(bytes, Box::new(self.part(b')')?), name == b"__print_hex_str")
            }
            b"__print_array" => {
                let array = Box::new(self.part(b',')?);
                let count = Box::new(self.part(b',')?);
                Argument::Array(array, count, Box::new(self.part(b')')?))
            }
            b"__get_str" | b"__get_rel_str" => Argument::Str(self.named()?),
            b"__get_bitmask" | b"__get_rel_bitmask" => Argument::Bitmask(self.named()?, false),
            b"__get_cpumask" | b"__get_rel_cpumask" => Argument::Bitmask(self.named()?, true),
            b"__get_dynamic_array"
            | b"__get_rel_dynamic_array"
            | b"__get_sockaddr"
            | b"__get_sockaddr_rel" => {
                let field = self.named()?.filter(|field| *field >= self.common)?;
                let token = self.token()?;
                // It takes an index here for an error.
                return (!token.is_op(b"[")).then_some((Argument::Dynamic(field), token));
            }
            b"__get_dynamic_array_len" | b"__get_rel_dynamic_array_len" => {
                Argument::DynamicLength(self.named()?.filter(|field| *field >= self.common)?)
            }
            b"__builtin_expect" => {
                let (value, token) = self.argument()?;
                if token != Token::Delimiter(b',') {
                    return None;
                }
                self.word()?;
                self.expect(Token::Delimiter(b')'))?;
                value
            }
            b"sizeof" => self.size_of()?,
            b"jbd2_dev_to_name" => self.plugin("jbd2_dev_to_name", 1)?,
            b"jiffies_to_msecs" => self.plugin("jiffies_to_msecs", 1)?,
            b"xen_hypercall_name" => self.plugin("xen_hypercall_name", 1)?,
            b"scsi_trace_parse_cdb" => self.plugin("scsi_trace_parse_cdb", 3)?,
            b"__le16_to_cpup" => self.plugin("__le16_to_cpup", 1)?,
            _ => return None,
        };
        Some((argument, self.token()?))
    }

    /// A field in brackets; any name will do.
    fn named(&mut self) -> Option<Option<usize>> {
        let name = self.word()?;
        self.expect(Token::Delimiter(b')'))?;
        Some(self.any_field(&name))
    }

    fn plugin(&mut self, name: &'static str, count: usize) -> Option<Argument> {
        let mut given = Vec::new();
        for index in 1..=count {
            let (argument, token) = self.argument()?;
            let end = if index < count { b',' } else { b')' };
            if token != Token::Delimiter(end) {
                return None;
            }
            given.push(argument);
        }
        Some(Argument::Function(name, given))
    }

    fn size_of(&mut self) -> Option<Argument> {
        let mut word = self.word()?;
        let mut end = None;
        if word == b"unsigned" {
            match self.token()? {
                Token::Word(next) => word = next,
                token => {
                    word = b"int".to_vec();
                    end = Some(token);
                }
            }
        }
        let size = match word.as_slice() {
            b"int" => 4,
            b"long" => match self.token()? {
                Token::Word(next) if next == b"long" => 8,
                token => {
                    end = Some(token);
                    self.long_size
                }
            },
            b"REC" => {
                self.expect(Token::Op(b"->".to_vec()))?;
                let name = self.word()?;
                let field = &self.fields[self.any_field(&name)?];
                if field.array {
                    return None;
                }
                field.size
            }
            _ => return None,
        };
        let end = match end {
            Some(end) => end,
            None => self.token()?,
        };
        (end == Token::Delimiter(b')')).then(|| Argument::Atom(size.to_string().into_bytes()))
    }

    /// `{ value, "name" }, …` up to the closing bracket.
    fn names(&mut self) -> Option<Names> {
        let mut names = Vec::new();
        loop {
            let token = self.token()?;
            if !token.is_op(b"{") {
                return (token == Token::Delimiter(b')')).then_some(names);
            }
            let (mut value, mut token) = self.argument()?;
            if matches!(token, Token::Op(_)) {
                (value, token) = self.operation(value, token)?;
            }
            if token != Token::Delimiter(b',') {
                return None;
            }
            let value = written(&value)?;
            let (name, token) = self.argument()?;
            if !token.is_op(b"}") {
                return None;
            }
            names.push((value, written(&name)?));
            match self.token()? {
                Token::Delimiter(b',') => {}
                Token::Delimiter(b')') => return Some(names),
                _ => return None,
            }
        }
    }
}

/// An operation on two numbers done at once.
fn consolidated(argument: Argument) -> Argument {
    let Argument::Op(op, (left, right), place) = argument else { return argument };
    let left = left.map(|left| Box::new(consolidated(*left)));
    let right = right.map(|right| Box::new(consolidated(*right)));
    if let (Some(Argument::Atom(left)), Some(Argument::Atom(right))) = (left.as_deref(), right.as_deref())
        && let Some(op) = std::str::from_utf8(&op).ok().and_then(Op::of)
        && let Some(value) = op.apply(number(left), number(right))
    {
        return Argument::Atom((value as i64).to_string().into_bytes());
    }
    Argument::Op(op, (left, right), place)
}

/// The number that a text begins with, as C's strtoull reads it.
fn number(text: &[u8]) -> u64 {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let (base, digits) = match digits {
        [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => (16, rest),
        [b'0', ..] => (8, digits),
        _ => (10, digits),
    };
    let mut value: u64 = 0;
    for digit in digits.iter().map_while(|byte| char::from(*byte).to_digit(base)) {
        let next = value.checked_mul(u64::from(base)).and_then(|value| value.checked_add(u64::from(digit)));
        match next {
            Some(next) => value = next,
            None => return u64::MAX,
        }
    }
    if negative { value.wrapping_neg() } else { value }
}

/// The text that stands for a value in a list of names.
fn written(argument: &Argument) -> Option<Vec<u8>> {
    match argument {
        Argument::Atom(text) => Some(text.clone()),
        Argument::Cast(_, item) => written(item),
        Argument::Op(..) => Some((constant(argument)? as i64).to_string().into_bytes()),
        _ => None,
    }
}

/// The number that an expression without fields is; an unknown name counts as 0.
fn constant(argument: &Argument) -> Option<u64> {
    match argument {
        Argument::Atom(text) => Some(number(text)),
        Argument::Cast(name, item) => Some(constant(item)? & mask(name)),
        Argument::Op(op, (left, right), _) => {
            let right = constant(right.as_deref()?)?;
            let Some(left) = left.as_deref() else {
                return match op.as_slice() {
                    b"-" => Some(right.wrapping_neg()),
                    b"+" => Some(right),
                    b"~" => Some(!right),
                    _ => None,
                };
            };
            let op = match op.as_slice() {
                b"*" | b"/" | b"%" | b"^" => return None,
                op => Op::of(std::str::from_utf8(op).ok()?)?,
            };
            op.signed().apply(constant(left)?, right)
        }
        _ => None,
    }
}

/// The bits that a cast leaves; types of other names leave all.
fn mask(name: &[u8]) -> u64 {
    match name.strip_prefix(b"unsigned ").unwrap_or(name) {
        b"char" | b"u8" | b"s8" => 0xff,
        b"short" | b"u16" | b"s16" => 0xffff,
        b"int" | b"u32" | b"s32" => 0xffff_ffff,
        _ => u64::MAX,
    }
}

/// The value of a flag or symbol by how it is written; a name that is not known is -1.
fn flag(text: &[u8]) -> u64 {
    if text.first().is_some_and(u8::is_ascii_digit) {
        return number(text);
    }
    std::str::from_utf8(text).ok().and_then(known_to_trace_cmd).unwrap_or(u64::MAX)
}

/// Puts conversions and arguments together.
fn pieces(format: &[u8], arguments: Vec<Argument>, parser: &Parser<'_>) -> Option<Program> {
    let mut arguments = arguments.into_iter();
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut rest = format;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', [escaped, tail @ ..]) => {
                text.push(match escaped {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    other => *other,
                });
                rest = tail;
            }
            (b'%', [b'%', tail @ ..]) => {
                text.push(b'%');
                rest = tail;
            }
            (b'%', _) => {
                let (conversion, tail) = trace_cmd_conversion(rest)?;
                rest = tail;
                let (spec, pointer) = match conversion {
                    Ok(found) => found,
                    // Where a letter is not known, it is shown, and takes no argument.
                    Err(shown) => {
                        text.extend(shown);
                        continue;
                    }
                };
                let mut stars = Vec::new();
                for _ in 0..spec.stars() {
                    stars.push(value(arguments.next()?, parser));
                }
                let argument = arguments.next()?;
                match lowered(&spec, pointer, argument, parser) {
                    Ok(value) => {
                        if !text.is_empty() {
                            pieces.push(Piece::Text(std::mem::take(&mut text)));
                        }
                        pieces.push(Piece::Print { spec, stars, value });
                    }
                    Err(said) => text.extend(said.into_bytes()),
                }
            }
            _ => text.push(*first),
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Some(Program { pieces })
}

/// The argument of a conversion, or what trace-cmd says in its place.
fn lowered(spec: &Spec, pointer: bool, argument: Argument, parser: &Parser<'_>) -> Result<Expr, String> {
    let what = match spec.takes() {
        Given::Text => return Ok(text(argument, parser)),
        Given::Number => return Ok(value(argument, parser)),
        Given::Bytes(what) => what,
    };
    debug_assert!(pointer);
    if let Argument::Function(..) = argument {
        return Ok(text(argument, parser));
    }
    let mut argument = argument;
    let dumps = spec.is_dump();
    while let (Argument::Cast(_, item), false) = (&mut argument, dumps) {
        argument = std::mem::replace(item, Argument::Field(None));
    }
    if let Argument::Dynamic(field) = argument
        && (dumps || spec.is_socket_address())
    {
        return Ok(Expr::Bytes(field));
    }
    match (argument, spec.is_socket_address(), dumps) {
        (Argument::Field(Some(field)), true, false) => Ok(Expr::Place(field)),
        (Argument::Field(Some(field)), false, false) => {
            let (size, said) = match what {
                "a UUID" => (16, "INVALIDUUID"),
                "an IPv4 address" => (4, "INVALIDIPv4"),
                "an IPv6 address" => (16, "INVALIDIPv6"),
                _ => (6, "INVALIDMAC"),
            };
            match parser.fields[field].size == size {
                true => Ok(Expr::Place(field)),
                false => Err(said.into()),
            }
        }
        (Argument::Field(None), _, false) => Err(String::new()),
        (argument, true, _) => Err(format!("ARG NOT FIELD NOR DYNAMIC ARRAY BUT TYPE {}", kind(&argument))),
        (argument, ..) => Err(format!("ARG TYPE NOT FIELD BUT {}", kind(&argument))),
    }
}

/// An argument as a number.
fn value(argument: Argument, parser: &Parser<'_>) -> Expr {
    let boxed = |argument: Argument| Box::new(value(argument, parser));
    match argument {
        Argument::Atom(text) => match number(&text) {
            0 if !text.first().is_some_and(u8::is_ascii_digit) => {
                Expr::Name(String::from_utf8_lossy(&text).into_owned(), OnceLock::new())
            }
            value => Expr::Number(value),
        },
        Argument::Field(Some(field)) => match parser.fields[field].size {
            1 | 2 | 4 | 8 => Expr::Field(field),
            _ => Expr::Number(0),
        },
        Argument::Cast(name, item) => Expr::Cast(mask(&name), boxed(*item)),
        Argument::DynamicLength(field) => Expr::DynamicLength(field),
        // An address in its own memory: no two runs have the same.
        Argument::Dynamic(field) => Expr::Cast(0xffff, Box::new(Expr::Field(field))),
        Argument::Function(name, given) => match (name, given.into_iter().next()) {
            ("jiffies_to_msecs", Some(given)) => value(given, parser),
            ("__le16_to_cpup", Some(mut given)) => {
                while let Argument::Cast(_, item) = given {
                    given = *item;
                }
                match given {
                    Argument::Dynamic(field) => {
                        let load = Expr::Load(Box::new(Expr::Bytes(field)), 2);
                        Expr::Ordered(Some(ByteOrder::Little), 2, Box::new(load))
                    }
                    _ => Expr::Number(0),
                }
            }
            _ => Expr::Number(0),
        },
        Argument::Op(op, (left, right), _) => match (op.as_slice(), left, right) {
            (b"[", Some(array), Some(index)) => element(*array, boxed(*index), parser),
            (b"?", Some(condition), Some(both)) => match *both {
                Argument::Op(_, (Some(then), Some(otherwise)), _) => {
                    Expr::Choice(boxed(*condition), boxed(*then), boxed(*otherwise))
                }
                _ => Expr::Number(0),
            },
            // Where operators changed places, one of these may have a left side, which does nothing.
            (b"!" | b"~", _, Some(right)) => Expr::Unary(op[0], boxed(*right)),
            // It does not know this one.
            (b"^", ..) => Expr::Number(0),
            (_, left, right) => match std::str::from_utf8(&op).ok().and_then(Op::of) {
                Some(op) => {
                    let side = |side: Option<Box<Argument>>| match side {
                        Some(side) => boxed(*side),
                        None => Box::new(Expr::Number(0)),
                    };
                    let (left, mut right) = (side(left), side(right));
                    if matches!(op, Op::Left | Op::Right) {
                        // As its processor shifts.
                        right = Box::new(Expr::Binary(Op::BitAnd, right, Box::new(Expr::Number(63))));
                    }
                    Expr::Binary(op, left, right)
                }
                None => Expr::Number(0),
            },
        },
        _ => Expr::Number(0),
    }
}

/// An element of an array. Behind dynamic ones the index counts bytes.
fn element(array: Argument, index: Box<Expr>, parser: &Parser<'_>) -> Expr {
    let mut bits = None;
    let mut array = array;
    while let Argument::Cast(name, item) = array {
        bits.get_or_insert_with(|| mask(name.strip_suffix(b" *").unwrap_or(&name)));
        array = *item;
    }
    let bits = bits.unwrap_or(u64::MAX);
    let load = |bytes, by: Expr, size| {
        let load = Expr::Load(Box::new(Expr::Behind(Box::new(bytes), Box::new(by))), size);
        if bits == u64::MAX { load } else { Expr::Cast(bits, Box::new(load)) }
    };
    match array {
        Argument::Dynamic(field) => {
            let size = element_size(&parser.fields[field], parser.long_size);
            load(Expr::Bytes(field), *index, if size == 0 { parser.long_size } else { size })
        }
        Argument::Field(Some(field)) => {
            let size = element_size(&parser.fields[field], parser.long_size);
            let by = Expr::Binary(Op::Multiply, index, Box::new(Expr::Number(size as u64)));
            load(Expr::Place(field), by, size)
        }
        _ => Expr::Number(0),
    }
}

/// The size of an array's elements as trace-cmd has it; 0 where it has none.
fn element_size(field: &Field, long_size: usize) -> usize {
    if !field.array {
        return field.size;
    }
    if field.dynamic != Dynamic::No {
        let name = field.type_name.trim_end_matches(['[', ']', ' ']);
        return match name.split_whitespace().next_back() {
            Some("u8" | "s8" | "char") => 1,
            Some("u16" | "s16") => 2,
            Some("u32" | "s32") => 4,
            Some("u64" | "s64") => 8,
            _ => 0,
        };
    }
    match field.elements {
        Some(count) if count > 0 => field.size / count,
        _ if field.is_string() => 1,
        _ if field.is_long() => long_size,
        // It has none where a name says how many there are.
        _ => 0,
    }
}

/// An argument as a text.
fn text(argument: Argument, parser: &Parser<'_>) -> Expr {
    let nothing = || Expr::Text(Vec::new());
    let bytes = |argument: Argument| match argument {
        Argument::Dynamic(field) => Some(Expr::Bytes(field)),
        Argument::Field(Some(field)) => Some(Expr::Place(field)),
        _ => None,
    };
    match argument {
        Argument::Atom(text) => Expr::Text(text),
        Argument::Field(Some(field)) => {
            let of = &parser.fields[field];
            match !of.array && of.size == parser.long_size {
                true => Expr::Field(field),
                false => Expr::Place(field),
            }
        }
        Argument::Flags(of, delimiter, names) => {
            // Whatever is negative counts as not known here.
            let bits = |text: &[u8]| Some(flag(text)).filter(|bits| *bits >> 63 == 0);
            let names = names.into_iter().map(|(written, name)| (bits(&written), name)).collect();
            Expr::Flags(Box::new(value(*of, parser)), Flags { delimiter, names, as_trace_cmd: true })
        }
        Argument::Symbolic(of, names) => {
            let names = names.into_iter().map(|(written, name)| (Some(flag(&written)), name)).collect();
            Expr::Symbolic(Box::new(value(*of, parser)), names)
        }
        Argument::Hex(of, count, joined) => match bytes(*of) {
            Some(of) => Expr::Hex { bytes: Box::new(of), count: Box::new(value(*count, parser)), joined },
            None => nothing(),
        },
        Argument::Array(of, count, size) => match bytes(*of) {
            Some(array) => Expr::Array {
                array: Box::new(array),
                count: Box::new(value(*count, parser)),
                size: Box::new(value(*size, parser)),
                in_braces: false,
            },
            None => nothing(),
        },
        Argument::Str(Some(field)) => Expr::Bytes(field),
        Argument::Bitmask(Some(field), false) => Expr::Bitmask(field),
        Argument::Bitmask(Some(field), true) => Expr::CpuList(field),
        Argument::Op(op, (Some(condition), Some(both)), _) if op == b"?" => match *both {
            Argument::Op(_, (Some(then), Some(otherwise)), _) => Expr::Choice(
                Box::new(value(*condition, parser)),
                Box::new(text(*then, parser)),
                Box::new(text(*otherwise, parser)),
            ),
            _ => nothing(),
        },
        Argument::Function(name, given) => {
            let mut given = given.into_iter();
            match (name, given.next(), given.next(), given.next()) {
                ("jbd2_dev_to_name", Some(device), ..) => {
                    Expr::Helper(Helper::Device, vec![value(device, parser)])
                }
                ("xen_hypercall_name", Some(number), ..) => {
                    Expr::Helper(Helper::XenHypercall, vec![value(number, parser)])
                }
                ("scsi_trace_parse_cdb", _, Some(of), Some(size)) => match bytes(of) {
                    Some(of) => Expr::Helper(
                        Helper::ScsiCommand { as_trace_cmd: true },
                        vec![of, value(size, parser)],
                    ),
                    None => nothing(),
                },
                ("jiffies_to_msecs", Some(jiffies), ..) => {
                    Expr::Helper(Helper::Plain, vec![value(jiffies, parser)])
                }
                _ => nothing(),
            }
        }
        _ => nothing(),
    }
}
