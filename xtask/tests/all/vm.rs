//! Compares stored results of VM cases with their snapshots, with insta.
//!
//! `cargo xtask test-vm` runs the cases and compares their output. This compares the results of the last run
//! again, so that `cargo insta test` and `cargo insta review` work on them, too. The library chooses the
//! snapshot; the assertion is insta's, and must give the same result. A case without stored results is
//! ignored, which is no pass.

use libtest_mimic::{Failed, Trial};
use xtask::base::error::Result;
use xtask::base::ui::printable;
use xtask::base::verdict::Verdict;
use xtask::guest::folders;
use xtask::run::results::{self, Stored};
use xtask::snapshots::compare::check;
use xtask::snapshots::reviewed::Reviewed;
use xtask::snapshots::store::Store;

use crate::common::root;

pub fn trials() -> Result<Vec<Trial>> {
    let root = root();
    let run = folders::folder(&root).join("latest");
    let stored = results::load(&run)?;
    if stored.is_empty() {
        eprintln!("no stored results in {}: `cargo xtask test-vm` makes them", run.display());
    }
    let store = Store::new(root.join("tests/snapshots"));
    let reviewed = Reviewed::load(store.folder())?;
    let trial = |(_, result): (_, Stored)| {
        let name = format!("vm::{} {}", result.kernel, result.case);
        let ended_well = result.verdict == Verdict::Pass;
        let (store, reviewed) = (store.clone(), reviewed.clone());
        Trial::test(name, move || assert(&store, &reviewed, &result)).with_ignored_flag(!ended_well)
    };
    Ok(stored.into_iter().map(trial).collect())
}

/// Asserts one result on its snapshot.
fn assert(store: &Store, reviewed: &Reviewed, result: &Stored) -> std::result::Result<(), Failed> {
    let said = result.said();
    let compared = check(store, reviewed, &said)?;
    let passes = compared.verdict == Verdict::Pass;
    if !passes {
        eprintln!("{} {}: {}", result.kernel, result.case, printable(&compared.why));
        eprint!("{}", compared.shown());
    }
    // A difference is pending for this kernel alone.
    let name = compared.held.filter(|_| passes).unwrap_or(said.own()).stem();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(store.folder());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name.as_str(), compared.text));
    match compared.verdict {
        Verdict::Pass => Ok(()),
        verdict => Err(format!("insta finds no difference, and the harness does: {verdict}").into()),
    }
}
