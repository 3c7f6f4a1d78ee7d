//! The arguments that choose what to trace.

use std::ffi::OsString;

use clap::{ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::setup::events::Choice;
use crate::setup::request::Request;

/// The arguments of every command that sets up a tracer.
#[derive(Debug, Args)]
pub(in crate::commands) struct TraceArgs {
    /// Tracer, see 'snaptrace list -t'
    #[arg(short = 'p', value_name = "TRACER")]
    tracer: Option<String>,
    /// Trace only this function (repeatable)
    #[arg(short = 'l', value_name = "FUNC")]
    functions: Vec<String>,
    /// Do not trace this function (repeatable)
    #[arg(short = 'n', value_name = "FUNC")]
    notrace: Vec<String>,
    /// Trace only functions of this module
    #[arg(long, value_name = "MODULE")]
    module: Option<String>,
    /// Graph only this function and the functions it calls (repeatable)
    #[arg(short = 'g', value_name = "FUNC")]
    graph: Vec<String>,
    /// Do not graph this function and the functions it calls (repeatable)
    #[arg(long, value_name = "FUNC")]
    graph_notrace: Vec<String>,
    /// Record the call stack of each function; needs -l
    #[arg(long)]
    func_stack: bool,
    /// Maximum depth of graphs, 0 for no limit
    #[arg(long, value_name = "N")]
    max_graph_depth: Option<u32>,
    #[command(flatten)]
    events: EventArgs,
    /// Record a call stack with each event
    #[arg(short = 'T')]
    stacks: bool,
    /// Switch a trace option on, or off with noOPTION (repeatable)
    #[arg(short = 'O', value_name = "OPTION")]
    options: Vec<String>,
    /// Trace clock, see 'snaptrace list -C'
    #[arg(short = 'C', value_name = "CLOCK")]
    clock: Option<String>,
    /// Size of each CPU's buffer in KiB
    #[arg(short = 'b', value_name = "SIZE")]
    buffer_kb: Option<u64>,
    /// Trace only this process (repeatable, or separated by commas)
    #[arg(short = 'P', value_name = "PID", value_delimiter = ',')]
    pids: Vec<u32>,
    /// Trace only the process of CMD
    #[arg(short = 'F')]
    only_command: bool,
    /// With -F or -P, trace the children too
    #[arg(short = 'c')]
    children: bool,
}

/// Events with their filters and triggers, in the order of the command line.
#[derive(Debug)]
pub(in crate::commands) struct EventArgs {
    choices: Vec<Choice>,
    ignore_missing: bool,
}

/// The same, as clap reads them.
#[derive(Debug, Args)]
struct EventWords {
    /// Trace these events (repeatable)
    #[arg(id = EVENTS, short = 'e', value_name = "EVENT")]
    events: Vec<String>,
    /// Record the event of the preceding -e only where its fields match (repeatable)
    #[arg(id = FILTERS, short = 'f', value_name = "FILTER", requires = EVENTS)]
    filters: Vec<String>,
    /// Set a trigger on the event of the preceding -e (repeatable)
    #[arg(id = TRIGGERS, short = 'R', value_name = "TRIGGER", requires = EVENTS)]
    triggers: Vec<String>,
    /// Do not trace the events of the -e that follow
    #[arg(id = LEFT_OUT, short = 'v', action = ArgAction::Count, requires = EVENTS)]
    left_out: u8,
    /// Allow an EVENT that matches nothing
    #[arg(short = 'i')]
    ignore_missing: bool,
}

const EVENTS: &str = "events";
const FILTERS: &str = "filters";
const TRIGGERS: &str = "triggers";
const LEFT_OUT: &str = "left_out";

impl Args for EventArgs {
    fn augment_args(command: Command) -> Command {
        EventWords::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        EventWords::augment_args_for_update(command)
    }
}

impl FromArgMatches for EventArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<EventArgs, clap::Error> {
        let words = EventWords::from_arg_matches(matches)?;
        let places = |id: &str| matches.indices_of(id).map(Iterator::collect::<Vec<_>>).unwrap_or_default();
        // Without -v, clap gives the flag the index of its default value.
        let inverted = (words.left_out > 0).then(|| places(LEFT_OUT).into_iter().min()).flatten();
        let mut choices: Vec<(usize, Choice)> = Vec::new();
        for (place, pattern) in places(EVENTS).into_iter().zip(words.events) {
            let left_out = inverted.is_some_and(|inverted| inverted < place);
            choices.push((place, Choice { pattern, left_out, ..Choice::default() }));
        }
        let filters = places(FILTERS).into_iter().zip(words.filters).map(|(place, text)| (place, text, true));
        let triggers =
            places(TRIGGERS).into_iter().zip(words.triggers).map(|(place, text)| (place, text, false));
        for (place, text, is_filter) in filters.chain(triggers) {
            let option = if is_filter { "-f" } else { "-R" };
            let refuse = |why: &str| {
                let message = format!("{option} '{text}' {why}\n");
                Err(clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, message))
            };
            match choices.iter_mut().rev().find(|(of, _)| *of < place) {
                None => return refuse("has no -e before it"),
                Some((_, choice)) if choice.left_out => return refuse("is for an -e that -v leaves out"),
                Some((_, choice)) if is_filter => choice.filters.push(text),
                Some((_, choice)) => choice.triggers.push(text),
            }
        }
        let choices = choices.into_iter().map(|(_, choice)| choice).collect();
        Ok(EventArgs { choices, ignore_missing: words.ignore_missing })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = EventArgs::from_arg_matches(matches)?;
        Ok(())
    }
}

impl TraceArgs {
    /// The request; `instance` and `command` are arguments of the commands themselves.
    pub(in crate::commands) fn config(self, instance: Option<String>, command: Vec<OsString>) -> Request {
        let mut options = self.options;
        if self.stacks {
            options.insert(0, "stacktrace".to_string());
        }
        Request {
            tracer: self.tracer,
            functions: self.functions,
            notrace: self.notrace,
            module: self.module,
            graph: self.graph,
            graph_notrace: self.graph_notrace,
            func_stack: self.func_stack,
            max_graph_depth: self.max_graph_depth,
            events: self.events.choices,
            ignore_missing: self.events.ignore_missing,
            options,
            clock: self.clock,
            buffer_kb: self.buffer_kb,
            instance,
            pids: self.pids,
            only_command: self.only_command,
            children: self.children,
            command,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<EventArgs, clap::Error> {
        let command = EventArgs::augment_args(Command::new("test").no_binary_name(true));
        EventArgs::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn filters_and_triggers_belong_to_the_event_before_them() {
        let args = parsed(&["-e", "a", "-f", "x", "-f", "y", "-e", "b", "-R", "t", "-v", "-e", "c"]).unwrap();
        let [a, b, c] = args.choices.as_slice() else { panic!("{args:?}") };
        assert_eq!((a.pattern.as_str(), a.filters.join(" "), a.left_out), ("a", "x y".into(), false));
        assert_eq!((b.pattern.as_str(), b.triggers.join(" "), b.left_out), ("b", "t".into(), false));
        assert_eq!((c.pattern.as_str(), c.left_out), ("c", true));
        assert!(parsed(&[]).unwrap().choices.is_empty());
    }

    #[test]
    fn what_belongs_to_no_event_is_refused() {
        for words in
            [&["-f", "x", "-e", "a"][..], &["-R", "t"], &["-v"], &["-e", "a", "-v", "-e", "b", "-f", "x"]]
        {
            assert!(parsed(words).is_err(), "{words:?}");
        }
    }
}
