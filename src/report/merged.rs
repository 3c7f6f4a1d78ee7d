//! Several recordings printed together, by time.

use std::io::Write;

use super::config::Config;
use super::line::Batch;
use super::lines::Lines;
use super::plan::Plan;
use super::printer::Printer;
use crate::error::{Error, Result};
use trace_dat::Reader;

/// Text is written in pieces of about this many bytes.
const PIECE: usize = 128 << 10;

/// Prints the records of several recordings by time; of records with the same time, those of the earlier
/// recording come first. Each line begins with the name of its instance, or the [`Config::label`] of its
/// recording. No summary of wakeup latencies is printed.
///
/// Fails as [`super::report`] does, with the first damage of the first damaged recording.
pub fn report(inputs: &[(&Reader, &Config)], out: &mut impl Write) -> Result<()> {
    let mut plans = Vec::new();
    for (reader, config) in inputs {
        if reader.latency_text().is_some() {
            return Err(Error::usage(format!("{} holds the text of a latency tracer", reader.name()))
                .help("such a text cannot be merged with records: report this file alone"));
        }
        let mut plan = Plan::new(reader, config)?;
        plan.label = config.label.clone();
        plans.push(plan);
    }
    let of_labels = plans.iter().filter_map(|plan| plan.label.as_ref().map(String::len));
    let width = plans.iter().map(|plan| plan.name_width).chain(of_labels).max().unwrap_or(0);
    let mut text = Vec::new();
    for plan in &mut plans {
        plan.name_width = width;
        let label = plan.label.as_deref().unwrap_or_default();
        text.extend(format!("{label:>width$}: cpus={}\n", plan.reader.cpus()).bytes());
    }
    let mut sources: Vec<MergedInput<'_>> = plans
        .iter()
        .map(|plan| {
            let mut lines = Lines::new(plan);
            let next = lines.next_time();
            MergedInput { lines, printer: Printer::new(plan), next }
        })
        .collect();
    let mut batch = Batch::default();
    let mut last_time = None;
    // `min_by_key` gives the first of equal ones.
    while let Some(source) =
        sources.iter_mut().filter(|source| source.next.is_some()).min_by_key(|source| source.next)
    {
        source.lines.maker.last_time = last_time;
        source.lines.fill_one(&mut batch);
        source.next = source.lines.next_time();
        last_time = source.lines.maker.last_time;
        source.printer.print(&batch);
        text.extend_from_slice(&source.printer.out);
        if text.len() > PIECE {
            out.write_all(&text).map_err(Error::output)?;
            text.clear();
        }
    }
    out.write_all(&text).and_then(|()| out.flush()).map_err(Error::output)?;
    for MergedInput { lines, printer, .. } in sources {
        lines.records.finish()?;
        printer.damage.map_or(Ok(()), |damage| Err(damage.error))?;
    }
    Ok(())
}

/// A recording whose lines are merged with those of others.
struct MergedInput<'p> {
    lines: Lines<'p>,
    printer: Printer<'p>,
    /// The time of its next record.
    next: Option<u64>,
}
