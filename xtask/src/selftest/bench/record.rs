//! `cargo xtask bench record`: `snaptrace record` beside `trace-cmd record`, in a guest.

use std::fs;

use super::measure::{cores, median};
use super::programs::in_guest;
use crate::base::error::{Context, Error, Result};
use crate::base::ui::outln;
use crate::base::workspace::Workspace;
use crate::fetch::trace_cmd;
use crate::guest::folders;
use crate::run::single;

/// Recordings by each program; the median counts.
const RUNS: usize = 9;
const CPUS: u32 = 2;
/// Size of each CPU's buffer in KiB: small enough that a slow reader loses events.
const BUFFER: u32 = 64;
/// The events that both record.
const OPTIONS: &str = "-p function -l 'vfs_*' -l '*alloc*' -l '*page*'";

/// Records the same load with both programs alternately, with equal buffers.
///
/// # Errors
/// Guest or trace-cmd cannot be obtained, or a recording fails.
pub fn record(workspace: &Workspace) -> Result<()> {
    let reference = trace_cmd::get(&workspace.host)?;
    let (kernel, _) = single::pick(workspace, None)?;
    let folder = folders::scratch(&workspace.root)?;
    let mut script = String::from(
        "cat > /tmp/load <<'END'\n#!/bin/sh\n\
         for cpu in 1 2; do ls -lR /proc/self/ > /dev/null 2>&1 & done\nwait\nEND\n\
         chmod 755 /tmp/load\n",
    );
    let mut names = Vec::new();
    for run in 0..RUNS {
        for (side, program) in [("ours", "snaptrace"), ("theirs", "$trace_cmd")] {
            let name = format!("{side}-{run}.log");
            script += &format!(
                "time -f 'cpu %U %S' {program} record -q -b {BUFFER} {OPTIONS} -o /tmp/a.dat /tmp/load \
                 > /tmp/{name} 2>&1 || {{ cat /tmp/{name} >&2; exit 1; }}\n\
                 snaptrace report --stat /tmp/a.dat >> /tmp/{name}\n\
                 snaptrace report -R /tmp/a.dat | tail -n +2 | grep -c -v '^CPU:' >> /tmp/{name}\n"
            );
            names.push(name);
        }
    }
    in_guest(workspace, &kernel.name, CPUS, &script, &reference, &names, folder.path())?;
    outln!(
        "record, {} cores, {CPUS} in the guest, {}, {BUFFER} KiB per CPU, medians of {RUNS} runs",
        cores(),
        kernel.name
    );
    for (side, who) in [("ours", "snaptrace"), ("theirs", "trace-cmd")] {
        let (mut lost, mut milliseconds, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..RUNS {
            let path = folder.path().join(format!("{side}-{run}.log"));
            let text = fs::read_to_string(&path).context(|| format!("cannot read {}", path.display()))?;
            let figures = LoggedResult::read(&text).ok_or_else(|| {
                Error::new(format!("cannot measure the time and memory of {who}"))
                    .because(text.trim().to_string())
            })?;
            lost.push(figures.lost);
            milliseconds.push(figures.milliseconds);
            kept.push(figures.kept);
        }
        outln!(
            "  {who:9} {:8} events lost, {:8} recorded, {:7.2} s of CPU time with the load's",
            median(lost),
            median(kept),
            median(milliseconds) as f64 / 1e3
        );
    }
    outln!("  targets: no more events lost than trace-cmd loses, and no more CPU time");
    Ok(())
}

/// The figures in the log of a recording.
#[derive(Debug, PartialEq, Eq)]
struct LoggedResult {
    lost: u64,
    milliseconds: u64,
    kept: u64,
}

impl LoggedResult {
    /// Reads a log: `cpu 0.10 0.52`, the buffer statistics of each CPU from the recording, and the number of
    /// lines of its report. The recorder's own messages are not used, since a quiet trace-cmd does not report
    /// losses.
    fn read(log: &str) -> Option<LoggedResult> {
        let lost_as = ["overrun: ", "commit overrun: ", "dropped events: "];
        let mut lost = Vec::new();
        for line in log.lines() {
            if let Some(count) = lost_as.iter().find_map(|name| line.strip_prefix(name)) {
                lost.push(count.trim().parse::<u64>().ok()?);
            }
        }
        if lost.is_empty() {
            return None;
        }
        let times = log.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let mut seconds = 0.0;
        for time in times.split_whitespace() {
            seconds += time.parse::<f64>().ok()?;
        }
        let kept = log.lines().last()?.trim().parse().ok()?;
        Some(LoggedResult { lost: lost.iter().sum(), milliseconds: (seconds * 1e3).round() as u64, kept })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_tells_losses_and_times() {
        let log = "cpu 0.10 0.52\nCPU: 0\nentries: 7\noverrun: 30\ncommit overrun: 10\n\
                   dropped events: 2\nread events: 400\n412\n";
        assert_eq!(LoggedResult::read(log), Some(LoggedResult { lost: 42, milliseconds: 620, kept: 412 }));
        assert_eq!(LoggedResult::read("cpu 0.10 0.52\n412\n"), None);
        assert_eq!(LoggedResult::read("overrun: 1\n412\n"), None);
        assert_eq!(LoggedResult::read("overrun: 1\ncpu 1.0 x\n412\n"), None);
    }
}
