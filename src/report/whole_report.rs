//! A report from the first record to the last.

use std::io::Write;

use super::config::Config;
use super::lines::Lines;
use super::plan::Plan;
use super::threads;
use super::whole::Whole;
use crate::error::{Error, Result};
use trace_dat::Reader;

/// Prints the records of a recording.
///
/// Fails when the output does, and, before anything is printed, when a filter does not fit the
/// recording. Of a damaged recording everything that can be read is printed; the error then names the
/// first damaged place.
pub fn report(reader: &Reader, config: &Config, out: impl Write + Send) -> Result<()> {
    let failed = Error::output;
    let plan = Plan::new(reader, config)?;
    let mut out = Whole::new(out);
    let text = |out: &mut Whole<_>, text: String| out.write(&mut text.into_bytes()).map_err(failed);
    text(&mut out, format!("cpus={}\n", reader.cpus()))?;
    if let Some(latency) = reader.latency_text() {
        // The kernel's own text: there are no records to print.
        text(&mut out, format!("{}\n", String::from_utf8_lossy(latency)))?;
        return out.finish().map_err(failed);
    }
    let mut lines = Lines::new(&plan);
    let damage = threads::print(&plan, &mut lines, config.threads, &mut out).map_err(failed)?;
    text(&mut out, lines.maker.summary())?;
    out.finish().map_err(failed)?;
    lines.records.finish()?;
    damage.map_or(Ok(()), |damage| Err(damage.error))
}
