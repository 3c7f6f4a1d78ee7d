//! Print formats as the kernel's compiler reads them: C's types, promotions and pointers.
//!
//! The allowed arguments follow `Documentation/trace/events.rst` and the kernel's `include/trace/stages`.
//! Pointers may point into the record; the targets of other pointers are not in a recording. A format that
//! needs more is refused, with the reason.

mod functions;
mod parser;
mod types;

use self::parser::{Parser, shown};
use self::types::{Result, Type, Typed};
use crate::event::field::Field;
use crate::print_fmt::printf::{Given, Spec, conversions};
use crate::print_fmt::program::{Expr, Piece, Program};
use crate::print_fmt::token::{Token, tokens};

/// Compiles the text after `print fmt:`; fails with the reason.
pub(crate) fn compile(text: &str, fields: &[Field], long_size: usize) -> Result<Program> {
    if text.is_empty() {
        return Err("has no print format".into());
    }
    // Format files do not escape a quote at the end of the text.
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

/// Changes the pieces that print the place of a probe. The kernel ignores the format for them: it prints
/// names of functions, and for a return probe the caller before the function.
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
