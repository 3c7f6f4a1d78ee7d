//! `cargo xtask test-vm`: every case on every kernel, one boot each, compared with snapshots.
//!
//! One boot per case costs a second or two and buys that a case which kills the kernel costs
//! only itself, and that choosing cases does not change what a case sees.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use initramfs::protocol::{Frame, Hello, Status};

use super::cases::{self, Case};
use super::compare::{self, Mode};
use super::guest::{Guest, Tools, Wish};
use super::repeat::{self, Load, Raw};
use super::results::{self, Stored, StoredStep};
use crate::error::{Context, Error, Result};
use crate::harness::Harness;
use crate::kernel::{self, Request};
use crate::matrix::Record;
use crate::verdict::Verdict;
use crate::vm::{Accel, Deadlines, Ended, Exactness, Taken, console};

/// The most that a case's commands may print, in bytes.
const OUTPUT_LIMIT: usize = 64 << 20;
/// Lines of console shown after a failure.
const CONSOLE_LINES: usize = 8;

/// What to test, and how.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Cases by name; all when empty.
    pub cases: Vec<String>,
    /// Kernels by name; those at hand, and Debian's, when empty.
    pub kernels: Vec<String>,
    /// Words added to the kernel command line.
    pub append: Vec<String>,
    /// Files added to the initramfs.
    pub extra: Vec<PathBuf>,
    /// What becomes of a difference.
    pub mode: Mode,
    /// Let differences pass on kernels nobody reviewed, while the invariants hold.
    pub allow_drift: bool,
    /// Print the digest of each case's raw transcript.
    pub digests: bool,
    /// What executes the guests' instructions; what is proved to work when `None`.
    pub accel: Option<Accel>,
    /// Whether runs are to be bit-exact.
    pub exact: Exactness,
    /// Runs of each case that have to be the same byte for byte; one run when `None`.
    pub repeat: Option<u32>,
    /// Keep every core of the host busy meanwhile.
    pub load: bool,
}

impl Plan {
    fn wish(&self) -> Wish {
        // A repetition proves nothing unless it can succeed.
        let exact = if self.repeat.is_some() { Exactness::Demanded } else { self.exact };
        let (append, extra) = (self.append.clone(), self.extra.clone());
        Wish { append, extra, accel: self.accel, exact, ..Wish::default() }
    }

    /// Whether a stored result is one of those asked for.
    fn includes(&self, stored: &Stored) -> bool {
        self.cases.is_empty() || self.cases.contains(&stored.case)
    }
}

/// How many cases ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases that passed, allowed drift included.
    pub passed: usize,
    /// Cases that did not.
    pub failed: usize,
    /// Kernels that could not be had.
    pub unavailable: usize,
}

/// Runs the plan and prints what became of it.
///
/// Returns the worst verdict; a kernel that is unavailable counts only when asked for by name.
///
/// # Errors
/// When QEMU, the guest's programs or the cases cannot be had.
pub fn run(h: &Harness, plan: &Plan) -> Result<(Verdict, Tally)> {
    let cases = cases::select(cases::load(&h.root)?, &plan.cases)?;
    let mut tally = Tally::default();
    let mut worst = Verdict::Pass;
    let mut guests = Vec::new();
    let mut lines = Vec::new();
    let tools = Tools::get(h)?;
    for (record, asked) in chosen(h, &plan.kernels)? {
        let wish = plan.wish();
        match obtain(h, &record, asked).and_then(|kernel| Guest::prepare(h, &tools, &record, kernel, wish)) {
            Ok(guest) => guests.push(guest),
            Err(error) if error.is_usage() => return Err(error),
            Err(error) => {
                let verdict = error.verdict_given().unwrap_or(Verdict::Unavailable);
                lines.push(format!("{}: {verdict}: {error}", record.name));
                tally.unavailable += 1;
                if asked || verdict != Verdict::Unavailable {
                    worst = worst.max(verdict);
                }
            }
        }
    }
    let run = new_run(&h.root)?;
    let load = plan.load.then(Load::start);
    run_all(h, &guests, &cases, &run, plan.repeat.unwrap_or(1))?;
    drop(load);
    let (compared, said) = finish(h, &run, plan)?;
    tally.passed += compared.passed;
    tally.failed += compared.failed;
    for line in &lines {
        println!("{line}");
    }
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.unavailable);
    Ok((worst.max(said), tally))
}

/// Compares the last run's stored results again, without a VM.
///
/// # Errors
/// When there are none.
pub fn compare_again(h: &Harness, plan: &Plan) -> Result<(Verdict, Tally)> {
    let latest = results::folder(&h.root).join("latest");
    let run = fs::canonicalize(&latest).map_err(|error| {
        Error::new(format!("cannot find stored results at {}", latest.display()))
            .because(error)
            .help("`cargo xtask test-vm` makes them")
    })?;
    if plan.mode != Mode::Check {
        refuse_others(h, &run, plan)?;
    }
    let (tally, verdict) = finish(h, &run, plan)?;
    println!("{} passed, {} failed, 0 skipped", tally.passed, tally.failed);
    Ok((verdict, tally))
}

/// Refuses to accept results that this tree would not make: somebody may have changed the
/// tracer, a case or a kernel since.
fn refuse_others(h: &Harness, run: &Path, plan: &Plan) -> Result<()> {
    let tools = Tools::get(h)?;
    let cases = cases::load(&h.root)?;
    let matrix = h.matrix()?;
    let mut guests: Vec<Guest> = Vec::new();
    for (_, stored) in results::load(run)? {
        if !plan.includes(&stored) {
            continue;
        }
        let other = |what: &str| {
            Error::new(format!("cannot accept the stored result of {} on {}", stored.case, stored.kernel))
                .because(format!("it was made with another {what} than this tree has"))
                .help("`cargo xtask test-vm` runs the cases anew")
        };
        if !guests.iter().any(|guest| guest.kernel.name == stored.kernel) {
            let record = matrix.find(&stored.kernel)?;
            let kernel = kernel::at_hand(h, record)?.ok_or_else(|| other("kernel"))?;
            guests.push(Guest::prepare(h, &tools, record, kernel, Wish::default())?);
        }
        let guest = guests.iter().find(|guest| guest.kernel.name == stored.kernel);
        let case = cases.iter().find(|case| case.name == stored.case);
        let (Some(guest), Some(case)) = (guest, case) else { return Err(other("case")) };
        let now = guest.fingerprint(&case.job(&guest.job().boot_modules)?)?;
        if let Some(what) = now.difference(&stored.fingerprint) {
            return Err(other(what));
        }
    }
    Ok(())
}

/// The kernels to test, each with whether it was asked for by name.
fn chosen(h: &Harness, names: &[String]) -> Result<Vec<(Record, bool)>> {
    let matrix = h.matrix()?;
    if names.is_empty() {
        return Ok(matrix.records().iter().map(|record| (record.clone(), false)).collect());
    }
    names.iter().map(|name| Ok((matrix.find(name)?.clone(), true))).collect()
}

/// A kernel for a test: what is at hand, Debian's packages, and a build only when asked for.
fn obtain(h: &Harness, record: &Record, asked: bool) -> Result<kernel::Kernel> {
    if let Some(kernel) = kernel::at_hand(h, record)? {
        return Ok(kernel);
    }
    if asked || record.is_ready_made() {
        return kernel::obtain(h, record, &Request::default());
    }
    Err(Error::new("it is not built")
        .help(format!("`cargo xtask kernel {}` builds it, `--source PATH` from a local tree", record.name))
        .verdict(Verdict::Unavailable))
}

/// A folder for a new run; `latest` points to it, and old runs go.
fn new_run(root: &Path) -> Result<PathBuf> {
    let folder = results::folder(root);
    let failed = || format!("cannot create a folder for the results in {}", folder.display());
    fs::create_dir_all(&folder).context(failed)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("{:012}.{:03}", now.as_secs(), now.subsec_millis());
    let run = folder.join(&name);
    fs::create_dir(&run).context(failed)?;
    results::prune(&folder)?;
    // A link made aside and renamed is never missing, even with two commands at once.
    let aside = run.join(".latest");
    symlink(&name, &aside).context(failed)?;
    fs::rename(&aside, folder.join("latest")).context(failed)?;
    Ok(run)
}

/// Runs every case on every guest, as many at once as there are cores.
fn run_all(h: &Harness, guests: &[Guest], cases: &[Case], run: &Path, times: u32) -> Result<()> {
    let work: Vec<(&Guest, &Case)> = guests
        .iter()
        .flat_map(|guest| {
            cases.iter().filter(|case| case.is_for(&guest.kernel.name)).map(move |case| (guest, case))
        })
        .collect();
    for guest in guests {
        let shift =
            guest.icount_shift().map_or("not exact".into(), |shift| format!("bit-exact, shift {shift}"));
        h.ui.say(format!(
            "{}: {} under {}, {shift}",
            guest.kernel.name,
            guest.kernel.version,
            guest.accel.name()
        ));
        for note in &guest.kernel.notes {
            h.ui.say(format!("{}: {note}", guest.kernel.name));
        }
    }
    let bar = h.ui.bar("cases", Some(work.len() as u64));
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let workers = thread::available_parallelism().map_or(1, |count| count.get());
    thread::scope(|scope| {
        for _ in 0..workers.min(work.len()) {
            scope.spawn(|| {
                while let Some((guest, case)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let folder = run.join(&guest.kernel.name).join(&case.name);
                    match run_case(h, guest, case, &folder, times) {
                        Ok(()) => bar.inc(1),
                        Err(error) => {
                            *failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(error);
                            next.store(work.len(), Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    bar.finish();
    match failure.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// What a guest sent while a case ran.
#[derive(Default)]
struct Collected {
    hello: Hello,
    config: Vec<u8>,
    steps: Vec<(Vec<u8>, Vec<u8>, Option<Status>)>,
    bytes: usize,
}

impl Collected {
    fn take(&mut self, frame: Frame) -> Taken {
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

/// Runs a case `times` times; the result of the first run is stored in `folder`, with what came
/// of the others.
///
/// # Errors
/// When files cannot be read or written, or QEMU cannot be started.
pub fn run_case(h: &Harness, guest: &Guest, case: &Case, folder: &Path, times: u32) -> Result<()> {
    fs::create_dir_all(folder).context(|| format!("cannot create {}", folder.display()))?;
    let mut stored = attempt(h, guest, case, folder)?;
    if stored.verdict == Verdict::Pass {
        repeat::prove(&mut stored, folder, times, &|beside| attempt(h, guest, case, beside))?;
    }
    stored.save(folder)?;
    if stored.verdict == Verdict::Pass {
        // A bundle is for failures; the initramfs is the only large part of it.
        let initrd = folder.join("initrd");
        fs::remove_file(&initrd).context(|| format!("cannot remove {}", initrd.display()))?;
    }
    Ok(())
}

/// One boot with a case.
fn attempt(h: &Harness, guest: &Guest, case: &Case, folder: &Path) -> Result<Stored> {
    let job = case.job(&guest.job().boot_modules)?;
    let deadlines = Deadlines::of(guest.accel, Some(Duration::from_secs(case.deadline)));
    let mut collected = Collected::default();
    let (ended, fingerprint) = guest.boot(&job, folder, deadlines, &mut |frame| collected.take(frame))?;
    let (verdict, why) = judge(h, guest, case, &ended, &collected);
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

fn judge(h: &Harness, guest: &Guest, case: &Case, ended: &Ended, collected: &Collected) -> (Verdict, String) {
    if let Err(failure) = ended.judge() {
        return failure;
    }
    if let Err(error) = guest.prove(h, &collected.hello, &collected.config) {
        return (error.verdict_given().unwrap_or(Verdict::ConfigUnmet), error.to_string());
    }
    for (step, (_, stderr, status)) in case.steps.iter().zip(&collected.steps) {
        let Some(status) = status else {
            return (Verdict::GuestFailed, format!("`{}` did not end", step.run));
        };
        if *status != Status::Exited(step.expect) {
            let said = String::from_utf8_lossy(stderr);
            let said = console::neutralise(said.lines().next().unwrap_or_default());
            return (Verdict::GuestFailed, format!("`{}` ended with {status}: {said}", step.run));
        }
    }
    if collected.steps.len() < case.steps.len() {
        return (Verdict::GuestFailed, "not all commands were run".into());
    }
    (Verdict::Pass, String::new())
}

/// Compares a run with the snapshots and prints a line per case.
fn finish(h: &Harness, run: &Path, plan: &Plan) -> Result<(Tally, Verdict)> {
    compare::run(h, run, plan.mode)?;
    let mut tally = Tally::default();
    let mut worst = Verdict::Pass;
    for (folder, stored) in results::load(run)? {
        if !plan.includes(&stored) {
            continue;
        }
        let (mut verdict, mut why) = compare::verdict_of(&folder, &stored)?;
        let mut report = repeat::report(&folder);
        let mut raw = "raw output too".to_string();
        if verdict == Verdict::Pass {
            match repeat::with_earlier(run, &folder, &stored)? {
                Raw::Same => {}
                Raw::NotCompared(because) => raw = format!("not the raw output: {because}"),
                Raw::Differs(difference) => {
                    (verdict, why, report) = (Verdict::NotRepeatable, difference.what, difference.report);
                }
            }
        }
        let label = format!("{} {}", stored.kernel, stored.case);
        if plan.digests {
            println!("{}  {label}", stored.digest());
        }
        if verdict == Verdict::Drift && plan.allow_drift {
            println!("{label}: drift, allowed: {why}");
            verdict = Verdict::Pass;
        } else if verdict == Verdict::Pass {
            let runs = if stored.runs > 1 { format!("{} equal runs, ", stored.runs) } else { String::new() };
            let took = stored.took_ms as f64 / 1000.0;
            println!("{label}: pass ({runs}{took:.1} s; snapshot compared, {raw})");
        } else {
            println!("{label}: {verdict}: {why}");
            print!("{report}");
            show_bundle(h, &folder, &stored);
        }
        if verdict == Verdict::Pass {
            tally.passed += 1;
        } else {
            tally.failed += 1;
            worst = worst.max(verdict);
        }
    }
    for orphan in compare::orphans(h)? {
        println!("orphan: tests/snapshots/{orphan} belongs to no case");
    }
    Ok((tally, worst))
}

fn show_bundle(h: &Harness, folder: &Path, stored: &Stored) {
    let console = fs::read(folder.join("console.log")).unwrap_or_default();
    for line in console::last_lines(&console, CONSOLE_LINES) {
        println!("  console: {line}");
    }
    let shown = folder.strip_prefix(&h.root).unwrap_or(folder);
    println!("  everything is in {}", shown.display());
    println!("  again: cargo xtask test-vm --kernel {} {}", stored.kernel, stored.case);
}
