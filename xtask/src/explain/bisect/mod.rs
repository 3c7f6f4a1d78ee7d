//! `cargo xtask bisect`: the commit that changed a case's output.
//!
//! `git bisect run` works in its own worktree, so the user's checkout is not changed. A commit is good if
//! the case prints the same as at the good end, else bad; a commit that does not build or boot is skipped.

mod frozen;
pub mod step;
mod worktree;

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::bisect::step::{Bisection, Done, Judgement, Settings, StepResult};
use super::bisect::worktree::{Repository, Worktree, git};
use crate::base::child;
use crate::base::error::{Context, Error, Result};
use crate::base::ui::outln;
use crate::base::verdict::Verdict;
use crate::base::workspace::{WORKSPACE_VAR, Workspace};

/// The options of `bisect`.
#[derive(Clone, Debug)]
pub struct Options {
    /// A folder of the kernel's git repository.
    pub source: PathBuf,
    /// A revision on which the case's output is right.
    pub good: String,
    /// A later revision on which the case's output is wrong.
    pub bad: String,
    /// The case, and how each commit is built.
    pub settings: Settings,
}

/// Finds the first commit on which the output of a case differs from that at the good end, and prints the
/// commit and the difference.
///
/// # Errors
/// The output is the same at both ends, an end does not build or boot, the first bad commit is among
/// skipped ones, or git fails.
pub fn bisect(workspace: &Workspace, options: &Options) -> Result<()> {
    let repository = Repository::open(&options.source)?;
    let (good, bad) = (repository.commit(&options.good)?, repository.commit(&options.bad)?);
    let name = workspace.matrix()?.find(&options.settings.kernel)?.name.clone();
    let _session = workspace.host.cache.lock(&workspace.host.ui, &format!("bisect-{name}"))?;
    // A step of a killed bisection may still be running; wait for it.
    drop(step::turn(workspace, &name)?);
    let folder = workspace.host.cache.folder("bisect")?.join(&name);
    let workspace = &frozen::freeze(workspace, &folder)?;
    let bisection = Bisection::new(workspace, &folder, options.settings.clone())?;
    let worktree = worktree(workspace, &repository, &bisection, &good)?;
    end(workspace, &bisection, &worktree, &repository, &good, Judgement::Good)?;
    worktree.check_out(&bad)?;
    end(workspace, &bisection, &worktree, &repository, &bad, Judgement::Bad)?;
    let found = run(workspace, &bisection, &worktree, &good, &bad)?;
    worktree.remove()?;
    outln!("first bad commit: {}", repository.title(&found)?);
    outln!("  {found}");
    outln!("  {}", repository.author(&found)?);
    outln!("how that commit changes the output of {}:", options.settings.case);
    differences(&bisection, &good, &found)
}

/// Makes a worktree with the good end checked out. Files whose objects are already in the object tree get
/// an older date than the objects.
fn worktree(
    workspace: &Workspace,
    repository: &Repository,
    bisection: &Bisection,
    good: &str,
) -> Result<Worktree> {
    let known = bisection.kept.commit().filter(|commit| repository.has(commit));
    let Some(known) = known else {
        bisection.kept.clear()?;
        workspace.host.ui.say("checking out the good revision");
        return repository.worktree(&bisection.folder, good);
    };
    workspace.host.ui.say("checking out the commit of the object tree, then the good revision");
    let worktree = repository.worktree(&bisection.folder, &known)?;
    worktree.age()?;
    worktree.check_out(good)?;
    Ok(worktree)
}

/// Tests one end of the range, and checks that it can be the good or the bad end.
fn end(
    workspace: &Workspace,
    bisection: &Bisection,
    worktree: &Worktree,
    repository: &Repository,
    commit: &str,
    judgement: Judgement,
) -> Result<()> {
    let title = repository.title(commit)?;
    workspace.host.ui.say(format!("the {judgement} revision: {title}"));
    let started = Instant::now();
    let unfit =
        |why: String| Error::new(format!("cannot use {title} as the {judgement} revision")).because(why);
    let (verdict, text) = match bisection.test(workspace, worktree.path(), commit)? {
        StepResult::Unfit(why) => {
            return Err(unfit(why).help("choose a commit that builds and boots"));
        }
        StepResult::Ran(verdict, text) => (verdict, text),
    };
    if judgement == Judgement::Good && verdict != Verdict::Pass {
        return Err(unfit(format!("the case ends there with {verdict}")).verdict(verdict));
    }
    if let Some(good) = bisection.done()?.first() {
        let path = bisection.said().join(bisection.file(Judgement::Good, &good.commit));
        let said = std::fs::read_to_string(&path).context(|| format!("cannot read {}", path.display()))?;
        if said == text {
            return Err(Error::new("there is no change to find")
                .because("the case prints the same on both revisions")
                .help("choose another case, or revisions between which it changes"));
        }
    }
    bisection.keep(judgement, commit, &text)?;
    bisection.note(commit, judgement)?;
    workspace.host.ui.say(format!("the {judgement} revision: {verdict} ({} s)", started.elapsed().as_secs()));
    Ok(())
}

/// Runs git bisect; returns the first bad commit.
fn run(
    workspace: &Workspace,
    bisection: &Bisection,
    worktree: &Worktree,
    good: &str,
    bad: &str,
) -> Result<String> {
    let folder = worktree.path();
    git(folder, &["bisect", "start", bad, good])?;
    let words = [
        frozen::program(&workspace.root).display().to_string(),
        "bisect-step".into(),
        bisection.folder.display().to_string(),
    ];
    let arguments: Vec<&str> =
        ["bisect", "run"].into_iter().chain(words.iter().map(String::as_str)).collect();
    // Steps print to standard error, git prints to standard output.
    let command = worktree::command(folder, &arguments)
        .env("SNAPTRACE_CACHE", workspace.host.cache.path())
        .env(WORKSPACE_VAR, &workspace.root)
        .stdout_capture()
        .unchecked();
    let failed = || "cannot run `git bisect run`".to_owned();
    let (handle, _group) = child::in_group(|| command.start(), |handle| handle.pids()).context(failed)?;
    let output = handle.wait().context(failed)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let skipped = said.contains("'skip'ped commits left");
        let what = if skipped { "skipped commits hide the one looked for" } else { "git stopped bisecting" };
        return Err(Error::new(what).because(format!("\n{}", said.trim_end())));
    }
    check_log(&git(folder, &["bisect", "log"])?, &bisection.done()?)?;
    git(folder, &["rev-parse", "--verify", "refs/bisect/bad"]).map(|name| name.trim().to_owned())
}

/// Checks that git's log agrees with the results that the steps recorded. Git takes a step that crashed for
/// a bad commit.
fn check_log(log: &str, done: &[Done]) -> Result<()> {
    for line in log.lines() {
        let Some((word, rest)) = line.strip_prefix("# ").and_then(|line| line.split_once(": [")) else {
            continue;
        };
        let judgement = match word {
            "good" => Judgement::Good,
            "bad" => Judgement::Bad,
            "skip" => Judgement::Skip,
            _ => continue,
        };
        let commit = rest.split(']').next().unwrap_or_default().to_owned();
        if !done.contains(&Done { commit: commit.clone(), judgement }) {
            return Err(Error::new("the result of this bisection is not reliable")
                .because(format!("git has marked {commit} as {judgement}, but no step came to that")));
        }
    }
    Ok(())
}

/// Shows how the output of the case on a commit differs from that at the good end.
fn differences(bisection: &Bisection, good: &str, bad: &str) -> Result<()> {
    let files = [bisection.file(Judgement::Good, good), bisection.file(Judgement::Bad, bad)];
    let names = files.map(|file: PathBuf| file.display().to_string());
    let said = show(&bisection.said(), &names)?;
    // Exit status 1: the files differ, as those of a good and a bad commit do.
    match said {
        Some(1) => Ok(()),
        status => Err(Error::new("cannot compare the output of the case")
            .because(format!("git diff ended with {status:?}"))),
    }
}

fn show(folder: &Path, names: &[String; 2]) -> Result<Option<i32>> {
    let arguments =
        ["--no-pager", "diff", "--no-index", "--no-ext-diff", "--no-prefix", "--", &names[0], &names[1]];
    let output = worktree::command(folder, &arguments).unchecked().run();
    Ok(output.context(|| "cannot run `git diff`".to_owned())?.status.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_has_to_have_been_told_what_the_steps_found() {
        let log = "git bisect start\n# status: waiting for both good and bad commits\n\
            # good: [aa] one\ngit bisect good aa\n# bad: [bb] two: [x]\ngit bisect bad bb\n\
            # first bad commit: [bb] two\n";
        let done = |commit: &str, judgement| Done { commit: commit.to_owned(), judgement };
        let good = done("aa", Judgement::Good);
        check_log(log, &[good.clone(), done("bb", Judgement::Bad)]).unwrap();
        let error = check_log(log, &[good, done("bb", Judgement::Skip)]).unwrap_err().to_string();
        assert!(error.contains("git has marked bb as bad, but no step came to that"), "{error}");
    }
}
