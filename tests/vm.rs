//! Stored results of VM cases against their snapshots.
//!
//! `cargo xtask test-vm` runs the cases and then this; on its own it compares the results of
//! the last run again. A case without stored results is ignored, not passed.
//!
//! One snapshot serves all kernels where they agree (`snapshots/CASE.snap`); a kernel that
//! differs has its own (`CASE@KERNEL.snap`). An update writes a kernel's own one; those that
//! turn out the same for every kernel of the case become the shared one.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use libtest_mimic::{Arguments, Failed, Trial};
use xtask::suite::compare::{RESULTS_VAR, SNAPSHOTS_VAR};
use xtask::suite::normalise::{is_trace, normalise, violations};
use xtask::suite::results::{self, Comparison, Stored};
use xtask::verdict::Verdict;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf();
    let run =
        env::var_os(RESULTS_VAR).map(PathBuf::from).unwrap_or_else(|| results::folder(&root).join("latest"));
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
    let agreed = snapshots.assert(result, &text, updating);
    let (verdict, why, diff) = match agreed {
        Ok(()) => (Verdict::Pass, String::new(), String::new()),
        Err(what) => {
            let (verdict, why) = judge(result, reviewed, &what);
            (verdict, why, snapshots.diff(result, &text))
        }
    };
    Comparison { verdict, why: why.clone(), diff }.save(folder).map_err(|error| error.to_string())?;
    match verdict {
        Verdict::Pass => Ok(()),
        verdict => Err(format!("{verdict}: {why}").into()),
    }
}

/// A difference is drift on a kernel that nobody reviewed, while what must hold anywhere holds.
fn judge(result: &Stored, reviewed: &Reviewed, what: &str) -> (Verdict, String) {
    let known = reviewed.identity(&result.case, &result.kernel);
    if known.is_none_or(|known| *known == result.identity) {
        return (Verdict::Mismatch, what.into());
    }
    let mut broken = Vec::new();
    for step in result.steps.iter().filter(|step| is_trace(&step.output)) {
        broken.extend(violations(&step.output, &result.filters));
    }
    match broken.first() {
        Some(first) => (Verdict::Mismatch, format!("{what}, and {first}")),
        None => {
            let known = known.map(String::as_str).unwrap_or_default();
            (Verdict::Drift, format!("{what}; it was reviewed on {known}, this is {}", result.identity))
        }
    }
}

/// The folder of snapshots.
#[derive(Clone)]
struct Snapshots {
    folder: PathBuf,
}

impl Snapshots {
    fn shared(&self, case: &str) -> PathBuf {
        self.folder.join(format!("{case}.snap"))
    }

    fn own(&self, case: &str, kernel: &str) -> PathBuf {
        self.folder.join(format!("{case}@{kernel}.snap"))
    }

    /// The snapshot that holds for a result.
    fn of(&self, result: &Stored, text: &str, updating: bool) -> PathBuf {
        let own = self.own(&result.case, &result.kernel);
        let shared = self.shared(&result.case);
        // An update never writes the shared snapshot: it would speak for kernels not run.
        let take_own = own.exists() || !shared.exists() || (updating && content(&shared) != text);
        if take_own { own } else { shared }
    }

    /// What a result lacks of its snapshot, and what it has beyond.
    fn diff(&self, result: &Stored, text: &str) -> String {
        let path = self.of(result, text, false);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (old, new) = (content(&path), format!("{}\n", text.trim_end()));
        let diff = similar::TextDiff::from_lines(&old, &new);
        diff.unified_diff().header(&name, &result.kernel).to_string()
    }

    fn assert(&self, result: &Stored, text: &str, updating: bool) -> Result<(), String> {
        let path = self.of(result, text, updating);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(&self.folder);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.set_input_file(format!("../cases/{}.toml", result.case));
        let asserted = catch_unwind(AssertUnwindSafe(|| {
            settings.bind(|| insta::assert_snapshot!(name.as_str(), text));
        }));
        asserted.map_err(|_| match path.exists() {
            true => format!("the transcript differs from snapshot {name}"),
            false => format!("there is no snapshot {name}"),
        })
    }

    /// After an update: kernels that agree share, and what was updated counts as reviewed.
    fn settle(&self, stored: &[(PathBuf, Stored)], mut reviewed: Reviewed) -> std::io::Result<()> {
        let mut by_case: BTreeMap<&str, Vec<&Stored>> = BTreeMap::new();
        for (_, result) in stored.iter().filter(|(_, result)| result.verdict == Verdict::Pass) {
            by_case.entry(&result.case).or_default().push(result);
            reviewed.set(&result.case, &result.kernel, &result.identity);
        }
        for (case, results) in by_case {
            let owned: Vec<PathBuf> = self.owned(case)?;
            let run: Vec<PathBuf> = results.iter().map(|result| self.own(case, &result.kernel)).collect();
            let texts: Vec<String> =
                run.iter().filter(|path| path.exists()).map(|path| content(path)).collect();
            let all_agree = texts.len() == run.len() && texts.windows(2).all(|pair| pair[0] == pair[1]);
            if run.len() > 1 && all_agree && owned.iter().all(|path| run.contains(path)) {
                fs::rename(&run[0], self.shared(case))?;
                for path in &run[1..] {
                    fs::remove_file(path)?;
                }
                continue;
            }
            for path in run {
                if path.exists()
                    && self.shared(case).exists()
                    && content(&path) == content(&self.shared(case))
                {
                    fs::remove_file(path)?;
                }
            }
        }
        fs::write(self.folder.join(Reviewed::FILE), reviewed.to_toml())
    }

    /// The snapshots of a case that belong to one kernel each.
    fn owned(&self, case: &str) -> std::io::Result<Vec<PathBuf>> {
        let prefix = format!("{case}@");
        let mut owned = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(&prefix) && name.ends_with(".snap") {
                owned.push(path);
            }
        }
        Ok(owned)
    }
}

/// A snapshot file's text without its header. insta trims the end, and so does this.
fn content(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let body = text.splitn(3, "---\n").nth(2).unwrap_or_default();
    format!("{}\n", body.trim_end())
}

/// On what each snapshot was reviewed: case, kernel, identity.
#[derive(Clone, Default)]
struct Reviewed(BTreeMap<String, BTreeMap<String, String>>);

impl Reviewed {
    const FILE: &str = "reviewed.toml";

    /// Reads the list; a damaged one counts as empty, so that nothing passes because of it.
    fn load(folder: &Path) -> Reviewed {
        let text = fs::read_to_string(folder.join(Reviewed::FILE)).unwrap_or_default();
        Reviewed(toml::from_str(&text).unwrap_or_default())
    }

    fn identity(&self, case: &str, kernel: &str) -> Option<&String> {
        self.0.get(case)?.get(kernel)
    }

    fn set(&mut self, case: &str, kernel: &str, identity: &str) {
        self.0.entry(case.into()).or_default().insert(kernel.into(), identity.into());
    }

    fn to_toml(&self) -> String {
        let head = "# What each snapshot was reviewed on; written by `cargo xtask test-vm --update`.\n";
        format!("{head}{}", toml::to_string(&self.0).unwrap_or_default())
    }
}
