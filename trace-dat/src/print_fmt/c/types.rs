//! C's types, and operations on values of these types.

use crate::event::field::{Dynamic, Field};
use crate::print_fmt::program::{Expr, Op, sign_extended, unary};

/// The error says why a format is not understood; it is printed after the event's name.
pub(super) type Result<T> = std::result::Result<T, String>;

/// An expression and its type.
pub(super) struct Typed {
    pub expr: Expr,
    pub of: Type,
}

/// A type, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Int {
        bits: u32,
        signed: bool,
    },
    Pointer {
        to: Target,
        /// Whether it points at bytes of the record, or at a text of the format.
        record: bool,
    },
    /// The type of a name that is only known as a symbol's.
    Symbol,
}

/// What a pointer points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    /// Its size in bytes; 0 when that is unknown, or the target is not a number.
    pub size: usize,
    pub signed: bool,
    pub number: bool,
}

impl Target {
    pub const CHAR: Target = Target { size: 1, signed: true, number: true };
    pub const UNKNOWN: Target = Target { size: 0, signed: false, number: false };
}

pub(super) const INT: Type = Type::Int { bits: 32, signed: true };
pub(super) const TEXT: Type = Type::Pointer { to: Target::CHAR, record: true };

/// The first name in an expression that is only known as a symbol's.
pub(super) fn name_in(expr: &Expr) -> Option<&str> {
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
/// A pointer plus or minus a number of elements.
pub(super) fn moved(pointer: Expr, to: Target, record: bool, op: Op, by: Expr) -> Typed {
    let by = scaled(by, to.size.max(1));
    let expr = match (record, op) {
        (false, _) => operation(op, pointer, by),
        (true, Op::Subtract) => behind(pointer, negated(b'-', by)),
        (true, _) => behind(pointer, by),
    };
    Typed { expr, of: Type::Pointer { to, record } }
}

pub(super) fn scaled(index: Expr, size: usize) -> Expr {
    if size == 1 { index } else { operation(Op::Multiply, index, Expr::Number(size as u64)) }
}

pub(super) fn behind(pointer: Expr, by: Expr) -> Expr {
    match (pointer, by) {
        (pointer, Expr::Number(0)) => pointer,
        (Expr::Behind(pointer, before), by) => {
            Expr::Behind(pointer, Box::new(operation(Op::Add, *before, by)))
        }
        (pointer, by) => Expr::Behind(Box::new(pointer), Box::new(by)),
    }
}

/// The number at a place, loaded with the target's type.
pub(super) fn loaded_number(place: Expr, to: Target) -> Typed {
    let bits = 8 * to.size as u32;
    let load = Expr::Load(Box::new(place), to.size);
    let expr = if to.signed && bits < 64 { Expr::Signed(bits, Box::new(load)) } else { load };
    Typed { expr, of: Type::Int { bits, signed: to.signed } }
}

/// An operation; on constants its result.
pub(super) fn operation(op: Op, left: Expr, right: Expr) -> Expr {
    if let (Expr::Number(left), Expr::Number(right)) = (&left, &right)
        && let Some(value) = op.apply(*left, *right)
    {
        return Expr::Number(value);
    }
    Expr::Binary(op, Box::new(left), Box::new(right))
}

pub(super) fn negated(operator: u8, value: Expr) -> Expr {
    match value {
        Expr::Number(value) => Expr::Number(unary(operator, value)),
        value => Expr::Unary(operator, Box::new(value)),
    }
}

pub(super) fn not(value: Expr) -> Expr {
    // A text is never a null pointer.
    if matches!(value, Expr::Text(_)) { Expr::Number(0) } else { negated(b'!', value) }
}

pub(super) fn choice(condition: Expr, then: Expr, otherwise: Expr) -> Expr {
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

/// The low bits of a number, as a number with this size and sign.
pub(super) fn cut(value: Expr, bits: u32, signed: bool) -> Expr {
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
pub(super) fn converted(value: Typed, to: Type) -> Expr {
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

/// The type of a number after C's integer promotion.
pub(super) fn promoted(of: Type) -> Type {
    match of {
        Type::Int { bits, .. } if bits < 32 => INT,
        of => of,
    }
}

/// The common type of two numbers in an operation.
pub(super) fn common(left: Type, right: Type) -> Type {
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

/// Parses a number as in C, with its type.
pub(super) fn literal(word: &str, long_size: usize) -> Option<Typed> {
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
    // A decimal number that is too large for int becomes long, not unsigned.
    let over = value >> (bits - 1) != 0;
    let (bits, signed) = match (unsigned, over, prefixed || bits == 64) {
        (true, ..) => (bits, false),
        (false, true, true) => (bits, false),
        (false, true, false) => (64, true),
        (false, false, _) => (bits, true),
    };
    Some(Typed { expr: Expr::Number(value), of: Type::Int { bits, signed } })
}

pub(super) fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Size and signedness of an integer type; `None` for any other.
pub(super) fn number_type(words: &[&str], long_size: usize) -> Option<(usize, bool)> {
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

/// The type of an array's elements.
pub(super) fn element(field: &Field, long_size: usize) -> Target {
    let name = field.type_name.trim_end_matches(['[', ']', ' ']);
    if name.ends_with('*') {
        return Target { size: long_size, signed: false, number: true };
    }
    let words = words(name);
    match number_type(&words, long_size) {
        // Whether char is signed differs between processors; the field says it.
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
