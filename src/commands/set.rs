//! `set`: what is asked for is set, and nothing else changes.

use crate::capture::command::Held;
use crate::error::{Error, Result};
use crate::restore::session;
use crate::setup::start::{self, Start, Step};
use crate::tracefs::{Mode, Tracefs};

/// Sets what the request names, runs the command if there is one, and gives its status, else 0.
///
/// Tracing stays on or off, and the tracer stays unless another is named; events are added to
/// those that are on. Nothing is put back.
///
/// # Errors
/// Something asked for does not exist, and then nothing was changed; or the kernel refuses a value.
pub fn set(tracefs: &Tracefs, config: &Start) -> Result<u8> {
    start::check(config)?;
    start::check_pids(tracefs, config)?;
    let instance = tracefs.instance(config.instance.as_deref())?;
    start::check_functions(tracefs, config)?;
    let events = start::choose_events(tracefs, config, None, None)?;
    let (held, mut steps) = start::prepare(tracefs, &instance, config, &events)?;
    // The frame: tracing off and no tracer; the tracer and tracing on.
    let tracer = steps.split_off(steps.len() - 2).swap_remove(0);
    steps.drain(..2);
    if config.tracer.is_some() {
        steps.push(tracer);
    }
    if steps.is_empty() {
        return Err(Error::usage("nothing to set was given")
            .help("'snaptrace set --help' lists what can be set; 'snaptrace stat' shows what is"));
    }
    if steps.iter().any(|step| step.file == session::BUFFER_SIZE) {
        session::expand(&instance)?;
    }
    for Step { file, values, mode } in &steps {
        let mode = if file == "set_event" { Mode::Append } else { *mode };
        instance.write_lines(file, values, mode).map_err(|error| {
            error.and_help("what stands before it in the request is set; 'snaptrace stat' shows what is")
        })?;
    }
    held.map_or(Ok(0), Held::run)
}
