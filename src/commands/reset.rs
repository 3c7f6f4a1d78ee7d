//! `reset`: restores the kernel's defaults.

use super::args::instance::InstanceArgs;
use super::interface::{Kernel, Subcommand};
use crate::error::Result;
use crate::tracefs::filter_files::FilterFile;
use crate::tracefs::options;
use crate::tracefs::{Instance, Mode};

/// Restore the kernel's defaults
///
/// Sets the nop tracer and the local clock, switches events and triggers
/// off, restores the default options, clears filters, pids and the limit
/// on the graph's depth, empties the buffer, and switches tracing on. The
/// buffer keeps its size.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  snaptrace reset")]
pub(super) struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Delete the instance afterwards
    #[arg(short = 'd', requires = "instance")]
    delete: bool,
}

impl Subcommand for Args {
    const NAME: &'static str = "reset";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        let tracefs = kernel.tracefs()?;
        reset(&self.instance.of(&tracefs)?)?;
        if let (true, Some(name)) = (self.delete, self.instance.name()) {
            tracefs.remove_instance(name)?;
        }
        Ok(0)
    }
}

/// Restores the kernel's defaults and switches recording on, as after boot.
///
/// Tracer, events, triggers, filters, pids, options, clock and graph depth are set; an option
/// whose default is unknown is not changed. The buffer is emptied and keeps its size.
///
/// # Errors
/// The kernel refuses a value.
fn reset(instance: &Instance) -> Result<()> {
    instance.write("tracing_on", "0")?;
    instance.write("current_tracer", "nop")?;
    reset_events(instance)?;
    remove_function_commands(instance)?;
    for file in [FilterFile::Function, FilterFile::Notrace, FilterFile::Graph, FilterFile::GraphNotrace] {
        truncate_if_there(instance, file.name())?;
    }
    for file in ["set_ftrace_pid", "set_ftrace_notrace_pid", "set_event_pid", "set_event_notrace_pid"] {
        truncate_if_there(instance, file)?;
    }
    for setting in options::read_all(instance)? {
        if let Some(default) = setting.default(instance).filter(|&default| default != setting.on) {
            let setting = options::Setting { on: default, ..setting };
            instance.write(&setting.file(), setting.value())?;
        }
    }
    for (file, value) in [("trace_clock", "local"), ("max_graph_depth", "0"), ("tracing_thresh", "0")] {
        if instance.has(file) {
            instance.write(file, value)?;
        }
    }
    instance.clear()?;
    instance.write("tracing_on", "1")
}

fn truncate_if_there(instance: &Instance, file: &str) -> Result<()> {
    if instance.has(file) { instance.truncate(file) } else { Ok(()) }
}

/// Switches all events off and removes their filters and triggers.
fn reset_events(instance: &Instance) -> Result<()> {
    if instance.has("events/enable") {
        instance.write("events/enable", "0")?;
    }
    for system in instance.folders("events")? {
        for event in instance.folders(&format!("events/{system}"))? {
            let folder = format!("events/{system}/{event}");
            let filter = format!("{folder}/filter");
            if instance.has(&filter) && instance.read_value(&filter)? != "none" {
                instance.write(&filter, "0")?;
            }
            let trigger = format!("{folder}/trigger");
            if instance.has(&trigger) {
                remove_triggers(instance, &trigger)?;
            }
        }
    }
    Ok(())
}

fn remove_triggers(instance: &Instance, file: &str) -> Result<()> {
    let content = instance.read(file)?;
    for line in content.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        // A histogram's line ends in its state, which is not part of its definition.
        let definition = line.split(" [").next().unwrap_or(line);
        instance.append(file, &format!("!{definition}"))?;
    }
    Ok(())
}

/// Removes function commands, such as `schedule:traceoff:unlimited`, from the function filter. They stay
/// when the filter is emptied.
fn remove_function_commands(instance: &Instance) -> Result<()> {
    let file = FilterFile::Function.name();
    if !instance.has(file) {
        return Ok(());
    }
    instance.write_lines(file, &command_removals(&instance.read(file)?), Mode::Append)
}

/// The lines that remove each function command in a filter file's content.
fn command_removals(content: &str) -> Vec<String> {
    content
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains(':') && !line.contains(":mod:"))
        .map(|line| line.strip_suffix(":unlimited").unwrap_or(line))
        .map(|line| match line.rsplit_once(":count=") {
            Some((definition, _)) => format!("!{definition}:0"),
            None => format!("!{line}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_commands_are_taken_away_and_filters_are_not() {
        let content = "#### all functions enabled ####\nkfree\nwrite*:mod:ext4\n\
                       a:stacktrace:unlimited\nb:traceoff:count=4\nc:enable_event:sched:sched_switch:unlimited\n";
        assert_eq!(
            command_removals(content),
            ["!a:stacktrace", "!b:traceoff:0", "!c:enable_event:sched:sched_switch"]
        );
        assert!(command_removals("kfree\nwrite*:mod:ext4\n").is_empty());
    }
}
