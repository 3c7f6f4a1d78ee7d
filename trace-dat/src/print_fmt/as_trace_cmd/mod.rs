//! Print formats as trace-cmd 3.1.6 reads them: what its library makes of an expression, its
//! misreadings included.
//!
//! Operators are taken one after the other, and what was read is put right by their rank alone: so
//! brackets right of an operator do not hold together what binds less tightly (`a & (b | c)` is
//! `(a & b) | c`), and what follows a choice is applied to all of it. Names of types are texts like
//! any other. Values have 64 bits and no sign, and functions are those of its plug-ins. What makes
//! trace-cmd crash counts as not understood.

mod lower;
mod parser;

use self::lower::pieces;
use self::parser::{Parser, Token};
use crate::event::field::Field;
use crate::print_fmt::program::Program;

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
