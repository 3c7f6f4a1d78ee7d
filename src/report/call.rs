//! Calls and returns of a function graph, read from records.

use super::fields::CallFields;
use super::plan::Plan;
use trace_dat::Record;
use trace_dat::event::Place;

/// Half of a call: an entry or an exit. Times are in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub cpu: u32,
    pub pid: i32,
    pub function: u64,
    pub depth: u64,
    /// From the call to the return; 0 for an entry.
    pub duration: u64,
    /// What the function returned; 0 where that was not recorded.
    pub returned: u64,
}

impl Call {
    /// Reads a funcgraph_entry or funcgraph_exit; `None` when the record is too short.
    #[inline(always)]
    pub fn read(fields: &CallFields, plan: &Plan<'_>, record: &Record<'_>) -> Option<Call> {
        let order = plan.context.order;
        let time =
            |place: Option<Place>| place.and_then(|place| place.number(order, record.data)).unwrap_or(0);
        let [call, end] = fields.times;
        Some(Call {
            cpu: record.cpu,
            pid: plan.pid(record),
            function: fields.function.number(order, record.data)?,
            depth: fields.depth.number(order, record.data)?,
            duration: time(end).wrapping_sub(time(call)),
            returned: time(fields.returned),
        })
    }

    /// Whether this exit belongs to an entry. trace-cmd does not compare the CPU: it may match the exit
    /// of another CPU, and then loses the rest of that CPU's records.
    pub fn ends(&self, entry: &Call) -> bool {
        (self.cpu, self.pid, self.function) == (entry.cpu, entry.pid, entry.function)
    }
}
