//! The tracers an instance offers.

use crate::error::{Error, Result};
use crate::tracefs::Instance;
use crate::tracefs::filter;

/// Names of the tracers, in the kernel's order.
///
/// # Errors
/// `available_tracers` cannot be read.
pub fn available(instance: &Instance) -> Result<Vec<String>> {
    let text = instance.read("available_tracers")?;
    Ok(text.split_ascii_whitespace().map(String::from).collect())
}

/// Checks that the instance offers this tracer, and returns its name.
///
/// # Errors
/// It does not. The error names the nearest tracer and lists all. Exit code 2.
pub fn check(instance: &Instance, tracer: &str) -> Result<String> {
    let tracers = available(instance)?;
    if tracers.iter().any(|known| known == tracer) {
        return Ok(tracer.to_string());
    }
    let near = filter::nearest(tracer, tracers.iter().map(String::as_str));
    let nearest = near.first().map(|name| format!("did you mean '{name}'? ")).unwrap_or_default();
    Err(Error::usage(format!("tracer '{tracer}' does not exist in {}", instance.describe()))
        .help(format!("{nearest}available tracers: {}", tracers.join(" "))))
}
