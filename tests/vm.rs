//! Stored results of VM cases against their snapshots.
//!
//! `cargo xtask test-vm` runs the cases and then this; on its own it compares the results of
//! the last run again. A case without stored results is ignored, not passed.
//!
//! One snapshot serves all kernels where they agree (`snapshots/CASE.snap`); where they do not,
//! each group of them that does has one that names them (`CASE@KERNEL+KERNEL.snap`). An update
//! writes a kernel's own one; afterwards those that turn out the same become one.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test, whose output is read")]

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use libtest_mimic::{Arguments, Failed, Trial};
use xtask::base::verdict::Verdict;
use xtask::guest::folders;
use xtask::run::results::{self, Comparison, Stored};
use xtask::suite::compare::normalise::{is_trace, normalise, violations};
use xtask::suite::compare::renames;
use xtask::suite::compare::snapshots::{self, Name};
use xtask::suite::compare::{RESULTS_VAR, SNAPSHOTS_VAR};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf();
    let run =
        env::var_os(RESULTS_VAR).map(PathBuf::from).unwrap_or_else(|| folders::folder(&root).join("latest"));
    let stored = match results::load(&run) {
        Ok(stored) => stored,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if stored.is_empty() {
        eprintln!("no stored results in {}: `cargo xtask test-vm` makes them", run.display());
    }
    let folder = env::var_os(SNAPSHOTS_VAR).map(PathBuf::from);
    let snapshots = Snapshots { folder: folder.unwrap_or_else(|| root.join("tests/snapshots")) };
    if let Err(error) = fs::create_dir_all(&snapshots.folder) {
        eprintln!("cannot create {}: {error}", snapshots.folder.display());
        return ExitCode::FAILURE;
    }
    let reviewed = Reviewed::load(&snapshots.folder);
    let updating = env::var("INSTA_UPDATE").is_ok_and(|update| update == "always");
    let mut trials = Vec::new();
    for (folder, result) in stored.clone() {
        let name = format!("{} {}", result.kernel, result.case);
        let ended_well = result.verdict == Verdict::Pass;
        let (snapshots, reviewed) = (snapshots.clone(), reviewed.clone());
        let trial = Trial::test(name, move || compare(&folder, &result, &snapshots, &reviewed, updating));
        trials.push(trial.with_ignored_flag(!ended_well));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if updating && let Err(error) = snapshots.settle(&stored, reviewed) {
        eprintln!("cannot settle the updated snapshots: {error}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// Asserts one result on its snapshot and leaves the comparison beside it.
fn compare(
    folder: &Path,
    result: &Stored,
    snapshots: &Snapshots,
    reviewed: &Reviewed,
    updating: bool,
) -> Result<(), Failed> {
    let text = normalise(&result.transcript());
    let names = snapshots.names()?;
    let held = snapshots::holding(&names, &result.case, &result.kernel);
    let like = held.or_else(|| snapshots.nearest(&names, &result.case, &text));
    let old = like.map(|name| snapshots.content(name)).unwrap_or_default();
    let (verdict, why, diff) = match snapshots.assert(result, held, &text, updating) {
        Ok(()) => (Verdict::Pass, String::new(), String::new()),
        Err(what) => {
            let what = [vec![what], renames::explained(&old, &text)].concat().join("; ");
            let (verdict, why) = judge(result, reviewed, &what);
            (verdict, why, diff(like, &old, result, &text))
        }
    };
    Comparison { verdict, why: why.clone(), diff }.save(folder).map_err(|error| error.to_string())?;
    match verdict {
        Verdict::Pass => Ok(()),
        verdict => Err(format!("{verdict}: {why}").into()),
    }
}

/// A difference is drift on a kernel that nobody reviewed, while what must hold anywhere holds.
///
/// A kernel of which other cases were reviewed is not such a one: there a case without a snapshot
/// is a case that was forgotten.
fn judge(result: &Stored, reviewed: &Reviewed, what: &str) -> (Verdict, String) {
    let about = match reviewed.identity(&result.case, &result.kernel) {
        Some(known) if *known == result.identity => return (Verdict::Mismatch, what.into()),
        Some(known) => format!("it was reviewed on {known}"),
        None if reviewed.knows(&result.kernel) => return (Verdict::Mismatch, what.into()),
        None => format!("nobody reviewed {}", result.kernel),
    };
    let mut broken = Vec::new();
    for step in result.steps.iter().filter(|step| is_trace(&step.output)) {
        broken.extend(violations(&step.output, &result.filters));
    }
    match broken.first() {
        Some(first) => (Verdict::Mismatch, format!("{what}, and {first}")),
        None => (Verdict::Drift, format!("{what}; {about}, this is {}", result.identity)),
    }
}

/// What a result lacks of a snapshot, and what it has beyond.
fn diff(like: Option<&Name>, old: &str, result: &Stored, text: &str) -> String {
    let name = like.map_or_else(|| "no snapshot".into(), Name::file);
    let new = format!("{}\n", text.trim_end());
    similar::TextDiff::from_lines(old, &new).unified_diff().header(&name, &result.kernel).to_string()
}

/// The folder of snapshots.
#[derive(Clone)]
struct Snapshots {
    folder: PathBuf,
}

impl Snapshots {
    /// The snapshots there are.
    fn names(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            names.extend(Name::of_file(&entry?.file_name().to_string_lossy()));
        }
        names.sort();
        Ok(names)
    }

    /// A snapshot's text without its header. insta trims the end, and so does this.
    fn content(&self, name: &Name) -> String {
        let text = fs::read_to_string(self.folder.join(name.file())).unwrap_or_default();
        let body = text.splitn(3, "---\n").nth(2).unwrap_or_default();
        format!("{}\n", body.trim_end())
    }

    /// The snapshot of other kernels that is most like a text: what a new kernel is shown beside.
    fn nearest<'a>(&self, names: &'a [Name], case: &str, text: &str) -> Option<&'a Name> {
        let likeness = |name: &Name| similar::TextDiff::from_lines(&*self.content(name), text).ratio();
        let of_case = names.iter().filter(|name| name.case == case);
        of_case.map(|name| (likeness(name), name)).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
    }

    fn assert(&self, result: &Stored, held: Option<&Name>, text: &str, updating: bool) -> Result<(), String> {
        let own = Name::own(&result.case, &result.kernel);
        // An update writes no snapshot of several kernels: it would speak for those not run.
        let name = held
            .filter(|held| !updating || self.content(held).trim_end() == text.trim_end())
            .unwrap_or(&own)
            .stem();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(&self.folder);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.set_input_file(format!("../cases/{}.toml", result.case));
        let asserted = catch_unwind(AssertUnwindSafe(|| {
            settings.bind(|| insta::assert_snapshot!(name.as_str(), text));
        }));
        asserted.map_err(|_| match held {
            Some(_) => format!("the transcript differs from snapshot {name}"),
            None => format!("there is no snapshot {name}"),
        })
    }

    /// After an update: kernels that agree share, and what was updated counts as reviewed.
    fn settle(&self, stored: &[(PathBuf, Stored)], mut reviewed: Reviewed) -> io::Result<()> {
        let updated = || stored.iter().map(|(_, result)| result).filter(|r| r.verdict == Verdict::Pass);
        for result in updated() {
            reviewed.set(&result.case, &result.kernel, &result.identity);
        }
        let cases: BTreeSet<&str> = updated().map(|result| result.case.as_str()).collect();
        for case in cases {
            self.regroup(case, &reviewed)?;
        }
        fs::write(self.folder.join(Reviewed::FILE), reviewed.to_toml())
    }

    /// Stores the snapshots of a case anew, one for each group of kernels that agree.
    fn regroup(&self, case: &str, reviewed: &Reviewed) -> io::Result<()> {
        let mut names = self.names()?;
        names.retain(|name| name.case == case);
        let mut texts = BTreeMap::new();
        for kernel in reviewed.kernels(case) {
            if let Some(name) = snapshots::holding(&names, case, kernel) {
                texts.insert(kernel.clone(), fs::read_to_string(self.folder.join(name.file()))?);
            }
        }
        let grouped = snapshots::grouped(case, &texts);
        for (name, text) in &grouped {
            fs::write(self.folder.join(name.file()), text)?;
        }
        for name in names.iter().filter(|name| !grouped.contains_key(name)) {
            fs::remove_file(self.folder.join(name.file()))?;
        }
        Ok(())
    }
}

/// On what each snapshot was reviewed: case, kernel, identity. Without a list every kernel counts as
/// reviewed, so that no difference passes for want of it.
#[derive(Clone, Default)]
struct Reviewed {
    cases: BTreeMap<String, BTreeMap<String, String>>,
    is_there: bool,
}

impl Reviewed {
    const FILE: &str = "reviewed.toml";

    /// Reads the list; a damaged one is none.
    fn load(folder: &Path) -> Reviewed {
        let text = fs::read_to_string(folder.join(Reviewed::FILE)).unwrap_or_default();
        match toml::from_str(&text) {
            Ok(cases) if !text.is_empty() => Reviewed { cases, is_there: true },
            _ => Reviewed::default(),
        }
    }

    fn identity(&self, case: &str, kernel: &str) -> Option<&String> {
        self.cases.get(case)?.get(kernel)
    }

    /// Whether somebody reviewed what any case says on a kernel.
    fn knows(&self, kernel: &str) -> bool {
        !self.is_there || self.cases.values().any(|kernels| kernels.contains_key(kernel))
    }

    /// The kernels on which a case was reviewed.
    fn kernels(&self, case: &str) -> impl Iterator<Item = &String> {
        self.cases.get(case).into_iter().flat_map(BTreeMap::keys)
    }

    fn set(&mut self, case: &str, kernel: &str, identity: &str) {
        self.cases.entry(case.into()).or_default().insert(kernel.into(), identity.into());
    }

    fn to_toml(&self) -> String {
        let head = "# What each snapshot was reviewed on; written by `cargo xtask test-vm --update`.\n";
        format!("{head}{}", toml::to_string(&self.cases).unwrap_or_default())
    }
}
