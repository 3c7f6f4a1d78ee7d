//! Compares `snaptrace report` in our own style with the kernel's own `trace` of the same records, for as
//! many events as a guest can fire.
//!
//! `tests/formats/fire.sh` fires the events in a guest of each cached reference kernel (of all usual ones
//! with `SNAPTRACE_ALL_KERNELS=1`). Two lists are beside it. `agreed@KERNEL.txt` has the events that must
//! fire and be equal in every record. `differing@KERNEL.txt` has those that are known to differ, with the
//! reason; the reason also says whether `report -N` agrees. If a kernel is unavailable, its trial is ignored;
//! this is printed and is no pass.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use regex::Regex;
use tempfile::TempDir;
use xshell::Shell;
use xtask::guest::initramfs;

use crate::common::{host_shared, kernels, root};

/// A trial for each kernel.
pub fn trials() -> xtask::base::error::Result<Vec<Trial>> {
    let trial = |(kernel, available): (String, bool)| {
        if !available {
            eprintln!("{kernel}: unavailable: not cached, it does not judge");
        }
        let trial = Trial::test(format!("judge::{kernel} judges the report"), move || judge(&kernel));
        trial.with_ignored_flag(!available)
    };
    Ok(kernels()?.into_iter().map(trial).collect())
}

/// A line of a trace: `TASK-PID [CPU] FLAGS TIME: EVENT: TEXT`.
struct EventLine {
    time: String,
    event: String,
    text: String,
}

/// Parses both texts and removes the differences that are allowed.
struct Parser {
    line: Regex,
    /// A number as the kernel's `%p` prints it, with sixteen digits; ours has no leading zeros.
    padded: Regex,
    /// The size of a function, which recordings do not have, and its module, which ours leaves out.
    length: Regex,
    /// A possible pointer, if the kernel prints a hashed value instead.
    pointer: Regex,
    hashed: bool,
}

impl Parser {
    fn new(hashed: bool) -> Result<Parser, Failed> {
        Ok(Parser {
            line: Regex::new(r"^ *.+-\d+ +\[\d{3}\] +\S* +(\d+\.\d{6}): +(?:([A-Za-z0-9_]+): *|# )(.*)$")?,
            padded: Regex::new(r"\b([0-9a-f]{16})\b")?,
            length: Regex::new(r"(\+0x[0-9a-f]+)/0x[0-9a-f]+( \[\w+\])?")?,
            pointer: Regex::new(r"0x[0-9a-f]{6,16}\b|\(____ptrval____\)|\(null\)")?,
            hashed,
        })
    }

    /// The events of a text; a line without a time belongs to the event before it.
    fn lines(&self, text: &str) -> Vec<EventLine> {
        let mut lines: Vec<EventLine> = Vec::new();
        for line in text.lines() {
            let Some(parts) = self.line.captures(line) else {
                if let Some(last) = lines.last_mut().filter(|_| !line.starts_with('#')) {
                    last.text = format!("{}\n{}", last.text, self.plain(line)).trim_end().to_owned();
                }
                continue;
            };
            let (mut event, mut text) = (parts.get(2).map_or("raw_data", |event| event.as_str()), &parts[3]);
            // A trace marker has the name of the writing function in place of the event's.
            if event == "print" {
                (event, text) = text.split_once(": ").unwrap_or((event, text));
            }
            let (time, event) = (parts[1].to_owned(), event.to_owned());
            lines.push(EventLine { time, event, text: self.plain(text.trim_start_matches("# ")) });
        }
        lines
    }

    /// A text without the allowed differences.
    fn plain(&self, text: &str) -> String {
        let text = self.padded.replace_all(text.trim_end(), |found: &regex::Captures<'_>| {
            let digits = found[1].trim_start_matches('0');
            format!("0x{}", if digits.is_empty() { "0" } else { digits })
        });
        let text = self.length.replace_all(&text, "$1").replace("(nil)", "0x0");
        match self.hashed {
            true => self.pointer.replace_all(&text, "POINTER").into_owned(),
            false => text,
        }
    }
}

/// Runs the script in a guest: the kernel's text, ours, and ours with `-N`.
fn texts(kernel: &str) -> Result<[String; 3], Failed> {
    let folder = TempDir::new()?;
    let files = root().join("tests/formats");
    let path = |name: &str| files.join(name).to_string_lossy().into_owned();
    let get = |guest: &str, host: &str| format!("{guest}:{}", folder.path().join(host).display());
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["run", "--kernel", kernel, "--timeout", "600", "--append", "no_hash_pointers"])
        .args(["--put", &path("fire.sh"), "--put", &path("ext4.img.gz")])
        .args(["--get", &get("/tmp/kernel.txt", "kernel.txt"), "--get", &get("/tmp/judge.dat", "judge.dat")])
        .args(["--", "sh", "/extra/fire.sh"])
        .current_dir(root())
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("xtask run … sh /extra/fire.sh ended with {}:\n{said}", output.status).into());
    }
    let snaptrace = initramfs::build(&Shell::new()?, &root())?.snaptrace;
    let report = |options: &[&str]| -> Result<String, Failed> {
        let output = Command::new(&snaptrace)
            .arg("report")
            .args(options)
            .arg(folder.path().join("judge.dat"))
            .output()?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(format!("snaptrace report: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    };
    let theirs = fs::read(folder.path().join("kernel.txt"))?;
    Ok([String::from_utf8_lossy(&theirs).into_owned(), report(&[])?, report(&["-N"])?])
}

/// The ending of a reason for an event whose text with `-N` is the kernel's.
const BY_FORMAT: &str = "; -N agrees";

/// The events of a list beside the script, each with its reason, if any; empty if a kernel has no list yet.
fn list(name: &str) -> Result<BTreeMap<String, String>, Failed> {
    let path = root().join("tests/formats").join(name);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = fs::read_to_string(&path)?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entries = lines.map(|line| line.split_once(": ").unwrap_or((line, "")));
    Ok(entries.map(|(event, reason)| (event.to_owned(), reason.to_owned())).collect())
}

/// For each event: the difference in the first record that differs, if any.
fn differences<'l>(
    theirs: &'l [EventLine],
    ours: &[EventLine],
) -> Result<BTreeMap<&'l str, Option<String>>, Failed> {
    // Both texts must have the same records in the same order, else unrelated ones would be compared.
    let apart = |(their, our): &(&EventLine, &EventLine)| their.time != our.time || their.event != our.event;
    if let Some((their, our)) = theirs.iter().zip(ours).find(apart) {
        let line = |line: &EventLine| format!("{}: {}: {}", line.time, line.event, line.text);
        return Err(format!("other records\n  kernel: {}\n  ours:   {}", line(their), line(our)).into());
    }
    if theirs.len() != ours.len() || theirs.len() < 1000 {
        return Err(format!("the kernel prints {} events, we {}", theirs.len(), ours.len()).into());
    }
    let mut events: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for (their, our) in theirs.iter().zip(ours) {
        let first = events.entry(&their.event).or_default();
        if first.is_none() && their.text != our.text {
            *first = Some(format!("\n  kernel: {}\n  ours:   {}", their.text, our.text));
        }
    }
    Ok(events)
}

fn judge(kernel: &str) -> Result<(), Failed> {
    // Kernels before 5.12 always hash pointers.
    let parser = Parser::new(["5.4", "debian-5.10"].contains(&kernel))?;
    let guest = host_shared();
    let texts = texts(kernel)?;
    drop(guest);
    let [theirs, ours, by_format] = texts.map(|text| parser.lines(&text));
    let (events, by_format) = (differences(&theirs, &ours)?, differences(&theirs, &by_format)?);
    let [agreed, differing] =
        [list(&format!("agreed@{kernel}.txt"))?, list(&format!("differing@{kernel}.txt"))?];
    let missing = agreed.keys().filter(|event| !events.contains_key(event.as_str()));
    let mut wrong: Vec<String> = missing.map(|event| format!("{event} did not fire")).collect();
    let mut more = Vec::new();
    for (event, difference) in &events {
        match (difference, differing.get(*event)) {
            (Some(difference), None) => wrong.push(format!("{event} differs:{difference}")),
            (Some(_), Some(reason)) if reason.ends_with(BY_FORMAT) => {
                let difference = by_format.get(event).cloned().flatten();
                wrong.extend(difference.map(|difference| format!("{event} differs with -N:{difference}")));
            }
            (None, Some(_)) => wrong.push(format!("{event} agrees: move it to agreed@{kernel}.txt")),
            (None, None) if !agreed.contains_key(*event) => more.push(*event),
            _ => {}
        }
    }
    if !more.is_empty() {
        eprintln!("{kernel}: add to agreed@{kernel}.txt what agreed, too:\n{}", more.join("\n"));
    }
    eprintln!("{kernel}: {} events fired, {} of them are to agree", events.len(), agreed.len());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}
