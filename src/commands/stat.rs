//! `stat`: the settings of an instance and the state of its buffers.

use std::collections::HashSet;
use std::fmt::Write;

use super::args::instance::InstanceArgs;
use super::interface::{Kernel, Subcommand, print};
use crate::capture::drain::{self, RawBuffer};
use crate::error::Result;
use crate::tracefs::filter_files::FilterFile;
use crate::tracefs::options;
use crate::tracefs::{Instance, Tracefs};
use trace_dat::texts::chosen_clock;

/// The width of the name column.
const NAMES: usize = 17;
/// How many entries of a filter or of the event list are shown.
const MOST: usize = 20;

/// Show the settings, and how full the buffers are
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  snaptrace stat")]
pub(super) struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
}

impl Subcommand for Args {
    const NAME: &'static str = "stat";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        let tracefs = kernel.tracefs()?;
        print(&stat(&tracefs, &self.instance.of(&tracefs)?)?)?;
        Ok(0)
    }
}

/// The settings and the fill of the buffers, as text.
///
/// # Errors
/// A file that every kernel with ftrace has cannot be read.
fn stat(tracefs: &Tracefs, instance: &Instance) -> Result<String> {
    let mut text = String::new();
    let on = if instance.read_value("tracing_on")? == "1" { "on" } else { "off" };
    row(&mut text, "tracing", on);
    row(&mut text, "tracer", &instance.read_value("current_tracer")?);
    row(&mut text, "clock", &current_clock(&instance.read_value("trace_clock")?));
    for (name, file) in [
        ("functions", FilterFile::Function.name()),
        ("notrace", FilterFile::Notrace.name()),
        ("graph functions", FilterFile::Graph.name()),
        ("graph notrace", FilterFile::GraphNotrace.name()),
    ] {
        if instance.has(file) {
            rows(&mut text, name, &plain_lines(&instance.read(file)?));
        }
    }
    if instance.has("set_ftrace_pid") {
        traced_pids(&mut text, &instance.read_value("set_ftrace_pid")?);
    }
    for (name, file, default) in [
        ("graph depth", "max_graph_depth", "0"),
        ("threshold (us)", "tracing_thresh", "0"),
        ("notrace pids", "set_ftrace_notrace_pid", "no pid"),
        ("event pids", "set_event_pid", ""),
        ("notrace ev. pids", "set_event_notrace_pid", ""),
    ] {
        if instance.has(file) {
            let value = instance.read_value(file)?.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            if value != default {
                row(&mut text, name, &value);
            }
        }
    }
    if instance.has("set_event") {
        rows(&mut text, "events", &plain_lines(&instance.read("set_event")?));
    }
    rows(&mut text, "changed options", &changed_options(instance)?);
    row(&mut text, "buffer size (KiB)", &format!("{} per CPU", instance.read_value("buffer_size_kb")?));
    if instance.name().is_none() {
        rows(&mut text, "instances", &tracefs.instances()?);
    }
    buffers(&mut text, instance)?;
    Ok(text)
}

fn row(text: &mut String, name: &str, value: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{:<width$} {value}", format!("{name}:"), width = NAMES + 1);
}

/// The traced processes. An empty list (no process is traced) differs from no list (all are traced).
fn traced_pids(text: &mut String, content: &str) {
    match content {
        "no pid" => {}
        "" => row(text, "traced pids", "none: all processes that were chosen have ended"),
        pids => row(text, "traced pids", &pids.split_ascii_whitespace().collect::<Vec<_>>().join(" ")),
    }
}

/// Appends a further line of a row.
fn continued(text: &mut String, value: &str) {
    let _ = writeln!(text, "{:<width$} {value}", "", width = NAMES + 1);
}

/// Appends a row for the first value and further lines for the others; nothing if there are no values.
fn rows(text: &mut String, name: &str, values: &[String]) {
    for (index, value) in values.iter().take(MOST).enumerate() {
        match index {
            0 => row(text, name, value),
            _ => continued(text, value),
        }
    }
    if values.len() > MOST {
        continued(text, &format!("... and {} more", values.len() - MOST));
    }
}

/// The entries of a filter file. A remark such as "#### all functions enabled ####" loses its marks.
///
/// Each entry is returned once: the kernel repeats some entries of a graph filter longer than a page.
fn plain_lines(content: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    content
        .lines()
        .map(|line| line.trim_matches(['#', ' ']).to_string())
        .filter(|line| !line.is_empty() && line != "no functions disabled" && seen.insert(line.clone()))
        .collect()
}

/// The clock in brackets, as in `[local] global counter`.
fn current_clock(clocks: &str) -> String {
    chosen_clock(clocks).unwrap_or(clocks).to_string()
}

fn changed_options(instance: &Instance) -> Result<Vec<String>> {
    let settings = options::read_all(instance)?;
    Ok(settings
        .iter()
        .filter_map(|setting| match setting.default(instance) {
            Some(default) => (default != setting.on).then(|| setting.word()),
            None => setting.on.then(|| format!("{} (default unknown)", setting.word())),
        })
        .collect())
}

/// Appends a table of the per-CPU buffers.
fn buffers(text: &mut String, instance: &Instance) -> Result<()> {
    let _ = writeln!(
        text,
        "\n{:>4} {:>11} {:>11} {:>15} {:>11}",
        "CPU", "entries", "overrun", "commit overrun", "dropped"
    );
    for cpu in drain::cpus(instance)? {
        // If this is unknown, the kernel's statistics are shown.
        let has_buffer = RawBuffer::open(instance, cpu, "trace_pipe_raw").and_then(|raw| raw.has_buffer());
        if let Ok(false) = has_buffer {
            let since = if instance.name().is_some() {
                "online since the instance was created"
            } else {
                "online yet"
            };
            let _ = writeln!(text, "{cpu:>4}   no buffer: not {since}");
            continue;
        }
        let stats = instance.read(&format!("per_cpu/cpu{cpu}/stats"))?;
        let value = |name: &str| {
            let line = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or("?").trim().to_string()
        };
        let _ = writeln!(
            text,
            "{cpu:>4} {:>11} {:>11} {:>15} {:>11}",
            value("entries"),
            value("overrun"),
            value("commit overrun"),
            value("dropped events")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_clock_is_the_one_in_brackets() {
        assert_eq!(current_clock("local [global] counter"), "global");
    }

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let mut text = String::new();
        rows(&mut text, "functions", &vec!["f".to_string(); MOST + 3]);
        assert_eq!(text.lines().count(), MOST + 1);
        assert!(text.ends_with("                   ... and 3 more\n"), "{text}");
    }

    #[test]
    fn an_empty_pid_list_is_not_the_same_as_none_chosen() {
        let shown = |content| {
            let mut text = String::new();
            traced_pids(&mut text, content);
            text
        };
        assert_eq!(shown("no pid"), "");
        assert!(shown("").contains("have ended"));
        assert!(shown("7\n8").ends_with(" 7 8\n"));
    }

    #[test]
    fn remarks_of_a_filter_file_become_words() {
        assert_eq!(plain_lines("#### all functions enabled ####\n"), ["all functions enabled"]);
        assert_eq!(plain_lines("#### no functions disabled ####\n"), Vec::<String>::new());
        assert_eq!(plain_lines("a\nb [ext4]\na\n"), ["a", "b [ext4]"]);
    }
}
