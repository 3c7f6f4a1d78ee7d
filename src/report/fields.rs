//! Offsets of the printed fields in records of functions and graphs.

use trace_dat::bytes::ByteOrder;
use trace_dat::event::{Event, Field, Place};

/// Where a record of a function has its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FunctionFields {
    pub function: Place,
    pub caller: Place,
    /// Where the arguments begin, if there may be some.
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

/// Where the records of a graph have their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallFields {
    pub function: Place,
    pub depth: Place,
    /// Call and return; an entry has none.
    pub times: [Option<Place>; 2],
    /// What the function returned, in an exit of kernels that record it.
    pub returned: Option<Place>,
    /// The return address, in entries that have it.
    pub caller: Option<Place>,
    /// Where the arguments begin, in an entry that may have them.
    pub arguments: Option<u32>,
}

impl CallFields {
    /// Whether what functions return was recorded.
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
