//! One commit of a bisection: built, booted with the case, and judged by the case's output.
//!
//! `git bisect run` starts each step as a process. The step reads its settings and the earlier results from
//! the folder of the bisection in the cache, which also holds the object tree.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::frozen;
use super::worktree::{Repository, git};
use crate::base::cache::{self, Lock};
use crate::base::error::{Context, Error, Result};
use crate::base::ui::printable;
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::guest::cases::{self, Case};
use crate::guest::prepared::{Guest, GuestOptions};
use crate::kernel::Kept;
use crate::matrix::Record;
use crate::run::results;
use crate::run::test_vm;
use crate::snapshots::redact::redacted;

/// The exit status that ends `git bisect run` without a result for the commit; any above 127 does.
const STOP: u8 = 255;

/// The settings of a bisection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The name of the kernel's record.
    pub kernel: String,
    /// The name of the case.
    pub case: String,
    /// The C compiler instead of `gcc`.
    pub cc: Option<String>,
}

/// The result of a case on a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepResult {
    /// Its commands were run: the verdict, and a text of verdict and redacted transcript.
    Ran(Verdict, String),
    /// The commit does not build or boot; the reason.
    Unfit(String),
}

/// The judgement on a commit that git gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// The output is that of the good end.
    Good,
    /// The output differs.
    Bad,
    /// It cannot be judged.
    Skip,
}

impl Judgement {
    /// The exit status for `git bisect run`.
    pub fn exit_code(self) -> u8 {
        match self {
            Judgement::Good => 0,
            Judgement::Bad => 1,
            Judgement::Skip => 125,
        }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Judgement::Good => "good",
            Judgement::Bad => "bad",
            Judgement::Skip => "skip",
        })
    }
}

/// A finished step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The commit.
    pub commit: String,
    /// The judgement that git got.
    pub judgement: Judgement,
}

/// The folder of a bisection.
pub struct Bisection {
    /// The folder.
    pub folder: PathBuf,
    /// The object tree in it.
    pub kept: Kept,
    record: Record,
    case: Case,
    settings: Settings,
}

impl Bisection {
    /// Starts a new bisection in a folder; of an earlier one only the object tree stays.
    ///
    /// # Errors
    /// The kernel or the case is unknown, or something is missing that a build needs.
    pub fn new(workspace: &Workspace, folder: &Path, settings: Settings) -> Result<Bisection> {
        let bisection = Bisection::of(workspace, folder, settings)?;
        for old in [bisection.boots(), bisection.said(), bisection.log()] {
            cache::remove(&old)?;
        }
        for new in [bisection.boots(), bisection.said()] {
            fs::create_dir_all(&new).map_err(|e| cache::denied("cannot create", &new, &e))?;
        }
        let json = serde_json::to_vec_pretty(&bisection.settings)
            .context(|| format!("cannot write {}", settings_of(folder).display()))?;
        write(&settings_of(folder), &json)?;
        Ok(bisection)
    }

    /// Opens the bisection that is running in a folder.
    fn open(workspace: &Workspace, folder: &Path) -> Result<Bisection> {
        let path = settings_of(folder);
        let failed = || format!("cannot read {}", path.display());
        let settings = serde_json::from_slice(&fs::read(&path).context(failed)?).context(failed)?;
        Bisection::of(workspace, folder, settings)
    }

    fn of(workspace: &Workspace, folder: &Path, settings: Settings) -> Result<Bisection> {
        let record = workspace.matrix()?.find(&settings.kernel)?.clone();
        if record.is_ready_made() {
            return Err(Error::new(format!("cannot bisect with {}", record.name))
                .because("it is a ready-made package, and each step has to be built")
                .help("--kernel takes a kernel that is built here, such as 5.4 or 6.1-src")
                .usage());
        }
        let case =
            cases::select(cases::load(&workspace.root)?, std::slice::from_ref(&settings.case))?.remove(0);
        let kept = Kept::open(workspace, &record, folder, settings.cc.as_deref())?;
        Ok(Bisection { folder: folder.to_owned(), kept, record, case, settings })
    }

    /// Builds the sources at `source`, where `commit` is checked out, and runs the case.
    ///
    /// # Errors
    /// A failure that is not the commit's, such as a full disk or a missing QEMU.
    pub fn test(&self, workspace: &Workspace, source: &Path, commit: &str) -> Result<StepResult> {
        let _lock = turn(workspace, &self.record.name)?;
        let tools = frozen::tools(workspace)?;
        let guest = self.kept.build(workspace, source, commit).and_then(|kernel| {
            Guest::prepare(workspace, &tools, &self.record, kernel, GuestOptions::default())
        });
        let guest = match guest {
            Ok(guest) => guest,
            Err(error) if is_the_commits_own(&error) => return Ok(StepResult::Unfit(error.to_string())),
            Err(error) => return Err(error),
        };
        let boot = self.boots().join(commit);
        test_vm::run_case(workspace, &guest, &self.case, &boot, 1)?;
        let stored = results::load_one(&boot)?;
        let of_the_machine =
            matches!(stored.verdict, Verdict::QemuFailed | Verdict::LostChannel | Verdict::ConfigUnmet);
        if stored.steps.is_empty() || of_the_machine {
            let (verdict, why) = (stored.verdict, printable(&stored.why));
            return Ok(StepResult::Unfit(format!("{verdict}: {why}")));
        }
        let mut text = printable(&redacted(&stored.transcript()));
        if stored.verdict != Verdict::Pass {
            text += &format!("[{}]\n", stored.verdict);
        }
        Ok(StepResult::Ran(stored.verdict, text))
    }

    /// Stores the output of the case on a commit, and returns the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, judgement: Judgement, commit: &str, text: &str) -> Result<PathBuf> {
        let name = self.file(judgement, commit);
        let path = self.said().join(&name);
        write(&path, text.as_bytes())?;
        Ok(name)
    }

    /// The file in [`Bisection::said`] with the output of the case on a commit.
    pub fn file(&self, judgement: Judgement, commit: &str) -> PathBuf {
        PathBuf::from(format!("{judgement}-{}.txt", &commit[..commit.len().min(12)]))
    }

    /// The folder with the case's outputs.
    pub fn said(&self) -> PathBuf {
        self.folder.join("said")
    }

    fn boots(&self) -> PathBuf {
        self.folder.join("boots")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("steps.jsonl")
    }

    /// The steps so far.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub fn done(&self) -> Result<Vec<Done>> {
        let path = self.log();
        let failed = || format!("cannot read {}", path.display());
        if !path.exists() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&path).context(failed)?;
        text.lines().map(|line| serde_json::from_str(line).context(failed)).collect()
    }

    /// Adds a step to the list.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&self, commit: &str, judgement: Judgement) -> Result<()> {
        let path = self.log();
        let failed = || format!("cannot write {}", path.display());
        let done = Done { commit: commit.to_owned(), judgement };
        let line = serde_json::to_string(&done).context(failed)?;
        let file = File::options().create(true).append(true).open(&path);
        file.and_then(|mut file| writeln!(file, "{line}")).context(failed)
    }
}

/// The lock that lets one step run at a time.
///
/// # Errors
/// When the cache cannot be written.
pub fn turn(workspace: &Workspace, kernel: &str) -> Result<Lock> {
    workspace.host.cache.lock(&workspace.host.ui, &format!("bisect-step-{kernel}"))
}

/// Whether an error comes from the commit, and not from this machine.
fn is_the_commits_own(error: &Error) -> bool {
    let verdict = error.verdict_given();
    !error.is_disk_full() && matches!(verdict, Some(Verdict::BuildFailed | Verdict::ConfigUnmet))
}

fn settings_of(folder: &Path) -> PathBuf {
    folder.join("orders.json")
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|e| cache::denied("cannot write", path, &e))
}

/// Runs a step of `git bisect run` in the current folder, which is the worktree. Returns the exit status
/// for git.
pub fn run(workspace: &Workspace, folder: &Path) -> u8 {
    match judged(workspace, folder) {
        Ok(judgement) => judgement.exit_code(),
        Err(error) => {
            workspace.host.ui.say(format!("error: {error}"));
            STOP
        }
    }
}

fn judged(workspace: &Workspace, folder: &Path) -> Result<Judgement> {
    let bisection = Bisection::open(workspace, folder)?;
    let source = std::env::current_dir().context(|| "cannot find the current folder".to_owned())?;
    let repository = Repository::open(&source)?;
    let commit = repository.commit("HEAD")?;
    let done = bisection.done()?;
    let (good, number) = ends(&done)?;
    let about = number + left(&git(&source, &["rev-list", "--bisect-vars", "--bisect"])?);
    let title = repository.title(&commit)?;
    workspace.host.ui.say(format!("step {number} of about {about}: {title}"));
    let started = Instant::now();
    let outcome = bisection.test(workspace, &source, &commit)?;
    let reference = bisection.said().join(bisection.file(Judgement::Good, good));
    let reference =
        fs::read_to_string(&reference).context(|| format!("cannot read {}", reference.display()))?;
    let (judgement, why) = match outcome {
        StepResult::Unfit(why) => (Judgement::Skip, format!(": {why}")),
        StepResult::Ran(_, text) if text == reference => (Judgement::Good, String::new()),
        StepResult::Ran(_, text) => {
            bisection.keep(Judgement::Bad, &commit, &text)?;
            (Judgement::Bad, String::new())
        }
    };
    bisection.note(&commit, judgement)?;
    let seconds = started.elapsed().as_secs();
    workspace.host.ui.say(format!("step {number} of about {about}: {judgement} ({seconds} s){why}"));
    Ok(judgement)
}

/// The commit of the good end, and the number of the next step. The first two results are the ends.
fn ends(done: &[Done]) -> Result<(&str, usize)> {
    match done {
        [good, _bad, steps @ ..] => Ok((&good.commit, steps.len() + 1)),
        _ => Err(Error::new("bisect-step is started by `cargo xtask bisect`, not by hand").usage()),
    }
}

/// The number of steps left after this one, by git's estimate.
fn left(vars: &str) -> usize {
    let value = vars.lines().find_map(|line| line.strip_prefix("bisect_steps="));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(commit: &str, judgement: Judgement) -> Done {
        Done { commit: commit.to_owned(), judgement }
    }

    #[test]
    fn git_is_told_by_its_own_exit_codes() {
        let codes = [Judgement::Good, Judgement::Bad, Judgement::Skip].map(Judgement::exit_code);
        assert_eq!(codes, [0, 1, 125]);
    }

    #[test]
    fn steps_are_counted_after_both_ends() {
        let mut steps = vec![done("a", Judgement::Good)];
        assert!(ends(&steps).is_err());
        steps.push(done("z", Judgement::Bad));
        assert_eq!(ends(&steps).unwrap(), ("a", 1));
        steps.push(done("m", Judgement::Skip));
        assert_eq!(ends(&steps).unwrap(), ("a", 2));
        assert_eq!(left("bisect_rev='x'\nbisect_nr=5\nbisect_steps=3\n"), 3);
        assert_eq!(left(""), 0);
    }

    #[test]
    fn only_what_is_in_a_commit_skips_it() {
        let error = |cause: &str| Error::new("a").because(cause);
        assert!(is_the_commits_own(&error("b.c:1: error: no").verdict(Verdict::BuildFailed)));
        assert!(is_the_commits_own(&error("no symbol").verdict(Verdict::ConfigUnmet)));
        assert!(!is_the_commits_own(&error("x.o: short").disk_full().verdict(Verdict::BuildFailed)));
        let quoted = error("x.c:1: error: unknown \"No space left on device\"");
        assert!(is_the_commits_own(&quoted.verdict(Verdict::BuildFailed)));
        assert!(!is_the_commits_own(&error("no QEMU").verdict(Verdict::Unavailable)));
        assert!(!is_the_commits_own(&error("is Linux 5.10")));
    }
}
