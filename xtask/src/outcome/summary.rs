//! The result of a run as plain data: kernels, cases, verdicts and seconds.
//!
//! It is stored in `target/vm/<run>/run.json`, before the run without results and after it with them. Table,
//! JUnit, KTAP, exit code and `merge-results` need nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::cache;
use crate::base::error::{Context, Error, Result};
use crate::base::verdict::Verdict;
use crate::guest::cases::Case;
use crate::guest::fingerprint::Fingerprint;
use crate::matrix::Record;
use crate::outcome::shard::Shard;

/// The file's name in a run's folder.
pub const FILE: &str = "run.json";

/// A run: all of it, or one part of several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// SHA-256 of the inputs that all parts of a run must share: cases, snapshots, records, programs.
    pub tree: String,
    /// Which part of the run it is.
    pub shard: Shard,
    /// The cases of the whole run, in the order of the tutorial.
    pub cases: Vec<String>,
    /// The kernels of the whole run, in the order in which they were asked for.
    pub kernels: Vec<Column>,
}

/// A kernel of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name in the matrix.
    pub kernel: String,
    /// Whether it was asked for by name, and so has to be available.
    pub asked: bool,
    /// The machine it ran on; `None` if it could not be obtained or belongs to another part.
    pub machine: Option<Machine>,
    /// One cell for each case that is for this kernel.
    pub cells: Vec<CaseCell>,
}

/// A kernel as it was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// What `uname -r` says.
    pub release: String,
    /// The version of source or package.
    pub version: String,
    /// What executed its instructions: `kvm` or `tcg`.
    pub accel: String,
    /// The inputs of a boot without a case.
    pub inputs: Fingerprint,
}

/// A case on a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseCell {
    /// The case's name.
    pub case: String,
    /// The result; `None` if it belongs to another part, or is not known yet.
    pub outcome: Option<Outcome>,
}

/// The result of a case on a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The verdict, after comparison.
    pub verdict: Verdict,
    /// One sentence on it, empty for a pass.
    pub why: String,
    /// What a person needs to see of a failure: the diff, or the console's last lines.
    pub detail: String,
    /// Whether it is an allowed drift, which is no failure.
    pub allowed: bool,
    /// Facts about the boots; `None` if the kernel could not be obtained.
    pub ran: Option<Ran>,
}

/// A case that was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// Wall time of the first boot in ms.
    pub took_ms: u64,
    /// SHA-256 of the raw transcript.
    pub digest: String,
    /// How many runs gave the same bytes.
    pub runs: u32,
}

impl Ran {
    /// Wall time in seconds.
    pub fn seconds(&self) -> f64 {
        self.took_ms as f64 / 1000.0
    }
}

/// The number of cases by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaseCounts {
    /// Cases that passed, allowed drift included.
    pub passed: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Kernels that could not be obtained.
    pub unavailable: usize,
}

impl Outcome {
    /// The result for each case of a kernel that could not be obtained.
    pub fn without_kernel(error: &Error) -> Outcome {
        let verdict = error.verdict_given().unwrap_or(Verdict::Unavailable);
        Outcome { verdict, why: error.to_string(), detail: String::new(), allowed: false, ran: None }
    }

    /// Whether it makes the run fail. An unavailable kernel does so only if it was given by name (`asked`).
    pub fn fails(&self, asked: bool) -> bool {
        match self.verdict {
            Verdict::Pass => false,
            Verdict::Unavailable => asked,
            _ => !self.allowed,
        }
    }
}

impl Column {
    /// The result of a case, if it is known.
    pub fn outcome(&self, case: &str) -> Option<&Outcome> {
        self.cells.iter().find(|cell| cell.case == case)?.outcome.as_ref()
    }

    /// The known results, by case.
    pub fn outcomes(&self) -> impl Iterator<Item = (&str, &Outcome)> {
        self.cells.iter().filter_map(|cell| Some((cell.case.as_str(), cell.outcome.as_ref()?)))
    }

    /// The result that says why the kernel could not be obtained, if it could not.
    pub fn missing(&self) -> Option<&Outcome> {
        self.outcomes().map(|(_, outcome)| outcome).find(|outcome| outcome.ran.is_none())
    }
}

impl Summary {
    /// The run before it starts, without results. Kernels that none of the cases is for are left out.
    ///
    /// # Errors
    /// When no case is for any of the kernels: such a run would prove nothing.
    pub fn plan(kernels: &[(Record, bool)], cases: &[Case], shard: Shard) -> Result<Summary> {
        let cells = |kernel: &Record| -> Vec<CaseCell> {
            let meant = cases.iter().filter(|case| case.is_for(kernel));
            meant.map(|case| CaseCell { case: case.name.clone(), outcome: None }).collect()
        };
        let columns = kernels.iter().map(|(record, asked)| Column {
            kernel: record.name.clone(),
            asked: *asked,
            machine: None,
            cells: cells(record),
        });
        let kernels: Vec<Column> = columns.filter(|column| !column.cells.is_empty()).collect();
        if kernels.is_empty() {
            return Err(Error::new("there is nothing to run")
                .because("none of these cases is for any of these kernels")
                .help("a case's file in tests/cases names the module that its kernels must have")
                .usage());
        }
        let cases = cases.iter().map(|case| case.name.clone()).collect();
        Ok(Summary { tree: String::new(), shard, cases, kernels })
    }

    /// The pairs of kernel and case that belong to a part, as indices.
    pub fn pairs(&self, shard: Shard) -> Vec<(usize, usize)> {
        let places = |(at, column): (usize, &Column)| (0..column.cells.len()).map(move |cell| (at, cell));
        let all: Vec<(usize, usize)> = self.kernels.iter().enumerate().flat_map(places).collect();
        all[shard.share(all.len())].to_vec()
    }

    /// The names of such pairs.
    pub fn named(&self, pairs: &[(usize, usize)]) -> Vec<(String, String)> {
        let name = |(at, cell): &(usize, usize)| {
            let column = &self.kernels[*at];
            (column.kernel.clone(), column.cells[*cell].case.clone())
        };
        pairs.iter().map(name).collect()
    }

    /// Stores the machine that a kernel ran on.
    pub fn is_ready(&mut self, kernel: &str, machine: Machine) {
        if let Some(column) = self.kernels.iter_mut().find(|column| column.kernel == kernel) {
            column.machine = Some(machine);
        }
    }

    /// Stores the result of a case; one that is not part of this run is ignored.
    pub fn note(&mut self, kernel: &str, case: &str, outcome: Outcome) {
        let column = self.kernels.iter_mut().find(|column| column.kernel == kernel);
        let cell = column.and_then(|column| column.cells.iter_mut().find(|cell| cell.case == case));
        if let Some(cell) = cell {
            cell.outcome = Some(outcome);
        }
    }

    /// The run with only the named cases; all cases if none is named.
    #[must_use]
    pub fn only(&self, cases: &[String]) -> Summary {
        let mut some = self.clone();
        if !cases.is_empty() {
            some.cases.retain(|case| cases.contains(case));
            some.kernels.iter_mut().for_each(|column| column.cells.retain(|cell| cases.contains(&cell.case)));
            some.kernels.retain(|column| !column.cells.is_empty());
        }
        some
    }

    /// The worst verdict that makes the run fail. A complete run that ran nothing is no pass. A part that ran
    /// nothing can pass, since another part may have run something.
    pub fn verdict(&self) -> Verdict {
        let of = |column: &Column| {
            let failures = column.outcomes().filter(|(_, outcome)| outcome.fails(column.asked));
            failures.map(|(_, outcome)| outcome.verdict).max()
        };
        let worst = self.kernels.iter().filter_map(of).max().unwrap_or(Verdict::Pass);
        let mut outcomes = self.kernels.iter().flat_map(Column::outcomes).peekable();
        let is_whole = self.shard == Shard::default() && outcomes.peek().is_some();
        let none_ran = outcomes.all(|(_, outcome)| outcome.ran.is_none());
        if is_whole && none_ran { worst.max(Verdict::Unavailable) } else { worst }
    }

    /// How many cases passed and failed, and how many kernels could not be obtained.
    pub fn counts(&self) -> CaseCounts {
        let mut counts = CaseCounts::default();
        let mut missing = BTreeSet::new();
        for column in &self.kernels {
            for (_, outcome) in column.outcomes() {
                match (&outcome.ran, outcome.fails(column.asked)) {
                    (None, _) => drop(missing.insert(&column.kernel)),
                    (Some(_), false) => counts.passed += 1,
                    (Some(_), true) => counts.failed += 1,
                }
            }
        }
        CaseCounts { unavailable: missing.len(), ..counts }
    }

    /// Writes it into a run's folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, run: &Path) -> Result<()> {
        let path = run.join(FILE);
        let json = serde_json::to_vec_pretty(self).context(|| "cannot write a run as JSON".into())?;
        fs::write(&path, json).map_err(|e| cache::denied("cannot write", &path, &e))
    }

    /// Reads it from a run's folder.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn load(run: &Path) -> Result<Summary> {
        let path = run.join(FILE);
        let failed = || format!("cannot read {}", path.display());
        let bytes = fs::read(&path).context(failed).map_err(|error| {
            error.help("`cargo xtask test-vm` makes such a folder for each run, target/vm/<run>")
        })?;
        serde_json::from_slice(&bytes).context(failed)
    }
}

impl std::fmt::Display for CaseCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.unavailable)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run of three kernels and three cases; the last case is for the first kernel only. The second kernel
    /// differs in one case, the third one cannot be obtained.
    pub fn sample() -> Summary {
        let machine = |kernel: &str| Machine {
            release: format!("{kernel}.1"),
            version: format!("{kernel}.1-2"),
            accel: "tcg".into(),
            inputs: Fingerprint { image: kernel.into(), ..Fingerprint::default() },
        };
        let ran = |verdict, took_ms| Outcome {
            verdict,
            why: String::new(),
            detail: String::new(),
            allowed: false,
            ran: Some(Ran { took_ms, digest: "ab".into(), runs: 1 }),
        };
        let differs = Outcome {
            why: "the transcript differs from snapshot function".into(),
            detail: "-old <a>\n+new\x1b[1m\n".into(),
            ..ran(Verdict::Mismatch, 12_340)
        };
        let error = Error::new("it is not built").help("build it").verdict(Verdict::Unavailable);
        let none = Outcome::without_kernel(&error);
        let cell = |case: &str, outcome| CaseCell { case: case.into(), outcome: Some(outcome) };
        let column =
            |kernel: &str, machine, cells| Column { kernel: kernel.into(), asked: false, machine, cells };
        let one = vec![
            cell("check", ran(Verdict::Pass, 1_500)),
            cell("function", ran(Verdict::Pass, 2_040)),
            cell("ext4", ran(Verdict::Pass, 90)),
        ];
        let two = vec![cell("check", ran(Verdict::Pass, 100)), cell("function", differs)];
        let three = vec![cell("check", none.clone()), cell("function", none)];
        Summary {
            tree: "t".into(),
            shard: Shard::default(),
            cases: ["check", "function", "ext4"].map(str::to_owned).into(),
            kernels: vec![
                column("5.4", Some(machine("5.4")), one),
                column("debian-6.1", Some(machine("debian-6.1")), two),
                column("debian-7", None, three),
            ],
        }
    }

    #[test]
    fn a_missing_kernel_fails_the_run_only_when_asked_for() {
        let mut run = sample();
        assert_eq!(run.counts().to_string(), "4 passed, 1 failed, 1 skipped");
        assert_eq!(run.verdict(), Verdict::Mismatch);
        run.kernels.remove(1);
        assert_eq!(run.verdict(), Verdict::Pass);
        run.kernels[1].asked = true;
        assert_eq!(run.verdict(), Verdict::Unavailable);
    }

    #[test]
    fn a_run_of_nothing_is_no_pass() {
        let mut run = sample();
        run.kernels.drain(..2);
        assert_eq!(run.verdict(), Verdict::Unavailable);
        run.shard = "1/2".parse().unwrap();
        assert_eq!(run.verdict(), Verdict::Pass);
    }

    #[test]
    fn a_kernel_that_is_not_what_it_has_to_be_always_fails_the_run() {
        let mut run = sample();
        run.kernels.truncate(1);
        let error = Error::new("CONFIG_X is not set").verdict(Verdict::ConfigUnmet);
        run.note("5.4", "check", Outcome::without_kernel(&error));
        assert_eq!(run.verdict(), Verdict::ConfigUnmet);
        assert_eq!(run.counts(), CaseCounts { passed: 2, failed: 0, unavailable: 1 });
    }

    #[test]
    fn allowed_drift_is_a_pass() {
        let mut run = sample();
        let mut outcome = run.kernels[1].outcome("function").unwrap().clone();
        outcome.verdict = Verdict::Drift;
        run.note("debian-6.1", "function", outcome.clone());
        assert_eq!(run.verdict(), Verdict::Drift);
        run.note("debian-6.1", "function", Outcome { allowed: true, ..outcome });
        assert_eq!(run.verdict(), Verdict::Pass);
        assert_eq!(run.counts(), CaseCounts { passed: 5, failed: 0, unavailable: 1 });
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        sample().save(folder.path()).unwrap();
        assert_eq!(Summary::load(folder.path()).unwrap(), sample());
        let missing = Summary::load(&folder.path().join("nosuch")).unwrap_err().to_string();
        assert!(missing.contains("nosuch/run.json"), "{missing}");
    }

    #[test]
    fn some_cases_are_a_smaller_run() {
        let some = sample().only(&["ext4".into()]);
        assert_eq!(some.kernels.len(), 1);
        assert_eq!(some.counts(), CaseCounts { passed: 1, failed: 0, unavailable: 0 });
        assert_eq!(sample().only(&[]), sample());
    }
}
