//! Parses the arguments of a print format as trace-cmd's library does.

use crate::event::field::Field;
use crate::print_fmt::program::Op;

/// Nesting beyond this is refused, so that a made-up format cannot exhaust the stack.
const DEEPEST: usize = 400;
/// The most tokens that are read.
const MOST_TOKENS: usize = 16_384;
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
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

/// An argument as trace-cmd reads it.
#[derive(Debug)]
pub(super) enum Argument {
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

/// Both operands. The left one is missing for a unary operator; the right one is missing while it is being
/// read.
pub(super) type Operands = (Option<Box<Argument>>, Option<Box<Argument>>);

/// Values as text, and their names.
pub(super) type Names = Vec<(Vec<u8>, Vec<u8>)>;

/// The rank of an operator; the one that binds loosest has the highest. `None` for any other token.
pub(super) fn rank(op: &[u8]) -> Option<u32> {
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

pub(super) struct Parser<'a> {
    pub text: &'a [u8],
    pub at: usize,
    pub fields: &'a [Field],
    pub long_size: usize,
    pub common: usize,
    pub depth: usize,
    pub tokens: usize,
}

impl Parser<'_> {
    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next token; a byte that is not printable ends the text.
    pub(super) fn token(&mut self) -> Option<Token> {
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

    /// The text up to the closing quote, or up to a byte that is not printable.
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
            // Adjacent texts are joined.
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

    /// The index of a field by its name; `None` if it is missing.
    fn any_field(&self, name: &[u8]) -> Option<usize> {
        self.fields.iter().position(|field| field.name.as_bytes() == name)
    }

    /// The arguments of the print format.
    pub(super) fn arguments(&mut self) -> Option<Vec<Argument>> {
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
                // After an operation any token ends the argument, not only a comma.
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
                // A type name may have several words.
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

    /// Parses what follows `REC`. A closing bracket after `(REC` is returned as if it were a word.
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
        // The brackets contain a type: a cast of the value that follows.
        let Argument::Atom(name) = inside else { return None };
        let (item, token) = self.argument_at(token)?;
        Some((Argument::Cast(name, Box::new(item)), token))
    }

    /// Parses an operator after `left`, and everything that follows it.
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
                    // A pointer type.
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

    /// Parses what follows an operation whose rank does not matter.
    fn goes_on(&mut self, whole: Argument, token: Token) -> Option<(Argument, Token)> {
        match &token {
            Token::Op(op) if op != b":" => {
                // trace-cmd crashes or fails at a token that is not an operator.
                rank(op)?;
                self.operation(whole, token)
            }
            _ => Some((whole, token)),
        }
    }

    /// Parses the operator that follows an operation. It is applied to the whole operation, or to its last
    /// operand if it binds tighter.
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
        // After reordering, the operand that was read last is on the left.
        let (left, right, token) = if rotated {
            let (inner, token) = self.operation(*left?, token)?;
            (Some(Box::new(inner)), right, token)
        } else {
            let (inner, token) = self.operation(*right?, token)?;
            (left, Some(Box::new(inner)), token)
        };
        Some((Argument::Op(own, (left, right), place), token))
    }

    /// Parses an argument of a function, up to the delimiter `end`.
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
                // trace-cmd takes an index here for an error.
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

    /// Parses the name of a field and the closing bracket; the field need not exist.
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

    /// Parses `{ value, "name" }, …` up to the closing bracket.
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

/// Replaces an operation on two constants by its result.
pub(super) fn consolidated(argument: Argument) -> Argument {
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
pub(super) fn number(text: &[u8]) -> u64 {
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

/// The text of a value in a list of names.
pub(super) fn written(argument: &Argument) -> Option<Vec<u8>> {
    match argument {
        Argument::Atom(text) => Some(text.clone()),
        Argument::Cast(_, item) => written(item),
        Argument::Op(..) => Some((constant(argument)? as i64).to_string().into_bytes()),
        _ => None,
    }
}

/// The value of an expression without fields; an unknown name counts as 0.
pub(super) fn constant(argument: &Argument) -> Option<u64> {
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

/// The mask of the bits that a cast to a type keeps; unknown types keep all.
pub(super) fn mask(name: &[u8]) -> u64 {
    match name.strip_prefix(b"unsigned ").unwrap_or(name) {
        b"char" | b"u8" | b"s8" => 0xff,
        b"short" | b"u16" | b"s16" => 0xffff,
        b"int" | b"u32" | b"s32" => 0xffff_ffff,
        _ => u64::MAX,
    }
}
