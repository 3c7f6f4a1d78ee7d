//! `list`: the kernel's tracers, events, functions and more, one a line.

use std::fs;

use clap::ArgGroup;
use regex_lite::Regex;

use super::interface::{Kernel, Subcommand, print};
use crate::capture::metadata::TYPES;
use crate::error::{Error, Result};
use crate::tracefs::Tracefs;
use crate::tracefs::filter::Functions;
use crate::tracefs::{filter, options, tracers};
use trace_dat::bytes::ByteOrder;
use trace_dat::event::btf::Btf;

/// List the kernel's tracers, events, functions, options and clocks
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("what").required(true),
    after_help = "A PATTERN with '*', '?' or '[' is a glob that has to match the whole name. Any
other PATTERN is a regular expression that may match a part of the name.

Example:
  snaptrace list -t
  snaptrace list -f '^dev_attr'
  snaptrace list -f vfs_open --proto
  snaptrace list -e 'sched:*'
  snaptrace list -e sched:sched_switch -F"
)]
pub(super) struct Args {
    /// Tracers
    #[arg(short = 't', group = "what")]
    tracers: bool,
    /// Options: NAME if it is on, noNAME if it is off
    #[arg(short = 'o', group = "what")]
    options: bool,
    /// Clocks; the current one is in brackets
    #[arg(short = 'C', group = "what")]
    clocks: bool,
    /// Events, as SYSTEM:EVENT
    #[arg(short = 'e', group = "what", value_name = "PATTERN")]
    events: Option<Option<String>>,
    /// With -e, also print the fields of each event, for use in filters
    #[arg(short = 'F', requires = "events", conflicts_with_all = NO_EVENTS)]
    fields: bool,
    /// Functions that can be traced
    #[arg(short = 'f', group = "what", value_name = "PATTERN")]
    functions: Option<Option<String>>,
    /// With -f, the parameters of each function; needs BTF
    #[arg(long, requires = "functions", conflicts_with_all = NO_FUNCTIONS)]
    proto: bool,
    /// Instances
    #[arg(short = 'B', group = "what")]
    instances: bool,
    /// Compression methods for recordings
    #[arg(short = 'c', group = "what")]
    compressions: bool,
}

/// The lists other than functions.
const NO_FUNCTIONS: [&str; 6] = ["tracers", "options", "clocks", "events", "instances", "compressions"];

/// The lists other than events; with one of these clap does not report a missing `-e`.
const NO_EVENTS: [&str; 6] = ["tracers", "options", "clocks", "functions", "instances", "compressions"];

impl Subcommand for Args {
    const NAME: &'static str = "list";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        print(&list(&kernel.tracefs()?, &self.kind())?)?;
        Ok(0)
    }
}

impl Args {
    fn kind(self) -> Kind {
        if let Some(pattern) = self.events {
            if self.fields { Kind::Fields(pattern) } else { Kind::Events(pattern) }
        } else if let Some(pattern) = self.functions {
            if self.proto { Kind::Prototypes(pattern) } else { Kind::Functions(pattern) }
        } else if self.options {
            Kind::Options
        } else if self.clocks {
            Kind::Clocks
        } else if self.instances {
            Kind::Instances
        } else if self.compressions {
            Kind::Compressions
        } else {
            Kind::Tracers
        }
    }
}

/// What to list.
#[derive(Clone, Debug)]
enum Kind {
    /// Tracers, on one line, in the kernel's order.
    Tracers,
    /// Options: `name` when on, `noname` when off.
    Options,
    /// Clocks, on one line, the current one in brackets.
    Clocks,
    /// Events as `system:event`, those that match the pattern.
    Events(Option<String>),
    /// The fields of the events that match the pattern.
    Fields(Option<String>),
    /// Compression methods for recordings.
    Compressions,
    /// Functions that can be traced, those that match the pattern.
    Functions(Option<String>),
    /// The same with their parameters, as far as the kernel's types describe them.
    Prototypes(Option<String>),
    /// Instances.
    Instances,
}

/// The list as text, one item per line unless said otherwise.
///
/// # Errors
/// A file cannot be read, or a pattern is not a regular expression.
fn list(tracefs: &Tracefs, kind: &Kind) -> Result<String> {
    let top = tracefs.top();
    match kind {
        Kind::Tracers => Ok(lines([tracers::available(top)?.join(" ")])),
        Kind::Options => Ok(lines(options::read_all(top)?.iter().map(options::Setting::word))),
        Kind::Clocks => Ok(lines([top.read_value("trace_clock")?])),
        Kind::Events(pattern) => {
            let search = Search::new(pattern.as_deref())?;
            let events = top.read("available_events")?;
            Ok(lines(events.lines().filter(|event| search.finds(event))))
        }
        Kind::Fields(pattern) => {
            let search = Search::new(pattern.as_deref())?;
            let mut text = String::new();
            for event in top.read("available_events")?.lines().filter(|event| search.finds(event)) {
                let (system, name) = event.split_once(':').unwrap_or(("", event));
                text.push_str(&format!("system: {system}\n"));
                text.push_str(&fields(&top.read(&format!("events/{system}/{name}/format"))?));
            }
            Ok(text)
        }
        Kind::Compressions => Ok(lines(["none", "zlib", "zstd"])),
        Kind::Functions(pattern) | Kind::Prototypes(pattern) => {
            let search = Search::new(pattern.as_deref())?;
            let types = if let Kind::Prototypes(_) = kind { Some(types()?) } else { None };
            let prototype = |name: &str| {
                let parameters = types.as_ref()?.parameters(name)?;
                let declared: Vec<String> = parameters
                    .iter()
                    .map(|one| types.as_ref().map_or(String::new(), |types| types.declaration(one)))
                    .collect();
                Some(format!("({})", declared.join(", ")))
            };
            let text = top.read("available_filter_functions")?;
            let functions = Functions::parse(&text);
            Ok(lines(functions.iter().filter(|function| search.finds(function.name)).map(|function| {
                let parameters = prototype(function.name).unwrap_or_default();
                match function.module {
                    Some(module) => format!("{}{parameters} [{module}]", function.name),
                    None => format!("{}{parameters}", function.name),
                }
            })))
        }
        Kind::Instances => {
            let names = tracefs.instances()?;
            Ok(match names.is_empty() {
                true => "No buffer instances defined\n".to_string(),
                false => lines(names),
            })
        }
    }
}

/// The types of the kernel itself, without those of its modules.
fn types() -> Result<Btf> {
    let failed = Error::new(format!("cannot read {TYPES}"));
    let help = "the kernel needs CONFIG_DEBUG_INFO_BTF for it; without --proto functions are listed by name";
    let order = if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };
    match fs::read(TYPES) {
        Ok(bytes) => {
            Btf::parse(bytes, order).ok_or_else(|| failed.help("snaptrace does not know its format"))
        }
        Err(cause) => Err(failed.because(cause).help(help)),
    }
}

/// A format file without the print format, and with one blank line at its end.
fn fields(format: &str) -> String {
    let kept = format.lines().take_while(|line| !line.starts_with("print fmt:"));
    let kept: Vec<&str> = kept.collect();
    format!("{}\n\n", kept.join("\n").trim_end())
}

fn lines<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().fold(String::new(), |text, item| text + item.as_ref() + "\n")
}

/// A search for names: a glob that matches the whole name, or a regular expression that matches anywhere.
enum Search {
    All,
    Glob(String),
    Regex(Regex),
}

impl Search {
    /// A pattern with wildcards, but without the special characters of regular expressions, is a glob.
    fn new(pattern: Option<&str>) -> Result<Search> {
        let Some(pattern) = pattern else { return Ok(Search::All) };
        if pattern.contains(['*', '?', '[']) && !pattern.contains(['^', '$', '.', '+', '(', ')', '|', '\\']) {
            return Ok(Search::Glob(pattern.to_string()));
        }
        Regex::new(pattern).map(Search::Regex).map_err(|cause| {
            Error::usage(format!("'{pattern}' is not a regular expression: {cause}"))
                .help("use a part of the name, a glob such as 'dev_attr_*', or a regular expression such as '^dev_attr'")
        })
    }

    fn finds(&self, name: &str) -> bool {
        match self {
            Search::All => true,
            Search::Glob(pattern) => filter::glob(pattern.as_bytes(), name.as_bytes()),
            Search::Regex(regex) => regex.is_match(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_end_where_the_print_format_begins() {
        assert_eq!(
            fields("name: a\nID: 1\nformat:\n\tfield:int b;\n\nprint fmt: \"%d\", REC->b\n"),
            "name: a\nID: 1\nformat:\n\tfield:int b;\n\n"
        );
    }

    #[test]
    fn a_search_is_a_glob_or_a_regular_expression() {
        let finds = |pattern: &str, name: &str| Search::new(Some(pattern)).unwrap().finds(name);
        assert!(finds("^dev_attr", "dev_attr_show"));
        assert!(!finds("^attr", "dev_attr_show"));
        assert!(finds("attr", "dev_attr_show"));
        assert!(finds("dev_*", "dev_attr_show"));
        assert!(!finds("attr*", "dev_attr_show"), "a glob is about the whole name");
        assert!(finds("^sched:sched_sw.*", "sched:sched_switch"));
        assert!(finds("sched:*", "sched:sched_switch"));
        assert!(Search::new(Some("(")).is_err_and(|error| error.exit_code() == 2));
    }
}
