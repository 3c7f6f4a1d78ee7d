//! Checks the names that other programs rely on against the committed list `docs/stable-names.txt`.

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write;

    use regex::Regex;
    use serde_json::Value;

    use crate::base::verdict::Verdict;
    use crate::ci::events::{Format, tests::said};
    use crate::ci::{junit, ktap};
    use crate::guest::fingerprint::Fingerprint;
    use crate::guest::{folders, prepared};
    use crate::kernel;
    use crate::outcome::summary;
    use crate::run::bundle;
    use crate::run::results::{self, Comparison, Stored, StoredStep};
    use crate::vm;

    /// The fields of a value; a field of a nested object is `outer.inner`, and elements of a list count as
    /// their owner.
    fn fields(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| fields(value, prefix, found)),
            Value::Object(object) => {
                for (name, value) in object {
                    let name = format!("{prefix}{name}");
                    fields(value, &format!("{name}."), found);
                    found.insert(name);
                }
            }
            _ => {}
        }
    }

    fn listed(value: &Value) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        fields(value, "", &mut found);
        found
    }

    /// Runs in which each verdict occurs: as a failure, as allowed, and for a kernel given by name.
    fn runs() -> Vec<summary::Summary> {
        let mut runs = Vec::new();
        for verdict in Verdict::ALL {
            for (allowed, asked) in [(false, false), (true, false), (false, true)] {
                let mut run = summary::tests::sample();
                for column in &mut run.kernels {
                    column.asked = asked;
                    for outcome in column.cells.iter_mut().filter_map(|cell| cell.outcome.as_mut()) {
                        outcome.verdict = verdict;
                        outcome.allowed = allowed;
                        outcome.why = "why\nmore".into();
                    }
                }
                runs.push(run);
            }
        }
        runs.push(summary::tests::sample());
        runs
    }

    /// The elements of a JUnit file, each with its attributes.
    fn junit_names() -> BTreeSet<String> {
        let element = Regex::new(r#"<([a-z-]+)((?: [a-z]+="[^"]*")*)\s*/?>"#).unwrap();
        let attribute = Regex::new(r#" ([a-z]+)=""#).unwrap();
        let property = Regex::new(r#"<property name="([a-z]+)""#).unwrap();
        let mut names = BTreeSet::new();
        for run in runs() {
            let xml = junit::xml(&run).unwrap();
            for found in element.captures_iter(&xml) {
                let name = &found[1];
                names.insert(name.to_owned());
                names.extend(attribute.captures_iter(&found[2]).map(|one| format!("{name} {}", &one[1])));
            }
            names.extend(property.captures_iter(&xml).map(|one| format!("property {}", &one[1])));
        }
        names
    }

    /// The words of KTAP: versions, results and directives.
    fn ktap_names() -> BTreeSet<String> {
        let word = Regex::new(r"(?m)^ *(KTAP version \d+|(?:not )?ok)\b|\d \S+ # ([A-Z]+)\b").unwrap();
        let texts: Vec<String> = runs().iter().map(ktap::ktap).collect();
        let found = texts.iter().flat_map(|text| word.captures_iter(text));
        found.filter_map(|one| Some(one.get(1).or(one.get(2))?.as_str().to_owned())).collect()
    }

    fn stored() -> Stored {
        let step = StoredStep { command: "true".into(), output: String::new(), status: Some(0) };
        Stored {
            case: String::new(),
            kernel: String::new(),
            identity: String::new(),
            verdict: Verdict::Pass,
            why: String::new(),
            steps: vec![step],
            filters: Vec::new(),
            fingerprint: Fingerprint { stdin: "digest".into(), ..Fingerprint::default() },
            took_ms: 0,
            runs: 1,
        }
    }

    /// The list made from the code.
    fn list() -> String {
        let mut text = String::from(
            "The names that programs elsewhere may rely on. A test holds this list against the code.\n",
        );
        let mut section = |title: &str, names: &mut dyn Iterator<Item = String>| {
            let _ = write!(text, "\n{title}\n");
            names.for_each(|name| text.extend(["  ", &name, "\n"]));
        };
        let mut verdicts = Verdict::ALL;
        verdicts.sort_by_key(|verdict| verdict.exit_code());
        section(
            "Verdicts and their exit codes",
            &mut verdicts.iter().map(|verdict| format!("{verdict} {}", verdict.exit_code())),
        );
        let mut events = BTreeSet::new();
        for line in said(Format::Json) {
            let object: serde_json::Map<String, Value> = serde_json::from_str(&line).unwrap();
            let event = object["event"].as_str().unwrap();
            events.extend(object.keys().map(|field| format!("{event} {field}")));
        }
        section("test-vm --message-format json: events and their fields", &mut events.into_iter());
        section("kernel --list --format json: fields", &mut listed(&kernel::sample_list()).into_iter());
        section("test-vm --junit: elements, attributes and properties", &mut junit_names().into_iter());
        section("test-vm --message-format ktap: words", &mut ktap_names().into_iter());
        let mut files = [
            bundle::PAGE,
            bundle::SENT,
            bundle::STDIN,
            folders::LATEST,
            prepared::COMMAND,
            prepared::INITRD,
            results::FILE,
            Comparison::FILE,
            summary::FILE,
            vm::CONSOLE,
            vm::QEMU_LOG,
            vm::RESULTS,
        ];
        files.sort_unstable();
        section("Files below target/vm", &mut files.into_iter().map(str::to_owned));
        let run = serde_json::to_value(summary::tests::sample()).unwrap();
        section(&format!("{}: fields", summary::FILE), &mut listed(&run).into_iter());
        let result = serde_json::to_value(stored()).unwrap();
        section(&format!("{}: fields", results::FILE), &mut listed(&result).into_iter());
        let comparison = Comparison { verdict: Verdict::Pass, why: String::new(), diff: String::new() };
        let comparison = serde_json::to_value(comparison).unwrap();
        section(&format!("{}: fields", Comparison::FILE), &mut listed(&comparison).into_iter());
        text
    }

    #[test]
    fn names_that_programs_read_are_those_of_the_committed_list() {
        let committed = include_str!("../../../docs/stable-names.txt");
        let list = list();
        let lines = |text: &'static str| text.lines().collect::<Vec<_>>();
        let (old, new) = (lines(committed), lines(list.clone().leak()));
        let gone: Vec<&&str> = old.iter().filter(|line| !new.contains(line)).collect();
        let added: Vec<&&str> = new.iter().filter(|line| !old.contains(line)).collect();
        assert!(
            committed == list,
            "gone: {gone:?}, added: {added:?}. A name that is gone breaks programs elsewhere; one that \
             is new belongs into docs/stable-names.txt, which then reads:\n{list}"
        );
    }
}
