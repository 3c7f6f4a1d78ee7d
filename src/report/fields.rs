//! Offsets of the printed fields in records of functions and graphs.

use trace_dat::bytes::ByteOrder;
use trace_dat::event::{Event, Field, Place};

/// Where a function record holds its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FunctionFields {
    pub function: Place,
    pub caller: Place,
    /// Where the arguments begin, if the event has them.
    pub arguments: Option<u32>,
}

impl FunctionFields {
    /// `None` when a field is missing.
    pub fn find(event: &Event) -> Option<FunctionFields> {
        let place = |name: &str| event.field(name).map(Field::place);
        let (function, caller) = (place("ip")?, place("parent_ip")?);
        Some(FunctionFields { function, caller, arguments: arguments(event) })
    }

    /// The addresses of the function and of its caller.
    #[inline]
    pub fn read(&self, order: ByteOrder, record: &[u8]) -> Option<[u64; 2]> {
        Some([self.function.number(order, record)?, self.caller.number(order, record)?])
    }
}

/// Where graph records hold their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallFields {
    pub function: Place,
    pub depth: Place,
    /// The times of the call and the return; an entry has none.
    pub times: [Option<Place>; 2],
    /// The return value, in exits of kernels that record it.
    pub returned: Option<Place>,
    /// The return address, in entries that have it.
    pub caller: Option<Place>,
    /// Where the arguments begin, in entries that have them.
    pub arguments: Option<u32>,
}

impl CallFields {
    /// Whether return values were recorded.
    pub fn has_returns(&self) -> bool {
        self.returned.is_some()
    }

    /// `None` when a field is missing.
    pub fn find(event: &Event) -> Option<CallFields> {
        let place = |name: &str| event.field(name).map(Field::place);
        Some(CallFields {
            function: place("func")?,
            depth: place("depth")?,
            times: [place("calltime"), place("rettime")],
            returned: place("retval"),
            caller: place("retaddr"),
            arguments: arguments(event),
        })
    }
}

/// Where the arguments of a function begin in the records of an event; `None` where there are none.
fn arguments(event: &Event) -> Option<u32> {
    event.field("args").map(|field| field.offset as u32)
}
