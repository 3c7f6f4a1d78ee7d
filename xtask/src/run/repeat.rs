//! Compares runs with equal inputs byte for byte, and finds the first difference and its likely source.
//!
//! Compared are the guest's frames, its console and the output of its commands. Runs with other inputs are
//! compared only by their snapshots.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

use super::results::{self, Stored};
use crate::base::error::{Context, Result};
use crate::base::verdict::Verdict;
use crate::snapshots::redact::redacted;
use crate::vm::{console, noise};

/// Lines shown before the first difference.
const CONTEXT: usize = 3;
/// The file beside a result that holds the report on a difference.
const REPORT: &str = "difference.txt";

/// One of two runs that are compared.
#[derive(Clone, Copy)]
pub struct ComparedRun<'a> {
    /// What to call it: `run 3`.
    pub name: &'a str,
    /// The folder of its channels.
    pub folder: &'a Path,
    /// Its result.
    pub stored: &'a Stored,
}

/// The first difference of two runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDifference {
    /// A sentence that says which runs differ, and where.
    pub what: String,
    /// The lines around it, and its likely source, for people.
    pub report: String,
}

impl RunDifference {
    /// Compares the inputs, the transcripts, and then every byte of both channels.
    ///
    /// # Errors
    /// When a channel's file cannot be read.
    pub fn between(one: ComparedRun<'_>, other: ComparedRun<'_>) -> Result<Option<RunDifference>> {
        let inputs = one.stored.fingerprint.explain(&other.stored.fingerprint);
        let (text, others) = (one.stored.transcript(), other.stored.transcript());
        let found = match first_line(&text, &others, one.name, other.name) {
            Some((line, shown)) => Some((format!("line {line} of the transcript"), shown)),
            None => channel(one, other, "console.log")?.or(channel(one, other, "results.bin")?),
        };
        let (what, mut report) = match (found, &inputs) {
            (Some((place, shown)), _) => {
                (format!("{} differs from {} in {place}", other.name, one.name), shown)
            }
            (None, Some(input)) => {
                (format!("{} has another input than {}: {input}", other.name, one.name), String::new())
            }
            (None, None) => return Ok(None),
        };
        for source in likely(inputs, &one.stored.fingerprint.options, redacted(&text) == redacted(&others)) {
            let _ = writeln!(report, "  likely source: {source}");
        }
        Ok(Some(RunDifference { what, report }))
    }
}

/// The likely sources of a difference: an input, else options of QEMU.
fn likely(input: Option<String>, options: &str, only_time: bool) -> Vec<String> {
    if let Some(input) = input {
        return vec![format!("the inputs are not the same: {input}")];
    }
    let suspects = noise::suspects(options);
    if !suspects.is_empty() {
        return suspects;
    }
    let kind = match only_time {
        true => "only timestamps, durations and process ids moved",
        false => "the kernel took another path",
    };
    vec![format!(
        "not known: {kind}, and QEMU's options open none of the known ways into the guest; \
         QEMU itself, its firmware or the host's processor may have changed"
    )]
}

/// The number (from 1) of the first line in which two texts differ, and both lines with their context.
fn first_line(one: &str, other: &str, name: &str, others_name: &str) -> Option<(usize, String)> {
    if one == other {
        return None;
    }
    let (lines, others): (Vec<&str>, Vec<&str>) = (one.lines().collect(), other.lines().collect());
    let at = lines.iter().zip(&others).take_while(|(a, b)| a == b).count();
    let width = name.len().max(others_name.len());
    let mut shown = String::new();
    let mut show = |name: &str, line: Option<&&str>| {
        let line = line.map_or("(ends here)".into(), |line| console::neutralise(line));
        let _ = writeln!(shown, "  {name:width$} | {line}");
    };
    for line in &lines[at.saturating_sub(CONTEXT)..at] {
        show("", Some(line));
    }
    show(name, lines.get(at));
    show(others_name, others.get(at));
    Some((at + 1, shown))
}

/// The first difference between the bytes of a channel.
fn channel(one: ComparedRun<'_>, other: ComparedRun<'_>, file: &str) -> Result<Option<(String, String)>> {
    let read = |side: ComparedRun<'_>| {
        let path = side.folder.join(file);
        fs::read(&path).context(|| format!("cannot read {}", path.display()))
    };
    let (bytes, others) = (read(one)?, read(other)?);
    if bytes == others {
        return Ok(None);
    }
    let at = bytes.iter().zip(&others).take_while(|(a, b)| a == b).count();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let shown = match file {
        "console.log" => first_line(&text(&bytes), &text(&others), one.name, other.name),
        _ => None,
    };
    Ok(Some((format!("byte {at} of {file}"), shown.map(|(_, shown)| shown).unwrap_or_default())))
}

/// Repeats a case that has passed until it has run `times` times, and stores the outcome in its result.
/// `again` runs it in the given folder.
///
/// # Errors
/// Those of `again`, and those of files.
pub fn prove(
    stored: &mut Stored,
    folder: &Path,
    times: u32,
    again: &dyn Fn(&Path) -> Result<Stored>,
) -> Result<()> {
    let beside = folder.join("again");
    for number in 2..=times {
        fs::create_dir_all(&beside).context(|| format!("cannot create {}", beside.display()))?;
        let other = again(&beside)?;
        other.save(&beside)?;
        let name = format!("run {number}");
        if other.verdict != Verdict::Pass {
            stored.verdict = other.verdict;
            stored.why = format!("{name} of {times}: {}", other.why);
            return Ok(());
        }
        let first = ComparedRun { name: "run 1", folder, stored };
        let difference =
            RunDifference::between(first, ComparedRun { name: &name, folder: &beside, stored: &other })?;
        if let Some(difference) = difference {
            let path = folder.join(REPORT);
            fs::write(&path, &difference.report).context(|| format!("cannot write {}", path.display()))?;
            stored.verdict = Verdict::NotRepeatable;
            stored.why = difference.what;
            return Ok(());
        }
        fs::remove_dir_all(&beside).context(|| format!("cannot remove {}", beside.display()))?;
        stored.runs = number;
    }
    Ok(())
}

/// The report on a difference between repetitions, empty when there is none.
pub fn report(folder: &Path) -> String {
    fs::read_to_string(folder.join(REPORT)).unwrap_or_default()
}

/// The comparison of a result with an earlier run's, besides that with its snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum RawComparison {
    /// An earlier run with the same inputs gave the same bytes.
    Same,
    /// An earlier run with the same inputs gave other bytes.
    Differs(RunDifference),
    /// No comparison; the reason.
    NotCompared(String),
}

/// Compares a result byte for byte with the newest earlier result with the same inputs.
///
/// # Errors
/// When the folder of results or a channel cannot be read.
pub fn with_earlier(run: &Path, folder: &Path, stored: &Stored) -> Result<RawComparison> {
    if !stored.fingerprint.is_exact() {
        return Ok(RawComparison::NotCompared("it was not bit-exact".into()));
    }
    let mut newest_input = None;
    for (earlier, result) in earlier(run, stored)? {
        let name = earlier.ancestors().nth(2).and_then(Path::file_name).unwrap_or_default();
        let name = format!("run {}", name.display());
        if let Some(input) = result.fingerprint.explain(&stored.fingerprint) {
            newest_input.get_or_insert(input);
            continue;
        }
        let before = ComparedRun { name: &name, folder: &earlier, stored: &result };
        let this = ComparedRun { name: "this run", folder, stored };
        return Ok(RunDifference::between(before, this)?.map_or(RawComparison::Same, RawComparison::Differs));
    }
    Ok(RawComparison::NotCompared(match newest_input {
        Some(input) => format!("since the last run another input: {input}"),
        None => "the first run".into(),
    }))
}

/// Earlier passes of the same case on the same kernel, newest first.
fn earlier(run: &Path, stored: &Stored) -> Result<Vec<(PathBuf, Stored)>> {
    let Some(all) = run.parent() else { return Ok(Vec::new()) };
    let failed = || format!("cannot list the results in {}", all.display());
    let mut runs = Vec::new();
    for entry in fs::read_dir(all).context(failed)? {
        let path = entry.context(failed)?.path();
        // Folders of complete runs are named by their time; the others belong to single commands.
        let is_run = path
            .file_name()
            .is_some_and(|name| !name.to_string_lossy().contains(|c: char| c.is_alphabetic()));
        if is_run && path.as_path() < run {
            runs.push(path);
        }
    }
    runs.sort();
    let mut found = Vec::new();
    for run in runs.into_iter().rev() {
        let folder = run.join(&stored.kernel).join(&stored.case);
        // Ignore a result that is missing, was removed meanwhile or comes from another version.
        if let Ok(result) = results::load_one(&folder)
            && result.verdict == Verdict::Pass
        {
            found.push((folder, result));
        }
    }
    Ok(found)
}

/// Runs busy loops on every core until it is dropped.
pub struct BusyCores(Arc<AtomicBool>);

impl BusyCores {
    /// Starts the busy loops.
    pub fn start() -> BusyCores {
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..thread::available_parallelism().map_or(1, |count| count.get()) {
            let over = over.clone();
            thread::spawn(move || while !over.load(Ordering::Relaxed) {});
        }
        BusyCores(over)
    }
}

impl Drop for BusyCores {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::fingerprint::Fingerprint;
    use crate::run::results::StoredStep;

    const EXACT: &str = "-cpu qemu64 -smp 1 -icount shift=4,sleep=off -rtc base=2020-01-01,clock=vm";

    fn stored(output: &str) -> Stored {
        let step = StoredStep { command: "snaptrace show".into(), output: output.into(), status: Some(0) };
        Stored {
            case: "c".into(),
            kernel: "k".into(),
            identity: String::new(),
            verdict: Verdict::Pass,
            why: String::new(),
            steps: vec![step],
            filters: Vec::new(),
            fingerprint: Fingerprint { options: EXACT.into(), ..Fingerprint::default() },
            took_ms: 0,
            runs: 1,
        }
    }

    fn save(folder: &Path, stored: &Stored, results: &[u8]) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("console.log"), b"").unwrap();
        fs::write(folder.join("results.bin"), results).unwrap();
        stored.save(folder).unwrap();
    }

    fn between(one: &Stored, other: &Stored, results: [&[u8]; 2]) -> Option<RunDifference> {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        save(&a, one, results[0]);
        save(&b, other, results[1]);
        let one = ComparedRun { name: "run 1", folder: &a, stored: one };
        RunDifference::between(one, ComparedRun { name: "run 12", folder: &b, stored: other }).unwrap()
    }

    #[test]
    fn equal_runs_have_no_difference() {
        assert_eq!(between(&stored("a\n"), &stored("a\n"), [b"x", b"x"]), None);
    }

    #[test]
    fn the_first_line_that_differs_is_shown_with_its_context() {
        let found = between(&stored("a\nb\nc\nd\n"), &stored("a\nb\nX\nY\n"), [b"x", b"x"]).unwrap();
        assert_eq!(found.what, "run 12 differs from run 1 in line 4 of the transcript");
        let lines: Vec<&str> = found.report.lines().collect();
        assert_eq!(
            lines[..5],
            ["         | $ snaptrace show", "         | a", "         | b", "  run 1  | c", "  run 12 | X"]
        );
        assert!(
            lines[5].starts_with("  likely source: not known: the kernel took another path"),
            "{lines:?}"
        );
    }

    #[test]
    fn a_text_that_ends_early_differs_there() {
        let found = between(&stored("a\nb\n"), &stored("a\n"), [b"x", b"x"]).unwrap();
        assert!(found.report.contains("  run 12 | (ends here)"), "{}", found.report);
    }

    #[test]
    fn bytes_that_no_transcript_shows_count() {
        let found = between(&stored("a\n"), &stored("a\n"), [b"xy", b"xz"]).unwrap();
        assert_eq!(found.what, "run 12 differs from run 1 in byte 1 of results.bin");
    }

    #[test]
    fn an_input_that_differs_is_the_source_before_any_option() {
        let mut other = stored("b\n");
        other.fingerprint.append = "quiet time=7".into();
        other.fingerprint.options = EXACT.replace("qemu64", "max");
        let mut one = stored("a\n");
        one.fingerprint.append = "quiet time=6".into();
        one.fingerprint.options = other.fingerprint.options.clone();
        let report = between(&one, &other, [b"x", b"x"]).unwrap().report;
        assert!(report.contains("likely source: the inputs are not the same: the command line"), "{report}");
        assert!(report.contains("time=6") && report.contains("time=7"), "{report}");
        other.fingerprint.append = one.fingerprint.append.clone();
        let report = between(&one, &other, [b"x", b"x"]).unwrap().report;
        assert!(report.contains("likely source: -cpu max: RDRAND"), "{report}");
    }

    #[test]
    fn only_earlier_runs_with_equal_inputs_are_compared_byte_for_byte() {
        let all = tempfile::tempdir().unwrap();
        let place = |run: &str| all.path().join(run).join("k/c");
        let this = stored("a\n");
        let now = all.path().join("3.000");
        save(&place("3.000"), &this, b"x");
        let compared = || with_earlier(&now, &place("3.000"), &this).unwrap();
        assert_eq!(compared(), RawComparison::NotCompared("the first run".into()));
        save(&place("4.000"), &stored("later\n"), b"x");
        save(&place("run-x"), &stored("a single command\n"), b"x");
        assert_eq!(compared(), RawComparison::NotCompared("the first run".into()));
        let mut another = stored("other\n");
        another.fingerprint.initrd = "of another".into();
        save(&place("2.000"), &another, b"x");
        match compared() {
            RawComparison::NotCompared(why) => assert!(why.contains("another input: the initramfs"), "{why}"),
            raw => panic!("{raw:?}"),
        }
        save(&place("1.000"), &this, b"x");
        assert_eq!(compared(), RawComparison::Same);
        save(&place("1.000"), &stored("b\n"), b"x");
        match compared() {
            RawComparison::Differs(difference) => {
                assert_eq!(difference.what, "this run differs from run 1.000 in line 2 of the transcript");
            }
            raw => panic!("{raw:?}"),
        }
        let mut plain = this.clone();
        plain.fingerprint.options = "-cpu qemu64".into();
        let raw = with_earlier(&now, &place("3.000"), &plain).unwrap();
        assert_eq!(raw, RawComparison::NotCompared("it was not bit-exact".into()));
    }
}
