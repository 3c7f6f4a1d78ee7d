//! `cargo xtask restore`: is the kernel as it was, however a command ends?
//!
//! Each cell of the table runs in a guest: a starting state is made, the control files are read,
//! the command is run and ended, the control files are read again. What differs, and was not asked
//! for, is a failure of the tracer. trace-cmd does the same, for comparison.

pub use super::restore::cells::Side;

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
    /// Only this side; both when `None`.
    pub only: Option<Side>,
}

/// A table: the cells of one starting state in guests of one kernel.
struct Table<'a> {
    guest: &'a Guest,
    start: Start,
    sides: &'a [Side],
    /// The result of the cells of the sides that have come to their end.
    ended: Mutex<Vec<Vec<(Side, Cell, CellResult)>>>,
}

/// Runs the cells on the cached kernels, side by side, and prints the tables; `unavailable` when there
/// is no kernel, or not one that was asked for.
///
/// Most cells of trace-cmd leave something behind and cost a guest each: they are run on the
/// references, and on kernels that are named.
///
/// # Errors
/// No kernel or no cell has such a name, a guest cannot be prepared or does not survive.
pub fn restore(workspace: &Workspace, options: &Options) -> Result<Verdict> {
    let chosen = chosen(options)?;
    let reference = if options.only == Some(Side::Ours) { None } else { trace_cmd(workspace) };
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
        let sides: &[Side] = match (options.only, beside) {
            (Some(Side::Theirs), None) => &[],
            (Some(Side::Theirs), Some(_)) => &[Side::Theirs],
            (Some(Side::Ours), _) | (None, None) => &[Side::Ours],
            (None, Some(_)) => &[Side::Ours, Side::Theirs],
        };
        guests.push((boots::prepare(workspace, &tools, record, kernel, beside)?, sides));
    }
    let tables: Vec<Table> = guests
        .iter()
        .flat_map(|(guest, sides)| {
            Start::ALL.map(|start| Table { guest, start, sides, ended: Mutex::default() })
        })
        .collect();
    let work: Vec<(&Table, Side)> =
        tables.iter().flat_map(|table| table.sides.iter().map(move |side| (table, *side))).collect();
    side_by_side::each(
        &work,
        side_by_side::guests_at_once(GuestOptions::default().memory),
        |&(table, side)| {
            let name = &table.guest.kernel.name;
            let of_start: Vec<Cell> =
                chosen.iter().filter(|cell| cell.start == table.start).copied().collect();
            let mut outcomes = Vec::new();
            boots::run(workspace, table.guest, side, table.start, &of_start, &mut |cell, outcome| {
                for complaint in complaints(side, &cell, &outcome) {
                    workspace.host.ui.say(format!("{name}: {cell}: {complaint}"));
                }
                outcomes.push((side, cell, outcome));
            })?;
            let mut ended = table.ended.lock().unwrap_or_else(PoisonError::into_inner);
            ended.push(outcomes);
            if ended.len() == table.sides.len() {
                // Ours first, which has more commands.
                ended
                    .sort_by_key(|outcomes| outcomes.first().is_some_and(|(side, ..)| *side == Side::Theirs));
                out!("{}", table::text(name, table.start, &ended.concat()));
            }
            Ok(())
        },
    )?;
    let ended =
        tables.into_iter().flat_map(|table| table.ended.into_inner().unwrap_or_else(PoisonError::into_inner));
    let ours: Vec<_> = ended.flatten().filter(|(side, ..)| *side == Side::Ours).collect();
    let failed =
        ours.iter().filter(|(side, cell, outcome)| !complaints(*side, cell, outcome).is_empty()).count();
    let passed = ours.len() - failed;
    outln!("\n{}\n{passed} passed, {failed} failed", table::LEGEND);
    Ok(match (passed, failed) {
        (_, 1..) => Verdict::GuestFailed,
        // Where nothing of ours was run nothing is proved, nor is it of a kernel that was asked for.
        (0, 0) => Verdict::Unavailable,
        _ if missing => Verdict::Unavailable,
        _ => Verdict::Pass,
    })
}

/// Only what is ours is reproached with anything.
fn complaints(side: Side, cell: &Cell, outcome: &CellResult) -> Vec<String> {
    match side {
        Side::Ours => judge::complaints(cell, outcome),
        Side::Theirs => Vec::new(),
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
