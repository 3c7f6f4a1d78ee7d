//! Trace options: their names, their states, and the kernel's defaults.

use crate::error::{Error, Result};
use crate::tracefs::Instance;
use crate::tracefs::filter;

/// Options that are on by default, of the buffer and of the tracers (Linux 5.4 to 7.2).
const ON: &[&str] = &[
    "annotate",
    "context-info",
    "funcgraph-cpu",
    "funcgraph-duration",
    "funcgraph-irqs",
    "funcgraph-overhead",
    "function-trace",
    "graph-time",
    "hash-ptr",
    "irq-info",
    "markers",
    "overwrite",
    "print-parent",
    "record-cmd",
    "sleep-time",
    "trace_printk",
];

/// Options that are on by default in the top instance and off in every other one. They select where
/// trace_printk and writes to the top trace_marker go.
const ON_AT_THE_TOP: &[&str] = &["copy_trace_marker", "trace_printk_dest"];

/// Options that are off by default.
const OFF: &[&str] = &[
    "bin",
    "bitmask-list",
    "blk_cgname",
    "blk_cgroup",
    "blk_classic",
    "block",
    "branch",
    "disable_on_free",
    "display-graph",
    "event-fork",
    "fields",
    "func-args",
    "func-no-repeats",
    "func_stack_trace",
    "funcgraph-abstime",
    "funcgraph-args",
    "funcgraph-overrun",
    "funcgraph-proc",
    "funcgraph-retaddr",
    "funcgraph-retval",
    "funcgraph-retval-hex",
    "funcgraph-retval-trim",
    "funcgraph-tail",
    "function-fork",
    "hex",
    "latency-format",
    "pause-on-trace",
    "printk-msg-only",
    "raw",
    "record-tgid",
    "stacktrace",
    "sym-addr",
    "sym-offset",
    "sym-userobj",
    "test_nop_accept",
    "test_nop_refuse",
    "userstacktrace",
    "verbose",
];

/// One option and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, as in `func_stack_trace`.
    pub name: String,
    /// Whether it is on.
    pub on: bool,
}

impl Setting {
    /// The option's file.
    pub fn file(&self) -> String {
        format!("options/{}", self.name)
    }

    /// The value for its file: "1" or "0".
    pub fn value(&self) -> &'static str {
        if self.on { "1" } else { "0" }
    }

    /// The option as the kernel prints it: `name` when on, `noname` when off.
    pub fn word(&self) -> String {
        let prefix = if self.on { "" } else { "no" };
        format!("{prefix}{}", self.name)
    }

    /// The kernel's default in an instance, if it is known; newer kernels may have unknown options.
    pub fn default(&self, instance: &Instance) -> Option<bool> {
        match &*self.name {
            name if ON_AT_THE_TOP.contains(&name) => Some(instance.name().is_none()),
            name if ON.contains(&name) => Some(true),
            name if OFF.contains(&name) => Some(false),
            _ => None,
        }
    }
}

/// All options of an instance: those of `trace_options` in the kernel's order, then those that
/// belong to a tracer which is not the current one, by name.
///
/// # Errors
/// The options cannot be read.
pub fn read_all(instance: &Instance) -> Result<Vec<Setting>> {
    let mut names = instance.files("options")?;
    let mut settings = Vec::new();
    for word in instance.read("trace_options")?.lines() {
        let setting = parse_word(word, &names).unwrap_or_else(|| Setting {
            name: word.strip_prefix("no").unwrap_or(word).to_string(),
            on: !word.starts_with("no"),
        });
        names.retain(|name| *name != setting.name);
        settings.push(setting);
    }
    for name in names {
        let on = instance.read_value(&format!("options/{name}"))? == "1";
        settings.push(Setting { name, on });
    }
    Ok(settings)
}

/// Reads the argument of `-O`: `name` switches an option on, `noname` off.
///
/// # Errors
/// The instance does not have this option; the error names the nearest ones. Exit code 2.
pub fn parse(instance: &Instance, word: &str) -> Result<Setting> {
    let names = instance.files("options")?;
    parse_word(word, &names).ok_or_else(|| {
        let near = filter::nearest(word.strip_prefix("no").unwrap_or(word), names.iter().map(String::as_str));
        let error =
            Error::usage(format!("trace option '{word}' does not exist in {}", instance.path().display()));
        match near.is_empty() {
            true => error.help("'snaptrace list -o' shows the options"),
            false => error.help(format!("the nearest names: {}", near.join(", "))),
        }
    })
}

fn parse_word(word: &str, names: &[String]) -> Option<Setting> {
    // The whole word first: an option's name may itself begin with "no".
    let found = |name: &str, on| {
        names.iter().any(|known| known == name).then(|| Setting { name: name.to_string(), on })
    };
    found(word, true).or_else(|| found(word.strip_prefix("no")?, false))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::tracing_directory;
    use super::*;

    #[test]
    fn a_word_is_a_name_or_its_negation() {
        let names = ["overwrite", "nop-option"].map(String::from);
        let on = |word| parse_word(word, &names).map(|setting| (setting.name, setting.on));
        assert_eq!(on("overwrite"), Some(("overwrite".into(), true)));
        assert_eq!(on("nooverwrite"), Some(("overwrite".into(), false)));
        assert_eq!(on("nop-option"), Some(("nop-option".into(), true)));
        assert_eq!(on("nonop-option"), Some(("nop-option".into(), false)));
        assert_eq!(on("overwrit"), None);
    }

    #[test]
    fn no_option_has_two_defaults() {
        let all: Vec<&&str> = ON.iter().chain(OFF).chain(ON_AT_THE_TOP).collect();
        assert!(all.iter().all(|name| all.iter().filter(|other| other == &name).count() == 1));
    }

    #[test]
    fn where_the_tops_own_writes_go_is_on_at_the_top_only() {
        let empty = |file| (file, "");
        let (_folder, tracefs) =
            tracing_directory(&["available_tracers", "trace", "instances/x/trace"].map(empty));
        let other = tracefs.instance(Some("x")).unwrap();
        for (name, top, elsewhere) in [
            ("trace_printk_dest", Some(true), Some(false)),
            ("copy_trace_marker", Some(true), Some(false)),
            ("overwrite", Some(true), Some(true)),
            ("func-of-tomorrow", None, None),
        ] {
            let setting = Setting { name: name.into(), on: true };
            assert_eq!((setting.default(tracefs.top()), setting.default(&other)), (top, elsewhere), "{name}");
        }
    }
}
