//! The table: ways to end, starting states, and what is promised of each cell; pure.

use std::fmt;
use std::str::FromStr;

use super::ends::End;
use super::forms::{AllowedChange, FORMS, Form, Output};

/// Who is put to the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// snaptrace, which has to keep its promises.
    Snaptrace,
    /// trace-cmd, whose results stand beside.
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

/// What is set up before.
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

    /// Its name, which the guest's script knows.
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
    /// What was set up before.
    pub start: Start,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.form.name, self.end.name(), self.start.name())
    }
}

impl Cell {
    /// Where standard output goes in the guest, then the command line; `None` where a program has none.
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
                // Packing is most of what a recording takes, and changes nothing here.
                words.extend(["--compression", "none"]);
            }
        }
        if self.form.runs_command {
            words.push(self.end.command());
        }
        Some(words)
    }

    /// What is meant to differ afterwards.
    pub fn changes(&self) -> &'static [AllowedChange] {
        match self.end {
            // What is checked first is refused before anything is changed.
            End::OwnError | End::NoCommand => &[],
            End::Refused => self.form.changes_refused,
            _ => self.form.changes,
        }
    }

    /// Whether a recorded file has to be there afterwards.
    pub fn leaves_file(&self) -> bool {
        self.form.output == Output::File && self.end.leaves_file()
    }

    /// The exit status that is promised.
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

/// A few cells of each kind, for the ordinary tests. Each command is killed, after which the next one
/// restores; other ends take the same way out in each command.
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
