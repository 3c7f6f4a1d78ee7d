//! Chooses events by name, and refuses patterns that match none.

use crate::error::{Error, Result};
use crate::tracefs::Instance;
use crate::tracefs::filter;

/// One choice of events on the command line, with its filters and triggers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// `system`, `event`, `system:event` or `all`, with globs in each part.
    pub pattern: String,
    /// Leave these events out instead of recording them.
    pub left_out: bool,
    /// Filters, all of which an event has to pass.
    pub filters: Vec<String>,
    /// Triggers, which are set on each of the events.
    pub triggers: Vec<String>,
}

/// An event that was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Its name, as `system:event`.
    pub name: String,
    /// Its filter, in the kernel's syntax.
    pub filter: Option<String>,
    /// Its triggers, in the kernel's syntax.
    pub triggers: Vec<String>,
}

impl Chosen {
    /// A file of the event, such as `filter`.
    pub fn file(&self, name: &str) -> String {
        format!("events/{}/{name}", self.name.replacen(':', "/", 1))
    }
}

/// The events that are chosen, each once, in the kernel's order. If several choices name an event, it
/// gets the filters of the last one that has some, and the triggers of all.
///
/// # Errors
/// A pattern chooses no event, unless `ignore_missing`; the error has the nearest names. Exit
/// code 2.
pub fn choose(instance: &Instance, choices: &[Choice], ignore_missing: bool) -> Result<Vec<Chosen>> {
    if choices.is_empty() {
        return Ok(Vec::new());
    }
    let text = instance.read("available_events")?;
    let events: Vec<&str> = text.lines().map(str::trim).filter(|event| !event.is_empty()).collect();
    for Choice { pattern, .. } in choices {
        if !ignore_missing && !events.iter().any(|event| matches(pattern, event)) {
            return Err(none(pattern, &events));
        }
    }
    let mut chosen = Vec::new();
    for event in events {
        let mut about = choices.iter().filter(|choice| matches(&choice.pattern, event)).peekable();
        if about.peek().is_none() || about.clone().any(|choice| choice.left_out) {
            continue;
        }
        let mut event = Chosen { name: event.to_string(), ..Chosen::default() };
        for choice in about {
            event.filter = joined(&choice.filters).or(event.filter);
            event.triggers.extend(choice.triggers.iter().cloned());
        }
        chosen.push(event);
    }
    if chosen.is_empty() && !ignore_missing {
        return Err(Error::usage("no event is left: the -e after -v leave out all chosen events")
            .help("-v leaves out the events of every -e after it; give the events to record before -v"));
    }
    Ok(chosen)
}

/// Several filters joined to one that requires all of them.
fn joined(filters: &[String]) -> Option<String> {
    match filters {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(several.iter().map(|filter| format!("({filter})")).collect::<Vec<_>>().join("&&")),
    }
}

/// Lets the kernel parse filters and triggers in an instance where they do no harm.
///
/// A scratch instance is needed because writing a refused filter also removes the old one.
///
/// # Errors
/// The kernel refuses one; the error has its own words. Exit code 2.
pub fn try_out(scratch: &Instance, chosen: &[Chosen]) -> Result<()> {
    for event in chosen {
        if let Some(filter) = &event.filter {
            refusal(scratch.write(&event.file("filter"), filter), "filter", filter, event)?;
        }
        for trigger in &event.triggers {
            let file = event.file("trigger");
            refusal(scratch.append(&file, trigger), "trigger", trigger, event)?;
            scratch.append(&file, &format!("!{trigger}"))?;
        }
    }
    Ok(())
}

fn refusal(outcome: Result<()>, what: &str, text: &str, event: &Chosen) -> Result<()> {
    outcome.map_err(|error| {
        let name = &event.name;
        error.of_request(format!("the kernel refuses the {what} '{text}' for {name}")).help(match what {
            "filter" => format!("'snaptrace list -e {name} -F' shows the fields that a filter can name"),
            _ => format!("the file {} of the tracing directory lists the triggers", event.file(what)),
        })
    })
}

fn matches(pattern: &str, event: &str) -> bool {
    let same = |pattern: &str, name: &str| {
        pattern.is_empty() || pattern == "all" || filter::glob(pattern.as_bytes(), name.as_bytes())
    };
    let Some((system, name)) = event.split_once(':') else { return false };
    match pattern.split_once(':') {
        Some((wanted, event)) => same(wanted, system) && same(event, name),
        None => same(pattern, system) || same(pattern, name),
    }
}

fn none(pattern: &str, events: &[&str]) -> Error {
    let error = Error::usage(format!("no event matches '{pattern}'"));
    let (system, name) = pattern.split_once(':').unwrap_or((pattern, pattern));
    let mut systems: Vec<&str> = events.iter().filter_map(|event| Some(event.split_once(':')?.0)).collect();
    systems.dedup();
    let names = events.iter().filter(|event| {
        // With a known system, only its own events can be meant.
        !systems.contains(&system) || event.split_once(':').is_some_and(|(known, _)| known == system)
    });
    let mut near = filter::nearest(name, names.filter_map(|event| Some(event.split_once(':')?.1)));
    if near.is_empty() {
        near = filter::nearest(system, systems.iter().copied());
    }
    match near.is_empty() {
        true => error.help("'snaptrace list -e' shows the events"),
        false => error.help(format!("the nearest names: {}", near.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracefs::fixture::tracing_directory;

    fn chosen(patterns: &[&str]) -> Result<Vec<String>> {
        let events = "sched:sched_switch\nsched:sched_waking\nirq:irq_handler_entry\nkmem:kmalloc\n";
        let (_folder, tracefs) = tracing_directory(&[("available_events", events)]);
        let choices: Vec<Choice> = patterns
            .iter()
            .map(|pattern| Choice {
                pattern: pattern.trim_start_matches('-').to_string(),
                left_out: pattern.starts_with('-'),
                ..Choice::default()
            })
            .collect();
        let chosen = choose(tracefs.top(), &choices, false)?;
        Ok(chosen.into_iter().map(|event| event.name).collect())
    }

    #[test]
    fn events_are_chosen_by_system_name_or_glob() {
        let sched = ["sched:sched_switch", "sched:sched_waking"];
        assert_eq!(chosen(&["sched"]).unwrap(), sched);
        assert_eq!(chosen(&["sched:*", "sched_switch"]).unwrap(), sched);
        assert_eq!(chosen(&["*:sched_w*", "kmalloc"]).unwrap(), ["sched:sched_waking", "kmem:kmalloc"]);
        assert_eq!(chosen(&["all"]).unwrap().len(), 4);
        assert!(chosen(&[]).unwrap().is_empty());
    }

    #[test]
    fn events_behind_a_v_are_left_out() {
        assert_eq!(chosen(&["sched", "-*:*switch"]).unwrap(), ["sched:sched_waking"]);
        assert!(chosen(&["sched", "-sched"]).unwrap_err().to_string().contains("no event is left"));
    }

    #[test]
    fn filters_are_joined_and_belong_to_their_choice() {
        assert_eq!(joined(&[]), None);
        assert_eq!(joined(&["a == 1".into()]).unwrap(), "a == 1");
        assert_eq!(joined(&["a == 1".into(), "b < 2 || c".into()]).unwrap(), "(a == 1)&&(b < 2 || c)");
    }

    #[test]
    fn what_chooses_no_event_is_refused_with_near_names() {
        let error = chosen(&["sched", "sched:sched_swich"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("no event matches 'sched:sched_swich'"), "{error}");
        assert!(error.to_string().contains("sched_switch"), "{error}");
        assert!(chosen(&["nosuch:event"]).is_err());
    }
}
