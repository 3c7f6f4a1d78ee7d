//! `cargo xtask put-back`: is the kernel as it was, however a command ends?
//!
//! Each cell of [`cells`] runs in a guest: a starting state is made, the control files are read,
//! the command is run and ended, the control files are read again. What differs, and was not asked
//! for, is a failure of the tracer. trace-cmd does the same, for comparison.

pub use self::cells::Side;

mod boots;
mod cells;
mod control_files;
mod forms;
mod judge;
mod table;

use self::cells::{Cell, Start};
use super::guest::Tools;
use crate::error::{Error, Result};
use crate::harness::Harness;
use crate::kernel;
use crate::trace_cmd;
use crate::verdict::Verdict;

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Words of which a cell's name has to contain one; all cells when empty.
    pub cells: Vec<String>,
    /// Kernels; the references at hand when empty.
    pub kernels: Vec<String>,
    /// All usual kernels at hand, and not only the references.
    pub all_kernels: bool,
    /// Only a few cells of each kind.
    pub quick: bool,
    /// Only this side; both when `None`.
    pub only: Option<Side>,
}

/// Runs the cells on the kernels at hand and prints the tables; `unavailable` when there is none, or
/// not one that was asked for.
///
/// # Errors
/// No kernel or no cell has such a name, a guest cannot be prepared or does not survive.
pub fn put_back(h: &Harness, plan: &Plan) -> Result<Verdict> {
    let chosen = chosen(plan)?;
    let referee = if plan.only == Some(Side::Ours) { None } else { trace_cmd(h) };
    let tools = Tools::get(h)?;
    let matrix = h.matrix()?;
    let records = matrix.named_or_at_length(&plan.kernels, plan.all_kernels)?;
    let (mut passed, mut failed, mut missing) = (0, 0, false);
    for record in records {
        let Some(kernel) = kernel::at_hand(h, record)? else {
            h.ui.say(format!("{}: unavailable: not at hand, nothing is put back there", record.name));
            missing |= !plan.kernels.is_empty();
            continue;
        };
        let guest = boots::prepare(h, &tools, record, kernel, referee.as_ref())?;
        for start in Start::ALL {
            let of_start: Vec<Cell> = chosen.iter().filter(|cell| cell.start == start).copied().collect();
            let mut results = Vec::new();
            for side in [Side::Ours, Side::Theirs] {
                if plan.only.is_some_and(|only| only != side) || (side == Side::Theirs && referee.is_none()) {
                    continue;
                }
                boots::run(h, &guest, side, start, &of_start, &mut |cell, outcome| {
                    if side == Side::Ours {
                        let complaints = judge::complaints(&cell, &outcome);
                        *(if complaints.is_empty() { &mut passed } else { &mut failed }) += 1;
                        for complaint in &complaints {
                            h.ui.say(format!("{}: {cell}: {complaint}", record.name));
                        }
                    }
                    results.push((side, cell, outcome));
                })?;
            }
            print!("{}", table::text(&record.name, start, &results));
        }
    }
    println!("\n{}\n{passed} passed, {failed} failed", table::LEGEND);
    Ok(match (passed, failed) {
        (_, 1..) => Verdict::GuestFailed,
        // Where nothing of ours was run nothing is proved, nor is it of a kernel that was asked for.
        (0, 0) => Verdict::Unavailable,
        _ if missing => Verdict::Unavailable,
        _ => Verdict::Pass,
    })
}

fn chosen(plan: &Plan) -> Result<Vec<Cell>> {
    let mut chosen = if plan.quick { cells::few() } else { cells::all() };
    chosen.retain(|cell| {
        plan.cells.is_empty() || plan.cells.iter().any(|word| cell.to_string().contains(word.as_str()))
    });
    match chosen.is_empty() {
        false => Ok(chosen),
        true => Err(Error::new(format!("no cell is called like {}", plan.cells.join(" ")))
            .help("a cell is COMMAND/END/STATE, such as record-graph/KILL/in-use")
            .usage()),
    }
}

fn trace_cmd(h: &Harness) -> Option<trace_cmd::TraceCmd> {
    trace_cmd::get(h)
        .map_err(|error| h.ui.say(format!("trace-cmd is unavailable, nothing stands beside: {error}")))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_chosen_by_a_part_of_their_names() {
        let plan = |words: &[&str]| Plan {
            cells: words.iter().map(ToString::to_string).collect(),
            ..Plan::default()
        };
        assert_eq!(chosen(&plan(&["record-graph/KILL/"])).unwrap().len(), 2);
        assert!(chosen(&plan(&["nosuch"])).is_err_and(|error| error.exit_code() == 2));
    }
}
