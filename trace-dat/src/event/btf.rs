//! BTF, the kernel's own description of its types: names and types of the arguments of functions.
//!
//! The format is described in the kernel's `Documentation/bpf/btf.rst`. Nothing in it is trusted: entries
//! that do not fit are ignored.

use std::collections::HashMap;

use crate::bytes::{ByteOrder, until_nul};

const MAGIC: u64 = 0xeb9f;
/// `magic`, `version`, `flags`, `hdr_len`, then offset and size of types and of strings.
const HEADER: usize = 24;
/// `name_off`, `info`, and `size` or `type`.
const TYPE: usize = 12;
/// The longest chain of types that only refer to another one.
const DEEPEST: usize = 32;

/// Kinds of types.
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const FWD: u32 = 7;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const FLOAT: u32 = 16;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// The names of the kinds, by their number.
const KINDS: [&str; 20] = [
    "UNKNOWN",
    "INT",
    "PTR",
    "ARRAY",
    "STRUCT",
    "UNION",
    "ENUM",
    "FWD",
    "TYPEDEF",
    "VOLATILE",
    "CONST",
    "RESTRICT",
    "FUNC",
    "FUNC_PROTO",
    "VAR",
    "DATASEC",
    "FLOAT",
    "DECL_TAG",
    "TYPE_TAG",
    "ENUM64",
];

/// The types of a kernel.
#[derive(Debug)]
pub struct Btf {
    data: Vec<u8>,
    order: ByteOrder,
    strings: usize,
    /// The offset of each type, by its number minus one.
    types: Vec<u32>,
    /// The type of each function, by its name; of functions with the same name, the first.
    functions: HashMap<Vec<u8>, u32>,
}

/// The type of a parameter, as far as it is needed for printing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A pointer.
    Pointer,
    /// An integer.
    Integer {
        /// Whether it is signed.
        signed: bool,
        /// Its size in bits.
        bits: u32,
    },
    /// A value of an `enum` of up to four bytes.
    Enum,
    /// Any other type: the name of its kind, and its size in bytes.
    Other(&'static str, u32),
    /// A type that cannot be resolved.
    Unknown,
    /// The variable arguments, `...`.
    Open,
}

/// A parameter of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Its name; empty if it has none.
    pub name: &'a [u8],
    /// Its type.
    pub value: Value,
    number: u32,
}

#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    /// How many members or parameters follow.
    count: u32,
    /// Its size in bytes, or the number of the type that it refers to.
    size: u32,
    /// Offset of its members or parameters.
    rest: usize,
}

impl Btf {
    /// Reads `/sys/kernel/btf/vmlinux`, or the section of a recording; `None` when `data` are not BTF.
    pub fn parse(data: Vec<u8>, order: ByteOrder) -> Option<Btf> {
        let number = |at: usize, size: usize| order.number_at(&data, at, size);
        if number(0, 2)? != MAGIC {
            return None;
        }
        let header = number(4, 4)? as usize;
        let start = |at: usize| header.checked_add(number(at, 4)? as usize);
        let (types, strings) = (start(8)?, start(16)?);
        let end = types.checked_add(number(12, 4)? as usize).filter(|end| *end <= data.len())?;
        if header < HEADER || strings > data.len() {
            return None;
        }
        let mut btf = Btf { data, order, strings, types: Vec::new(), functions: HashMap::new() };
        let mut at = types;
        while at < end {
            let found = btf.at(at)?;
            btf.types.push(at as u32);
            if found.kind == kind::FUNC {
                let name = btf.text(found.name).to_vec();
                btf.functions.entry(name).or_insert(found.size);
            }
            at = found.rest.checked_add(found.following()?)?;
        }
        Some(btf)
    }

    /// The parameters of a function; `None` when it is unknown. If the whole name is not found, a suffix of
    /// the compiler (`.isra.0`) is ignored.
    pub fn parameters(&self, function: &str) -> Option<Vec<Parameter<'_>>> {
        let whole = self.functions.get(function.as_bytes());
        let bare = || self.functions.get(function.split('.').next()?.as_bytes());
        let prototype = self.get(*whole.or_else(bare)?)?;
        if prototype.kind != kind::FUNC_PROTO {
            return None;
        }
        let parameter = |index: u32| {
            let at = prototype.rest + 8 * index as usize;
            let (name, number) = (self.number(at)?, self.number(at + 4)?);
            Some(Parameter { name: self.text(name), value: self.value(number), number })
        };
        (0..prototype.count).map(parameter).collect()
    }

    /// A parameter with its type as C declares it, such as `struct file *f`.
    pub fn declaration(&self, parameter: &Parameter<'_>) -> String {
        let mut text = String::new();
        self.declare(parameter.number, DEEPEST, &mut text);
        text + &String::from_utf8_lossy(parameter.name)
    }

    fn declare(&self, number: u32, deepest: usize, out: &mut String) {
        let (Some(found), Some(deepest)) = (self.get(number), deepest.checked_sub(1)) else { return };
        let before = match found.kind {
            kind::ENUM => "enum ",
            kind::STRUCT => "struct ",
            kind::UNION => "union ",
            kind::CONST => "const ",
            kind::VOLATILE => "volatile ",
            _ => "",
        };
        out.push_str(before);
        match found.kind {
            kind::ENUM | kind::STRUCT | kind::UNION | kind::TYPEDEF => {
                out.push_str(&String::from_utf8_lossy(self.text(found.name)));
                out.push(' ');
            }
            kind::PTR => {
                match found.size {
                    0 => out.push_str("void "),
                    of => self.declare(of, deepest, out),
                }
                out.push('*');
            }
            kind::CONST | kind::VOLATILE | kind::RESTRICT | kind::TYPE_TAG => {
                self.declare(found.size, deepest, out);
            }
            kind::INT => {
                out.push_str(&String::from_utf8_lossy(self.text(found.name)));
                out.push(' ');
            }
            _ => {}
        }
    }

    fn value(&self, number: u32) -> Value {
        if number == 0 {
            return Value::Open;
        }
        let mut next = number;
        for _ in 0..DEEPEST {
            let Some(found) = self.get(next) else { return Value::Unknown };
            match found.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    next = found.size;
                }
                kind::PTR => return Value::Pointer,
                kind::ENUM => return Value::Enum,
                kind::INT => {
                    let encoding = self.number(found.rest).unwrap_or(0);
                    return Value::Integer { signed: encoding >> 24 & 1 != 0, bits: encoding & 0xff };
                }
                other => return Value::Other(KINDS.get(other as usize).unwrap_or(&KINDS[0]), found.size),
            }
        }
        Value::Unknown
    }

    fn get(&self, number: u32) -> Option<Type> {
        self.at(*self.types.get((number as usize).checked_sub(1)?)? as usize)
    }

    fn at(&self, at: usize) -> Option<Type> {
        let info = self.number(at + 4)?;
        let (name, size) = (self.number(at)?, self.number(at + 8)?);
        Some(Type { name, kind: info >> 24 & 0x1f, count: info & 0xffff, size, rest: at + TYPE })
    }

    fn number(&self, at: usize) -> Option<u32> {
        self.order.u32_at(&self.data, at)
    }

    fn text(&self, offset: u32) -> &[u8] {
        let rest = self.strings.checked_add(offset as usize).and_then(|start| self.data.get(start..));
        until_nul(rest.unwrap_or_default())
    }
}

impl Type {
    /// The size in bytes of its members or parameters.
    fn following(self) -> Option<usize> {
        let count = self.count as usize;
        Some(match self.kind {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::ENUM | kind::FUNC_PROTO => 8 * count,
            kind::STRUCT | kind::UNION | kind::ENUM64 | kind::DATASEC => 12 * count,
            kind::PTR
            | kind::FWD
            | kind::TYPEDEF
            | kind::VOLATILE
            | kind::CONST
            | kind::RESTRICT
            | kind::FUNC
            | kind::FLOAT
            | kind::TYPE_TAG => 0,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `f.isra(struct file *f, unsigned int n, ...)`, with the types that it uses.
    fn made_up() -> Vec<u8> {
        let strings = b"\0f\0file\0n\0unsigned int\0";
        let types: [u32; 28] = [
            3,
            kind::STRUCT << 24,
            8, // 1: struct file
            0,
            kind::PTR << 24,
            1, // 2: a pointer to it
            10,
            kind::INT << 24,
            4,
            32, // 3: unsigned int
            10,
            kind::TYPEDEF << 24,
            3, // 4: another name of it
            0,
            kind::FUNC_PROTO << 24 | 3,
            0,
            1,
            2,
            8,
            4,
            0,
            0, // 5
            1,
            kind::FUNC << 24,
            5, // 6
            1,
            kind::FUNC << 24,
            1, // 7: the second of this name does not count
        ];
        let header: [u32; 5] = [HEADER as u32, 0, 112, 112, strings.len() as u32];
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        bytes.extend(header.iter().chain(&types).flat_map(|word| word.to_le_bytes()));
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn functions_have_parameters_with_types() {
        let btf = Btf::parse(made_up(), ByteOrder::Little).unwrap();
        let found = btf.parameters("f.isra.0").unwrap();
        let values: Vec<(&[u8], Value)> = found.iter().map(|found| (found.name, found.value)).collect();
        let number = Value::Integer { signed: false, bits: 32 };
        assert_eq!(values, [(&b"f"[..], Value::Pointer), (b"n", number), (b"", Value::Open)]);
        let declared: Vec<String> = found.iter().map(|found| btf.declaration(found)).collect();
        assert_eq!(declared, ["struct file *f", "unsigned int n", ""]);
        assert_eq!(btf.parameters("g"), None);
    }

    #[test]
    fn what_is_cut_or_changed_does_no_harm() {
        let bytes = made_up();
        for end in 0..bytes.len() {
            if let Some(btf) = Btf::parse(bytes[..end].to_vec(), ByteOrder::Little) {
                let _ = btf.parameters("f");
            }
            for value in [0, 0xff, 5] {
                let mut changed = bytes.clone();
                changed[end] = value;
                if let Some(btf) = Btf::parse(changed, ByteOrder::Little) {
                    let found = btf.parameters("f").unwrap_or_default();
                    found.iter().for_each(|found| drop(btf.declaration(found)));
                }
            }
        }
    }
}
