//! The table as text; pure.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::boots::CellResult;
use super::cells::{Cell, Program, Start};
use super::control_files::FileDifference;
use super::ends::End;
use super::judge::{complaints, unwanted};

/// The meaning of the marks.
pub const LEGEND: &str = "\
= all as before, or as asked for; N control files are not; hung: it did not end;
wrong: all as before, but not what else is promised";

/// A row for each command and program, a column for each way to end.
pub fn text(kernel: &str, start: Start, results: &[(Program, Cell, CellResult)]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (_, cell, _) in results {
        if !names.contains(&cell.form.name) {
            names.push(cell.form.name);
        }
    }
    if names.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{:27}", format!("{kernel}, {}", start.name()));
    for end in End::ALL {
        // Writing to a string cannot fail.
        let _ = write!(text, "{:>8}", end.name());
    }
    text.push('\n');
    for name in names {
        let of_name = results.iter().filter(|(_, cell, _)| cell.form.name == name);
        let mut head = name;
        for program in [Program::Snaptrace, Program::TraceCmd] {
            let row: Vec<_> = of_name.clone().filter(|(of, ..)| *of == program).collect();
            if row.is_empty() {
                continue;
            }
            let mut line = format!("{head:17}{:10}", program.name());
            head = "";
            for end in End::ALL {
                let found = row.iter().find(|(_, cell, _)| cell.end == end);
                let mark = found.map_or(String::new(), |(_, cell, result)| mark(program, cell, result));
                let _ = write!(line, "{mark:>8}");
            }
            text += line.trim_end();
            text.push('\n');
        }
    }
    text
}

fn mark(program: Program, cell: &Cell, result: &CellResult) -> String {
    let unwanted = unwanted(cell, result);
    // An instance that was added or removed counts once.
    let files: BTreeSet<&str> = unwanted.iter().map(|of| instance(of).unwrap_or(&of.file)).collect();
    match files.len() {
        _ if result.hung => "hung".to_owned(),
        0 if program == Program::Snaptrace && !complaints(cell, result).is_empty() => "wrong".to_owned(),
        0 => "=".to_owned(),
        count => count.to_string(),
    }
}

/// The instance of a file that did not exist before, or does not exist afterwards.
fn instance(difference: &FileDifference) -> Option<&str> {
    let end = "instances/".len() + difference.file.strip_prefix("instances/")?.find('/')?;
    (difference.before.is_empty() || difference.after.is_empty()).then(|| &difference.file[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::selftest::restore::{cells, control_files};

    #[test]
    fn a_row_for_each_program() {
        let cell = |name: &str| cells::all().into_iter().find(|cell| cell.to_string() == name).unwrap();
        let same = CellResult { code: Some(0), ..CellResult::default() };
        let changed = Arc::new(control_files::parse(
            "set_event:a:b
",
        ));
        let results = [
            (Program::Snaptrace, cell("trace/success/pristine"), same.clone()),
            (Program::Snaptrace, cell("trace/TERM/pristine"), same.clone()),
            (Program::TraceCmd, cell("trace/TERM/pristine"), CellResult { after: changed, ..same }),
        ];
        let text = text("5.4", Start::Pristine, &results);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("5.4, pristine") && lines[1].ends_with("twice"), "{text}");
        assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["trace", "snaptrace", "=", "wrong"]);
        assert_eq!(lines[3].split_whitespace().collect::<Vec<_>>(), ["trace-cmd", "1"]);
    }
}
