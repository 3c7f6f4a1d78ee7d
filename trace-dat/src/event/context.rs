//! What the text of an event needs besides its record.

use std::collections::HashMap;

use super::symbols::Symbols;
use crate::bytes::ByteOrder;

/// What an event's text may need besides the record.
#[derive(Debug)]
pub struct Context {
    /// The recorded kernel's byte order.
    pub order: ByteOrder,
    /// Bytes of a long of the recorded kernel, 4 or 8.
    pub long_size: usize,
    /// Functions by address.
    pub symbols: Symbols,
    /// Formats of `trace_printk`, and other constant strings, by address.
    pub printk: HashMap<u64, Vec<u8>>,
}
