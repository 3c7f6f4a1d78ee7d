//! Reads numbers from bytes, in the byte order that the file states, never the host's; pure.

/// The byte order of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl ByteOrder {
    /// The unsigned number in 1 to 8 bytes; `None` for no bytes or for more than 8.
    ///
    /// ```
    /// use trace_dat::bytes::ByteOrder;
    /// assert_eq!(ByteOrder::Little.number(&[1, 2]), Some(0x201));
    /// assert_eq!(ByteOrder::Big.number(&[1, 2]), Some(0x102));
    /// assert_eq!(ByteOrder::Big.number(&[]), None);
    /// ```
    pub fn number(self, bytes: &[u8]) -> Option<u64> {
        if bytes.is_empty() || bytes.len() > 8 {
            return None;
        }
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(match self {
            ByteOrder::Little => bytes.iter().rev().fold(0, add),
            ByteOrder::Big => bytes.iter().fold(0, add),
        })
    }

    /// The number of `size` bytes at `offset`; `None` when the data are too short.
    #[inline]
    pub fn number_at(self, data: &[u8], offset: usize, size: usize) -> Option<u64> {
        let bytes = data.get(offset..offset.checked_add(size)?)?;
        // The common sizes without a loop: decoding spends most of its time here.
        match size {
            2 => {
                let bytes = bytes.try_into().ok()?;
                Some(u64::from(match self {
                    ByteOrder::Little => u16::from_le_bytes(bytes),
                    ByteOrder::Big => u16::from_be_bytes(bytes),
                }))
            }
            4 => self.u32_at(data, offset).map(u64::from),
            8 => {
                let bytes = bytes.try_into().ok()?;
                Some(match self {
                    ByteOrder::Little => u64::from_le_bytes(bytes),
                    ByteOrder::Big => u64::from_be_bytes(bytes),
                })
            }
            _ => self.number(bytes),
        }
    }

    /// The 32-bit number at `offset`; `None` when the data are too short.
    #[inline]
    pub fn u32_at(self, data: &[u8], offset: usize) -> Option<u32> {
        let bytes = data.get(offset..offset.checked_add(4)?)?.try_into().ok()?;
        Some(match self {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        })
    }
}

/// A C string: the bytes before the first NUL, or all bytes if there is none.
///
/// ```
/// assert_eq!(trace_dat::bytes::until_nul(b"sh\0junk"), b"sh");
/// ```
#[inline]
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_with_the_data() {
        let data = [1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(ByteOrder::Little.number_at(&data, 4, 4), Some(0x0807_0605));
        assert_eq!(ByteOrder::Big.number_at(&data, 0, 8), Some(0x0102_0304_0506_0708));
        assert_eq!(ByteOrder::Big.number_at(&data, 5, 3), Some(0x06_0708));
        assert_eq!(ByteOrder::Little.number_at(&data, 5, 4), None);
        assert_eq!(ByteOrder::Little.number_at(&data, usize::MAX, 4), None);
    }
}
