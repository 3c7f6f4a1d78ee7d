//! `check`: whether a kernel can trace functions, and which configuration symbols it lacks.

use std::fmt::Write;

use super::interface::{Kernel, Subcommand, print};
use crate::error::{Error, Result};
use crate::tracefs::Tracefs;
use crate::tracefs::tracers;

/// Check whether this kernel can trace functions
///
/// For each missing feature the kernel's configuration symbol is named. The
/// exit code is 0 if the function and function_graph tracers and their
/// filters are available, else 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  snaptrace check")]
pub(super) struct Args {}

impl Subcommand for Args {
    const NAME: &'static str = "check";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        let report = check(&kernel.tracefs()?)?;
        print(&report.text)?;
        Ok(if report.fit { 0 } else { Error::GENERAL })
    }
}

/// How a feature is recognised in the tracing directory.
enum Probe {
    Tracer(&'static str),
    File(&'static str),
}

/// A feature, how it is recognised, and the configuration symbol that adds it.
struct Feature(&'static str, Probe, &'static str);

use Probe::{File, Tracer};

/// Required features: without one of them the check fails.
const NEEDED: &[Feature] = &[
    Feature("function tracer", Tracer("function"), "CONFIG_FUNCTION_TRACER"),
    Feature("function_graph tracer", Tracer("function_graph"), "CONFIG_FUNCTION_GRAPH_TRACER"),
    Feature("function filters (-l)", File("set_ftrace_filter"), "CONFIG_DYNAMIC_FTRACE"),
    Feature("list of functions", File("available_filter_functions"), "CONFIG_DYNAMIC_FTRACE"),
    Feature("notrace filters (-n)", File("set_ftrace_notrace"), "CONFIG_DYNAMIC_FTRACE"),
    Feature("graph filters (-g)", File("set_graph_function"), "CONFIG_FUNCTION_GRAPH_TRACER"),
];

/// Optional features.
const USEFUL: &[Feature] = &[
    Feature("call stacks", File("options/func_stack_trace"), "CONFIG_FUNCTION_TRACER"),
    Feature("process filters", File("set_ftrace_pid"), "CONFIG_FUNCTION_TRACER"),
    Feature("following children", File("options/function-fork"), "CONFIG_FUNCTION_TRACER"),
    Feature("graph notrace filters", File("set_graph_notrace"), "CONFIG_FUNCTION_GRAPH_TRACER"),
    Feature("graph depth", File("max_graph_depth"), "CONFIG_FUNCTION_GRAPH_TRACER"),
    Feature("instances", File("instances"), "CONFIG_TRACING"),
    Feature("events", File("events"), "CONFIG_EVENT_TRACING"),
    Feature("event process filters", File("set_event_pid"), "CONFIG_EVENT_TRACING"),
    Feature("scheduler events", File("events/sched/sched_switch"), "CONFIG_EVENT_TRACING"),
    Feature("system call events", File("events/syscalls"), "CONFIG_FTRACE_SYSCALLS"),
    Feature("histograms", File("events/sched/sched_switch/hist"), "CONFIG_HIST_TRIGGERS"),
    Feature("synthetic events", File("synthetic_events"), "CONFIG_SYNTH_EVENTS"),
    Feature("kprobe events", File("kprobe_events"), "CONFIG_KPROBE_EVENTS"),
    Feature("uprobe events", File("uprobe_events"), "CONFIG_UPROBE_EVENTS"),
    Feature("snapshots", File("snapshot"), "CONFIG_TRACER_SNAPSHOT"),
    Feature("function profiler", File("function_profile_enabled"), "CONFIG_FUNCTION_PROFILER"),
    Feature("stack tracer", File("stack_trace"), "CONFIG_STACK_TRACER"),
    Feature("blk tracer", Tracer("blk"), "CONFIG_BLK_DEV_IO_TRACE"),
    Feature("error log", File("error_log"), "Linux 5.2 or newer"),
];

/// What a check found.
#[derive(Debug)]
struct Report {
    /// The findings, as text for the user.
    text: String,
    /// Whether all required features are available.
    fit: bool,
}

/// Checks which features the kernel offers.
///
/// # Errors
/// The tracing directory cannot be read. A missing feature is not an error.
fn check(tracefs: &Tracefs) -> Result<Report> {
    let tracers = tracers::available(tracefs.top())?;
    let mut text = String::new();
    // Writing to a String does not fail.
    if tracefs.is_live() {
        let _ = writeln!(text, "kernel             {}", rustix::system::uname().release().to_string_lossy());
    }
    let _ = writeln!(text, "tracing directory  {}", tracefs.path().display());
    let _ = writeln!(text, "tracers            {}", tracers.join(" "));

    let mut missing = section(&mut text, "needed", NEEDED, tracefs, &tracers);
    if tracefs.functions_are_off() {
        let _ = writeln!(text, "  off      kernel.ftrace_enabled   sysctl kernel.ftrace_enabled=1");
        missing += 1;
    }
    section(&mut text, "useful", USEFUL, tracefs, &tracers);
    let fit = missing == 0;
    let _ = match fit {
        true => {
            writeln!(text, "\nThis kernel can trace functions and their graphs, with filters.")
        }
        false => {
            writeln!(
                text,
                "\nThis kernel cannot trace functions: {missing} needed features are missing, see above."
            )
        }
    };
    Ok(Report { text, fit })
}

/// Writes a section and returns the number of missing features.
fn section(
    text: &mut String,
    title: &str,
    features: &[Feature],
    tracefs: &Tracefs,
    tracers: &[String],
) -> usize {
    let _ = writeln!(text, "\n{title}");
    let mut missing = 0;
    for Feature(name, sign, symbol) in features {
        let (present, shown) = match sign {
            Tracer(tracer) => (tracers.iter().any(|known| known == tracer), *tracer),
            File(file) => (tracefs.top().has(file), *file),
        };
        let _ = match present {
            true => writeln!(text, "  ok       {name:<23} {shown}"),
            false => writeln!(text, "  missing  {name:<23} {symbol}"),
        };
        missing += usize::from(!present);
    }
    missing
}
