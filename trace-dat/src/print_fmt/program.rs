//! The programs that print formats are compiled to, with their expressions and operators.
//!
//! A print format consists of a printf string and its arguments. `c` compiles it as the kernel's compiler
//! does, `as_trace_cmd` as trace-cmd reads it; [`super::eval`] runs both.

use std::sync::OnceLock;

use super::plugins::PluginFunction;
use super::printf::Spec;
use crate::bytes::ByteOrder;

/// A compiled print format: literal text and conversions in turn.
#[derive(Debug)]
pub struct Program {
    /// The pieces, to be printed one after the other.
    pub(crate) pieces: Vec<Piece>,
}

/// A bit, if the format states it, and its name.
pub type FlagName = (Option<u64>, Vec<u8>);

impl Program {
    /// The names in the first `__print_flags` whose value is computed from the field with this index.
    pub fn flags_of(&self, field: usize) -> Option<&[FlagName]> {
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Print { value, .. } => value.flags_of(field),
            Piece::Text(_) => None,
        })
    }
}

/// A part of a print format.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Literal text.
    Text(Vec<u8>),
    /// A printf conversion and what it prints; `stars` are the arguments of `*` in it.
    Print {
        /// The conversion.
        spec: Spec,
        /// Width and precision given as arguments.
        stars: Vec<Expr>,
        /// The value to print.
        value: Expr,
    },
}

/// An argument of a print format. Fields are indices into the event's fields. Numbers have 64 bits;
/// narrower ones are extended by their sign or by zeros.
#[derive(Debug)]
pub(crate) enum Expr {
    /// A number.
    Number(u64),
    /// A name that is not a field: the address of the symbol with this name, or 0. It is looked up once.
    Name(String, OnceLock<u64>),
    /// A text in quotes.
    Text(Vec<u8>),
    /// The value of a field, extended by zeros.
    Field(usize),
    /// The field's own bytes, even of a dynamic field.
    Place(usize),
    /// The bytes that a dynamic field refers to, or the field's own bytes.
    Bytes(usize),
    /// The bytes of an expression, from an offset on.
    Behind(Box<Expr>, Box<Expr>),
    /// The number at the start of bytes, and its size in bytes.
    Load(Box<Expr>, usize),
    /// The length of a dynamic field's bytes.
    DynamicLength(usize),
    /// `!`, `~` or `-` and its operand.
    Unary(u8, Box<Expr>),
    /// An operation of two operands.
    Binary(Op, Box<Expr>, Box<Expr>),
    /// `condition ? then : otherwise`.
    Choice(Box<Expr>, Box<Expr>, Box<Expr>),
    /// A number, with all bits outside of this mask cleared.
    Cast(u64, Box<Expr>),
    /// This many low bits of a number, sign-extended.
    Signed(u32, Box<Expr>),
    /// A number with this many bytes. They are swapped if the recorded kernel has another byte order, or
    /// always if the order is `None`.
    Ordered(Option<ByteOrder>, usize, Box<Expr>),
    /// `__print_flags`.
    Flags(Box<Expr>, Flags),
    /// `__print_symbolic`: the value, and the names; a name with an unknown value never matches.
    Symbolic(Box<Expr>, Vec<(Option<u64>, Vec<u8>)>),
    /// `__print_hex`, and `__print_hex_str` when `joined`.
    Hex {
        /// The bytes.
        bytes: Box<Expr>,
        /// Their number.
        count: Box<Expr>,
        /// Without blanks between them.
        joined: bool,
    },
    /// `__print_hex_dump`.
    HexDump(Box<HexDump>),
    /// `__print_array`.
    Array {
        /// The array.
        array: Box<Expr>,
        /// The number of elements.
        count: Box<Expr>,
        /// The size of an element.
        size: Box<Expr>,
        /// As the kernel prints it, `{0x1,0x2}`; trace-cmd 3.1 prints `1 2`.
        in_braces: bool,
    },
    /// `__get_bitmask`: words in hexadecimal, as wide as the field.
    Bitmask(usize),
    /// `__get_cpumask` as trace-cmd prints it: numbers and ranges.
    CpuList(usize),
    /// `__get_stacktrace`: addresses.
    Stack(usize),
    /// A function that trace-cmd has a plug-in for, and its arguments: a number, or bytes and their number.
    PluginFunction(PluginFunction, Vec<Expr>),
}

impl Expr {
    fn flags_of(&self, field: usize) -> Option<&[FlagName]> {
        match self {
            Expr::Flags(of, flags) => of.is_of(field).then_some(&flags.names),
            Expr::Choice(condition, then, otherwise) => {
                [condition, then, otherwise].into_iter().find_map(|part| part.flags_of(field))
            }
            Expr::Binary(_, left, right) => left.flags_of(field).or_else(|| right.flags_of(field)),
            _ => None,
        }
    }

    /// Whether it is this field, or computed from it by operators.
    fn is_of(&self, field: usize) -> bool {
        match self {
            Expr::Field(of) => *of == field,
            Expr::Binary(_, left, right) => left.is_of(field) || right.is_of(field),
            _ => false,
        }
    }
}

/// The names of flags, and how they are printed.
#[derive(Debug)]
pub(crate) struct Flags {
    /// The text between two names.
    pub delimiter: Vec<u8>,
    /// The bits and their names; `None` if the format does not state the bits.
    pub names: Vec<FlagName>,
    /// As trace-cmd prints them: a flag with value 0 is not shown; if no bit is set, the first flag with
    /// unknown bits is shown.
    pub as_trace_cmd: bool,
}

/// The arguments of `__print_hex_dump`.
#[derive(Debug)]
pub(crate) struct HexDump {
    /// The start of each line.
    pub prefix: Vec<u8>,
    /// What follows the prefix: nothing, an address, or the offset.
    pub kind: Expr,
    /// The number of bytes in a line.
    pub row: Expr,
    /// The number of bytes in a group.
    pub group: Expr,
    /// The bytes.
    pub bytes: Expr,
    /// The number of bytes.
    pub count: Expr,
    /// Whether the bytes follow as text.
    pub ascii: Expr,
}

/// An operation on 64-bit numbers; if the sign matters, there is an unsigned and a signed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `|`
    BitOr,
    /// `^`
    BitXor,
    /// `&`
    BitAnd,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `>`
    Greater,
    /// `<=`
    LessEqual,
    /// `>=`
    GreaterEqual,
    /// `<` of signed numbers
    SignedLess,
    /// `>` of signed numbers
    SignedGreater,
    /// `<=` of signed numbers
    SignedLessEqual,
    /// `>=` of signed numbers
    SignedGreaterEqual,
    /// `<<`
    Left,
    /// `>>`
    Right,
    /// `>>` of a signed number
    SignedRight,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `/` of signed numbers
    SignedDivide,
    /// `%`
    Remainder,
    /// `%` of signed numbers
    SignedRemainder,
}

impl Op {
    /// The operation of a C operator on unsigned numbers.
    pub(crate) fn of(text: &str) -> Option<Op> {
        Some(match text {
            "||" => Op::Or,
            "&&" => Op::And,
            "|" => Op::BitOr,
            "^" => Op::BitXor,
            "&" => Op::BitAnd,
            "==" => Op::Equal,
            "!=" => Op::NotEqual,
            "<" => Op::Less,
            ">" => Op::Greater,
            "<=" => Op::LessEqual,
            ">=" => Op::GreaterEqual,
            "<<" => Op::Left,
            ">>" => Op::Right,
            "+" => Op::Add,
            "-" => Op::Subtract,
            "*" => Op::Multiply,
            "/" => Op::Divide,
            "%" => Op::Remainder,
            _ => return None,
        })
    }

    /// The same operation on signed numbers.
    pub(crate) fn signed(self) -> Op {
        match self {
            Op::Less => Op::SignedLess,
            Op::Greater => Op::SignedGreater,
            Op::LessEqual => Op::SignedLessEqual,
            Op::GreaterEqual => Op::SignedGreaterEqual,
            Op::Right => Op::SignedRight,
            Op::Divide => Op::SignedDivide,
            Op::Remainder => Op::SignedRemainder,
            other => other,
        }
    }

    /// The result; `None` for a division by zero.
    pub(crate) fn apply(self, left: u64, right: u64) -> Option<u64> {
        let (l, r) = (left as i64, right as i64);
        let shift = u32::try_from(right).unwrap_or(64);
        Some(match self {
            Op::Or => u64::from(left != 0 || right != 0),
            Op::And => u64::from(left != 0 && right != 0),
            Op::BitOr => left | right,
            Op::BitXor => left ^ right,
            Op::BitAnd => left & right,
            Op::Equal => u64::from(left == right),
            Op::NotEqual => u64::from(left != right),
            Op::Less => u64::from(left < right),
            Op::Greater => u64::from(left > right),
            Op::LessEqual => u64::from(left <= right),
            Op::GreaterEqual => u64::from(left >= right),
            Op::SignedLess => u64::from(l < r),
            Op::SignedGreater => u64::from(l > r),
            Op::SignedLessEqual => u64::from(l <= r),
            Op::SignedGreaterEqual => u64::from(l >= r),
            Op::Left => left.checked_shl(shift).unwrap_or(0),
            Op::Right => left.checked_shr(shift).unwrap_or(0),
            Op::SignedRight => (l >> shift.min(63)) as u64,
            Op::Add => left.wrapping_add(right),
            Op::Subtract => left.wrapping_sub(right),
            Op::Multiply => left.wrapping_mul(right),
            Op::Divide => left.checked_div(right)?,
            Op::Remainder => left.checked_rem(right)?,
            Op::SignedDivide => (r != 0).then(|| l.wrapping_div(r) as u64)?,
            Op::SignedRemainder => (r != 0).then(|| l.wrapping_rem(r) as u64)?,
        })
    }
}

/// `!`, `~` or `-` of a number.
pub(crate) fn unary(operator: u8, value: u64) -> u64 {
    match operator {
        b'!' => u64::from(value == 0),
        b'~' => !value,
        _ => value.wrapping_neg(),
    }
}

/// The low bits of a number, extended by their sign.
pub(crate) fn sign_extended(bits: u32, value: u64) -> u64 {
    let unused = 64 - bits.clamp(1, 64);
    (((value << unused) as i64) >> unused) as u64
}

/// Values of constants that formats use by name.
const KNOWN: [(&str, u64); 24] = [
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
    // trace-cmd does not know the following ones.
    ("DUMP_PREFIX_NONE", 0),
    ("DUMP_PREFIX_ADDRESS", 1),
    ("DUMP_PREFIX_OFFSET", 2),
    ("NULL", 0),
    ("false", 0),
    ("true", 1),
    ("AF_INET", 2),
    ("AF_INET6", 10),
    ("IPPROTO_TCP", 6),
    ("IPPROTO_UDP", 17),
    ("NFS4_VERIFIER_SIZE", 8),
    ("NFS4_STATEID_OTHER_SIZE", 12),
];
const KNOWN_TO_TRACE_CMD: usize = 12;

/// The value of a constant that is the same in all kernels.
pub(crate) fn known(name: &str) -> Option<u64> {
    KNOWN.iter().find(|known| known.0 == name).map(|known| known.1)
}

/// The same, if trace-cmd knows it.
pub(crate) fn known_to_trace_cmd(name: &str) -> Option<u64> {
    KNOWN[..KNOWN_TO_TRACE_CMD].iter().find(|known| known.0 == name).map(|known| known.1)
}
