//! `cargo xtask bench report`: `snaptrace report` beside `trace-cmd report`.

use std::fs::{self, File};
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use sha2::{Digest, Sha256};

use super::long::repeat;
use super::measure::{self, Usage, cores, median};
use super::programs::{in_guest, release_build};
use crate::base::error::{Context, Error, Result};
use crate::base::ui::outln;
use crate::base::workspace::Workspace;
use crate::fetch::trace_cmd::{self, TraceCmd};
use crate::guest::folders;
use crate::run::single;

/// Runs of each program; the median counts.
const RUNS: usize = 9;
/// Runs on a small file, which measure the start and take milliseconds.
const SMALL_RUNS: usize = 41;
/// Memory that `report` may take even if trace-cmd takes less, in MiB.
const MEMORY: u64 = 256;

/// A long recording: how it is made, and its number of records.
struct LongRecording {
    name: &'static str,
    cpus: u32,
    options: &'static str,
    records: usize,
}

const LONG: [LongRecording; 4] = [
    LongRecording {
        name: "functions",
        cpus: 1,
        options: "-p function -l '*alloc*' -l 'vfs_*'",
        records: 5_000_000,
    },
    LongRecording {
        name: "functions",
        cpus: 2,
        options: "-p function -l '*alloc*' -l 'vfs_*'",
        records: 5_000_000,
    },
    LongRecording { name: "graph", cpus: 1, options: "-p function_graph -g vfs_read", records: 1_000_000 },
    LongRecording { name: "graph", cpus: 2, options: "-p function_graph -g vfs_read", records: 1_000_000 },
];

/// What is recorded, once per CPU: many reads and allocations.
const WORKLOAD: &str = "\
cat > /tmp/workload <<'END'
#!/bin/sh
for run in 1 2 3 4; do ls -lR /proc/self/ > /dev/null 2>&1; cat /proc/[0-9]*/stat > /dev/null 2>&1; done
END
chmod 755 /tmp/workload
cat > /tmp/all <<'END'
#!/bin/sh
for cpu in $(seq $1); do /tmp/workload & done
wait
END
chmod 755 /tmp/all
";

/// First compares the output of both programs, then measures.
///
/// # Errors
/// Guest, trace-cmd or compiler cannot be obtained, or the two print different bytes.
pub fn report(workspace: &Workspace) -> Result<()> {
    let reference = trace_cmd::get(&workspace.host)?;
    let snaptrace = release_build(workspace)?;
    let (kernel, _) = single::pick(workspace, None)?;
    let folder = folders::scratch(&workspace.root)?;
    let bench = ReportBench { snaptrace, reference, folder: folder.path().to_path_buf() };
    outln!(
        "report, {} cores, {} recorded on {}, medians of {RUNS} runs",
        cores(),
        trace_cmd::VERSION,
        kernel.name
    );
    for cpus in [1, 2] {
        let kinds: Vec<&LongRecording> = LONG.iter().filter(|long| long.cpus == cpus).collect();
        let mut script = WORKLOAD.to_string();
        for long in &kinds {
            let (name, options) = (long.name, long.options);
            script += &format!(
                "snaptrace record -q -b 16384 --file-version 6 {options} -o /tmp/{name}.dat /tmp/all {cpus} || exit 1\n"
            );
        }
        let names: Vec<String> = kinds.iter().map(|long| format!("{}.dat", long.name)).collect();
        in_guest(workspace, &kernel.name, cpus, &script, &bench.reference, &names, folder.path())?;
        for long in kinds {
            bench.compare_long(workspace, long)?;
        }
    }
    bench.compare_start()
}

/// The two programs, and a folder for files.
struct ReportBench {
    snaptrace: PathBuf,
    reference: TraceCmd,
    folder: PathBuf,
}

impl ReportBench {
    fn ours(&self, file: &Path) -> Command {
        let mut command = Command::new(&self.snaptrace);
        command.args(["report", "--style", "trace-cmd-3.1"]).arg(file);
        command
    }

    fn theirs(&self, file: &Path) -> Command {
        let mut command = Command::new(&self.reference.program);
        command.arg("report").arg(file);
        command
    }

    /// Runs a report with its output in a file of this name.
    fn measured(&self, mut command: Command, output: &str) -> Result<Usage> {
        let path = self.folder.join(output);
        let file = File::create(&path).context(|| format!("cannot create {}", path.display()))?;
        measure::run(command.stdin(Stdio::null()).stdout(file))
    }

    fn compare_long(&self, workspace: &Workspace, long: &LongRecording) -> Result<()> {
        let source = self.folder.join(format!("{}.dat", long.name));
        let bytes = fs::read(&source).context(|| format!("cannot read {}", source.display()))?;
        let file = self.folder.join("long.dat");
        let write = |times: usize| repeat(&bytes, times, &mut create(&file)?);
        // A file with one repetition shows the number of records in each; with raw fields, a line is a
        // record.
        write(1)?;
        let mut raw = self.ours(&file);
        raw.arg("-R");
        self.measured(raw, "ours.txt")?;
        let each = lines(&self.folder.join("ours.txt"))?.saturating_sub(1);
        if each == 0 {
            return Err(Error::new(format!("the guest recorded no {}", long.name)));
        }
        let times = long.records.div_ceil(each);
        write(times)?;
        workspace.host.ui.say(format!("{}: {} records in {times} repetitions", long.name, each * times));
        let ours = self.measured(self.ours(&file), "ours.txt")?;
        let theirs = self.measured(self.theirs(&file), "theirs.txt")?;
        let [ours_text, theirs_text] = ["ours.txt", "theirs.txt"].map(|name| self.folder.join(name));
        if !equal(&ours_text, &theirs_text)? {
            return Err(Error::new(format!("the reports of the {} differ", long.name))
                .because("times cannot be compared when the texts differ")
                .help("`cargo test -p xtask --test all -- reference::` shows where reports differ"));
        }
        outln!("{}, {} records, {} CPUs recorded: the same bytes", long.name, each * times, long.cpus);
        let memory = (ours.memory / 1024, theirs.memory / 1024);
        outln!("  peak memory {} MiB beside {} MiB (at most {})", memory.0, memory.1, memory.1.max(MEMORY));
        self.compare_wall(&file, "all cores", 20)?;
        on_one_core(|| self.compare_wall(&file, "one core", 12))
    }

    fn compare_wall(&self, file: &Path, on: &str, target: u32) -> Result<()> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            ours.push(self.measured(self.ours(file), "ours.txt")?.wall);
            theirs.push(self.measured(self.theirs(file), "theirs.txt")?.wall);
        }
        let (ours, theirs) = (median(ours).as_secs_f64(), median(theirs).as_secs_f64());
        outln!("  {on:9} {ours:7.3} s beside {theirs:7.3} s: {:5.1} times (target {target})", theirs / ours);
        Ok(())
    }

    /// Measures a report that prints almost nothing.
    fn compare_start(&self) -> Result<()> {
        let file = self.folder.join("functions.dat");
        let small = self.folder.join("small.dat");
        let bytes = fs::read(&file).context(|| format!("cannot read {}", file.display()))?;
        repeat(&bytes, 1, &mut create(&small)?)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..SMALL_RUNS {
            // Filter by a process that does not exist: no line is printed, all other work is done.
            let mut command = self.ours(&small);
            command.args(["--cpu", "63"]);
            ours.push(self.measured(command, "ours.txt")?.wall);
            let mut command = self.theirs(&small);
            command.args(["--cpu", "63"]);
            theirs.push(self.measured(command, "theirs.txt")?.wall);
        }
        let (ours, theirs) = (median(ours).as_secs_f64() * 1e3, median(theirs).as_secs_f64() * 1e3);
        outln!(
            "starting on a small file: {ours:.1} ms beside {theirs:.1} ms: {:.2} of it (target 0.5)",
            ours / theirs
        );
        Ok(())
    }
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    File::create(path).map(BufWriter::new).context(|| format!("cannot create {}", path.display()))
}

/// Reads a file in pieces. The whole file in memory would count as peak memory of every process that is
/// started.
fn pieces(path: &Path, mut take: impl FnMut(&[u8])) -> Result<()> {
    let failed = || format!("cannot read {}", path.display());
    let mut file = File::open(path).context(failed)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece).context(failed)? {
            0 => return Ok(()),
            size => take(&piece[..size]),
        }
    }
}

fn lines(path: &Path) -> Result<usize> {
    let mut count = 0;
    pieces(path, |piece| count += piece.iter().filter(|&&byte| byte == b'\n').count())?;
    Ok(count)
}

fn equal(one: &Path, other: &Path) -> Result<bool> {
    let digest = |path: &Path| {
        let mut digest = Sha256::new();
        pieces(path, |piece| digest.update(piece))?;
        Ok(digest.finalize())
    };
    Ok(digest(one)? == digest(other)?)
}

/// Runs work on one core; started processes inherit the cores of this thread.
fn on_one_core<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let failed = || "cannot choose the cores to measure on".into();
    let all = sched_getaffinity(None).context(failed)?;
    let first = (0..CpuSet::MAX_CPU).find(|&cpu| all.is_set(cpu)).context(failed)?;
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).context(failed)?;
    let outcome = work();
    sched_setaffinity(None, &all).context(failed)?;
    outcome
}
