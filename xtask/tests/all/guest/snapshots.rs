//! `test-vm`: the handling of differences, parts of a run, and the formats for programs.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;
use regex::Regex;
use tempfile::TempDir;
use xtask::base::cache::Cache;
use xtask::base::workspace::Workspace;
use xtask::fetch::tools;
use xtask::guest::prepared::Tools;
use xtask::outcome::summary::Summary;
use xtask::outcome::table::table;

use crate::common::{demand, expect, root};

/// An unused file and an unused word move every timer tick; the snapshots must stay the same.
pub fn other_inputs(kernel: &str) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let unused = folder.path().join("unused");
    fs::write(&unused, vec![b'x'; 123_457])?;
    let unused = unused.to_string_lossy().into_owned();
    let inputs = ["--put", &unused, "--append", "snaptrace.unused=1"];
    // Cases that print times, or recordings; the others print names and settings.
    let cases = ["function", "function-graph", "call-stack", "graph-depth", "live", "record", "report"];
    let line = ["test-vm", "--allow-drift", "--kernel", kernel];
    expect(0, &root(), &[&line[..], &inputs[..], &cases[..]].concat())?;
    Ok(())
}

/// A copy of the snapshots with one changed line in the case `function`.
pub fn edited_copy() -> Result<TempDir, Failed> {
    let folder = TempDir::new()?;
    for entry in fs::read_dir(root().join("tests/snapshots"))? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path())?;
        let text = text.replace(" <-load_elf_phdrs", " <-somebody_else");
        fs::write(folder.path().join(entry.file_name()), text)?;
    }
    Ok(folder)
}

/// Runs the case `function` against other snapshots than the tree's; returns standard output.
pub fn against(status: i32, snapshots: &Path, arguments: &[&str]) -> Result<String, Failed> {
    against_with(status, snapshots, arguments, &[])
}

/// The same, with environment variables.
pub fn against_with(
    status: i32,
    snapshots: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<String, Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["test-vm", "function", "--snapshots"])
        .arg(snapshots)
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(root())
        .output()?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let ended = format!("ended with {} instead of {status}", output.status);
    demand(output.status.code() == Some(status), &ended, &stdout)?;
    Ok(stdout)
}

pub fn edited_snapshot(kernel: &str) -> Result<(), Failed> {
    let snapshots = edited_copy()?;
    // Without the list of reviewed kernels every difference is a mismatch, on any kernel.
    fs::remove_file(snapshots.path().join("reviewed.toml"))?;
    let stdout = against(200, snapshots.path(), &["--kernel", kernel])?;
    demand(stdout.contains("function: mismatch: "), "no verdict", &stdout)?;
    let has =
        |sign: char, words: &str| stdout.lines().any(|line| line.contains(sign) && line.contains(words));
    demand(has('-', " <-somebody_else"), "no old line", &stdout)?;
    demand(has('+', " <-load_elf_phdrs"), "no new line", &stdout)?;
    let accept = format!("cargo xtask test-vm --stored --snapshots {} --update", snapshots.path().display());
    demand(stdout.contains(&format!("  accept: {accept} function\n")), "no word on what to type", &stdout)?;
    let machinery = ["panicked", "assertion", "running 1 test", "insta", "RUST_BACKTRACE"];
    let word = machinery.iter().find(|word| stdout.contains(**word));
    demand(word.is_none(), "words of a test's machinery", &stdout)
}

/// The same difference on a kernel that nobody reviewed is drift, and passes only when allowed.
pub fn drift(kernel: &str) -> Result<(), Failed> {
    let snapshots = edited_copy()?;
    let reviewed = snapshots.path().join("reviewed.toml");
    fs::write(&reviewed, fs::read_to_string(&reviewed)?.replace(", gcc ", ", gcc 0"))?;
    let stdout = against(201, snapshots.path(), &["--kernel", kernel])?;
    demand(stdout.contains("function: drift: "), "no verdict", &stdout)?;
    let stdout = against(0, snapshots.path(), &["--kernel", kernel, "--allow-drift"])?;
    demand(stdout.contains("function: drift, allowed: "), "drift is not told", &stdout)
}

/// A tracer that traces another function than the requested one.
const ASTRAY: &str = r#"#!/extra/busybox sh
for word; do
    shift
    case "$word" in __kmalloc*) word=kfree;; esac
    set -- "$@" "$word"
done
exec /extra/snaptrace "$@"
"#;

/// On a kernel without reviews, a broken tracer is no drift, and fails although drift is allowed.
pub fn broken_tracer(kernel: &str) -> Result<(), Failed> {
    let h = Workspace::new(root(), Cache::open()?, false);
    let folder = TempDir::new()?;
    let astray = folder.path().join("astray");
    fs::write(&astray, ASTRAY)?;
    let snapshots = edited_copy()?;
    let reviewed = snapshots.path().join("reviewed.toml");
    fs::write(&reviewed, fs::read_to_string(&reviewed)?.replace(", gcc ", ", gcc 0"))?;
    let real = Tools::get(&h)?.programs.snaptrace.display().to_string();
    let busybox = tools::busybox(&h.host)?.display().to_string();
    let extra = ["--kernel", kernel, "--allow-drift", "--put", &real, "--put", &busybox];
    let sound = against(0, snapshots.path(), &extra)?;
    demand(sound.contains("function: drift, allowed: "), "a sound tracer does not drift", &sound)?;
    let tracer = astray.display().to_string();
    let broken = against_with(200, snapshots.path(), &extra, &[("SNAPTRACE_TRACER", &tracer)])?;
    demand(broken.contains("function: mismatch: "), "no verdict", &broken)?;
    demand(broken.contains(", and kfree is not within the filter"), "no invariant is named", &broken)
}

/// A case without a snapshot is drift on a kernel without reviews; if other cases were reviewed, it was
/// forgotten, and is a mismatch.
pub fn missing_snapshot(kernel: &str) -> Result<(), Failed> {
    let snapshots = edited_copy()?;
    for entry in fs::read_dir(snapshots.path())? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("function") {
            fs::remove_file(entry.path())?;
        }
    }
    let reviewed = snapshots.path().join("reviewed.toml");
    let all = fs::read_to_string(&reviewed)?;
    let forgotten = all.replace("[function]", "[forgotten]");
    fs::write(&reviewed, forgotten)?;
    let stdout = against(200, snapshots.path(), &["--kernel", kernel, "--allow-drift"])?;
    demand(stdout.contains("function: mismatch: there is no snapshot function@"), "no verdict", &stdout)?;
    demand(stdout.lines().any(|line| line == "  $ snaptrace reset"), "the text is not shown", &stdout)?;
    // TOML quotes a key with a dot.
    let own = [format!("\n{kernel:?} ="), format!("\n{kernel} =")];
    fs::write(&reviewed, own.iter().fold(all, |all, key| all.replace(key, "\nanother =")))?;
    let stdout = against(201, snapshots.path(), &["--kernel", kernel])?;
    demand(stdout.contains(&format!("; nobody reviewed {kernel}, ")), "no reason", &stdout)?;
    against(0, snapshots.path(), &["--kernel", kernel, "--allow-drift"]).map(drop)
}

/// Runs three cases; the snapshot of `function` differs from its transcript. Returns the events.
pub fn three_cases(status: i32, kernel: &str, arguments: &[&str]) -> Result<Vec<serde_json::Value>, Failed> {
    let snapshots = edited_copy()?;
    fs::remove_file(snapshots.path().join("reviewed.toml"))?;
    let json = ["--kernel", kernel, "check", "mount", "--message-format", "json"];
    let stdout = against(status, snapshots.path(), &[&json[..], arguments].concat())?;
    let events = stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    events.map_err(|error| format!("{error} in a line of:\n{stdout}").into())
}

/// The folder of a run's results, from its events.
pub fn folder(events: &[serde_json::Value]) -> Result<String, Failed> {
    let last = events.last().ok_or("there are no events")?;
    let folder = last["folder"].as_str().ok_or("the last event names no folder")?;
    Ok(root().join(folder).to_string_lossy().into_owned())
}

pub fn parts(kernel: &str) -> Result<(), Failed> {
    let files = TempDir::new()?;
    let file = |name: &str| files.path().join(name).to_string_lossy().into_owned();
    let whole = folder(&three_cases(200, kernel, &["--junit", &file("whole.xml")])?)?;
    let first = folder(&three_cases(0, kernel, &["--shard", "1/2"])?)?;
    let second = folder(&three_cases(200, kernel, &["--shard", "2/2"])?)?;
    let (stdout, _) =
        expect(200, &root(), &["merge-results", "--junit", &file("parts.xml"), &second, &first])?;
    // Seconds differ between runs; their columns have a fixed width.
    let seconds = Regex::new(r#" +\d+\.\d s|time="[^"]*"|vm/[\d.]+"#)?;
    let text = |text: &str| seconds.replace_all(text, "").into_owned();
    let table = text(&table(&Summary::load(Path::new(&whole))?));
    demand(table.lines().count() == 4 && table.contains("mismatch"), "not the table of three cases", &table)?;
    let merged = text(&stdout);
    demand(
        merged.contains(&table),
        "the parts have another table than one run",
        &format!("{table}{merged}"),
    )?;
    demand(stdout.ends_with("2 passed, 1 failed, 0 skipped\n"), "another sum", &stdout)?;
    let [xml, merged] = ["whole.xml", "parts.xml"].map(|name| fs::read_to_string(files.path().join(name)));
    let (xml, merged) = (text(&xml?), text(&merged?));
    demand(xml == merged, "the parts have another JUnit file than one run", &format!("{xml}{merged}"))?;
    demand(xml.contains("\n-") && xml.contains(" &lt;-somebody_else"), "no diff", &xml)?;
    let (_, stderr) = expect(1, &root(), &["merge-results", &second])?;
    demand(stderr.contains("part 1/2 is missing"), "the missing part is not named", &stderr)
}

pub fn formats(kernel: &str) -> Result<(), Failed> {
    let events = three_cases(200, kernel, &[])?;
    let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    let count = |name: &str| names.iter().filter(|known| **known == name).count();
    let seen = format!("{events:#?}");
    demand(
        names.first() == Some(&"run-started") && names.last() == Some(&"run-finished"),
        "no frame",
        &seen,
    )?;
    for (event, times) in [("kernel-ready", 1), ("case-started", 3), ("case-ran", 3), ("case-finished", 3)] {
        demand(count(event) == times, &format!("not {times} of {event}"), &seen)?;
    }
    let failed = events.iter().find(|event| event["failed"] == true).ok_or("nothing failed")?;
    demand(failed["case"] == "function" && failed["verdict"] == "mismatch", "another failure", &seen)?;
    let run = folder(&events)?;
    let (stdout, _) = expect(200, &root(), &["merge-results", "--message-format", "ktap", &run])?;
    let line = Regex::new(r"^( *((not )?ok \d+ .*|KTAP version 1|1\.\.\d+|#.*))$")?;
    demand(stdout.starts_with("KTAP version 1\n1..1\n"), "no KTAP", &stdout)?;
    demand(stdout.lines().all(|text| line.is_match(text)), "a line that is not KTAP", &stdout)
}
