//! `cargo xtask cost`: what the functions of a graph case cost, in instructions.
//!
//! On a bit-exact machine a duration is a number of instructions. Self-instructions are those of a
//! function without its traced callees. They are given raw, as traced, and net of the tracer's own. The
//! tracer runs at a call's own entry and return (measured with a function that does nothing, the leaf) and
//! around each callee (measured by tracing a function with and without the leaf that it calls).
//!
//! A command is run many times, and each call is compared with the same call of the other runs. The median
//! over the runs is its cost without a timer tick or a cache refill in between. A median over all calls
//! would not work: calls on different paths cluster around different values, and a few ticks would decide
//! in which cluster the median falls.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::graph::{self, Call, instructions, median};
use crate::base::error::{Context, Error, Result};
use crate::base::ui::{out, outln, printable};
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::guest::cases::{self, Case, CaseStep};
use crate::guest::folders;
use crate::guest::prepared::{Guest, GuestOptions, Tools};
use crate::guest::put::Put;
use crate::kernel::renames;
use crate::kernel::{self, Request};
use crate::run::results::{self, Stored};
use crate::run::test_vm;
use crate::vm::Exactness;

/// Runs that are left out: they fill caches and allocate memory that later runs use.
const COLD: usize = 8;
/// The fewest runs for a median.
const WARM: usize = 32;
/// The command that is traced, with the number of its runs.
const WORKLOAD: &str = "-F -c repeat 48 cat /proc/sys/kernel/ostype";
/// Functions that the tracer's own cost is measured with; the first one that the kernel has is used.
const LEAVES: [Leaf; 2] = [
    Leaf { name: "should_failslab", parent: "__kmalloc", needs: "a kernel before 6.11" },
    // An attachment point for BPF programs (kernel/bpf/bpf_lsm.c).
    Leaf {
        name: "bpf_lsm_file_open",
        parent: "security_file_open",
        needs: "CONFIG_BPF_LSM, and bpf among those of CONFIG_LSM",
    },
];
/// Options of the traces that measure the tracer's cost: those of the cases.
const QUIET: &str = "-O nofuncgraph-irqs --graph-notrace 'irq_e*' --graph-notrace '*softirq*'";
/// A buffer for all runs: in a debug kernel, one call of `__kmalloc` makes a thousand calls.
const BUFFER: &str = "trace_buf_size=32M";
/// The length of the longest bar, in columns.
const BAR: f64 = 24.0;

/// A function that does nothing.
#[derive(Clone, Copy, Debug)]
struct Leaf {
    name: &'static str,
    /// A function that calls it in each run; by the name that the oldest kernels use.
    parent: &'static str,
    /// The kernels that have such a call, in words.
    needs: &'static str,
}

impl Leaf {
    /// The leaf for a kernel version, with the parent's name in that version.
    fn on(version: &str) -> Leaf {
        let [first, second] = LEAVES;
        let leaf = if renames::is_gone(first.name, version) { second } else { first };
        Leaf { parent: renames::name_on(leaf.parent, version), ..leaf }
    }
}

/// What to measure, and what to compare it with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Cases by name.
    pub cases: Vec<String>,
    /// The kernel; the first cached one when `None`.
    pub kernel: Option<String>,
    /// Another kernel to compare with, instead of the reviewed table.
    pub against: Option<String>,
    /// Replace the reviewed tables.
    pub update: bool,
    /// Words added to the kernel command line.
    pub append: Vec<String>,
    /// Files added to the initramfs.
    pub put: Vec<Put>,
}

/// What the functions of a case cost on a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostTable {
    /// The case.
    pub case: String,
    /// The kernel's name in the matrix.
    pub kernel: String,
    /// Version, compiler and configuration of the kernel.
    pub identity: String,
    /// SHA-256 of the kernel image.
    pub image: String,
    /// The tracer's own cost.
    pub tracer: TracerCost,
    /// The functions, the most expensive first.
    #[serde(rename = "function")]
    pub functions: Vec<FunctionCost>,
}

/// The tracer's own cost, in instructions per traced call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracerCost {
    /// Within the call's own duration.
    pub within: i64,
    /// Around it, within the duration of its caller.
    pub around: i64,
}

/// The cost of one function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCost {
    /// Its name.
    pub name: String,
    /// Calls in a run that at least 32 runs made. The total over all runs would vary: a tick can suppress
    /// a call in one run, as a pending task switch does with `rcu_all_qs`.
    pub calls: usize,
    /// Median self-instructions as traced.
    pub raw: i64,
    /// Median self-instructions without the tracer's own.
    pub net: i64,
}

/// Measures the cases and prints each table, compared with another kernel's or the reviewed one.
///
/// # Errors
/// When a guest cannot be prepared or is not exact, a case is no graph case, or a trace is
/// incomplete.
pub fn run(workspace: &Workspace, options: &Options) -> Result<Verdict> {
    let cases = cases::select(cases::load(&workspace.root)?, &options.cases)?;
    for case in &cases {
        if case.cost.is_none() {
            return Err(Error::new(format!("cannot measure what the case {} costs", case.name))
                .because("it has no `cost`, a command that traces a graph often enough")
                .help("cases that have: function-graph, graph-depth"));
        }
    }
    let tools = Tools::get(workspace)?;
    let guest = prepare(workspace, &tools, options, options.kernel.as_deref())?;
    let other = match &options.against {
        Some(name) => Some(prepare(workspace, &tools, options, Some(name))?),
        None => None,
    };
    let mut worst = Verdict::Pass;
    for case in &cases {
        let table = measure(workspace, &guest, case)?;
        if let Some(other) = &other {
            out!("{}", printable(&compared(&table, &measure(workspace, other, case)?)));
            continue;
        }
        out!("{}", printable(&table.shown()));
        let (verdict, said) = with_reviewed(workspace, &table, options.update)?;
        outln!("{said}");
        worst = worst.max(verdict);
    }
    Ok(worst)
}

fn prepare(workspace: &Workspace, tools: &Tools, options: &Options, name: Option<&str>) -> Result<Guest> {
    let (record, kernel) = match name {
        Some(name) => {
            let record = kernel::record_of(workspace, name)?;
            let kernel = kernel::obtain(workspace, &record, &Request::default())?;
            (record, kernel)
        }
        None => crate::run::single::pick(workspace, None)?,
    };
    let (mut append, put) = (options.append.clone(), options.put.clone());
    append.push(BUFFER.into());
    let guest_options = GuestOptions { append, put, exact: Exactness::Demanded, ..GuestOptions::default() };
    Guest::prepare(workspace, tools, &record, kernel, guest_options)
}

/// Runs the traces of a case in one boot and makes the table.
///
/// # Errors
/// When the guest fails, or its traces are incomplete or have too few calls.
pub fn measure(workspace: &Workspace, guest: &Guest, case: &Case) -> Result<CostTable> {
    let failed = || Error::new(format!("cannot measure what {} costs on {}", case.name, guest.kernel.name));
    let shift = guest.icount_shift().ok_or_else(|| failed().because("the guest is not bit-exact"))?;
    let folder = folders::scratch(&workspace.root)?;
    let leaf = Leaf::on(&guest.kernel.version);
    let Leaf { name, parent, .. } = leaf;
    let alone = format!("snaptrace start -p function_graph -g {parent} -l {parent} {QUIET} {WORKLOAD}");
    let with_leaf = alone.replace(QUIET, &format!("-l {name} {QUIET}"));
    let own = case.cost.as_deref().unwrap_or_default();
    let mut job = Case { steps: Vec::new(), ..case.clone() };
    for start in [&with_leaf, &alone, own] {
        let stats = "cat /sys/kernel/tracing/per_cpu/cpu0/stats";
        for run in [start, "snaptrace stop", "snaptrace show", stats, "snaptrace reset"] {
            job.steps.push(CaseStep { run: run.into(), say: String::new(), expect: 0 });
        }
    }
    test_vm::run_case(workspace, guest, &job, folder.path(), 1)?;
    let stored = results::load_one(folder.path())?;
    if stored.verdict != Verdict::Pass {
        let shown = folder.keep();
        return Err(failed()
            .because(stored.why.as_str())
            .help(format!("the tracer's own cost is measured with {name}, which needs {}", leaf.needs))
            .help(format!("everything is in {}", shown.display()))
            .verdict(stored.verdict));
    }
    let trace = |at: usize| trace_of(&stored, at).map_err(|why| failed().because(why));
    let tracer = TracerCost::measured(&graph::calls(trace(0)?), &graph::calls(trace(1)?), leaf, shift)
        .map_err(|why| failed().because(why))?;
    let functions = functions(&graph::calls(trace(2)?), tracer, shift);
    if functions.is_empty() {
        return Err(failed().because(format!("no function was called in {WARM} warm runs")));
    }
    Ok(CostTable {
        case: case.name.clone(),
        kernel: guest.kernel.name.clone(),
        identity: stored.identity,
        image: stored.fingerprint.image,
        tracer,
        functions,
    })
}

/// The trace of a group of steps; lost events are an error.
fn trace_of(stored: &Stored, group: usize) -> std::result::Result<&str, String> {
    let step = |at: usize| stored.steps.get(group * 5 + at).map(|step| step.output.as_str());
    let (Some(trace), Some(stats)) = (step(2), step(3)) else { return Err("a step is missing".into()) };
    match stats.lines().find_map(|line| line.strip_prefix("overrun: ")) {
        Some("0") => Ok(trace),
        Some(lost) => Err(format!("the buffer was too small: {lost} entries were overwritten")),
        None => Err("the buffer's statistics do not tell of its overrun".into()),
    }
}

/// Identifies a call in a run: the function, and the number of the call.
type Place<'a> = (&'a str, usize);

/// For each place, that call in each warm run. Each run is a task; the first task starts the runs and is
/// left out.
fn by_place(calls: &[Call]) -> BTreeMap<Place<'_>, Vec<&Call>> {
    let mut runs: Vec<&str> = Vec::new();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut places: BTreeMap<Place<'_>, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        let run = runs.iter().position(|task| *task == call.task).unwrap_or_else(|| {
            runs.push(&call.task);
            runs.len() - 1
        });
        if run <= COLD {
            continue;
        }
        let count = counts.entry((&call.task, &call.function)).or_default();
        places.entry((&call.function, *count)).or_default().push(call);
        *count += 1;
    }
    places.retain(|_, calls| calls.len() >= WARM);
    places
}

impl TracerCost {
    /// Computed from calls of the parent traced with the leaf, and from calls of the parent traced alone.
    fn measured(
        with_leaf: &[Call],
        alone: &[Call],
        leaf: Leaf,
        shift: u8,
    ) -> std::result::Result<TracerCost, String> {
        let (with_leaf, alone) = (by_place(with_leaf), by_place(alone));
        let duration = |calls: &[&Call]| median(calls.iter().map(|call| call.duration).collect());
        let Leaf { name, parent, needs } = leaf;
        let leaves = with_leaf.iter().filter(|((function, _), _)| *function == name);
        let leaves: Vec<i64> = leaves.map(|(_, calls)| duration(calls)).collect();
        let mut per_call = Vec::new();
        for (place, calls) in with_leaf.iter().filter(|((function, _), _)| *function == parent) {
            let below = median(calls.iter().map(|call| call.descendants).collect());
            if let Some(alone) = alone.get(place)
                && below > 0
            {
                per_call.push((duration(calls) - duration(alone)) / below);
            }
        }
        if leaves.is_empty() || per_call.is_empty() {
            return Err(format!(
                "the tracer's own cost shows only in warm calls of {parent} that call {name}, of which \
                 there are none; it needs {needs}"
            ));
        }
        let within = instructions(median(leaves), shift);
        Ok(TracerCost { within, around: instructions(median(per_call), shift) - within })
    }
}

/// The functions with enough calls, the most expensive first.
fn functions(calls: &[Call], tracer: TracerCost, shift: u8) -> Vec<FunctionCost> {
    let mut by_name: BTreeMap<&str, (usize, Vec<i64>, Vec<i64>)> = BTreeMap::new();
    for ((name, _), calls) in by_place(calls) {
        let raw = |call: &Call| instructions(call.duration - call.in_children, shift);
        let net = |call: &Call| raw(call) - tracer.within - tracer.around * call.children;
        let (count, raws, nets) = by_name.entry(name).or_default();
        *count += 1;
        raws.push(median(calls.iter().map(|call| raw(call)).collect()));
        nets.push(median(calls.iter().map(|call| net(call)).collect()));
    }
    let mut functions: Vec<FunctionCost> = by_name
        .into_iter()
        .map(|(name, (calls, raws, nets))| FunctionCost {
            name: name.into(),
            calls,
            raw: median(raws),
            net: median(nets),
        })
        .collect();
    functions.sort_by(|a, b| b.net.cmp(&a.net).then_with(|| a.name.cmp(&b.name)));
    functions
}

impl CostTable {
    /// The table with bars.
    pub fn shown(&self) -> String {
        let mut out = format!("{} on {} ({})\n", self.case, self.kernel, self.identity);
        let TracerCost { within, around } = self.tracer;
        let _ = writeln!(
            out,
            "self-instructions in each of a run's calls, medians of at least {WARM} warm runs; \
             net of the tracer's {within} in a call and {around} around it"
        );
        let width = width(self.functions.iter().map(|function| &function.name));
        let most = self.functions.iter().map(|function| function.net).max().unwrap_or(0);
        let _ = writeln!(out, "{:width$} {:>7} {:>8} {:>8}", "function", "calls", "raw", "net");
        for FunctionCost { name, calls, raw, net } in &self.functions {
            let line = format!("{name:width$} {calls:7} {raw:8} {net:8}  {}", bar(*net, most));
            let _ = writeln!(out, "{}", line.trim_end());
        }
        out
    }

    /// The file of the reviewed table of a case on a kernel.
    fn path(workspace: &Workspace, case: &str, kernel: &str) -> PathBuf {
        workspace.root.join("tests/costs").join(format!("{case}@{kernel}.toml"))
    }

    fn load(path: &Path) -> Result<Option<CostTable>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(path).context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).context(|| format!("cannot understand {}", path.display()))
    }

    fn save(&self, path: &Path) -> Result<()> {
        let head = "# Reviewed instructions per call; written by `cargo xtask cost --update`.\n";
        let text = toml::to_string(self).context(|| format!("cannot write {}", path.display()))?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).context(|| format!("cannot create {}", folder.display()))?;
        }
        fs::write(path, format!("{head}{text}")).context(|| format!("cannot write {}", path.display()))
    }
}

/// Compares a table with the reviewed one. Only on the same kernel image is a difference a mismatch.
fn with_reviewed(workspace: &Workspace, table: &CostTable, update: bool) -> Result<(Verdict, String)> {
    let path = CostTable::path(workspace, &table.case, &table.kernel);
    if update {
        table.save(&path)?;
        return Ok((Verdict::Pass, "this is the reviewed table now".into()));
    }
    let Some(reviewed) = CostTable::load(&path)? else {
        return Ok((Verdict::Pass, "nobody reviewed it: `--update` keeps it as reviewed".into()));
    };
    if reviewed.image != table.image {
        let words = "reviewed on another kernel image, so this is no failure:";
        return Ok((Verdict::Pass, format!("{words}\n{}", compared(table, &reviewed).trim_end())));
    }
    if (reviewed.tracer, &reviewed.functions) == (table.tracer, &table.functions) {
        return Ok((Verdict::Pass, "as reviewed on this very kernel image".into()));
    }
    let words = "mismatch: it was reviewed with other figures on this very kernel image";
    Ok((Verdict::Mismatch, format!("{words}\n{}", compared(table, &reviewed).trim_end())))
}

/// What differs between two tables of a case, largest difference first.
fn compared(table: &CostTable, other: &CostTable) -> String {
    let names = (&table.kernel, &other.kernel);
    let names = match names.0 == names.1 {
        true => (format!("{} now", names.0), "reviewed".to_string()),
        false => (names.0.clone(), names.1.clone()),
    };
    let net = |table: &CostTable| -> BTreeMap<String, FunctionCost> {
        table.functions.iter().map(|function| (function.name.clone(), function.clone())).collect()
    };
    let (ours, theirs) = (net(table), net(other));
    let mut all: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    all.sort();
    all.dedup();
    let figure = |functions: &BTreeMap<String, FunctionCost>, name: &String| functions.get(name).cloned();
    let mut rows: Vec<(&String, Option<FunctionCost>, Option<FunctionCost>, i64)> = Vec::new();
    for name in &all {
        let (one, another) = (figure(&ours, name), figure(&theirs, name));
        if one != another {
            let by = one.as_ref().map_or(0, |f| f.net) - another.as_ref().map_or(0, |f| f.net);
            rows.push((name, one, another, by));
        }
    }
    rows.sort_by_key(|(name, .., by)| (-by.abs(), (*name).clone()));
    let mut out = format!("{}: {} against {}, net self-instructions\n", table.case, names.0, names.1);
    let width = width(rows.iter().map(|(name, ..)| *name));
    let columns = names.0.len().max(names.1.len()).max(8);
    let most = rows.iter().map(|row| row.3.abs()).max().unwrap_or(0);
    if !rows.is_empty() {
        let _ = writeln!(out, "{:width$} {:>columns$} {:>columns$} {:>8}", "function", names.0, names.1, "");
    }
    for (name, one, another, by) in &rows {
        let cell =
            |function: &Option<FunctionCost>| function.as_ref().map_or("-".into(), |f| f.net.to_string());
        let change = match (one, another) {
            (Some(_), None) => "new".into(),
            (None, Some(_)) => "gone".into(),
            (Some(_), Some(before)) if before.net > 0 => {
                format!("{:+.0} %", *by as f64 / before.net as f64 * 100.0)
            }
            _ => format!("{by:+}"),
        };
        let calls = one.as_ref().zip(another.as_ref()).map(|(now, before)| (now.calls, before.calls));
        let (one, another) = (cell(one), cell(another));
        let mut line =
            format!("{name:width$} {one:>columns$} {another:>columns$} {change:>8}  {}", bar(by.abs(), most));
        if let Some((now, before)) = calls.filter(|(now, before)| now != before) {
            let _ = write!(line, " ({now} calls in a run, {before} there)");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let _ = writeln!(out, "{} functions cost the same", all.len() - rows.len());
    out
}

fn width<'a>(names: impl Iterator<Item = &'a String>) -> usize {
    names.map(String::len).max().unwrap_or(0).max("function".len())
}

fn bar(value: i64, most: i64) -> String {
    let columns = if most > 0 { (value.max(0) as f64 / most as f64 * BAR).round() } else { 0.0 };
    "█".repeat(columns as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACER: TracerCost = TracerCost { within: 20, around: 5 };

    /// The same calls in as many runs; those of the first task start the others.
    fn runs(count: usize, each: &[(&str, i64, i64, i64)]) -> Vec<Call> {
        let mut calls = Vec::new();
        for task in 0..=count {
            for (function, duration, in_children, children) in each {
                calls.push(Call {
                    task: task.to_string(),
                    function: function.to_string(),
                    duration: *duration,
                    in_children: *in_children,
                    children: *children,
                    descendants: *children,
                });
            }
        }
        calls
    }

    #[test]
    fn net_is_raw_without_what_the_tracer_takes() {
        // 100 instructions of 16 ns, 40 of them said to be in two calls.
        let found = functions(&runs(COLD + WARM, &[("f", 1600, 640, 2)]), TRACER, 4);
        assert_eq!(found, [FunctionCost { name: "f".into(), calls: 1, raw: 60, net: 30 }]);
    }

    #[test]
    fn too_few_warm_runs_make_no_median() {
        assert_eq!(functions(&runs(COLD + WARM - 1, &[("f", 16, 0, 0)]), TRACER, 4), []);
    }

    #[test]
    fn ticks_move_nothing_even_between_two_paths() {
        let each = [("f", 1600, 0, 0), ("f", 3200, 0, 0)];
        let calm = runs(COLD + WARM, &each);
        let mut ticked = calm.clone();
        for at in [40, 41, 50, 60] {
            ticked[at].duration += 1_000_000;
        }
        assert_eq!(functions(&ticked, TRACER, 4), functions(&calm, TRACER, 4));
        assert_eq!(functions(&calm, TRACER, 4)[0].calls, 2);
    }

    #[test]
    fn a_call_that_a_tick_prevents_moves_nothing() {
        let calm = runs(COLD + WARM + 8, &[("f", 1600, 0, 0), ("g", 320, 0, 0)]);
        let mut prevented = calm.clone();
        let last = prevented.iter().rposition(|call| call.function == "g").unwrap();
        prevented.remove(last);
        assert_eq!(functions(&prevented, TRACER, 4), functions(&calm, TRACER, 4));
    }

    #[test]
    fn the_tracers_cost_comes_from_an_empty_leaf_and_from_tracing_less() {
        let leaf = Leaf::on("6.1.176-1");
        let with_leaf = runs(COLD + WARM, &[(leaf.name, 320, 0, 0), (leaf.parent, 16 * 200, 0, 4)]);
        let alone = runs(COLD + WARM, &[(leaf.parent, 16 * 100, 0, 0)]);
        // Four calls take 100 instructions more when traced: 25 each, 20 of them within.
        assert_eq!(TracerCost::measured(&with_leaf, &alone, leaf, 4), Ok(TRACER));
        let why = TracerCost::measured(&alone, &alone, leaf, 4).unwrap_err();
        assert!(why.contains("that call should_failslab, of which there are none"), "{why}");
    }

    #[test]
    fn a_kernel_is_measured_with_a_leaf_that_it_has() {
        let on = |version| (Leaf::on(version).parent, Leaf::on(version).name);
        assert_eq!(on("5.4.302"), ("__kmalloc", "should_failslab"));
        assert_eq!(on("6.10.1"), ("__kmalloc_noprof", "should_failslab"));
        assert_eq!(on("6.12.117-1"), ("security_file_open", "bpf_lsm_file_open"));
    }

    fn table(kernel: &str, functions: &[(&str, i64)]) -> CostTable {
        let functions = functions
            .iter()
            .map(|(name, net)| FunctionCost { name: name.to_string(), calls: 40, raw: net + 20, net: *net })
            .collect();
        CostTable {
            case: "c".into(),
            kernel: kernel.into(),
            identity: "5.4.302, gcc 12".into(),
            image: kernel.into(),
            tracer: TRACER,
            functions,
        }
    }

    #[test]
    fn a_table_has_bars() {
        insta::assert_snapshot!(table("5.4", &[("__kmalloc", 80), ("f", 40), ("g", 0)]).shown(), @"
        c on 5.4 (5.4.302, gcc 12)
        self-instructions in each of a run's calls, medians of at least 32 warm runs; net of the tracer's 20 in a call and 5 around it
        function    calls      raw      net
        __kmalloc      40      100       80  ████████████████████████
        f              40       60       40  ████████████
        g              40       20        0
        ");
    }

    #[test]
    fn two_tables_show_what_differs() {
        let one = table("a", &[("__kmalloc", 90), ("check", 200), ("f", 40), ("g", 5)]);
        let mut other = table("b", &[("__kmalloc", 60), ("f", 40), ("g", 5), ("old", 1)]);
        other.functions[2].calls = 39;
        insta::assert_snapshot!(compared(&one, &other), @"
        c: a against b, net self-instructions
        function         a        b         
        check          200        -      new  ████████████████████████
        __kmalloc       90       60    +50 %  ████
        old              -        1     gone
        g                5        5     +0 %   (40 calls in a run, 39 there)
        1 functions cost the same
        ");
    }

    #[test]
    fn a_reviewed_table_is_demanded_of_the_same_image_only() {
        let root = tempfile::tempdir().unwrap();
        let cache = crate::base::cache::Cache::at(root.path().join("cache"));
        let workspace = Workspace::new(root.path().into(), cache, false);
        let reviewed = table("k", &[("f", 40)]);
        assert_eq!(with_reviewed(&workspace, &reviewed, false).unwrap().0, Verdict::Pass);
        with_reviewed(&workspace, &reviewed, true).unwrap();
        let (verdict, said) = with_reviewed(&workspace, &reviewed, false).unwrap();
        assert_eq!((verdict, said.as_str()), (Verdict::Pass, "as reviewed on this very kernel image"));
        let mut dearer = table("k", &[("f", 50)]);
        assert_eq!(with_reviewed(&workspace, &dearer, false).unwrap().0, Verdict::Mismatch);
        dearer.image = "another".into();
        let (verdict, said) = with_reviewed(&workspace, &dearer, false).unwrap();
        assert_eq!(verdict, Verdict::Pass);
        assert!(said.contains("k now against reviewed") && said.contains("+25 %"), "{said}");
    }
}
