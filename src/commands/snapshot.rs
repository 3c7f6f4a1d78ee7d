//! `snapshot`: a copy of the buffer that stands still while tracing goes on.

use std::io::Write;

use crate::capture::drain::Raw;
use crate::error::{Error, Result};
use crate::tracefs::Instance;

const SNAPSHOT: &str = "snapshot";

/// What to do with an instance's snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Print it.
    Show,
    /// Exchange the buffer and the snapshot, which is allocated when there is none.
    Take,
    /// Empty it.
    Reset,
    /// Give its memory back.
    Free,
}

/// Acts on the snapshot of an instance, or of one CPU in it. What is shown goes to `out`.
///
/// # Errors
/// The kernel takes no snapshots, there is no such CPU, the tracer uses the snapshot itself, or
/// `out` fails.
pub fn snapshot(instance: &Instance, act: Act, cpu: Option<u32>, out: &mut dyn Write) -> Result<()> {
    check(instance)?;
    let file = match cpu {
        Some(cpu) => format!("per_cpu/cpu{cpu}/{SNAPSHOT}"),
        None => SNAPSHOT.to_string(),
    };
    if let (Some(cpu), false) = (cpu, instance.has(&file)) {
        return Err(Error::usage(format!("there is no CPU {cpu} in {}", instance.describe()))
            .help("'snaptrace stat' lists the CPUs"));
    }
    if let Some(cpu) = cpu
        && !Raw::open(instance, cpu, "trace_pipe_raw")?.is_there()?
    {
        return Err(Error::usage(format!("CPU {cpu} has no buffer in {}", instance.describe()))
            .help("it was not online yet; 'snaptrace stat' shows the CPUs"));
    }
    let value = match act {
        Act::Show => return instance.copy(&file, out),
        Act::Take => "1",
        Act::Reset => "2",
        Act::Free => "0",
    };
    instance.write(&file, value).map_err(|error| match cpu {
        Some(_) if act == Act::Take => error.and_help(
            "one CPU's snapshot needs CONFIG_RING_BUFFER_ALLOW_SWAP, and one that is allocated \
             ('snaptrace snapshot -s')",
        ),
        _ => error,
    })
}

/// Checks that the kernel takes snapshots of an instance.
///
/// # Errors
/// It does not. Exit code 2.
pub(crate) fn check(instance: &Instance) -> Result<()> {
    match instance.has(SNAPSHOT) {
        true => Ok(()),
        false => Err(Error::usage(format!("this kernel takes no snapshots of {}", instance.describe()))
            .help("CONFIG_TRACER_SNAPSHOT brings them")),
    }
}
