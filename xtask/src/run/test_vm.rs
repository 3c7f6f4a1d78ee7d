//! `cargo xtask test-vm`: runs every case on every kernel, with one boot each, and compares the output with
//! snapshots.
//!
//! A boot per case takes a second or two. In return, a case that kills the kernel does not affect other
//! cases, and the choice of cases does not change what a case sees.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use initramfs::protocol::{Frame, Hello, Status};

use super::bundle::{self, GuestFailure};
use super::compare;
use super::kernels;
use super::repeat::{self, BusyCores, RawComparison};
use super::results::{self, Stored, StoredStep};
use super::side_by_side;
use crate::base::cache;
use crate::base::error::{Context, Error, Result};
use crate::base::ui::{Bar, out, outln, printable};
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::ci::events::{Event, Format, Messages};
use crate::ci::junit::Junit;
use crate::ci::same_tree;
use crate::guest::cases::{self, Case};
use crate::guest::folders;
use crate::guest::prepared::{Guest, GuestOptions, INITRD, Tools};
use crate::guest::put::Put;
use crate::kernel;
use crate::kernel::renames;
use crate::outcome::shard::Shard;
use crate::outcome::summary::{CaseCounts, Machine, Outcome, Ran, Summary};
use crate::outcome::table::table;
use crate::snapshots::compare::{Compared, Mode};
use crate::snapshots::difference::what_to_type;
use crate::snapshots::store::Store;
use crate::vm::{Accel, Ended, Exactness, Taken, console};

/// The most bytes that a case's commands may print.
const OUTPUT_LIMIT: usize = 64 << 20;
/// The bytes that each frame counts in addition to its contents.
const FRAME_COST: usize = 64;
/// The most bytes of a failure's details that a summary keeps.
const DETAIL_LIMIT: usize = 64 << 10;

/// What to test, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Cases by name; all when empty.
    pub cases: Vec<String>,
    /// Kernels by name; when empty, the cached ones and Debian's.
    pub kernels: Vec<String>,
    /// Also build kernels that are not cached.
    pub all: bool,
    /// The part of the run for this machine.
    pub shard: Shard,
    /// A JUnit file to write.
    pub junit: Option<PathBuf>,
    /// The format of standard output.
    pub format: Format,
    /// Words added to the kernel command line.
    pub append: Vec<String>,
    /// Files added to the initramfs.
    pub put: Vec<Put>,
    /// The folder of snapshots; `tests/snapshots` when `None`.
    pub snapshots: Option<PathBuf>,
    /// What to do about a difference.
    pub mode: Mode,
    /// Let differences pass on kernels that nobody reviewed, if the invariants hold.
    pub allow_drift: bool,
    /// Print the digest of each case's raw transcript.
    pub digests: bool,
    /// What executes the guests' instructions; TCG when `None`.
    pub accel: Option<Accel>,
    /// Whether runs are to be bit-exact.
    pub exact: Exactness,
    /// How often to run each case; all runs have to give the same bytes. One run when `None`.
    pub repeat: Option<u32>,
    /// Keep every core of the host busy during the runs.
    pub load: bool,
    /// Seconds until init has to have started; what the accelerator usually takes when `None`.
    pub boot_timeout: Option<u64>,
}

impl Options {
    fn guest_options(&self) -> GuestOptions {
        // Repetitions can give equal bytes only in exact runs.
        let exact = if self.repeat.is_some() { Exactness::Demanded } else { self.exact };
        let (append, put) = (self.append.clone(), self.put.clone());
        GuestOptions {
            append,
            put,
            accel: self.accel,
            exact,
            boot_timeout: self.boot_timeout,
            ..GuestOptions::default()
        }
    }

    fn store(&self, workspace: &Workspace) -> Store {
        Store::new(self.snapshots.clone().unwrap_or_else(|| workspace.root.join("tests/snapshots")))
    }

    /// The options with which a later command uses the same snapshots.
    fn words(&self) -> String {
        let folder = self.snapshots.as_ref().map(|folder| folder.display().to_string());
        folder
            .map(|folder| format!(" {}", bundle::quoted(&["--snapshots".into(), folder])))
            .unwrap_or_default()
    }

    /// The command that accepts all differences of the selected cases.
    fn accepting(&self) -> String {
        let words = [vec!["--update".to_owned()], self.cases.clone()].concat();
        format!("cargo xtask test-vm --stored{} {}", self.words(), bundle::quoted(&words))
    }

    /// Whether the results may be accepted: no option changes the inputs of the cases.
    fn can_accept(&self) -> bool {
        self.accel != Some(Accel::Kvm) && self.append.is_empty() && self.put.is_empty()
    }

    /// Whether a stored result belongs to the selected cases.
    fn includes(&self, stored: &Stored) -> bool {
        self.cases.is_empty() || self.cases.contains(&stored.case)
    }
}

/// Runs the selected cases. Returns the worst verdict and the counts; an unavailable kernel affects the
/// verdict only if it was named.
///
/// # Errors
/// When QEMU, the guest's programs or the cases cannot be obtained, or there is nothing to run.
pub fn run(workspace: &Workspace, options: &Options) -> Result<(Verdict, CaseCounts)> {
    if options.mode != Mode::Check && options.accel == Some(Accel::Kvm) {
        return Err(not_under_kvm("results").help("leave out `--accel kvm`").usage());
    }
    let cases = cases::select(cases::load(&workspace.root)?, &options.cases)?;
    let chosen = kernels::chosen(workspace, &options.kernels)?;
    if options.mode != Mode::Check {
        chosen.iter().try_for_each(|(record, _)| has_name(&record.name))?;
    }
    let mut summary = Summary::plan(&chosen, &cases, options.shard)?;
    let messages = Messages::open(options.format)?;
    let junit = options.junit.as_deref().map(Junit::create).transpose()?;
    messages.begin(&summary, options.shard)?;
    let tools = Tools::get(workspace)?;
    summary.tree = digest_of_tree(workspace, &tools, options)?;
    let pairs = summary.named(&summary.pairs(options.shard));
    let mut wanted = chosen;
    wanted.retain(|(record, _)| pairs.iter().any(|(kernel, _)| *kernel == record.name));
    let mut guests = Vec::new();
    for ((record, _), kernel) in wanted.iter().zip(kernels::obtain(workspace, &wanted, options.all)?) {
        match kernel
            .and_then(|kernel| Guest::prepare(workspace, &tools, record, kernel, options.guest_options()))
        {
            Ok(guest) => {
                summary.is_ready(&record.name, machine(&guest)?);
                guests.push(guest);
            }
            Err(error) if error.is_usage() => return Err(error),
            Err(error) => {
                for (_, case) in pairs.iter().filter(|(kernel, _)| *kernel == record.name) {
                    summary.note(&record.name, case, Outcome::without_kernel(&error));
                }
            }
        }
    }
    messages.kernels(&summary)?;
    let run = new_run(&workspace.root)?;
    summary.save(&run)?;
    let work = work(&guests, &cases, &pairs);
    let load = options.load.then(BusyCores::start);
    run_all(workspace, &guests, &work, &run, options.repeat.unwrap_or(1), &messages)?;
    drop(load);
    finish(workspace, &run, options, &mut summary)?;
    report(workspace, &run, &summary, junit, &messages)
}

/// Checks that snapshots can be stored for a kernel: one that was given as a path is another kernel after its
/// next build.
fn has_name(kernel: &str) -> Result<()> {
    if !kernel.contains('@') {
        return Ok(());
    }
    Err(Error::new(format!("cannot store snapshots of {kernel}"))
        .because("that is a kernel without a name of its own")
        .help("`cargo xtask kernel add NAME PATH` gives it one")
        .usage())
}

/// The error for results made under KVM: they depend on the host's clock, so they cannot become snapshots.
fn not_under_kvm(what: &str) -> Error {
    Error::new(format!("cannot accept {what} as snapshots"))
        .because("under KVM time depends on the host, so another run may print something else")
}

/// The digest of the inputs that all parts of a run must share.
fn digest_of_tree(workspace: &Workspace, tools: &Tools, options: &Options) -> Result<String> {
    let programs = [&tools.programs.init, &tools.programs.workload, &tools.programs.snaptrace];
    let mut paths = vec![
        workspace.root.join("tests/cases"),
        options.store(workspace).folder().to_path_buf(),
        workspace.configs(),
    ];
    paths.extend(programs.into_iter().chain(options.put.iter().map(|put| &put.host)).cloned());
    let words =
        format!("{:?} {:?} {} {:?}", options.exact, options.repeat, options.allow_drift, options.append);
    let accel = options.accel.unwrap_or(Accel::Tcg).name().to_owned();
    same_tree::digest(&paths, &[words, accel])
}

/// The entry of a guest's kernel in a summary.
fn machine(guest: &Guest) -> Result<Machine> {
    Ok(Machine {
        release: guest.kernel.release.clone(),
        version: guest.kernel.version.clone(),
        accel: guest.accel.name().to_owned(),
        inputs: guest.fingerprint(&guest.job())?,
    })
}

/// Compares the last run's stored results again, without a VM.
///
/// # Errors
/// When there are none.
pub fn compare_again(workspace: &Workspace, options: &Options) -> Result<(Verdict, CaseCounts)> {
    let latest = folders::folder(&workspace.root).join(folders::LATEST);
    let run = fs::canonicalize(&latest).map_err(|error| {
        Error::new(format!("cannot find stored results at {}", latest.display()))
            .because(error)
            .help("`cargo xtask test-vm` makes them")
    })?;
    let mut summary = Summary::load(&run)?;
    let messages = Messages::open(options.format)?;
    let junit = options.junit.as_deref().map(Junit::create).transpose()?;
    if options.mode != Mode::Check {
        refuse_others(workspace, &run, options)?;
    }
    finish(workspace, &run, options, &mut summary)?;
    let summary = summary.only(&options.cases);
    messages.begin(&summary, summary.shard)?;
    messages.kernels(&summary)?;
    report(workspace, &run, &summary, junit, &messages)
}

/// Reports the result of a run: unavailable kernels, the table, the counts, and the files.
fn report(
    workspace: &Workspace,
    run: &Path,
    summary: &Summary,
    junit: Option<Junit>,
    messages: &Messages,
) -> Result<(Verdict, CaseCounts)> {
    for column in &summary.kernels {
        if let Some(missing) = column.missing() {
            outln!("{}: {}: {}", column.kernel, missing.verdict, missing.why);
        }
    }
    if summary.kernels.len() > 1 {
        out!("{}", table(summary));
    }
    outln!("{}", summary.counts());
    if let Some(junit) = junit {
        junit.write(summary)?;
    }
    messages.finish(summary, Some(run.strip_prefix(&workspace.root).unwrap_or(run)))?;
    Ok((summary.verdict(), summary.counts()))
}

/// Refuses to accept results of another tree: the tracer, a case or a kernel may have changed since the run.
fn refuse_others(workspace: &Workspace, run: &Path, options: &Options) -> Result<()> {
    let tools = Tools::get(workspace)?;
    let cases = cases::load(&workspace.root)?;
    let mut guests: Vec<Guest> = Vec::new();
    for (_, stored) in results::load(run)? {
        if !options.includes(&stored) {
            continue;
        }
        has_name(&stored.kernel)?;
        if stored.fingerprint.is_under_kvm() {
            let what = format!("the stored result of {} on {}", stored.case, stored.kernel);
            return Err(not_under_kvm(&what).help("`cargo xtask test-vm` runs the cases under TCG"));
        }
        let other = |what: &str| {
            Error::new(format!("cannot accept the stored result of {} on {}", stored.case, stored.kernel))
                .because(format!("it was made with another {what} than this tree has"))
                .help("`cargo xtask test-vm` runs the cases anew")
        };
        if !guests.iter().any(|guest| guest.kernel.name == stored.kernel) {
            let record = kernel::record_of(workspace, &stored.kernel)?;
            let kernel = kernel::cached(workspace, &record)?.ok_or_else(|| other("kernel"))?;
            guests.push(Guest::prepare(workspace, &tools, &record, kernel, GuestOptions::default())?);
        }
        let guest = guests.iter().find(|guest| guest.kernel.name == stored.kernel);
        let case = cases.iter().find(|case| case.name == stored.case);
        let (Some(guest), Some(case)) = (guest, case) else { return Err(other("case")) };
        let job = case.on(&guest.kernel.version)?.job(&guest.job().boot_modules)?;
        let now = guest.for_case(case)?.fingerprint(&job)?;
        if let Some(what) = now.difference(&stored.fingerprint) {
            return Err(other(what));
        }
    }
    Ok(())
}

/// Makes a folder for a new run, and lets `latest` point to it.
fn new_run(root: &Path) -> Result<PathBuf> {
    let run = results::new_run(root)?;
    let failed = || format!("cannot make {} the latest run", run.display());
    // Make the link under another name and rename it, so that it never misses, even with two commands at
    // once.
    let aside = run.join(".latest");
    symlink(run.file_name().unwrap_or_default(), &aside).context(failed)?;
    fs::rename(&aside, folders::folder(root).join(folders::LATEST)).context(failed)?;
    Ok(run)
}

/// The work list: pairs of a guest (by index) and a case. The guests alternate, so that all of them make
/// progress.
fn work<'a>(guests: &[Guest], cases: &'a [Case], pairs: &[(String, String)]) -> Vec<(usize, &'a Case)> {
    let mut work = Vec::new();
    for case in cases {
        for (at, guest) in guests.iter().enumerate() {
            if pairs.iter().any(|(kernel, name)| *kernel == guest.kernel.name && *name == case.name) {
                work.push((at, case));
            }
        }
    }
    work
}

/// Runs cases on guests, as many at once as cores and memory allow.
fn run_all(
    workspace: &Workspace,
    guests: &[Guest],
    work: &[(usize, &Case)],
    run: &Path,
    times: u32,
    messages: &Messages,
) -> Result<()> {
    for guest in guests {
        let shift =
            guest.icount_shift().map_or("not exact".into(), |shift| format!("bit-exact, shift {shift}"));
        workspace.host.ui.say(format!(
            "{}: {} under {}, {shift}",
            guest.kernel.name,
            guest.kernel.version,
            guest.accel.name()
        ));
        for note in &guest.kernel.notes {
            workspace.host.ui.say(format!("{}: {note}", guest.kernel.name));
        }
    }
    let width = guests.iter().map(|guest| guest.kernel.name.len()).max().unwrap_or(0);
    let bar = |(at, guest): (usize, &Guest)| {
        let count = work.iter().filter(|(guest, _)| *guest == at).count();
        workspace.host.ui.bar(&format!("{:width$}", guest.kernel.name), Some(count as u64))
    };
    let bars: Vec<Bar> = guests.iter().enumerate().map(bar).collect();
    let at_once = side_by_side::guests_at_once(GuestOptions::default().memory);
    side_by_side::each(work, at_once, |(at, case)| {
        let (guest, kernel) = (&guests[*at], guests[*at].kernel.name.as_str());
        messages.tell(&Event::CaseStarted { kernel, case: &case.name })?;
        let folder = results::of_case(run, kernel, &case.name)?;
        run_case(workspace, guest, case, &folder, times)?;
        bars[*at].inc(1);
        let stored = results::load_one(&folder)?;
        let seconds = stored.took_ms as f64 / 1000.0;
        messages.tell(&Event::CaseRan { kernel, case: &case.name, ended: stored.verdict, seconds })
    })
}

/// The frames that a guest sent while a case ran.
#[derive(Default)]
struct Collected {
    hello: Hello,
    config: Vec<u8>,
    steps: Vec<(Vec<u8>, Vec<u8>, Option<Status>)>,
    bytes: usize,
}

impl Collected {
    fn take(&mut self, frame: Frame) -> Taken {
        // Even an empty frame takes some memory.
        self.bytes += FRAME_COST;
        match (frame, self.steps.last_mut()) {
            (Frame::Hello(hello), _) => self.hello = hello,
            (Frame::Config(part), _) => {
                self.bytes += part.len();
                self.config.extend_from_slice(&part);
            }
            (Frame::StepStart(_), _) => self.steps.push((Vec::new(), Vec::new(), None)),
            (Frame::Stdout(part), Some((stdout, _, _))) => {
                self.bytes += part.len();
                stdout.extend_from_slice(&part);
            }
            (Frame::Stderr(part), Some((_, stderr, _))) => {
                self.bytes += part.len();
                stderr.extend_from_slice(&part);
            }
            (Frame::StepEnd(status), Some((_, _, ended))) => *ended = Some(status),
            _ => {}
        }
        if self.bytes > OUTPUT_LIMIT { Taken::TooMuch } else { Taken::More }
    }
}

/// Runs a case `times` times. The result of the first run is stored in `folder`, with the outcome of the
/// repetitions.
///
/// # Errors
/// When files cannot be read or written, or QEMU cannot be started.
pub fn run_case(workspace: &Workspace, guest: &Guest, case: &Case, folder: &Path, times: u32) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| cache::denied("cannot create", folder, &e))?;
    let case = &case.on(&guest.kernel.version)?;
    let own = &guest.for_case(case)?;
    let mut stored = attempt(workspace, own, case, folder)?;
    if stored.verdict == Verdict::Pass {
        repeat::prove(&mut stored, folder, times, &|beside| attempt(workspace, own, case, beside))?;
    }
    stored.save(folder)?;
    if stored.verdict != Verdict::Pass {
        let (inputs, verdict, why) = (&stored.fingerprint, stored.verdict, stored.why.as_str());
        GuestFailure { case: &case.name, guest, inputs, verdict, why, again: &again(guest, case) }
            .write(folder)?;
    }
    if stored.verdict == Verdict::Pass {
        // Only a failure needs the whole bundle; the initramfs is its only large file.
        let initrd = folder.join(INITRD);
        fs::remove_file(&initrd).context(|| format!("cannot remove {}", initrd.display()))?;
    }
    Ok(())
}

/// The command line that runs a case again.
pub fn again(guest: &Guest, case: &Case) -> String {
    format!("cargo xtask test-vm {} {}", bundle::quoted(&guest.options()), case.name)
}

/// One boot with a case.
fn attempt(workspace: &Workspace, guest: &Guest, case: &Case, folder: &Path) -> Result<Stored> {
    let job = case.job(&guest.job().boot_modules)?;
    let deadlines = guest.deadlines(Some(Duration::from_secs(case.deadline)));
    let mut collected = Collected::default();
    let (ended, fingerprint) = guest.boot(&job, folder, deadlines, &mut |frame| collected.take(frame))?;
    let (verdict, why) = judge(workspace, guest, case, &ended, &collected);
    let mut steps = Vec::new();
    for (step, (stdout, stderr, status)) in case.steps.iter().zip(&collected.steps) {
        let mut output = String::from_utf8_lossy(stdout).into_owned();
        output.push_str(&String::from_utf8_lossy(stderr));
        steps.push(StoredStep { command: step.run.clone(), output, status: status.map(Status::code) });
    }
    Ok(Stored {
        case: case.name.clone(),
        kernel: guest.kernel.name.clone(),
        identity: guest.identity()?,
        verdict,
        why,
        steps,
        filters: case.filters(),
        fingerprint,
        took_ms: ended.took.as_millis() as u64,
        runs: 1,
    })
}

fn judge(
    workspace: &Workspace,
    guest: &Guest,
    case: &Case,
    ended: &Ended,
    collected: &Collected,
) -> (Verdict, String) {
    if let Err(failure) = ended.judge() {
        return failure;
    }
    if let Err(error) = guest.prove(workspace, &collected.hello, &collected.config) {
        return (error.verdict_given().unwrap_or(Verdict::ConfigUnmet), error.to_string());
    }
    for (step, (_, stderr, status)) in case.steps.iter().zip(&collected.steps) {
        let Some(status) = status else {
            return (Verdict::GuestFailed, format!("`{}` did not end", step.run));
        };
        if *status != Status::Exited(step.expect) {
            let said = String::from_utf8_lossy(stderr);
            let said = console::neutralise(said.lines().next().unwrap_or_default());
            let renamed = renames::explained_on(&said, &guest.kernel.version);
            let said = [vec![said], renamed].concat().join("; ");
            return (Verdict::GuestFailed, format!("`{}` ended with {status}: {said}", step.run));
        }
    }
    if collected.steps.len() < case.steps.len() {
        return (Verdict::GuestFailed, "not all commands were run".into());
    }
    (Verdict::Pass, String::new())
}

/// Compares a run with the snapshots, prints a line per case and stores the result of each in the summary.
fn finish(workspace: &Workspace, run: &Path, options: &Options, summary: &mut Summary) -> Result<()> {
    let store = options.store(workspace);
    let mut results = results::load(run)?;
    results.retain(|(_, stored)| options.includes(stored));
    let compared = compare::run(&store, &results, options.mode, &options.accepting())?;
    for ((folder, stored), compared) in results.iter().zip(&compared) {
        if options.digests {
            outln!("{}  {} {}", stored.digest(), stored.kernel, stored.case);
        }
        if let Some(accepted) = compared.as_ref().filter(|compared| compared.is_accepted()) {
            let file = accepted.held.as_ref().map(|name| store.path(name)).unwrap_or_default();
            let file = file.strip_prefix(&workspace.root).unwrap_or(&file).display();
            outln!("{} {}: accepted as {file}", stored.kernel, stored.case);
            out!("{}", accepted.shown());
        }
        let outcome = outcome(workspace, run, options, folder, stored, compared.as_ref())?;
        summary.note(&stored.kernel, &stored.case, outcome);
    }
    summary.save(run)?;
    let kernels = [workspace.matrix()?.records(), &kernel::all_added(workspace)?].concat();
    for orphan in compare::orphans(&store, &cases::load(&workspace.root)?, &kernels)? {
        let orphan = orphan.strip_prefix(&workspace.root).unwrap_or(&orphan);
        outln!("orphan: {} belongs to no case", orphan.display());
    }
    Ok(())
}

/// The outcome of a result, which is also printed.
fn outcome(
    workspace: &Workspace,
    run: &Path,
    options: &Options,
    folder: &Path,
    stored: &Stored,
    compared: Option<&Compared>,
) -> Result<Outcome> {
    let (verdict, why) = match compared {
        Some(compared) => (compared.verdict, &compared.why),
        None => (stored.verdict, &stored.why),
    };
    // It may contain output of the guest.
    let (mut verdict, mut why) = (verdict, printable(why));
    let mut report = repeat::report(folder);
    let mut raw = "raw output too".to_string();
    if verdict == Verdict::Pass {
        match repeat::with_earlier(run, folder, stored)? {
            RawComparison::Same => {}
            RawComparison::NotCompared(because) => raw = format!("not the raw output: {because}"),
            RawComparison::Differs(difference) => {
                (verdict, why, report) = (Verdict::NotRepeatable, difference.what, difference.report);
            }
        }
    }
    let differs = compared.filter(|compared| compared.verdict != Verdict::Pass);
    let diff = differs.map(|compared| printable(&compared.diff())).unwrap_or_default();
    let text = differs.map(Compared::shown).unwrap_or_default();
    let label = format!("{} {}", stored.kernel, stored.case);
    let allowed = verdict == Verdict::Drift && options.allow_drift;
    let mut detail = String::new();
    if allowed {
        outln!("{label}: drift, allowed: {why}");
        out!("{text}");
        detail = diff;
    } else if verdict == Verdict::Pass {
        let runs = if stored.runs > 1 { format!("{} equal runs, ", stored.runs) } else { String::new() };
        let took = stored.took_ms as f64 / 1000.0;
        outln!("{label}: pass ({runs}{took:.1} s; snapshot compared, {raw})");
    } else {
        let again = format!("cargo xtask test-vm --kernel {} {}", stored.kernel, stored.case);
        let shown = bundle::shown(workspace, folder, &again).join("\n");
        outln!("{label}: {verdict}: {why}");
        outln!("{report}{text}{shown}");
        if differs.is_some() && options.can_accept() {
            out!("{}", what_to_type(&stored.case, &options.words()));
        }
        detail = format!("{report}{diff}{shown}\n");
    }
    let ran = Ran { took_ms: stored.took_ms, digest: stored.digest(), runs: stored.runs };
    Ok(Outcome { verdict, why, detail: bounded(detail), allowed, ran: Some(ran) })
}

/// Cuts a text to the size that a summary keeps.
fn bounded(mut text: String) -> String {
    if text.len() > DETAIL_LIMIT {
        let end = (0..=DETAIL_LIMIT).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push_str("\n[and more]\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::cache::Cache;
    use crate::guest::fingerprint::Fingerprint;

    #[test]
    fn an_update_of_named_cases_leaves_the_others_alone() {
        let folder = tempfile::tempdir().unwrap();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
        let workspace = Workspace::new(sources, Cache::at(folder.path().join("cache")), false);
        let run = folder.path().join("vm/1");
        for case in ["mount", "list"] {
            let step = StoredStep { command: "true".into(), output: String::new(), status: Some(0) };
            let stored = Stored {
                case: case.into(),
                kernel: "5.4".into(),
                identity: "5.4.1".into(),
                verdict: Verdict::Pass,
                why: String::new(),
                steps: vec![step],
                filters: Vec::new(),
                fingerprint: Fingerprint::default(),
                took_ms: 1,
                runs: 1,
            };
            stored.save(&results::of_case(&run, "5.4", case).unwrap()).unwrap();
        }
        let snapshots = folder.path().join("snapshots");
        let cases = vec!["mount".to_owned()];
        let options =
            Options { cases, mode: Mode::Update, snapshots: Some(snapshots.clone()), ..Options::default() };
        finish(&workspace, &run, &options, &mut Summary::default()).unwrap();
        let text = fs::read_to_string(snapshots.join("mount@5.4.snap")).unwrap();
        assert_eq!(text, "---\nsource: xtask/tests/all/vm.rs\n---\n$ true\n");
        assert!(!snapshots.join("list@5.4.snap").exists());
        assert!(run.join("5.4/mount/comparison.json").exists());
    }

    #[test]
    fn what_to_type_names_the_snapshots_and_the_cases() {
        let options = Options {
            cases: vec!["mount".into(), "list".into()],
            snapshots: Some("a b".into()),
            ..Options::default()
        };
        assert_eq!(options.accepting(), "cargo xtask test-vm --stored --snapshots 'a b' --update mount list");
        assert_eq!(Options::default().accepting(), "cargo xtask test-vm --stored --update");
        assert!(Options::default().can_accept());
        assert!(!Options { append: vec!["quiet".into()], ..Options::default() }.can_accept());
    }
}
