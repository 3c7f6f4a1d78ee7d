//! `profile`: where the time of a recorded graph went, by function; pure.

use std::collections::HashMap;
use std::io::Write;

use crate::error::{Error, Result};
use trace_dat::Reader;
use trace_dat::event::Event;
use trace_dat::ring_buffer::Missed;

/// The column that rows are sorted by; names in alphabetical order, numbers from the largest down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// Total time from calls to returns.
    #[default]
    Total,
    /// Total time without the time of recorded callees.
    Own,
    /// Number of calls.
    Calls,
    /// Average time of a call.
    Average,
    /// Time of the longest call.
    Maximum,
    /// The function's name.
    Name,
}

/// Which records are profiled, and how the profile is printed.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The order of the rows.
    pub sort: Sort,
    /// The most rows to print; all when `None`.
    pub rows: Option<usize>,
    /// Only these CPUs; all when empty.
    pub cpus: Vec<u32>,
    /// Only these processes; all when empty.
    pub pids: Vec<i32>,
}

/// The calls of one function; times in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The function's name, or its address if it has no symbol.
    pub name: String,
    /// Calls that returned.
    pub calls: u64,
    /// Total time from calls to returns.
    pub total: u64,
    /// Total time without the time of recorded callees.
    pub own: u64,
    /// The longest call.
    pub maximum: u64,
}

impl Row {
    /// The average time of a call.
    pub fn average(&self) -> u64 {
        self.total.checked_div(self.calls).unwrap_or(0)
    }
}

/// The events of a graph, and where their fields are.
struct Fields<'r> {
    exit: &'r Event,
    entry: Option<&'r Event>,
}

/// Profiles the graph of a recording.
///
/// A call counts when its return is recorded. The time of calls that are not recorded, for example below
/// `--max-graph-depth`, counts as the caller's own. Damaged data end the records of their CPU; the second
/// result is then the error.
///
/// Fails with exit code 2 when the recording has no graph.
pub fn profile(reader: &Reader, config: &Config) -> Result<(Vec<Row>, Result<()>)> {
    let event =
        |name: &str| reader.events().iter().find(|event| event.system == "ftrace" && event.name == name);
    let no_graph = || {
        Error::usage(format!("{} holds no graph", reader.name()))
            .help("record one with 'snaptrace record -p function_graph'")
    };
    let fields =
        Fields { exit: event("funcgraph_exit").ok_or_else(no_graph)?, entry: event("funcgraph_entry") };
    let mut calls = Calls::default();
    let mut seen = false;
    let mut records = reader.records_of(|_, cpu| config.cpus.is_empty() || config.cpus.contains(&cpu));
    let order = reader.context().order;
    while let Some(record) = records.next() {
        if record.missed != Missed::No {
            // Returns may be among the lost events: times would then be added to the wrong callers.
            calls.inside.retain(|place, _| place.0 != record.buffer || place.1 != record.cpu);
        }
        let Some(event) = reader.events().of(order, record.data) else { continue };
        let value = |name: &str| event.field(name)?.number(order, record.data);
        let is_exit = event.index == fields.exit.index;
        if !is_exit && fields.entry.is_none_or(|entry| entry.index != event.index) {
            continue;
        }
        seen = true;
        let pid = reader.events().pid(order, record.data);
        if !config.pids.is_empty() && !config.pids.contains(&pid) {
            continue;
        }
        let (Some(function), Some(depth)) = (value("func"), value("depth")) else { continue };
        let place = (record.buffer, record.cpu, pid);
        if is_exit {
            let duration = value("rettime").unwrap_or(0).saturating_sub(value("calltime").unwrap_or(0));
            calls.returned(place, function, depth, duration);
        } else {
            calls.entered(place, depth);
        }
    }
    let outcome = records.finish();
    if !seen && outcome.is_ok() {
        return Err(no_graph());
    }
    let mut rows: HashMap<String, Row> = HashMap::new();
    for (address, call) in calls.by_address {
        let symbol = reader.context().symbols.find(address);
        let name = symbol.map_or_else(|| format!("0x{address:x}"), |symbol| symbol.name.to_string());
        let row = rows.entry(name.clone()).or_insert_with(|| Row { name, ..Row::default() });
        row.calls += call.calls;
        row.total = row.total.saturating_add(call.total);
        row.own = row.own.saturating_add(call.own);
        row.maximum = row.maximum.max(call.maximum);
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    sort(&mut rows, config.sort);
    Ok((rows, outcome.map_err(Error::from)))
}

fn sort(rows: &mut [Row], by: Sort) {
    rows.sort_by(|a, b| {
        let (a_key, b_key) = match by {
            Sort::Total => (a.total, b.total),
            Sort::Own => (a.own, b.own),
            Sort::Calls => (a.calls, b.calls),
            Sort::Average => (a.average(), b.average()),
            Sort::Maximum => (a.maximum, b.maximum),
            Sort::Name => (0, 0),
        };
        b_key.cmp(&a_key).then_with(|| a.name.cmp(&b.name))
    });
}

/// Prints the rows as a table, with times in microseconds.
///
/// Fails when the output does.
pub fn print(rows: &[Row], config: &Config, out: &mut impl Write) -> Result<()> {
    let shown = config.rows.map_or(rows, |most| &rows[..most.min(rows.len())]);
    let width = shown.iter().map(|row| row.name.len()).max().unwrap_or(0).max("function".len());
    let time = |nanoseconds: u64| format!("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000);
    let mut text = format!(
        "{:width$} {:>10} {:>14} {:>14} {:>14} {:>14}\n",
        "function", "calls", "total us", "self us", "average us", "maximum us"
    );
    for row in shown {
        text.push_str(&format!(
            "{:width$} {:>10} {:>14} {:>14} {:>14} {:>14}\n",
            row.name,
            row.calls,
            time(row.total),
            time(row.own),
            time(row.average()),
            time(row.maximum)
        ));
    }
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::output)
}

/// Buffer, CPU and process: calls and returns nest within each of these.
type GraphKey = (usize, u32, i32);

#[derive(Default)]
struct Calls {
    by_address: HashMap<u64, Row>,
    /// By the caller's depth: the time of functions that returned to a caller that has not returned yet.
    inside: HashMap<GraphKey, HashMap<u64, u64>>,
}

impl Calls {
    fn entered(&mut self, graph: GraphKey, depth: u64) {
        if let Some(inside) = self.inside.get_mut(&graph) {
            inside.remove(&depth);
        }
    }

    fn returned(&mut self, graph: GraphKey, function: u64, depth: u64, duration: u64) {
        let inside = self.inside.entry(graph).or_default();
        let called = inside.remove(&depth).unwrap_or(0);
        if let Some(above) = depth.checked_sub(1) {
            let sum = inside.entry(above).or_default();
            *sum = sum.saturating_add(duration);
        }
        let row = self.by_address.entry(function).or_default();
        row.calls += 1;
        row.total = row.total.saturating_add(duration);
        row.own = row.own.saturating_add(duration.saturating_sub(called));
        row.maximum = row.maximum.max(duration);
    }
}
