//! Compares the result of a cell with the expected one; pure.

use super::boots::CellResult;
use super::cells::Cell;
use super::control_files::{FileDifference, differences, is_of};
use super::forms::AllowedChange;

/// The differences that the cell's command was not asked for.
pub fn unwanted(cell: &Cell, result: &CellResult) -> Vec<FileDifference> {
    let mut found = differences(&result.before, &result.after);
    found.retain(|difference| !cell.changes().iter().any(|change| is_about(change, &difference.file)));
    found
}

/// Whether an allowed change applies to a file; all apply to the top instance.
fn is_about(change: &AllowedChange, file: &str) -> bool {
    !file.starts_with("instances/") && is_of(change.file, file)
}

/// Complaints about a cell of snaptrace.
pub fn complaints(cell: &Cell, result: &CellResult) -> Vec<String> {
    let mut complaints = Vec::new();
    if result.hung {
        complaints.push("it did not end".to_owned());
    }
    if result.code != Some(cell.code()) {
        let code = result.code.map_or("no status".to_owned(), |code| code.to_string());
        complaints.push(format!("{code} in place of {}: {}", cell.code(), result.said.join(" / ")));
    }
    if cell.leaves_file() != (result.file > 0) {
        complaints.push(format!("the recorded file has {} bytes", result.file));
    }
    if result.second_runs {
        complaints.push("a second one was not refused".to_owned());
    }
    for FileDifference { file, before, after } in unwanted(cell, result) {
        complaints.push(format!("{file} holds {after:?} where it held {before:?}"));
    }
    for change in cell.changes() {
        complaints.extend(change.holds.and_then(|holds| missing(change, holds, result)));
    }
    complaints
}

/// A complaint if a file does not have the requested contents.
fn missing(change: &AllowedChange, holds: &str, result: &CellResult) -> Option<String> {
    let mut files = result.after.iter().filter(|(file, _)| is_about(change, file)).peekable();
    if holds.is_empty() {
        return files.next().map(|(file, lines)| format!("{file} holds {lines:?} and ought to be empty"));
    }
    if files.peek().is_none() {
        return Some(format!("{} is empty and ought to hold {holds:?}", change.file));
    }
    let mut wrong = files.filter(|(_, lines)| !lines.iter().any(|line| line.contains(holds)));
    wrong.next().map(|(file, lines)| format!("{file} holds {lines:?} in place of {holds:?}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::selftest::restore::{cells, control_files};

    fn cell(name: &str) -> Cell {
        cells::all().into_iter().find(|cell| cell.to_string() == name).unwrap()
    }

    fn result(code: i32, file: u64, after: &str) -> CellResult {
        CellResult {
            code: Some(code),
            file,
            before: Arc::new(control_files::parse("tracing_on:1\ninstances/mine/tracing_on:1\n")),
            after: Arc::new(control_files::parse(after)),
            ..CellResult::default()
        }
    }

    const SAME: &str = "tracing_on:1\ninstances/mine/tracing_on:1\n";
    const OFF: &str = "tracing_on:0\ninstances/mine/tracing_on:1\n";

    #[test]
    fn whatever_differs_is_a_complaint() {
        let record = cell("record-graph/TERM/in-use");
        assert_eq!(complaints(&record, &result(143, 9, SAME)), Vec::<String>::new());
        for wrong in [
            result(0, 9, SAME),
            result(143, 0, SAME),
            result(143, 9, OFF),
            result(143, 9, "tracing_on:1\n"),
            result(143, 9, &format!("{SAME}options/raw:1\n")),
            CellResult { second_runs: true, ..result(143, 9, SAME) },
            CellResult { hung: true, ..result(143, 9, SAME) },
            CellResult { code: None, ..result(143, 9, SAME) },
        ] {
            assert_eq!(complaints(&record, &wrong).len(), 1, "{wrong:?}");
        }
    }

    #[test]
    fn what_was_asked_for_has_to_be_there_and_nothing_else() {
        let stop = cell("stop/success/pristine");
        assert_eq!(complaints(&stop, &result(0, 0, OFF)), Vec::<String>::new());
        assert_eq!(complaints(&stop, &result(0, 0, SAME)).len(), 1, "it did nothing");
        assert_eq!(complaints(&stop, &result(0, 0, "instances/mine/tracing_on:1\n")).len(), 1);
        assert_eq!(complaints(&stop, &result(0, 0, &OFF.replace(":1", ":0"))).len(), 1);
    }
}
