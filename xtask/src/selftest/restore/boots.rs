//! Runs cells in guests; cells that change nothing share a guest.

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use initramfs::protocol::Frame;
use initramfs::{Job, Step};

use super::cells::{Cell, Program, Start};
use super::control_files::{self, EXEMPT, State};
use crate::base::error::{Context, Error, Result};
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::fetch::trace_cmd::TraceCmd;
use crate::guest::folders;
use crate::guest::prepared::{Guest, GuestOptions, Tools};
use crate::guest::put::Put;
use crate::kernel::Kernel;
use crate::matrix::Record;
use crate::vm::{Deadlines, Taken};

const SCRIPT: &str = include_str!("guest.sh");
/// The time limit for each cell, and for the starting state.
const SECONDS_PER_CELL: u64 = 60;
/// The most output of one step: twice what the control files hold.
const MOST: usize = 4 << 20;

/// The result of a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellResult {
    /// The exit status.
    pub code: Option<i32>,
    /// It did not end in time.
    pub hung: bool,
    /// A second call of the same command was not refused.
    pub second_runs: bool,
    /// The size of the recorded file in bytes.
    pub file: u64,
    /// The first lines of its standard error.
    pub said: Vec<String>,
    /// The control files before.
    pub before: Arc<State>,
    /// The control files afterwards; shares `before` if nothing differs.
    pub after: Arc<State>,
}

/// Prepares a kernel, with the guest's script, and trace-cmd if available.
///
/// # Errors
/// The guest cannot be prepared.
pub fn prepare(
    workspace: &Workspace,
    tools: &Tools,
    record: &Record,
    kernel: Kernel,
    reference: Option<&TraceCmd>,
) -> Result<Guest> {
    let folder = folders::scratch(&workspace.root)?;
    let exempt: String = EXEMPT.iter().map(|(pattern, _)| format!("{pattern}\n")).collect();
    let mut files = Vec::new();
    for (name, text) in [("restore.sh", SCRIPT), ("exempt", &exempt)] {
        let path = folder.path().join(name);
        fs::write(&path, text).context(|| format!("cannot write {}", path.display()))?;
        files.push(path);
    }
    files.extend(reference.map(TraceCmd::files).transpose()?.into_iter().flatten());
    let put = files.into_iter().map(Put::from).collect();
    let guest_options = GuestOptions { busybox: true, put, ..GuestOptions::default() };
    Guest::prepare(workspace, tools, record, kernel, guest_options)
}

/// Runs the cells of one starting state that a program has, and passes each result to `take`.
///
/// A cell that leaves a difference is the last one in its guest.
///
/// # Errors
/// A guest fails, or has control files that are not known here.
pub fn run(
    workspace: &Workspace,
    guest: &Guest,
    program: Program,
    start: Start,
    cells: &[Cell],
    take: &mut dyn FnMut(Cell, CellResult),
) -> Result<()> {
    let mut left: VecDeque<Cell> =
        cells.iter().filter(|cell| cell.words(program).is_some()).copied().collect();
    let what = format!("{}, {}, {}", guest.kernel.name, start.name(), program.name());
    let all = left.len();
    let bar = workspace.host.ui.bar(&what, Some(all as u64));
    while !left.is_empty() {
        let before = all - left.len();
        let mut count_ended = |ended: usize| bar.set((before + ended) as u64);
        for result in boot(workspace, guest, program, start, left.make_contiguous(), &mut count_ended)? {
            if let Some(cell) = left.pop_front() {
                take(cell, result);
            }
        }
    }
    Ok(())
}

/// Boots a guest and returns the results of the first cells, at least one. Calls `count_ended` with the
/// number of cells that have ended.
fn boot(
    workspace: &Workspace,
    guest: &Guest,
    program: Program,
    start: Start,
    cells: &[Cell],
    count_ended: &mut dyn FnMut(usize),
) -> Result<Vec<CellResult>> {
    let script = ["sh", "/extra/restore.sh"];
    let step = |words: &[&str]| Step {
        argv: script.iter().chain(words).map(ToString::to_string).collect(),
        ..Step::default()
    };
    let mut steps = vec![step(&["begin", start.name()])];
    for cell in cells {
        let words = cell.words(program).unwrap_or_default();
        steps.push(step(&[&["cell", cell.end.action()], words.as_slice()].concat()));
    }
    let limit = Duration::from_secs(SECONDS_PER_CELL * (1 + cells.len() as u64));
    let job = Job { steps, ..guest.job() };
    let folder = folders::scratch(&workspace.root)?;
    let mut shown = Shown { steps: Vec::new() };
    let deadlines = Deadlines::of(guest.accel, Some(limit));
    let (ended, _) = guest.boot(&job, folder.path(), deadlines, &mut |frame| {
        let taken = shown.take(frame);
        // The first step makes the starting state; the last one is still running.
        count_ended(shown.steps.len().saturating_sub(2));
        taken
    })?;
    let failed = |why: String, verdict| {
        Err(Error::new(format!("the guest of {} failed", guest.kernel.name)).because(why).verdict(verdict))
    };
    if let Err((verdict, why)) = ended.judge() {
        let at = shown.steps.len().checked_sub(2).and_then(|at| cells.get(at));
        let at = at.map_or("the starting state".to_owned(), Cell::to_string);
        let kept = folder.keep();
        return failed(format!("{at}: {why}; everything is in {}", kept.display()), verdict);
    }
    let mut texts = shown.steps.iter().map(|text| String::from_utf8_lossy(text));
    let before = texts.next().unwrap_or_default();
    if let Some(line) = before.lines().find(|line| line.starts_with("cannot ") || line.starts_with("grep: "))
    {
        return failed(format!("its starting state cannot be made: {line}"), Verdict::GuestFailed);
    }
    let before = Arc::new(control_files::parse(&before));
    let unknown = control_files::unknown(&before);
    if !unknown.is_empty() {
        return failed(format!("control files that are not known here: {unknown:?}"), Verdict::GuestFailed);
    }
    let results: Option<Vec<CellResult>> = texts.map(|text| parse(&text, &before)).collect();
    match results {
        Some(results) if !results.is_empty() => Ok(results),
        _ => failed("the guest ended in the middle of a cell".to_owned(), Verdict::GuestFailed),
    }
}

/// The output of each step.
struct Shown {
    steps: Vec<Vec<u8>>,
}

impl Shown {
    fn take(&mut self, frame: Frame) -> Taken {
        match frame {
            Frame::StepStart(_) => self.steps.push(Vec::new()),
            Frame::Stdout(part) => {
                if let Some(step) = self.steps.last_mut() {
                    step.extend_from_slice(&part);
                    if step.len() > MOST {
                        return Taken::TooMuch;
                    }
                }
            }
            // The script's own complaints.
            Frame::Stderr(part) => {
                // Ignore a closed standard error.
                let _ = std::io::stderr().write_all(&part);
            }
            _ => {}
        }
        Taken::More
    }
}

/// Parses the script's output for a cell; `None` if it is incomplete.
fn parse(text: &str, before: &Arc<State>) -> Option<CellResult> {
    let mut result = CellResult { before: before.clone(), after: before.clone(), ..CellResult::default() };
    let mut rest = text;
    loop {
        let line;
        (line, rest) = rest.split_once('\n')?;
        match line.split_once(' ').unwrap_or((line, "")) {
            ("hung", _) => result.hung = true,
            ("code", code) => result.code = code.parse().ok(),
            ("second", second) => result.second_runs = second.parse::<i32>().map_or(true, |code| code == 0),
            ("file", size) => result.file = size.parse().ok()?,
            ("said", said) => result.said.push(said.to_owned()),
            ("same", _) => return Some(result),
            ("state", _) => {
                result.after = Arc::new(control_files::parse(rest));
                return Some(result);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_tells_is_read_to_its_end() {
        let before = Arc::new(control_files::parse("tracing_on:1\n"));
        let told = parse("second 1\ncode 143\nfile 70\nsaid a b\nsame\n", &before).unwrap();
        assert_eq!((told.code, told.second_runs, told.file), (Some(143), false, 70));
        assert_eq!(told.said, ["a b"]);
        assert_eq!(told.after["tracing_on"], ["1"]);
        let told = parse("hung\nsecond runs\ncode 137\nstate\ntracing_on:0\n", &before).unwrap();
        assert!(told.hung && told.second_runs);
        assert_eq!(told.after["tracing_on"], ["0"]);
        for cut in ["", "code 1\n", "code 1\nsame", "what\nsame\n"] {
            assert_eq!(parse(cut, &before), None, "{cut:?}");
        }
    }
}
