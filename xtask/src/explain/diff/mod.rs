//! `cargo xtask diff`: what changed between two kernels, case by case.

pub mod align;
pub mod compared;
pub mod page;
pub mod sides;
pub mod text;
pub mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use super::diff::compared::{CaseDiff, CaseResult, Comparison};
use super::diff::sides::{Asked, Side};
use crate::base::error::{Context, Error, Result};
use crate::base::ui::{Bar, out};
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::guest::cases::{self, Case};
use crate::guest::prepared::{Guest, GuestOptions, Tools};
use crate::run::results::{self, Stored};
use crate::run::side_by_side;
use crate::run::test_vm;

/// What to compare.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The old side: a kernel's name, a source tree or earlier results.
    pub old: String,
    /// The new side, likewise.
    pub new: String,
    /// Cases by name; all when empty.
    pub cases: Vec<String>,
    /// A page to write.
    pub html: Option<PathBuf>,
    /// If something differs, end with the exit code of a mismatch.
    pub exit_code: bool,
}

/// Runs the cases on each side without stored results, compares both sides, and prints what changed.
///
/// Returns the worst verdict of the cases that failed on a side. Without such a case it is `pass`, or
/// `mismatch` if something differs and `exit_code` is set.
///
/// # Errors
/// A side is not known or cannot be obtained, both are the same, or the page cannot be written.
pub fn diff(workspace: &Workspace, options: &Options) -> Result<Verdict> {
    if let Some(html) = &options.html {
        // Runs take minutes: report a page that cannot be written before they start.
        let folder = html.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) || html.is_dir() {
            return Err(Error::new(format!("cannot write the page {}", html.display()))
                .because("it is a folder, or its folder does not exist")
                .usage());
        }
    }
    let known = cases::load(&workspace.root)?;
    let cases = cases::select(known, &options.cases)?;
    let asked = [sides::find(workspace, &options.old)?, sides::find(workspace, &options.new)?];
    let runs = asked.iter().any(|side| !matches!(side, Asked::Stored(_)));
    let tools = if runs { Some(Tools::get(workspace)?) } else { None };
    let [old, new] = asked;
    let sides =
        [sides::ready(workspace, tools.as_ref(), old)?, sides::ready(workspace, tools.as_ref(), new)?];
    let of_stored = |case: &Case| {
        let mut stored = sides.iter().filter(|side| matches!(side, Side::Stored(..)));
        stored.all(|side| side.lacks(case).is_none())
    };
    // Stored results may lack cases; report that only for cases that were named.
    let cases: Vec<Case> =
        cases.into_iter().filter(|case| !options.cases.is_empty() || of_stored(case)).collect();
    let comparison = compare(workspace, &cases, &sides)?;
    out!("{}", text::text(&comparison, console::colors_enabled()));
    if let Some(html) = &options.html {
        fs::write(html, page::page(&comparison)).context(|| format!("cannot write {}", html.display()))?;
    }
    let failed = comparison.cases.iter().filter_map(|case| match case.result {
        CaseResult::Failed(verdict, _) => Some(verdict),
        CaseResult::Compared(_) | CaseResult::OneSided(_) => None,
    });
    let differs = options.exit_code && comparison.cases.iter().any(CaseDiff::differs);
    let otherwise = if differs { Verdict::Mismatch } else { Verdict::Pass };
    Ok(failed.max().unwrap_or(otherwise))
}

/// Compares two sides case by case; runs only cases that are for both sides.
fn compare(workspace: &Workspace, cases: &[Case], sides: &[Side; 2]) -> Result<Comparison> {
    let names = [sides[0].name()?, sides[1].name()?];
    if let [Side::Guest(old, _), Side::Guest(new, _)] = sides
        && old.kernel.name == new.kernel.name
    {
        return Err(Error::new(format!("there is nothing to compare {} with", old.kernel.name))
            .because("both sides are the same kernel")
            .usage());
    }
    let lacks = |case: &Case| sides.iter().find_map(|side| side.lacks(case));
    let common: Vec<&Case> = cases.iter().filter(|case| lacks(case).is_none()).collect();
    let [old, new] = results_of(workspace, &common, sides)?;
    let own =
        workspace.matrix()?.records().iter().flat_map(|record| record.append.clone()).collect::<Vec<_>>();
    let mut comparison = Comparison { names, no_instructions: None, cases: Vec::new() };
    for case in cases {
        let of = |results: &'_ [Stored]| results.iter().position(|stored| stored.case == case.name);
        let (Some(before), Some(now)) = (of(&old), of(&new)) else {
            let why = lacks(case).unwrap_or_else(|| "a side has no result of it".into());
            let (name, title) = (case.name.clone(), case.title.clone());
            comparison.cases.push(CaseDiff { name, title, result: CaseResult::OneSided(why) });
            continue;
        };
        let (before, now) = (&old[before], &new[now]);
        let why = compared::differ_besides_the_kernel(&before.fingerprint, &now.fingerprint, &own);
        comparison.cases.push(compared::compare(&case.title, before, now, why.is_none()));
        comparison.no_instructions = comparison.no_instructions.or(why);
    }
    Ok(comparison)
}

/// The results of both sides; those that are not stored are made now.
fn results_of(workspace: &Workspace, cases: &[&Case], sides: &[Side; 2]) -> Result<[Vec<Stored>; 2]> {
    let guests: Vec<&Guest> = sides
        .iter()
        .filter_map(|side| match side {
            Side::Guest(guest, _) => Some(&**guest),
            Side::Stored(..) => None,
        })
        .collect();
    let run = if guests.is_empty() { None } else { Some(results::new_run(&workspace.root)?) };
    if let Some(run) = &run {
        run_all(workspace, &guests, cases, run)?;
        let shown = run.strip_prefix(&workspace.root).unwrap_or(run);
        workspace.host.ui.say(format!("the results are in {}", shown.display()));
    }
    let of = |side: &Side| match (side, &run) {
        (Side::Stored(stored, _), _) => Ok(stored.clone()),
        (Side::Guest(guest, _), Some(run)) => {
            let folder = |case: &&Case| results::of_case(run, &guest.kernel.name, &case.name);
            cases.iter().map(|case| results::load_one(&folder(case)?)).collect()
        }
        (Side::Guest(..), None) => Ok(Vec::new()),
    };
    Ok([of(&sides[0])?, of(&sides[1])?])
}

/// Runs each case on each guest, as many at once as cores and memory allow.
fn run_all(workspace: &Workspace, guests: &[&Guest], cases: &[&Case], run: &Path) -> Result<()> {
    let width = guests.iter().map(|guest| guest.kernel.name.len()).max().unwrap_or(0);
    let bar = |guest: &&Guest| {
        workspace.host.ui.bar(&format!("{:width$}", guest.kernel.name), Some(cases.len() as u64))
    };
    let bars: Vec<Bar> = guests.iter().map(bar).collect();
    let work: Vec<(usize, &Case)> =
        cases.iter().flat_map(|case| (0..guests.len()).map(|guest| (guest, *case))).collect();
    let at_once = side_by_side::guests_at_once(GuestOptions::default().memory);
    side_by_side::each(&work, at_once, |(guest, case)| {
        let folder = results::of_case(run, &guests[*guest].kernel.name, &case.name)?;
        test_vm::run_case(workspace, guests[*guest], case, &folder, 1)?;
        bars[*guest].inc(1);
        Ok(())
    })
}
