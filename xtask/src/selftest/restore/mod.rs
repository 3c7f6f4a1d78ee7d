//! `cargo xtask restore`: checks that each command of the tracer restores the kernel, however it ends.
//!
//! Each cell of the table runs in a guest: make a starting state, read the control files, run and end the
//! command, read the control files again. A difference that the command was not asked for is a failure of the
//! tracer. trace-cmd runs the same cells, for comparison.

pub use super::restore::cells::Program;

mod boots;
mod cells;
mod control_files;
mod ends;
mod forms;
mod judge;
mod table;

use std::sync::{Mutex, PoisonError};

use super::restore::boots::CellResult;
use super::restore::cells::{Cell, Start};
use crate::base::error::{Error, Result};
use crate::base::ui::{out, outln};
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::fetch::trace_cmd;
use crate::guest::prepared::{Guest, GuestOptions, Tools};
use crate::kernel;
use crate::run::side_by_side;

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only cells whose names contain one of these words; all cells when empty.
    pub cells: Vec<String>,
    /// Kernels; the cached references when empty.
    pub kernels: Vec<String>,
    /// All cached usual kernels, and not only the references.
    pub all_kernels: bool,
    /// Only a few cells of each kind.
    pub quick: bool,
    /// Only this program; both when `None`.
    pub only: Option<Program>,
}

/// A table: the cells of one starting state on one kernel.
struct StateTable<'a> {
    guest: &'a Guest,
    start: Start,
    programs: &'a [Program],
    /// The results by program, for programs that have finished.
    ended: Mutex<Vec<Vec<(Program, Cell, CellResult)>>>,
}

/// Runs the cells on the cached kernels in parallel, and prints the tables. The verdict is `unavailable` if
/// there is no kernel, or a named one is missing.
///
/// Most cells of trace-cmd leave changes behind, so each needs its own guest. They run only on the references
/// and on named kernels.
///
/// # Errors
/// No kernel or no cell has such a name, a guest cannot be prepared or does not survive.
pub fn restore(workspace: &Workspace, options: &Options) -> Result<Verdict> {
    let chosen = chosen(options)?;
    let reference = if options.only == Some(Program::Snaptrace) { None } else { trace_cmd(workspace) };
    let tools = Tools::get(workspace)?;
    let matrix = workspace.matrix()?;
    let (mut guests, mut missing) = (Vec::new(), false);
    for record in matrix.named_or_at_length(&options.kernels, options.all_kernels)? {
        let Some(kernel) = kernel::cached(workspace, record)? else {
            workspace
                .host
                .ui
                .say(format!("{}: unavailable: not cached, so restore is not tested there", record.name));
            missing |= !options.kernels.is_empty();
            continue;
        };
        let beside = reference.as_ref().filter(|_| record.reference || !options.kernels.is_empty());
        let programs: &[Program] = match (options.only, beside) {
            (Some(Program::TraceCmd), None) => &[],
            (Some(Program::TraceCmd), Some(_)) => &[Program::TraceCmd],
            (Some(Program::Snaptrace), _) | (None, None) => &[Program::Snaptrace],
            (None, Some(_)) => &[Program::Snaptrace, Program::TraceCmd],
        };
        guests.push((boots::prepare(workspace, &tools, record, kernel, beside)?, programs));
    }
    let tables: Vec<StateTable> = guests
        .iter()
        .flat_map(|(guest, programs)| {
            Start::ALL.map(|start| StateTable { guest, start, programs, ended: Mutex::default() })
        })
        .collect();
    let work: Vec<(&StateTable, Program)> =
        tables.iter().flat_map(|table| table.programs.iter().map(move |program| (table, *program))).collect();
    side_by_side::each(
        &work,
        side_by_side::guests_at_once(GuestOptions::default().memory),
        |&(table, program)| {
            let name = &table.guest.kernel.name;
            let of_start: Vec<Cell> =
                chosen.iter().filter(|cell| cell.start == table.start).copied().collect();
            let mut results = Vec::new();
            boots::run(workspace, table.guest, program, table.start, &of_start, &mut |cell, result| {
                for complaint in complaints(program, &cell, &result) {
                    workspace.host.ui.say(format!("{name}: {cell}: {complaint}"));
                }
                results.push((program, cell, result));
            })?;
            let mut ended = table.ended.lock().unwrap_or_else(PoisonError::into_inner);
            ended.push(results);
            if ended.len() == table.programs.len() {
                // snaptrace first, which has more commands.
                ended.sort_by_key(|results| {
                    results.first().is_some_and(|(program, ..)| *program == Program::TraceCmd)
                });
                out!("{}", table::text(name, table.start, &ended.concat()));
            }
            Ok(())
        },
    )?;
    let ended =
        tables.into_iter().flat_map(|table| table.ended.into_inner().unwrap_or_else(PoisonError::into_inner));
    let ours: Vec<_> = ended.flatten().filter(|(program, ..)| *program == Program::Snaptrace).collect();
    let failed =
        ours.iter().filter(|(program, cell, result)| !complaints(*program, cell, result).is_empty()).count();
    let passed = ours.len() - failed;
    outln!("\n{}\n{passed} passed, {failed} failed", table::LEGEND);
    Ok(match (passed, failed) {
        (_, 1..) => Verdict::GuestFailed,
        // Without a cell of snaptrace nothing is proved.
        (0, 0) => Verdict::Unavailable,
        _ if missing => Verdict::Unavailable,
        _ => Verdict::Pass,
    })
}

/// Complaints about a cell; only snaptrace is judged.
fn complaints(program: Program, cell: &Cell, result: &CellResult) -> Vec<String> {
    match program {
        Program::Snaptrace => judge::complaints(cell, result),
        Program::TraceCmd => Vec::new(),
    }
}

fn chosen(options: &Options) -> Result<Vec<Cell>> {
    let mut chosen = if options.quick { cells::few() } else { cells::all() };
    chosen.retain(|cell| {
        options.cells.is_empty() || options.cells.iter().any(|word| cell.to_string().contains(word.as_str()))
    });
    match chosen.is_empty() {
        false => Ok(chosen),
        true => Err(Error::new(format!("no cell is called like {}", options.cells.join(" ")))
            .help("a cell is COMMAND/END/STATE, such as record-graph/KILL/in-use")
            .usage()),
    }
}

fn trace_cmd(workspace: &Workspace) -> Option<trace_cmd::TraceCmd> {
    trace_cmd::get(&workspace.host)
        .map_err(|error| {
            workspace
                .host
                .ui
                .say(format!("trace-cmd is unavailable, so there is no comparison with it: {error}"))
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_chosen_by_a_part_of_their_names() {
        let options = |words: &[&str]| Options {
            cells: words.iter().map(ToString::to_string).collect(),
            ..Options::default()
        };
        assert_eq!(chosen(&options(&["record-graph/KILL/"])).unwrap().len(), 2);
        assert!(chosen(&options(&["nosuch"])).is_err_and(|error| error.exit_code() == 2));
    }
}
