//! How an event is printed: by its print format, or by code of our own.

use super::fields::{CallFields, FunctionFields};
use trace_dat::Reader;
use trace_dat::bytes::until_nul;
use trace_dat::event::Event;

/// How an event is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handler {
    /// By its print format.
    None,
    Function(FunctionFields),
    GraphEntry(CallFields),
    GraphExit(CallFields),
    KernelStack,
    RawData,
    BinaryPrint,
    SchedSwitch,
    SchedWakeup,
    CallSite,
    HrtimerExpire,
    HrtimerStart,
    TlbFlush,
    Futex,
}

/// How an event is printed when the kernel's own print formats are requested.
pub(super) fn kernel_format(event: &Event) -> Handler {
    // The print format of this event is a placeholder; its records hold the address of the real one.
    let binary_print = event.system == "ftrace" && event.name == "bprint";
    if binary_print { Handler::BinaryPrint } else { Handler::None }
}

/// How an event is printed in our own style: as the kernel prints it. The kernel has special code for the
/// events of the ftrace system only. Switches and wakeups are kept because commands are learned from them.
pub(super) fn own(event: &Event) -> Handler {
    match handler(event) {
        sched @ (Handler::SchedSwitch | Handler::SchedWakeup) => sched,
        handler if event.system == "ftrace" => handler,
        _ => Handler::None,
    }
}

/// How an event is printed in the styles of trace-cmd.
pub(super) fn handler(event: &Event) -> Handler {
    match (event.system.as_str(), event.name.as_str()) {
        ("ftrace", "function") => FunctionFields::find(event).map_or(Handler::None, Handler::Function),
        ("ftrace", "funcgraph_entry" | "fgraph_retaddr_entry") => {
            CallFields::find(event).map_or(Handler::None, Handler::GraphEntry)
        }
        ("ftrace", "funcgraph_exit") => CallFields::find(event).map_or(Handler::None, Handler::GraphExit),
        ("ftrace", "kernel_stack") => Handler::KernelStack,
        ("ftrace", "raw_data") => Handler::RawData,
        ("sched", "sched_switch") => Handler::SchedSwitch,
        ("sched", "sched_wakeup" | "sched_wakeup_new") => Handler::SchedWakeup,
        (
            "kmem",
            "kfree"
            | "kmalloc"
            | "kmalloc_node"
            | "kmem_cache_alloc"
            | "kmem_cache_alloc_node"
            | "kmem_cache_free",
        ) => Handler::CallSite,
        ("timer", "hrtimer_expire_entry") => Handler::HrtimerExpire,
        ("timer", "hrtimer_start") => Handler::HrtimerStart,
        ("tlb", "tlb_flush") => Handler::TlbFlush,
        ("syscalls", "sys_enter_futex") => Handler::Futex,
        _ => kernel_format(event),
    }
}

/// The letters for process states, by bit, as the recorded kernel names them. Like trace-cmd, it takes
/// them from the flags in the print format of sched_switch.
pub(super) fn states(reader: &Reader) -> Vec<u8> {
    let switch = reader.events().iter().find(|event| event.system == "sched" && event.name == "sched_switch");
    let named = switch.and_then(|event| {
        let field = event.fields.iter().position(|field| field.name == "prev_state")?;
        event.print(true)?.flags_of(field)
    });
    let Some(named) = named else { return b"SDTtXZPI".to_vec() };
    let mut letters = Vec::new();
    for (bit, name) in named {
        let bit = bit.filter(|bit| *bit != 0).map(u64::trailing_zeros).filter(|bit| *bit < 32);
        let (Some(bit), Some(letter)) = (bit, name.first().copied()) else { continue };
        letters.resize(letters.len().max(bit as usize + 1), 0);
        letters[bit as usize] = letter;
    }
    // The list ends at the first bit without a letter.
    until_nul(&letters).to_vec()
}
