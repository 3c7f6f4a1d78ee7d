//! `cargo xtask merge-results`: merges the parts of a run.

use std::path::PathBuf;

use super::events::{Format, Messages};
use super::junit::Junit;
use crate::base::error::{Error, Result};
use crate::base::ui::{out, outln, printable};
use crate::base::verdict::Verdict;
use crate::outcome::shard::Shard;
use crate::outcome::summary::{Column, Summary};
use crate::outcome::table::table;

/// What to merge, and the formats of output.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The folders of the parts.
    pub folders: Vec<PathBuf>,
    /// A JUnit file to write.
    pub junit: Option<PathBuf>,
    /// The format of standard output.
    pub format: Format,
}

/// Merges the parts, and prints what a single run would have printed. Returns the verdict.
///
/// # Errors
/// When a part is missing, unfinished, given twice, from another tree, or cannot be read.
pub fn run(options: &Options) -> Result<Verdict> {
    let messages = Messages::open(options.format)?;
    let junit = options.junit.as_deref().map(Junit::create).transpose()?;
    let mut parts = Vec::new();
    for folder in &options.folders {
        parts.push((folder.display().to_string(), Summary::load(folder)?));
    }
    let merged = merge(parts)?;
    messages.begin(&merged, Shard::default())?;
    messages.kernels(&merged)?;
    for column in &merged.kernels {
        out!("{}", complaints(column));
    }
    out!("{}", table(&merged));
    outln!("{}", merged.counts());
    if let Some(junit) = junit {
        junit.write(&merged)?;
    }
    messages.finish(&merged, None)?;
    Ok(merged.verdict())
}

/// Messages about a kernel and its cases, printed beside the table.
fn complaints(column: &Column) -> String {
    let mut text = String::new();
    if let Some(missing) = column.missing() {
        text += &format!("{}: {}: {}\n", column.kernel, missing.verdict, missing.why);
    }
    for (case, outcome) in column.outcomes() {
        if outcome.ran.is_some() && outcome.verdict != Verdict::Pass {
            let allowed = if outcome.allowed { ", allowed" } else { "" };
            text += &format!("{} {case}: {}{allowed}: {}\n", column.kernel, outcome.verdict, outcome.why);
            text += &outcome.detail;
        }
    }
    // It comes from files and contains output of guests.
    printable(&text)
}

/// Merges parts, each given with its name, into the whole run.
///
/// # Errors
/// When they are not all the parts of one run.
pub fn merge(parts: Vec<(String, Summary)>) -> Result<Summary> {
    let failed = |why: String| Error::new("cannot merge these results").because(why);
    let mut found: Vec<(String, Summary)> = Vec::new();
    for (name, part) in parts {
        if let Some((first, one)) = found.first() {
            same_run((first, one), (&name, &part)).map_err(failed)?;
        }
        if let Some((other, _)) = found.iter().find(|(_, other)| other.shard == part.shard) {
            return Err(failed(format!("{other} and {name} are both part {}", part.shard)));
        }
        is_whole(&name, &part).map_err(failed)?;
        found.push((name, part));
    }
    found.sort_by_key(|(_, part)| part.shard.index());
    let Some((_, first)) = found.first() else { return Err(failed("there are none".into())) };
    let there = |shard: Shard| found.iter().any(|(_, part)| part.shard == shard);
    let missing: Vec<String> =
        first.shard.all().filter(|shard| !there(*shard)).map(|shard| shard.to_string()).collect();
    if !missing.is_empty() {
        return Err(failed(format!("part {} is missing", missing.join(", "))));
    }
    let mut whole = Summary { shard: Shard::default(), ..first.clone() };
    for (name, part) in &found {
        for (column, more) in whole.kernels.iter_mut().zip(&part.kernels) {
            same_machine(column, more).map_err(|why| failed(format!("{name} {why}")))?;
            column.machine = column.machine.take().or_else(|| more.machine.clone());
            for (cell, other) in column.cells.iter_mut().zip(&more.cells) {
                cell.outcome = cell.outcome.take().or_else(|| other.outcome.clone());
            }
        }
    }
    Ok(whole)
}

/// Checks that two parts belong to the same run.
fn same_run(one: (&str, &Summary), other: (&str, &Summary)) -> std::result::Result<(), String> {
    let ((name, one), (others_name, other)) = (one, other);
    let differ = |what: &str| Err(format!("{name} and {others_name} are of {what}"));
    let options = |run: &Summary| -> Vec<(String, bool, Vec<String>)> {
        let cases = |column: &Column| column.cells.iter().map(|cell| cell.case.clone()).collect();
        run.kernels.iter().map(|column| (column.kernel.clone(), column.asked, cases(column))).collect()
    };
    if one.shard.of() != other.shard.of() {
        return differ(&format!("runs in {} and in {} parts", one.shard.of(), other.shard.of()));
    }
    if one.cases != other.cases || options(one) != options(other) {
        return differ("runs with other kernels or cases");
    }
    if one.tree != other.tree {
        return differ("other trees: cases, snapshots, kernel records, programs or options are not the same");
    }
    Ok(())
}

/// Checks that a part has all of its own results, and no others.
fn is_whole(name: &str, part: &Summary) -> std::result::Result<(), String> {
    let own = part.pairs(part.shard);
    for (at, column) in part.kernels.iter().enumerate() {
        for (number, cell) in column.cells.iter().enumerate() {
            let what = match (own.contains(&(at, number)), cell.outcome.is_some()) {
                (true, false) => "is not finished: it lacks",
                (false, true) => "has what is not its own:",
                _ => continue,
            };
            return Err(format!("{name} {what} {} on {}", cell.case, column.kernel));
        }
    }
    Ok(())
}

/// Checks that a kernel is the same in two parts, if both ran it.
fn same_machine(one: &Column, other: &Column) -> std::result::Result<(), String> {
    let (Some(machine), Some(others)) = (&one.machine, &other.machine) else { return Ok(()) };
    match machine.inputs.explain(&others.inputs) {
        Some(what) => Err(format!("ran {} with another input than the parts before: {what}", one.kernel)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ci::junit::xml;
    use crate::ci::ktap::ktap;
    use crate::outcome::summary::tests::sample;

    /// One part of a run, as its machine would have stored it.
    fn part(run: &Summary, shard: Shard) -> Summary {
        let mut part = Summary { shard, ..run.clone() };
        let own = run.pairs(shard);
        for (at, column) in part.kernels.iter_mut().enumerate() {
            for (number, cell) in column.cells.iter_mut().enumerate() {
                if !own.contains(&(at, number)) {
                    cell.outcome = None;
                }
            }
            if column.outcomes().next().is_none() {
                column.machine = None;
            }
        }
        part
    }

    fn parts(run: &Summary, of: u32) -> Vec<(String, Summary)> {
        let first: Shard = format!("1/{of}").parse().unwrap();
        first.all().map(|shard| (format!("part-{}", shard.index()), part(run, shard))).collect()
    }

    fn refused(parts: Vec<(String, Summary)>) -> String {
        merge(parts).unwrap_err().to_string()
    }

    #[test]
    fn a_run_in_two_parts_gives_the_table_of_one_run() {
        let run = sample();
        let merged = merge(parts(&run, 2)).unwrap();
        assert_eq!(table(&merged), table(&run));
        assert_eq!(xml(&merged).unwrap(), xml(&run).unwrap());
        assert_eq!(ktap(&merged), ktap(&run));
        assert_eq!((merged.verdict(), merged.counts()), (run.verdict(), run.counts()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_number_of_parts_in_any_order_is_the_run(of in 1u32..12, turn in 0usize..12) {
            let mut parts = parts(&sample(), of);
            let turn = turn % parts.len();
            parts.rotate_left(turn);
            prop_assert_eq!(merge(parts).unwrap(), sample());
        }
    }

    #[test]
    fn a_missing_part_is_named() {
        let mut parts = parts(&sample(), 3);
        parts.remove(1);
        let why = refused(parts);
        assert!(why.ends_with("part 2/3 is missing"), "{why}");
        assert!(refused(Vec::new()).contains("there are none"));
    }

    #[test]
    fn a_part_that_is_there_twice_is_named() {
        let mut twice = parts(&sample(), 2);
        twice.push(("copy".into(), twice[0].1.clone()));
        let why = refused(twice);
        assert!(why.contains("part-1 and copy are both part 1/2"), "{why}");
    }

    #[test]
    fn a_part_that_was_broken_off_or_has_more_is_refused() {
        let mut broken = parts(&sample(), 2);
        broken[1].1.kernels[1].cells[1].outcome = None;
        assert!(refused(broken).contains("part-2 is not finished: it lacks function on debian-6.1"));
        let mut more = parts(&sample(), 2);
        more[0].1.kernels[2] = sample().kernels[2].clone();
        assert!(refused(more).contains("part-1 has what is not its own: check on debian-7"));
    }

    #[test]
    fn parts_of_other_runs_are_refused() {
        let other = |change: fn(&mut Summary)| {
            let mut parts = parts(&sample(), 2);
            change(&mut parts[1].1);
            refused(parts)
        };
        assert!(other(|part| part.shard = "2/3".parse().unwrap()).contains("in 2 and in 3 parts"));
        assert!(other(|part| part.tree = "other".into()).contains("are of other trees"));
        assert!(other(|part| part.kernels[0].asked = true).contains("other kernels or cases"));
        assert!(other(|part| part.cases.reverse()).contains("other kernels or cases"));
        assert!(other(|part| drop(part.kernels.pop())).contains("other kernels or cases"));
    }

    #[test]
    fn a_kernel_that_was_not_the_same_is_refused() {
        let mut parts = parts(&sample(), 3);
        // The first kernel's cases are in the first two parts.
        let shared = parts.iter().filter(|(_, part)| part.kernels[0].machine.is_some()).count();
        assert_eq!(shared, 2);
        parts[1].1.kernels[0].machine.as_mut().unwrap().inputs.qemu = "9.0".into();
        let why = refused(parts);
        assert!(why.contains("part-2 ran 5.4 with another input than the parts before: the QEMU"), "{why}");
    }

    #[test]
    fn what_a_guest_said_drives_no_terminal() {
        let said = complaints(&sample().kernels[1]);
        assert!(said.contains("debian-6.1 function: mismatch: the transcript"), "{said}");
        assert!(said.contains("+new?[1m\n"), "{said}");
    }
}
