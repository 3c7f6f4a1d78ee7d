//! Choosing events by name, and refusing what names none.

use crate::error::{Error, Result};
use crate::filter;
use crate::tracefs::Instance;

/// The events that patterns choose, as `system:event`, in the kernel's order and each once.
///
/// A pattern is `system`, `event`, `system:event` or `all`, with globs in each part.
///
/// # Errors
/// A pattern chooses no event; the error has the nearest names. Exit code 2.
pub fn choose(instance: &Instance, patterns: &[String]) -> Result<Vec<String>> {
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let text = instance.read("available_events")?;
    let events: Vec<&str> = text.lines().map(str::trim).filter(|event| !event.is_empty()).collect();
    for pattern in patterns {
        if !events.iter().any(|event| matches(pattern, event)) {
            return Err(none(pattern, &events));
        }
    }
    let chosen = |event: &&&str| patterns.iter().any(|pattern| matches(pattern, event));
    Ok(events.iter().filter(chosen).map(ToString::to_string).collect())
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
    use crate::tracefs::Tracefs;

    fn chosen(patterns: &[&str]) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("current_tracer"), "nop\n").unwrap();
        let events = "sched:sched_switch\nsched:sched_waking\nirq:irq_handler_entry\nkmem:kmalloc\n";
        std::fs::write(folder.path().join("available_events"), events).unwrap();
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        choose(Tracefs::at(folder.path()).unwrap().top(), &patterns)
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
    fn what_chooses_no_event_is_refused_with_near_names() {
        let error = chosen(&["sched", "sched:sched_swich"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("no event matches 'sched:sched_swich'"), "{error}");
        assert!(error.to_string().contains("sched_switch"), "{error}");
        assert!(chosen(&["nosuch:event"]).is_err());
    }
}
