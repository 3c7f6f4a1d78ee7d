//! A comparison as text: coloured for terminals, plain for anything else; pure.

use std::collections::HashSet;
use std::fmt::Write;

use console::{Style, measure_text_width};

use super::align::{Both, Change, Occurrence, RenameReason, Row};
use super::compared::{Body, CaseDiff, CaseResult, Comparison, DiffLine, StepDiff, words};
use super::tree::Shape;
use crate::base::ui::printable;

/// The widest column of names; a longer name shifts the figures of its line to the right.
const WIDEST: usize = 64;

/// The whole comparison.
pub fn text(comparison: &Comparison, colour: bool) -> String {
    let paint = Paint { colour };
    let mut out = String::new();
    let [old, new] = &comparison.names;
    for (sign, name, style) in [('-', old, paint.gone()), ('+', new, paint.added())] {
        let line = printable(&format!("{sign} {} ({})", name.name, name.about));
        let _ = writeln!(out, "{}", style.apply_to(line));
    }
    let _ = writeln!(out, "{}", paint.dim().apply_to(legend(comparison)));
    for case in &comparison.cases {
        out.push('\n');
        write_case(&mut out, case, paint);
    }
    out
}

/// What the signs and figures mean.
fn legend(comparison: &Comparison) -> String {
    let signs = "+ added  - gone  ~ renamed  > moved";
    match &comparison.no_instructions {
        None => format!(
            "{signs}\ninstr.: instructions of a call, the median, without traced calls below it and \
             with what the tracer takes (`cost` tells it apart)"
        ),
        Some(why) => printable(&format!("{signs}\ninstructions are not compared: {why}")),
    }
}

#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn style(self) -> Style {
        Style::new().force_styling(self.colour)
    }
    fn added(self) -> Style {
        self.style().green()
    }
    fn gone(self) -> Style {
        self.style().red()
    }
    fn renamed(self) -> Style {
        self.style().yellow()
    }
    fn moved(self) -> Style {
        self.style().cyan()
    }
    fn bold(self) -> Style {
        self.style().bold()
    }
    fn dim(self) -> Style {
        self.style().dim()
    }
}

fn write_case(out: &mut String, case: &CaseDiff, paint: Paint) {
    let name = paint.bold().apply_to(printable(&case.name));
    let sum = summary(case);
    let _ = writeln!(out, "{name}: {}", printable(&sum));
    let CaseResult::Compared(steps) = &case.result else { return };
    for step in steps {
        write_step(out, step, paint);
    }
}

/// A case in a line.
pub fn summary(case: &CaseDiff) -> String {
    match &case.result {
        CaseResult::OneSided(why) | CaseResult::Failed(_, why) => format!("not compared: {why}"),
        CaseResult::Compared(_) if case.differs() => words(case.change_counts(), case.lines()),
        CaseResult::Compared(steps) if steps.iter().all(StepDiff::is_identical) => "the same".into(),
        // Other instruction counts or compiler suffixes do not change the calls.
        CaseResult::Compared(_) => "the same calls".into(),
    }
}

fn write_step(out: &mut String, step: &StepDiff, paint: Paint) {
    if step.is_identical() {
        return;
    }
    let command = printable(&step.command);
    match &step.old_command {
        None => {
            let _ = writeln!(out, "  {}", paint.bold().apply_to(format!("$ {command}")));
        }
        Some(old) => {
            let _ = writeln!(out, "{}", paint.gone().apply_to(format!("- $ {}", printable(old))));
            let _ = writeln!(out, "{}", paint.added().apply_to(format!("+ $ {command}")));
        }
    }
    match &step.body {
        Body::Same => {}
        Body::Tree(shape, rows) => write_tree(out, *shape, rows, paint),
        Body::Lines(lines) => {
            for line in lines {
                let (style, line) = match line {
                    DiffLine::Added(line) => (paint.added(), format!("+   {}", printable(line))),
                    DiffLine::Gone(line) => (paint.gone(), format!("-   {}", printable(line))),
                    DiffLine::Same(line) => (paint.dim(), format!("    {}", printable(line))),
                    DiffLine::Omitted(count) => (paint.dim(), format!("    … {}", omitted(*count))),
                };
                let _ = writeln!(out, "{}", style.apply_to(line.trim_end()));
            }
        }
    }
}

/// The text for lines that are left out.
pub fn omitted(count: usize) -> String {
    format!("{count} {} the same", if count == 1 { "line" } else { "lines" })
}

/// A line of a tree before the widths of the columns are known.
struct Entry {
    style: Style,
    /// Sign, indentation and name.
    name: String,
    calls: String,
    instructions: String,
    note: String,
}

fn write_tree(out: &mut String, shape: Shape, rows: &[Row], paint: Paint) {
    let mut entries = Vec::new();
    collect(&mut entries, &mut HashSet::new(), shape, rows, 0, paint);
    let width = |column: fn(&Entry) -> &str| {
        entries.iter().map(|entry| measure_text_width(column(entry))).max().unwrap_or(0)
    };
    let name = width(|entry| &entry.name).min(WIDEST);
    let calls = width(|entry| &entry.calls).max("calls".len());
    let instructions = width(|entry| &entry.instructions);
    let has_figures = instructions > 0;
    let instructions = instructions.max("instr.".len());
    let mut line = |entry: &Entry| {
        let mut line = format!("{:name$}  {:>calls$}", entry.name, entry.calls);
        if has_figures {
            let _ = write!(line, "  {:>instructions$}", entry.instructions);
        }
        if !entry.note.is_empty() {
            let _ = write!(line, "  {}", entry.note);
        }
        let _ = writeln!(out, "{}", entry.style.apply_to(line.trim_end()));
    };
    line(&Entry {
        style: paint.dim(),
        name: String::new(),
        calls: "calls".into(),
        instructions: "instr.".into(),
        note: String::new(),
    });
    entries.iter().for_each(line);
}

fn collect(
    entries: &mut Vec<Entry>,
    explained: &mut HashSet<String>,
    shape: Shape,
    rows: &[Row],
    depth: usize,
    paint: Paint,
) {
    let indent = depth * 2;
    let mut rows = rows.iter().peekable();
    while let Some(row) = rows.next() {
        if row.is_identical() {
            let mut places = row.places();
            while let Some(next) = rows.next_if(|next| next.is_identical()) {
                places += next.places();
            }
            let name = format!("    {:indent$}… {places} the same", "");
            let empty = String::new;
            entries.push(Entry {
                style: paint.dim(),
                name,
                calls: empty(),
                instructions: empty(),
                note: empty(),
            });
            continue;
        }
        let style = match sign(row) {
            '+' => paint.added(),
            '-' => paint.gone(),
            '~' => paint.renamed(),
            '>' => paint.moved(),
            _ if row.is_same() => paint.dim(),
            _ => paint.style(),
        };
        let below = if shape == Shape::Callers && depth > 0 { "<- " } else { "" };
        entries.push(Entry {
            style,
            name: format!("{}   {:indent$}{below}{}", sign(row), "", printable(row.name())),
            calls: calls(row),
            instructions: instructions(row).join(" "),
            note: printable(&notes(row, explained).join("; ")),
        });
        collect(entries, explained, shape, &row.rows, depth + 1, paint);
    }
}

/// The sign of a row: `+` added, `-` gone, `~` renamed, `>` moved, else a space.
pub fn sign(row: &Row) -> char {
    match &row.change {
        Change::Added(_) => '+',
        Change::Gone(_) => '-',
        Change::Both(both) if both.moved.is_some() => '>',
        Change::Both(both) if both.rename.is_some() => '~',
        Change::Both(_) => ' ',
    }
}

/// How often a function was called: one number, or `old → new` if they differ.
pub fn calls(row: &Row) -> String {
    match &row.change {
        Change::Added(Occurrence { calls, .. }) | Change::Gone(Occurrence { calls, .. }) => calls.to_string(),
        Change::Both(both) if both.old.calls == both.new.calls => both.new.calls.to_string(),
        Change::Both(both) => format!("{} → {}", both.old.calls, both.new.calls),
    }
}

/// The instructions of a call: one number, or `old → new` and the difference; empty if unknown.
pub fn instructions(row: &Row) -> Vec<String> {
    match &row.change {
        Change::Added(side) | Change::Gone(side) => side.instructions.iter().map(i64::to_string).collect(),
        Change::Both(both) => match (both.old.instructions, both.new.instructions) {
            (Some(old), Some(new)) if old != new => {
                vec![format!("{old} → {new}"), format!("({:+})", new - old)]
            }
            (_, new) => new.iter().map(i64::to_string).collect(),
        },
    }
}

/// Notes on a row: its old name, suffix and place. `explained` holds the renames whose reason was already
/// given, which is not repeated.
pub fn notes(row: &Row, explained: &mut HashSet<String>) -> Vec<String> {
    let Change::Both(both) = &row.change else { return Vec::new() };
    let Both { old, rename, moved, .. } = &**both;
    let mut notes = Vec::new();
    if let Some(rename) = rename {
        let renamed = format!("{} → {}", old.name, row.name());
        let is_new = explained.insert(renamed.clone());
        notes.push(match rename {
            RenameReason::Known(_) if !is_new => renamed,
            RenameReason::Known(why) => format!("{renamed}, {why}"),
            RenameReason::Guess => format!("{renamed}, a guess"),
        });
    }
    match both.suffixes() {
        Some((old, "")) => notes.push(format!("the compiler's {old} is gone")),
        Some(("", new)) => notes.push(format!("the compiler's {new} is new")),
        Some((old, new)) => notes.push(format!("the compiler's {old} became {new}")),
        None => {}
    }
    if let Some(above) = moved {
        notes.push(match above.last() {
            Some(caller) => format!("was below {caller}"),
            None => "was at the top".into(),
        });
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::diff::compared::compare;
    use crate::explain::diff::compared::tests::{comparison, stored};

    #[test]
    fn what_changed_is_told_and_the_rest_is_folded() {
        insta::assert_snapshot!(text(&comparison(), false), @r"
        - 5.10 (5.10.1, gcc 12)
        + 6.12 (6.12.1, gcc 12)
        + added  - gone  ~ renamed  > moved
        instr.: instructions of a call, the median, without traced calls below it and with what the tracer takes (`cost` tells it apart)

        graph: 1 added, 1 moved
        - $ show alloc
        + $ show alloc_noprof
                          calls           instr.
            alloc             1  380 → 290 (-90)
              slab            1  100 → 110 (+10)
        +     node            1               80
        >       fail          1               20  was below alloc
            … 2 the same

        list: 2 lines of text
          $ list <clocks>
            … 2 lines the same
            c
            d
        -   boot
        +   boot tai
            e
            f
            … 1 line the same

        broken: not compared: 6.12: oops: a pointer to nothing

        list: the same

        module: not compared: it is not for 5.10
        ");
    }

    #[test]
    fn colours_are_all_that_a_terminal_has_more() {
        let coloured = text(&comparison(), true);
        assert!(coloured.contains("\x1b[32m+     node"), "{coloured:?}");
        assert_eq!(console::strip_ansi_codes(&coloured), text(&comparison(), false));
        // Control sequences in a guest's output do not reach the terminal.
        assert!(!coloured.contains("\x1b[2J"));
    }

    #[test]
    fn the_reason_for_a_rename_is_told_once() {
        let graph = |name: &str| {
            let call = format!(" 0)   1.600 us    |    {name}();\n");
            let outer =
                |outer: &str| format!(" 0)               |  {outer}() {{\n{call} 0)   8.000 us    |  }}\n");
            format!("# tracer: function_graph\n{}{}", outer("one"), outer("other"))
        };
        let [old, new] =
            ["_do_fork", "kernel_clone"].map(|name| stored("c", name, &[("show", &graph(name))]));
        let case = compare("", &old, &new, true);
        let text = text(&Comparison { cases: vec![case], ..comparison() }, false);
        let explained: Vec<&str> = text.lines().filter(|line| line.contains("_do_fork")).collect();
        assert!(
            explained[0].ends_with(
                "_do_fork → kernel_clone, since 5.10: it is named as other helpers behind system calls are"
            ),
            "{text}"
        );
        assert!(explained[1].ends_with("_do_fork → kernel_clone"), "{text}");
    }

    #[test]
    fn why_instructions_are_missing_is_told() {
        let mut other = comparison();
        other.no_instructions = Some("QEMU is not the same on both sides".into());
        assert!(
            text(&other, false)
                .contains("\ninstructions are not compared: QEMU is not the same on both sides\n")
        );
    }
}
