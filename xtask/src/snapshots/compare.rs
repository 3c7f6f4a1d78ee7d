//! Compares the output of cases with their snapshots; differences fail, are accepted, or wait for a review.

use std::collections::BTreeSet;

use super::difference::Difference;
use super::invariants::{is_trace, violations};
use super::names::{self, Name};
use super::redact::redacted;
use super::reviewed::Reviewed;
use super::store::Store;
use crate::base::error::Result;
use crate::base::verdict::Verdict;
use crate::kernel::renames;

/// What to do about a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is a failure.
    #[default]
    Check,
    /// It is accepted as the new snapshot of that kernel.
    Update,
    /// It is left pending, and is a failure until it is accepted.
    Review,
}

/// The output of a case on a kernel.
#[derive(Clone, Debug)]
pub struct CaseOutput<'a> {
    /// The case.
    pub case: &'a str,
    /// The kernel.
    pub kernel: &'a str,
    /// The kernel's identity; a difference is a mismatch only if a reviewer has seen this identity.
    pub identity: &'a str,
    /// All its commands and what they printed.
    pub transcript: String,
    /// What each command printed.
    pub outputs: Vec<&'a str>,
    /// The globs of functions that its traces may show.
    pub filters: &'a [String],
}

impl CaseOutput<'_> {
    /// The snapshot of this kernel alone. Only this one is written: a shared snapshot would also change the
    /// expectation for kernels that were not run.
    pub fn own(&self) -> Name {
        Name::own(self.case, self.kernel)
    }
}

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// `pass`, `drift` or `mismatch`.
    pub verdict: Verdict,
    /// One sentence on it, empty for a pass.
    pub why: String,
    /// The redacted transcript.
    pub text: String,
    /// The snapshot that applies to the kernel.
    pub held: Option<Name>,
    /// The difference from that snapshot, even if it was accepted.
    pub difference: Option<Difference>,
}

impl Compared {
    /// The difference as a diff, not yet made safe for a terminal; empty if there is none.
    pub fn diff(&self) -> String {
        self.difference.as_ref().map(Difference::diff).unwrap_or_default()
    }

    /// The difference as shown on a terminal; empty if there is none.
    pub fn shown(&self) -> String {
        self.difference.as_ref().map(Difference::shown).unwrap_or_default()
    }

    /// Whether a difference was accepted.
    pub fn is_accepted(&self) -> bool {
        self.verdict == Verdict::Pass && self.difference.is_some()
    }
}

/// Compares the output of cases, and handles each difference as the mode says.
///
/// # Errors
/// When the snapshots or the list of reviews cannot be read or written.
pub fn compare(store: &Store, said: &[CaseOutput<'_>], mode: Mode) -> Result<Vec<Compared>> {
    let reviewed = Reviewed::load(store.folder())?;
    let mut all = Vec::new();
    for said in said {
        let mut compared = check(store, &reviewed, said)?;
        match (&compared.difference, mode) {
            (None, _) => {
                store.withdraw(&said.own());
                compared.held.iter().for_each(|name| store.withdraw(name));
            }
            (Some(_), Mode::Check) => {}
            (Some(_), Mode::Update) => {
                store.keep(&said.own(), &compared.text)?;
                (compared.verdict, compared.why) = (Verdict::Pass, String::new());
            }
            (Some(_), Mode::Review) => store.leave_pending(&said.own(), &compared.text)?,
        }
        all.push(compared);
    }
    if mode == Mode::Update {
        settle(store, reviewed, &said.iter().collect::<Vec<_>>())?;
        let names = store.names()?;
        for (said, compared) in said.iter().zip(&mut all) {
            compared.held = names::holding(&names, said.case, said.kernel).cloned();
        }
    }
    Ok(all)
}

/// Compares pending differences again after a review. Those that were accepted count as reviewed.
///
/// # Errors
/// As for [`compare`].
pub fn compare_reviewed(
    store: &Store,
    said: &[CaseOutput<'_>],
    before: &[Compared],
) -> Result<Vec<Compared>> {
    let after = compare(store, said, Mode::Check)?;
    let pairs = said.iter().zip(before.iter().zip(&after));
    let accepted =
        pairs.filter(|(_, (before, after))| before.difference.is_some() && after.difference.is_none());
    let accepted: Vec<&CaseOutput<'_>> = accepted.map(|(said, _)| said).collect();
    settle(store, Reviewed::load(store.folder())?, &accepted)?;
    Ok(after)
}

/// Compares one text with its snapshot. Nothing is written.
///
/// # Errors
/// When a snapshot cannot be read.
pub fn check(store: &Store, reviewed: &Reviewed, said: &CaseOutput<'_>) -> Result<Compared> {
    let text = redacted(&said.transcript);
    let names = store.names()?;
    let held = names::holding(&names, said.case, said.kernel);
    let like = match held {
        Some(held) => Some(held),
        None => store.nearest(&names, said.case, &text)?,
    };
    let old = like.map(|name| store.text(name)).transpose()?.unwrap_or_default();
    let held = held.cloned();
    if held.is_some() && old.trim_end() == text.trim_end() {
        return Ok(Compared { verdict: Verdict::Pass, why: String::new(), text, held, difference: None });
    }
    let what = match &held {
        Some(name) => format!("the transcript differs from snapshot {}", name.stem()),
        None => format!("there is no snapshot {}", said.own().stem()),
    };
    let what = [vec![what], renames::explained(&old, &text)].concat().join("; ");
    let (verdict, why) = judge(reviewed, said, &what);
    let difference = Difference { like: like.cloned(), old, kernel: said.kernel.into(), new: text.clone() };
    Ok(Compared { verdict, why, text, held, difference: Some(difference) })
}

/// The verdict on a difference: drift if nobody reviewed the kernel with its present identity and all
/// invariants hold, else a mismatch.
///
/// If other cases of the kernel were reviewed, a case without a snapshot was forgotten, which is a mismatch.
fn judge(reviewed: &Reviewed, said: &CaseOutput<'_>, what: &str) -> (Verdict, String) {
    let about = match reviewed.identity(said.case, said.kernel) {
        Some(known) if known == said.identity => return (Verdict::Mismatch, what.into()),
        Some(known) => format!("it was reviewed on {known}"),
        None if reviewed.knows(said.kernel) => return (Verdict::Mismatch, what.into()),
        None => format!("nobody reviewed {}", said.kernel),
    };
    let traces = said.outputs.iter().filter(|output| is_trace(output));
    match traces.flat_map(|output| violations(output, said.filters)).next() {
        Some(broken) => (Verdict::Mismatch, format!("{what}, and {broken}")),
        None => (Verdict::Drift, format!("{what}; {about}, this is {}", said.identity)),
    }
}

/// Completes an update: marks the cases as reviewed, and lets kernels with equal output share a snapshot.
fn settle(store: &Store, mut reviewed: Reviewed, updated: &[&CaseOutput<'_>]) -> Result<()> {
    if updated.is_empty() {
        return Ok(());
    }
    for said in updated {
        reviewed.set(said.case, said.kernel, said.identity);
    }
    let cases: BTreeSet<&str> = updated.iter().map(|said| said.case).collect();
    for case in cases {
        store.regroup(case, reviewed.kernels(case))?;
    }
    reviewed.save(store.folder())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str = "5.4.1, gcc 12, config cd";

    fn said<'a>(kernel: &'a str, transcript: &'a str) -> CaseOutput<'a> {
        let (identity, transcript, outputs) = (IDENTITY, transcript.to_owned(), vec![transcript]);
        CaseOutput { case: "c", kernel, identity, transcript, outputs, filters: &[] }
    }

    /// A store with `$ a` as the reviewed output of the case on 5.4 and 6.1.
    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_path_buf());
        update(&store, &[said("5.4", "$ a\n"), said("6.1", "$ a\n")]);
        (folder, store)
    }

    fn update(store: &Store, said: &[CaseOutput<'_>]) -> Vec<Compared> {
        compare(store, said, Mode::Update).unwrap()
    }

    fn only(store: &Store, said: CaseOutput<'_>, mode: Mode) -> Compared {
        compare(store, &[said], mode).unwrap().remove(0)
    }

    fn files(store: &Store) -> Vec<String> {
        store.names().unwrap().iter().map(Name::file).collect()
    }

    #[test]
    fn what_is_equal_but_for_what_must_vary_passes() {
        let (_folder, store) = store();
        assert_eq!(files(&store), ["c.snap"]);
        let compared = only(&store, said("5.4", "$ a \n\n"), Mode::Check);
        assert_eq!((compared.verdict, compared.difference), (Verdict::Pass, None));
        let event = |time| format!("  sh-97    [000] ....  {time}: f <-g\n");
        update(&store, &[said("5.4", &event("1.000001"))]);
        assert_eq!(only(&store, said("5.4", &event("2.000002")), Mode::Check).verdict, Verdict::Pass);
    }

    #[test]
    fn a_difference_is_a_mismatch_and_nothing_is_written() {
        let (_folder, store) = store();
        let compared = only(&store, said("5.4", "$ b\n"), Mode::Check);
        assert_eq!(compared.verdict, Verdict::Mismatch);
        assert_eq!(compared.why, "the transcript differs from snapshot c");
        let difference = compared.difference.unwrap();
        assert_eq!(difference.shown(), "--- c.snap\n+++ 5.4\n@@ -1 +1 @@\n-$ a\n+$ b\n");
        assert_eq!(files(&store), ["c.snap"]);
        assert!(!store.pending(&Name::own("c", "5.4")).exists());
    }

    #[test]
    fn a_difference_on_a_kernel_that_nobody_reviewed_is_drift_while_invariants_hold() {
        let (_folder, store) = store();
        let other = CaseOutput { identity: "5.4.2", ..said("5.4", "$ b\n") };
        let compared = only(&store, other, Mode::Check);
        assert_eq!(compared.verdict, Verdict::Drift);
        let why =
            format!("the transcript differs from snapshot c; it was reviewed on {IDENTITY}, this is 5.4.2");
        assert_eq!(compared.why, why);
        let broken = "# tracer: function\n  sh-97    [000] ....  1.000000: f <-g\n";
        let filters = ["h".to_owned()];
        let broken = CaseOutput { identity: "5.4.2", filters: &filters, ..said("5.4", broken) };
        let compared = only(&store, broken, Mode::Check);
        assert_eq!(compared.verdict, Verdict::Mismatch);
        assert!(compared.why.ends_with(", and f is not within the filter"), "{}", compared.why);
    }

    #[test]
    fn a_missing_snapshot_is_a_mismatch_where_other_cases_were_reviewed() {
        let (_folder, store) = store();
        let forgotten = |kernel| CaseOutput { case: "d", ..said(kernel, "$ a\n") };
        let compared = only(&store, forgotten("5.4"), Mode::Check);
        assert_eq!(compared.verdict, Verdict::Mismatch);
        assert_eq!(compared.why, "there is no snapshot d@5.4");
        let difference = compared.difference.unwrap();
        assert_eq!((difference.like.clone(), difference.shown()), (None, "  $ a\n".into()));
        let compared = only(&store, forgotten("7"), Mode::Check);
        assert_eq!(compared.verdict, Verdict::Drift);
        assert!(compared.why.contains("; nobody reviewed 7, "), "{}", compared.why);
    }

    #[test]
    fn a_kernel_without_a_snapshot_is_compared_with_the_nearest() {
        let (_folder, store) = store();
        update(&store, &[said("5.4", "$ b\n")]);
        assert_eq!(files(&store), ["c@5.4.snap", "c@6.1.snap"]);
        let compared = only(&store, said("7", "$ b\nc\n"), Mode::Check);
        assert_eq!(compared.why, format!("there is no snapshot c@7; nobody reviewed 7, this is {IDENTITY}"));
        let shown = compared.difference.unwrap().shown();
        assert!(shown.starts_with("--- c@5.4.snap\n+++ 7\n"), "{shown}");
    }

    #[test]
    fn an_update_writes_a_kernels_own_snapshot_and_regroups() {
        let (folder, store) = store();
        store.leave_pending(&Name::own("c", "5.4"), "$ old\n").unwrap();
        let all = update(&store, &[said("5.4", "$ b\n"), said("6.1", "$ a\n")]);
        assert_eq!(files(&store), ["c@5.4.snap", "c@6.1.snap"]);
        assert!(all[0].is_accepted() && all[0].held == Some(Name::own("c", "5.4")));
        assert!(!all[1].is_accepted());
        assert!(!store.pending(&Name::own("c", "5.4")).exists());
        let all = update(&store, &[said("6.1", "$ b\n")]);
        assert_eq!(files(&store), ["c.snap"]);
        assert_eq!(all[0].held, Some(Name { case: "c".into(), kernels: Vec::new() }));
        let reviewed = Reviewed::load(folder.path()).unwrap();
        assert_eq!(reviewed.kernels("c").collect::<Vec<_>>(), ["5.4", "6.1"]);
    }

    #[test]
    fn a_review_leaves_pending_what_differs_and_removes_what_no_longer_does() {
        let (_folder, store) = store();
        let (one, other) = (Name::own("c", "5.4"), Name::own("c", "6.1"));
        store.leave_pending(&other, "$ earlier\n").unwrap();
        let all = compare(&store, &[said("5.4", "$ b\n"), said("6.1", "$ a\n")], Mode::Review).unwrap();
        assert_eq!([all[0].verdict, all[1].verdict], [Verdict::Mismatch, Verdict::Pass]);
        assert!(store.pending(&one).exists() && !store.pending(&other).exists());
        assert_eq!(files(&store), ["c.snap"]);
    }

    #[test]
    fn what_insta_accepted_is_regrouped_and_counts_as_reviewed() {
        let (folder, store) = store();
        let now = [said("5.4", "$ b\n"), said("6.1", "$ b\n"), said("7", "$ c\n")];
        let now = now.map(|said| CaseOutput { identity: "new", ..said });
        let before = compare(&store, &now, Mode::Review).unwrap();
        // Accepted on 6.1, rejected on 7, and not decided on 5.4.
        let pending = |kernel: &str| store.pending(&Name::own("c", kernel));
        let accepted = insta::Snapshot::from_file(&pending("6.1")).unwrap();
        accepted.save(&store.path(&Name::own("c", "6.1"))).unwrap();
        for kernel in ["6.1", "7"] {
            std::fs::remove_file(pending(kernel)).unwrap();
        }
        let after = compare_reviewed(&store, &now, &before).unwrap();
        let verdicts: Vec<Verdict> = after.iter().map(|compared| compared.verdict).collect();
        assert_eq!(verdicts, [Verdict::Drift, Verdict::Pass, Verdict::Drift]);
        assert_eq!(files(&store), ["c@5.4.snap", "c@6.1.snap"]);
        assert!(pending("5.4").exists());
        let reviewed = Reviewed::load(folder.path()).unwrap();
        assert_eq!(reviewed.identity("c", "6.1").unwrap(), "new");
        assert_eq!(reviewed.identity("c", "5.4").unwrap(), IDENTITY);
        assert_eq!(reviewed.identity("c", "7"), None);
    }

    #[test]
    fn renames_explain_a_difference() {
        let (_folder, store) = store();
        update(&store, &[said("5.4", "=> _do_fork\n")]);
        let compared = only(&store, said("5.4", "=> kernel_clone\n"), Mode::Check);
        assert!(compared.why.contains("; `_do_fork` is `kernel_clone` since 5.10: "), "{}", compared.why);
    }
}
