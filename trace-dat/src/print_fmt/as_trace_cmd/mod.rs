//! Print formats as the library of trace-cmd 3.1.6 reads them, including its mistakes.
//!
//! trace-cmd reads operators one after the other and reorders them by their rank. So it ignores
//! parentheses around a lower-precedence right operand (`a & (b | c)` is read as `(a & b) | c`), and it
//! applies an operator after a choice (`a ? b : c`) to the whole choice. Type names are ordinary texts.
//! Values are unsigned and have 64 bits, and the functions are those of its plug-ins. A format that makes
//! trace-cmd crash counts as not understood.

mod lower;
mod parser;

use self::lower::pieces;
use self::parser::{Parser, Token};
use crate::event::field::Field;
use crate::print_fmt::program::Program;

/// Compiles the text after `print fmt:`; `None` if trace-cmd fails to parse it.
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
