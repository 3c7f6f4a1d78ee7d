//! The fields of an event: their places in a record, and their types.

use crate::bytes::ByteOrder;

/// Whether a field's bytes are elsewhere in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dynamic {
    /// They are in the field itself.
    No,
    /// The field holds their offset in the record (`__data_loc`).
    Record,
    /// The field holds their offset from its own end (`__rel_loc`).
    Field,
}

/// One field of an event.
#[derive(Debug, Clone)]
pub struct Field {
    /// The name, without array brackets.
    pub name: String,
    /// The declared type.
    pub type_name: String,
    /// Byte offset in the record.
    pub offset: usize,
    /// Size in bytes; 0 means the rest of the record.
    pub size: usize,
    /// Whether the kernel declares it signed.
    pub signed: bool,
    /// Whether it is an array, dynamic ones included.
    pub array: bool,
    /// Whether its bytes are elsewhere in the record.
    pub dynamic: Dynamic,
    /// The declared number of array elements, if it is a number.
    pub elements: Option<usize>,
}

/// Where a number is in a record: the part of a [`Field`] that is needed to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    offset: u32,
    size: u32,
    /// The start of the eight bytes that end with the number. One load reads them, whatever the number's
    /// size: decoding spends most of its time here.
    eight: u32,
    /// How many of these 64 bits come before the number.
    before: u32,
}

impl Place {
    /// The value of `eight` if there are no such bytes; it is beyond any record.
    const NONE: u32 = u32::MAX;

    /// `offset` and `size` must be below 2^24.
    fn new(offset: u32, size: u32) -> Place {
        let eight = (offset + size).checked_sub(8).filter(|_| (1..=8).contains(&size));
        Place {
            offset,
            size,
            eight: eight.unwrap_or(Place::NONE),
            before: 64_u32.saturating_sub(8 * size).min(63),
        }
    }

    /// The number's size in bytes.
    pub fn size(self) -> usize {
        self.size as usize
    }

    /// The unsigned number; `None` when the record is too short.
    #[inline(always)]
    pub fn number(&self, order: ByteOrder, record: &[u8]) -> Option<u64> {
        let start = self.eight as usize;
        match record.get(start..start + 8).map(<[u8; 8]>::try_from) {
            Some(Ok(bytes)) => Some(match order {
                ByteOrder::Little => u64::from_le_bytes(bytes) >> self.before,
                ByteOrder::Big => u64::from_be_bytes(bytes) << self.before >> self.before,
            }),
            _ => self.number_at_start(order, record),
        }
    }

    /// The same without the eight bytes: for a number near the start of the record, or of another size.
    #[inline]
    pub(crate) fn number_at_start(&self, order: ByteOrder, record: &[u8]) -> Option<u64> {
        order.number_at(record, self.offset as usize, self.size as usize)
    }
}

impl Field {
    /// Where its number is in a record.
    #[inline]
    pub fn place(&self) -> Place {
        Place::new(self.offset as u32, self.size as u32)
    }

    /// The field as an unsigned number; `None` when the record is too short.
    #[inline]
    pub fn number(&self, order: ByteOrder, record: &[u8]) -> Option<u64> {
        self.place().number(order, record)
    }

    /// Where its bytes start in the record, also for a dynamic field.
    #[inline]
    pub fn start(&self, order: ByteOrder, record: &[u8]) -> Option<usize> {
        if self.dynamic == Dynamic::No {
            return Some(self.offset);
        }
        let start = (self.number(order, record)? & 0xffff) as usize;
        Some(if self.dynamic == Dynamic::Field { start + self.offset + self.size } else { start })
    }

    /// The bytes of the field, also of a dynamic one; `None` when they are outside of the record. If the
    /// record ends within an array, only its first bytes.
    #[inline]
    pub fn bytes<'r>(&self, order: ByteOrder, record: &'r [u8]) -> Option<&'r [u8]> {
        if self.dynamic == Dynamic::No {
            let end = if self.size == 0 { record.len() } else { record.len().min(self.offset + self.size) };
            return record.get(self.offset..end);
        }
        let place = self.number(order, record)?;
        let (start, size) = (self.start(order, record)?, (place >> 16 & 0xffff) as usize);
        record.get(start..start + size)
    }

    /// Whether it is text, that is an array of char.
    pub fn is_string(&self) -> bool {
        self.array && ["char", "u8", "s8"].iter().any(|name| self.type_name.contains(name))
    }

    /// Whether it is a pointer.
    pub fn is_pointer(&self) -> bool {
        self.type_name.contains('*')
    }

    /// Whether it is a long or long long, which often hold addresses.
    pub fn is_long(&self) -> bool {
        self.type_name.contains("long")
    }

    /// Parses the line `field:TYPE NAME[N]; offset:N; size:N; signed:N;`.
    pub(super) fn parse(line: &str) -> Option<Field> {
        let rest = line.strip_prefix("field:").or_else(|| line.strip_prefix("field special:"))?;
        let (declaration, rest) = rest.split_once(';').unwrap_or((rest, ""));
        let declaration = declaration.trim_ascii();
        let (mut offset, mut size, mut signed) = (None, None, false);
        for part in rest.split(';') {
            let part = part.trim_ascii();
            if let Some(value) = part.strip_prefix("offset:") {
                offset = value.trim().parse().ok();
            } else if let Some(value) = part.strip_prefix("size:") {
                size = value.trim().parse().ok();
            } else if let Some(value) = part.strip_prefix("signed:") {
                signed = value.trim() == "1";
            }
        }
        let (declared, brackets) = match declaration.strip_suffix(']').map(|inner| inner.rfind('[')) {
            // In `__data_loc char[] name` the brackets belong to the type.
            Some(Some(open)) => (declaration[..open].trim_end(), true),
            _ => (declaration, false),
        };
        let elements = declaration[declared.len()..].trim_matches([' ', '[', ']']).parse().ok();
        // Non-ASCII bytes count as letters.
        let of_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_' || !byte.is_ascii();
        let length = declared.bytes().rev().take_while(|byte| of_name(&byte)).count();
        let (type_name, name) = declared.split_at(declared.len() - length);
        let type_name = type_name.trim_end();
        let dynamic = if type_name.starts_with("__data_loc") {
            Dynamic::Record
        } else if type_name.starts_with("__rel_loc") {
            Dynamic::Field
        } else {
            Dynamic::No
        };
        Some(Field {
            name: name.to_string(),
            type_name: type_name.to_string(),
            offset: offset.filter(|offset| *offset < 1 << 24)?,
            size: size.filter(|size| *size < 1 << 24)?,
            signed,
            array: brackets || dynamic != Dynamic::No,
            dynamic,
            elements,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_sizes_stand_anywhere() {
        let record: Vec<u8> = (1..=20).collect();
        for (offset, size) in (0..22).flat_map(|offset| (0..10).map(move |size| (offset, size))) {
            for order in [ByteOrder::Little, ByteOrder::Big] {
                assert_eq!(
                    Place::new(offset, size).number(order, &record),
                    record
                        .get(offset as usize..(offset + size) as usize)
                        .and_then(|bytes| order.number(bytes)),
                    "{order:?}, {size} bytes at {offset}"
                );
            }
        }
    }
}
