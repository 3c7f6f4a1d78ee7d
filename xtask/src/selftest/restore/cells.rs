//! The cells of the table: command, way to end, starting state, and the expected result; pure.

use std::fmt;
use std::str::FromStr;

use super::ends::End;
use super::forms::{AllowedChange, FORMS, Form, Output};

/// The program that a cell runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// snaptrace, which is judged.
    Snaptrace,
    /// trace-cmd, whose results are shown for comparison.
    TraceCmd,
}

impl Program {
    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Program::Snaptrace => "snaptrace",
            Program::TraceCmd => "trace-cmd",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Program::Snaptrace => "snaptrace",
            // The guest's script makes it.
            Program::TraceCmd => "/tmp/trace-cmd",
        }
    }
}

impl FromStr for Program {
    type Err = String;

    fn from_str(name: &str) -> Result<Program, String> {
        let known =
            [Program::Snaptrace, Program::TraceCmd].into_iter().find(|program| program.name() == name);
        known.ok_or_else(|| format!("{name} is neither snaptrace nor trace-cmd"))
    }
}

/// The starting state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// As after a boot.
    Pristine,
    /// Somebody traces: tracer, filters, event filters, options, clock, buffer size, an instance.
    InUse,
}

impl Start {
    /// Both.
    pub const ALL: [Start; 2] = [Start::Pristine, Start::InUse];

    /// Its name, which the guest's script uses.
    pub fn name(self) -> &'static str {
        match self {
            Start::Pristine => "pristine",
            Start::InUse => "in-use",
        }
    }
}

/// One cell.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// The command.
    pub form: &'static Form,
    /// How it ends.
    pub end: End,
    /// The starting state.
    pub start: Start,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.form.name, self.end.name(), self.start.name())
    }
}

impl Cell {
    /// The file for standard output in the guest, then the command line; `None` if the program has no such
    /// command.
    pub fn words(&self, program: Program) -> Option<Vec<&'static str>> {
        let full = self.end == End::FullDisk;
        let shown = if full && self.form.output == Output::Shown { "/full/shown" } else { "/tmp/shown" };
        let mut words = vec![shown, program.path()];
        words.extend(match program {
            Program::Snaptrace => self.form.snaptrace,
            Program::TraceCmd => self.form.trace_cmd?,
        });
        match self.end {
            End::OwnError => words.extend(self.form.mistake),
            // Two TiB.
            End::Refused => words.extend(["-b", "2000000000"]),
            _ => {}
        }
        if self.form.output == Output::File {
            words.extend(["-o", if full { "/full/a.dat" } else { "/out/a.dat" }]);
            if program == Program::Snaptrace {
                // Compression takes most of a recording's time, and makes no difference here.
                words.extend(["--compression", "none"]);
            }
        }
        if self.form.runs_command {
            words.push(self.end.command());
        }
        Some(words)
    }

    /// The changes that the command is meant to leave.
    pub fn changes(&self) -> &'static [AllowedChange] {
        match self.end {
            // These are refused before anything is changed.
            End::OwnError | End::NoCommand => &[],
            End::Refused => self.form.changes_refused,
            _ => self.form.changes,
        }
    }

    /// Whether a recorded file has to be there afterwards.
    pub fn leaves_file(&self) -> bool {
        self.form.output == Output::File && self.end.leaves_file()
    }

    /// The expected exit status.
    pub fn code(&self) -> i32 {
        self.end.code()
    }
}

/// Every cell, by starting state, then by command.
pub fn all() -> Vec<Cell> {
    let cells = |start| {
        let ends = move |form: &'static Form| form.ends.iter().map(move |&end| Cell { form, end, start });
        FORMS.iter().flat_map(ends)
    };
    Start::ALL.into_iter().flat_map(cells).collect()
}

/// A few cells of each kind, for the ordinary tests. Each command is killed, so that the next one has to
/// restore; other ends use the same code in all commands.
pub fn few() -> Vec<Cell> {
    let wanted = |cell: &Cell| {
        let (form, in_use) = (cell.form.name, cell.start == Start::InUse);
        match cell.end {
            End::Kill => in_use && !cell.form.ends_on_its_own() && form != "record-top",
            End::Success => in_use && matches!(form, "record-graph" | "record-options" | "stream"),
            End::Term | End::Refused => form == "record-graph" || in_use && form == "record-events",
            _ => false,
        }
    };
    all().into_iter().filter(|cell| cell.form.changes.is_empty() && wanted(cell)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_cell_has_a_name_of_its_own() {
        let cells = all();
        let names: BTreeSet<String> = cells.iter().map(Cell::to_string).collect();
        assert_eq!(names.len(), cells.len());
        let putting_back = cells.iter().filter(|cell| cell.form.changes.is_empty()).count();
        assert!(putting_back >= 120, "{putting_back} cells are about putting back");
        assert!((15..=25).contains(&few().len()), "{} are few", few().len());
    }

    #[test]
    fn a_cell_is_a_command_line() {
        let cell = |name: &str| all().into_iter().find(|cell| cell.to_string() == name).unwrap();
        let words = |name: &str, program| cell(name).words(program).unwrap().join(" ");
        assert_eq!(
            words("record-graph/full/pristine", Program::TraceCmd),
            "/tmp/shown /tmp/trace-cmd record -p function_graph -g vfs_read --max-graph-depth 3 \
             -o /full/a.dat /tmp/works"
        );
        assert_eq!(
            words("trace/full/in-use", Program::Snaptrace),
            "/full/shown snaptrace trace -p function_graph -g vfs_read /tmp/works"
        );
        assert!(words("start/no-cmd/in-use", Program::Snaptrace).ends_with(" /no/such/command"));
        assert_eq!(cell("start/no-cmd/in-use").changes(), []);
        assert!(cell("filter-add/success/pristine").words(Program::TraceCmd).is_none());
    }
}
