//! The data besides a record that are needed to print its event.

use std::collections::HashMap;

use super::symbols::Symbols;
use crate::bytes::ByteOrder;

/// The data besides a record that are needed to print its event.
#[derive(Debug)]
pub struct Context {
    /// The recorded kernel's byte order.
    pub order: ByteOrder,
    /// The size of a long of the recorded kernel, 4 or 8 bytes.
    pub long_size: usize,
    /// Functions by address.
    pub symbols: Symbols,
    /// Formats of `trace_printk`, and other constant strings, by address.
    pub printk: HashMap<u64, Vec<u8>>,
}
