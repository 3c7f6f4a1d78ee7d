//! `hist`: counts the functions and events of each process, with their callers; pure.

use std::collections::BTreeMap;
use std::io::Write;

use crate::error::{Error, Result};
use trace_dat::event::Event;
use trace_dat::{Reader, Record};

/// Which records are counted, and how.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Count all processes together.
    pub all_pids: bool,
    /// Only these CPUs; all when empty.
    pub cpus: Vec<u32>,
}

/// Callers deeper than this are left out: no kernel stack has more.
const DEEPEST: usize = 256;

/// How often something was called or recorded, and by which callers.
#[derive(Debug, Default)]
struct Node<'r> {
    count: u64,
    callers: BTreeMap<&'r str, Node<'r>>,
}

/// A process (`None` for all together), a function or an event in asterisks, and its callers.
type Key<'r> = (Option<i32>, String, Vec<&'r str>);

/// Prints how often each process called each function and recorded each event, the most frequent first.
/// Each has its callers, as far as they are recorded: the parent of a function, or the stack that follows
/// a record. Of a graph only the entries are counted.
///
/// Damaged data end the records of their CPU; everything else is printed, and the error is returned at
/// the end. Fails when the output does.
pub fn hist<'r>(reader: &'r Reader, config: &Config, out: &mut impl Write) -> Result<()> {
    let mut counts: BTreeMap<(Option<i32>, String), Node<'r>> = BTreeMap::new();
    let mut total = 0;
    let mut count = |(pid, what, callers): Key<'r>| {
        total += 1;
        let mut node = counts.entry((pid, what)).or_default();
        node.count += 1;
        for caller in callers.into_iter().take(DEEPEST) {
            node = node.callers.entry(caller).or_default();
            node.count += 1;
        }
    };
    let mut records = reader.records_of(|_, cpu| config.cpus.is_empty() || config.cpus.contains(&cpu));
    let order = reader.context().order;
    // The last record of each CPU: its stack may follow.
    let mut waiting: BTreeMap<(usize, u32), (i32, Key<'r>)> = BTreeMap::new();
    while let Some(record) = records.next() {
        let Some(event) = reader.events().of(order, record.data) else { continue };
        let pid = reader.events().pid(order, record.data);
        let place = (record.buffer, record.cpu);
        let stack =
            (event.system == "ftrace" && event.name == "kernel_stack").then(|| stack(reader, event, &record));
        match (stack, waiting.remove(&place)) {
            (Some(stack), Some((of, (who, what, _)))) if of == pid => {
                // The function itself is at the top of its stack.
                let skip = usize::from(stack.first() == Some(&what.as_str()));
                let callers = stack.get(skip..).unwrap_or_default().to_vec();
                count((who, what, callers));
                continue;
            }
            (_, Some((_, key))) => count(key),
            (_, None) => {}
        }
        let who = (!config.all_pids).then_some(pid);
        if let Some((what, callers)) = done(reader, event, &record) {
            waiting.insert(place, (pid, (who, what, callers)));
        }
    }
    waiting.into_values().for_each(|(_, key)| count(key));
    let outcome = records.finish();

    let mut rows: Vec<_> = counts.into_iter().collect();
    rows.sort_by(|(a, a_node), (b, b_node)| b_node.count.cmp(&a_node.count).then_with(|| a.cmp(b)));
    let mut text = String::new();
    for ((pid, what), node) in rows {
        let who = match pid {
            None => "<all pids>".to_string(),
            Some(0) => " (0) <idle>".to_string(),
            Some(pid) => {
                let comm = reader.cmdlines().get(&pid);
                let comm = comm.map_or("<...>".into(), |comm| String::from_utf8_lossy(comm));
                format!(" ({pid}) {comm}")
            }
        };
        let share = percent(node.count, total);
        let bare = what.trim_matches('*');
        text.push_str(&format!("  %{share} {who} {bare:>30} #{}\n", node.count));
        text.push_str(&format!("         |\n         --- {what}\n"));
        callers(&node, "            ", &mut text);
        text.push('\n');
    }
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::output)?;
    Ok(outcome?)
}

/// The name under which a record is counted, and its callers.
fn done<'r>(reader: &'r Reader, event: &Event, record: &Record<'_>) -> Option<(String, Vec<&'r str>)> {
    let value = |name: &str| event.field(name)?.number(reader.context().order, record.data);
    let symbol = |address: u64| reader.context().symbols.find(address).map(|symbol| symbol.name);
    let name = |address: u64| symbol(address).map_or_else(|| format!("0x{address:x}"), str::to_string);
    match (event.system.as_str(), event.name.as_str()) {
        ("ftrace", "function") => {
            Some((name(value("ip")?), value("parent_ip").and_then(symbol).into_iter().collect()))
        }
        ("ftrace", "funcgraph_entry") => Some((name(value("func")?), Vec::new())),
        // An exit's entry has been counted; a stack belongs to the record before it.
        ("ftrace", "funcgraph_exit" | "kernel_stack" | "user_stack") => None,
        (_, name) => Some((format!("*{name}*"), Vec::new())),
    }
}

/// The functions of a kernel_stack, the innermost first.
fn stack<'r>(reader: &'r Reader, event: &Event, record: &Record<'_>) -> Vec<&'r str> {
    let context = reader.context();
    let frames = event.field("caller").and_then(|field| record.data.get(field.offset..)).unwrap_or_default();
    frames
        .chunks_exact(context.long_size)
        .filter_map(|frame| context.order.number(frame))
        .take_while(|address| *address as u32 != u32::MAX)
        .map(|address| context.symbols.find(address).map_or("?", |symbol| symbol.name))
        .collect()
}

/// Appends the callers of a node as a tree, each with its share.
fn callers(node: &Node<'_>, indent: &str, text: &mut String) {
    let mut rows: Vec<_> = node.callers.iter().collect();
    rows.sort_by(|(a, a_node), (b, b_node)| b_node.count.cmp(&a_node.count).then_with(|| a.cmp(b)));
    for (index, (name, caller)) in rows.iter().enumerate() {
        let share = percent(caller.count, node.count);
        text.push_str(&format!("{indent}|\n{indent}|--%{share}-- {name}  # {}\n", caller.count));
        let rail = if index + 1 < rows.len() { "|" } else { " " };
        // A caller that all calls came through is shown below, without a share.
        let mut inner = *caller;
        while let (1, Some((name, only))) = (inner.callers.len(), inner.callers.iter().next()) {
            if only.count != inner.count {
                break;
            }
            text.push_str(&format!("{indent}{rail}          {name}\n"));
            inner = only;
        }
        callers(inner, &format!("{indent}{rail}            "), text);
    }
}

/// A share with two digits after the point.
fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}", part as f64 * 100.0 / whole.max(1) as f64)
}
