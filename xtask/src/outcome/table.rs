//! The table of a run: a line for each case, a column for each kernel; pure.

use super::summary::{Column, Outcome, Summary};

/// The mark of a case that is not for a kernel.
const NOT_MEANT: &str = "-";

/// The table as text, one line per case. The cell of a case that is not for a kernel is `-`; the cell of one
/// that belongs to another part is blank. Seconds have a fixed width, so that they do not change the layout.
pub fn table(run: &Summary) -> String {
    let mut lines: Vec<Vec<String>> = vec![heads(run)];
    for case in &run.cases {
        let mut line = vec![case.clone()];
        line.extend(run.kernels.iter().map(|column| cell(column, case)));
        lines.push(line);
    }
    let columns = lines[0].len();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn heads(run: &Summary) -> Vec<String> {
    let kernels = run.kernels.iter().map(|column| column.kernel.clone());
    std::iter::once("case".to_owned()).chain(kernels).collect()
}

fn cell(column: &Column, case: &str) -> String {
    if !column.cells.iter().any(|cell| cell.case == case) {
        return NOT_MEANT.into();
    }
    let Some(outcome) = column.outcome(case) else { return String::new() };
    match &outcome.ran {
        None => word(outcome),
        Some(ran) => {
            let width = column.outcomes().map(|(_, outcome)| word(outcome).len()).max().unwrap_or(0);
            format!("{:width$} {:>6.1} s", word(outcome), ran.seconds())
        }
    }
}

fn word(outcome: &Outcome) -> String {
    let allowed = if outcome.allowed { " allowed" } else { "" };
    format!("{}{allowed}", outcome.verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::summary::tests::sample;

    #[test]
    fn cases_stand_down_and_kernels_across() {
        let expected = "\
case      5.4            debian-6.1         debian-7
check     pass    1.5 s  pass        0.1 s  unavailable
function  pass    2.0 s  mismatch   12.3 s  unavailable
ext4      pass    0.1 s  -                  -
";
        assert_eq!(table(&sample()), expected);
    }

    #[test]
    fn what_another_part_has_is_blank() {
        let mut run = sample();
        run.kernels[0].cells[0].outcome = None;
        run.kernels.truncate(1);
        assert_eq!(table(&run), "case      5.4\ncheck\nfunction  pass    2.0 s\next4      pass    0.1 s\n");
    }
}
