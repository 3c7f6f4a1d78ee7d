//! Turns the arguments that trace-cmd reads into a program.

use std::sync::OnceLock;

use super::parser::{Argument, Parser, mask, number};
use crate::bytes::ByteOrder;
use crate::event::field::{Dynamic, Field};
use crate::print_fmt::plugins::PluginFunction;
use crate::print_fmt::printf::{Given, Spec, trace_cmd_conversion};
use crate::print_fmt::program::{Expr, Flags, Op, Piece, Program, known_to_trace_cmd};

/// Combines conversions with their arguments.
pub(super) fn pieces(format: &[u8], arguments: Vec<Argument>, parser: &Parser<'_>) -> Option<Program> {
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
                    // An unknown letter is printed and takes no argument.
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

/// The argument of a conversion, or the message that trace-cmd prints instead.
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
        // trace-cmd prints an address of its own memory, which differs in each run: we print the offset.
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
            // If operators were reordered, a unary operator may have a left operand, which is ignored.
            (b"!" | b"~", _, Some(right)) => Expr::Unary(op[0], boxed(*right)),
            // trace-cmd does not know this operator.
            (b"^", ..) => Expr::Number(0),
            (_, left, right) => match std::str::from_utf8(&op).ok().and_then(Op::of) {
                Some(op) => {
                    let side = |side: Option<Box<Argument>>| match side {
                        Some(side) => boxed(*side),
                        None => Box::new(Expr::Number(0)),
                    };
                    let (left, mut right) = (side(left), side(right));
                    if matches!(op, Op::Left | Op::Right) {
                        // As the processor that runs trace-cmd shifts.
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

/// An element of an array. For dynamic arrays the index counts bytes.
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

/// The size of an array's elements according to trace-cmd; 0 if it knows none.
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
        // trace-cmd knows no size if the number of elements is given by a name.
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
            // Negative values count as unknown here.
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
                    Expr::PluginFunction(PluginFunction::Device, vec![value(device, parser)])
                }
                ("xen_hypercall_name", Some(number), ..) => {
                    Expr::PluginFunction(PluginFunction::XenHypercall, vec![value(number, parser)])
                }
                ("scsi_trace_parse_cdb", _, Some(of), Some(size)) => match bytes(of) {
                    Some(of) => Expr::PluginFunction(
                        PluginFunction::ScsiCommand { as_trace_cmd: true },
                        vec![of, value(size, parser)],
                    ),
                    None => nothing(),
                },
                ("jiffies_to_msecs", Some(jiffies), ..) => {
                    Expr::PluginFunction(PluginFunction::Plain, vec![value(jiffies, parser)])
                }
                _ => nothing(),
            }
        }
        _ => nothing(),
    }
}

/// The number of this kind of argument in trace-cmd's own message.
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
/// The value of a flag or symbol from its text; an unknown name is -1.
fn flag(text: &[u8]) -> u64 {
    if text.first().is_some_and(u8::is_ascii_digit) {
        return number(text);
    }
    std::str::from_utf8(text).ok().and_then(known_to_trace_cmd).unwrap_or(u64::MAX)
}
