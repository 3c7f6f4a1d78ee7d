//! Parses arguments of print formats as C expressions.

use std::sync::OnceLock;

use super::types::{
    INT, Result, TEXT, Target, Type, Typed, behind, choice, common, converted, cut, element, literal,
    loaded_number, moved, name_in, negated, not, number_type, operation, promoted, scaled, words,
};
use crate::event::field::{Dynamic, Field};
use crate::print_fmt::program::{Expr, Op, known, sign_extended};
use crate::print_fmt::token::{Token, unescaped};

/// Nesting beyond this is refused, so that a made-up format cannot exhaust the stack.
const DEEPEST: usize = 64;
/// The most operators, since a chain of operators is a deep tree, too. Real formats have some hundreds, in
/// lists of flags.
const MOST_OPERATORS: usize = 2048;

pub(super) struct Parser<'a> {
    pub tokens: &'a [Token],
    pub at: usize,
    pub fields: &'a [Field],
    pub long_size: usize,
    pub depth: usize,
    pub operators: usize,
}

/// Binary operators by precedence, the lowest first.
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

pub(super) fn shown(token: Option<&Token>) -> String {
    match token {
        None => "nothing".into(),
        Some(Token::Text(text)) => format!("\"{text}\""),
        Some(Token::Char(byte)) => format!("the character {byte}"),
        Some(Token::Word(word)) => format!("'{word}'"),
        Some(Token::Op(operator)) => format!("'{operator}'"),
    }
}

impl Parser<'_> {
    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    pub(super) fn accept(&mut self, operator: &str) -> bool {
        let there = matches!(self.peek(), Some(Token::Op(found)) if *found == operator);
        self.at += usize::from(there);
        there
    }

    pub(super) fn expect(&mut self, operator: &str) -> Result<()> {
        if self.accept(operator) {
            return Ok(());
        }
        Err(format!("has {} where '{operator}' should stand", shown(self.peek())))
    }

    pub(super) fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEEPEST { Err("is nested too deeply".into()) } else { Ok(()) }
    }

    pub(super) fn one_more(&mut self) -> Result<()> {
        self.operators += 1;
        if self.operators > MOST_OPERATORS { Err("has too many operators".into()) } else { Ok(()) }
    }

    pub(super) fn choice(&mut self) -> Result<Typed> {
        self.deeper()?;
        let start = self.at;
        let condition = self.binary(0)?;
        let result = if self.accept("?") {
            self.one_more()?;
            let then = if matches!(self.peek(), Some(Token::Op(":"))) {
                // `a ?: b` means `a ? a : b`, so `a` is parsed a second time.
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

    pub(super) fn one_of(&self, condition: Expr, then: Typed, otherwise: Typed) -> Result<Typed> {
        let of = match (then.of, otherwise.of) {
            (Type::Int { .. }, Type::Int { .. }) => {
                let of = common(then.of, otherwise.of);
                let (then, otherwise) = (converted(then, of), converted(otherwise, of));
                return Ok(Typed { expr: choice(condition, then, otherwise), of });
            }
            (Type::Pointer { to, record }, Type::Pointer { record: other, .. }) => {
                Type::Pointer { to, record: record && other }
            }
            // One side may be a null pointer.
            (of @ Type::Pointer { .. }, _) | (_, of @ Type::Pointer { .. }) => of,
            _ => Type::Symbol,
        };
        Ok(Typed { expr: choice(condition, then.expr, otherwise.expr), of })
    }

    pub(super) fn binary(&mut self, level: usize) -> Result<Typed> {
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

    pub(super) fn combined(&self, op: Op, left: Typed, right: Typed) -> Result<Typed> {
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
            // The type of the result is unknown, too.
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
            // As processors shift: C does not define this.
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
            // The result may exceed the type's range.
            Op::Add | Op::Subtract | Op::Multiply | Op::Left => Typed { expr: cut(result, bits, signed), of },
            _ => Typed { expr: result, of },
        })
    }

    pub(super) fn unary(&mut self) -> Result<Typed> {
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

    /// Parses the operand of `&` and returns a pointer to it.
    pub(super) fn address(&mut self) -> Result<Typed> {
        let operand = self.unary()?;
        match (operand.expr, operand.of) {
            (Expr::Load(pointer, size), Type::Int { signed, .. }) => {
                let to = Target { size, signed, number: true };
                Ok(Typed { expr: *pointer, of: Type::Pointer { to, record: true } })
            }
            (Expr::Signed(_, inside), of) if matches!(*inside, Expr::Load(..) | Expr::Field(_)) => {
                self.address_of(*inside, of)
            }
            // An array and its address have the same value.
            (expr @ (Expr::Place(_) | Expr::Bytes(_) | Expr::Behind(..)), of) => Ok(Typed { expr, of }),
            (Expr::Field(field), of) => self.address_of(Expr::Field(field), of),
            // Of a symbol only the address is known.
            (expr @ Expr::Name(..), _) => Ok(Typed { expr, of: Type::Symbol }),
            _ => Err("has '&' before what has no address".into()),
        }
    }

    pub(super) fn address_of(&self, expr: Expr, of: Type) -> Result<Typed> {
        let signed = matches!(of, Type::Int { signed: true, .. });
        let (expr, size) = match expr {
            Expr::Load(pointer, size) => (*pointer, size),
            Expr::Field(field) => (Expr::Place(field), self.fields[field].size),
            _ => return Err("has '&' before what has no address".into()),
        };
        let to = Target { size, signed, number: true };
        Ok(Typed { expr, of: Type::Pointer { to, record: true } })
    }

    /// The number that `pointer[index]` loads.
    pub(super) fn loaded(&mut self, pointer: Typed, index: Expr) -> Result<Typed> {
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

    /// Parses a cast, if there is one here, and returns its type.
    pub(super) fn cast(&mut self) -> Option<Type> {
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
            // Other named types are mostly integers that are large enough for the value.
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

    /// The number of tokens from `from` up to and including the matching closing bracket.
    pub(super) fn closing(&self, from: usize, open: &'static str, close: &'static str) -> Option<usize> {
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

    /// The target of a pointer to a type that is not a number. Its size is taken from a field of this type.
    pub(super) fn structure(&self, words: &[&str]) -> Target {
        let field = self.fields.iter().find(|field| {
            let declared = field.type_name.split_whitespace().filter(|word| *word != "const");
            declared.eq(words.iter().copied().filter(|word| *word != "const"))
        });
        let size = field.map_or(0, |field| field.size / field.elements.unwrap_or(1).max(1));
        Target { size, ..Target::UNKNOWN }
    }

    pub(super) fn cast_to(&self, of: Type, operand: Typed) -> Result<Typed> {
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

    /// Parses a value with the indices and members that follow it.
    pub(super) fn postfix(&mut self) -> Result<Typed> {
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

    pub(super) fn primary(&mut self) -> Result<Typed> {
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

    /// Parses what follows `REC`.
    pub(super) fn record(&mut self) -> Result<Typed> {
        self.expect("->")?;
        let Some(Token::Word(mut name)) = self.next() else { return Err("names no field behind REC".into()) };
        // `ent` is the record's header, a structure; the format lists its members as common fields.
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
            // The place of the field's bytes, as a number.
            Some(index) => Ok(Typed { expr: Expr::Field(index), of: Type::Int { bits: 32, signed: false } }),
            None => Err(format!("uses the field '{name}', which it does not have")),
        }
    }

    pub(super) fn field_value(&self, index: usize) -> Typed {
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

    pub(super) fn long_bits(&self) -> u32 {
        8 * self.long_size as u32
    }

    /// Converts a value to a number.
    pub(super) fn number(&self, value: Typed) -> Result<Expr> {
        match value.of {
            Type::Symbol => {
                let name = name_in(&value.expr).unwrap_or("a name");
                Err(format!("uses {name}, whose value no format tells"))
            }
            _ => Ok(value.expr),
        }
    }

    /// Converts a value to text.
    pub(super) fn text(&self, value: Typed) -> Result<Expr> {
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

    /// Converts a value to a condition.
    pub(super) fn truth(&self, value: Typed) -> Result<Expr> {
        self.number(value)
    }
}
