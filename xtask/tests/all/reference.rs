//! `snaptrace report` against the real `trace-cmd report` on the same recordings, byte for byte.
//!
//! A guest of the first cached reference kernel makes the recordings, by `snaptrace record` and by `trace-cmd
//! record`. Guests of the others make those that depend on the kernel, and a guest of the newest with two
//! CPUs those that depend on the CPUs. With `SNAPTRACE_ALL_KERNELS=1` all usual kernels make all, with one
//! CPU and with two. A guest with two CPUs has the host for itself meanwhile.
//!
//! Debian's trace-cmd 3.1.6 cannot read zlib: for such a file our other style is compared with a later
//! trace-cmd. Some recordings are compared with 3.4, too, while Debian has it. Without a kernel or a
//! trace-cmd the trials are ignored; that is printed and is not a pass.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;
use xshell::Shell;
use xtask::base::cache::Cache;
use xtask::base::workspace::Workspace;
use xtask::fetch::trace_cmd::{self, TraceCmd};
use xtask::guest::initramfs;

use crate::common::{host_alone, host_shared, kernels, root};

/// Name and options of each recording by `snaptrace record`.
const OURS: [(&str, &str); 20] = [
    ("function", "-p function -l 'vfs_*' -l '__kmalloc*' -l '*path*'"),
    ("stack", "-p function -l '__kmalloc*' --func-stack"),
    ("graph", "-p function_graph -g vfs_read -g vfs_open"),
    ("graph-depth", "-p function_graph -g 'do_fil?_open' --max-graph-depth 3 -e sched:sched_switch"),
    ("events", "-e sched -e kmem -e syscalls -e timer -e irq"),
    ("all-events", "-e '*:*'"),
    ("mixed", "-p function -l '*alloc*' -e sched -e syscalls:sys_enter_openat"),
    ("of-a-command", "-p function -l '*path*' -e sched -F -c"),
    // Not all functions: 5.4 with two CPUs can recurse in its int3 handler while they are patched.
    ("overrun", "-b 4 -p function -l '*alloc*' -l '*page*'"),
    ("clock-counter", "-p function -l 'vfs_*' -e sched -C counter"),
    ("clock-uptime", "-e sched -C uptime"),
    ("clock-mono", "-p function -l 'vfs_*' -e sched -C mono"),
    ("clock-boot", "-e sched -C boot"),
    ("clock-tsc", "-e sched -C x86-tsc"),
    ("v6", "--file-version 6 -p function -l 'vfs_*' -e sched"),
    ("v6-graph", "--file-version 6 -p function_graph -g vfs_read"),
    ("none", "--compression none -p function -l 'vfs_*' -e sched"),
    (ZLIB, "--compression zlib -p function -l 'vfs_*' -l '*path*'"),
    ("zstd", "--compression zstd -p function -l 'vfs_*' -e sched"),
    ("instance", "-B other -p function -l 'vfs_*' -e sched"),
];

/// Likewise for `trace-cmd record`, whose files differ from ours in sections and options.
const THEIRS: [(&str, &str); 6] = [
    ("their-function", "-p function -l 'vfs_*' -l '*path*'"),
    ("their-graph", "-p function_graph -g vfs_read"),
    ("their-events", "-e sched -e kmem -C mono"),
    ("their-v6", "--file-version 6 -p function -l 'vfs_*' -e sched"),
    ("their-none", "--compression none -e sched -e syscalls"),
    ("their-instance", "-e sched -B other -e kmem"),
];

/// Options given to both reports.
const REPORTS: [&[&str]; 14] = [
    &[],
    &["-t"],
    &["-l"],
    &["-R"],
    &["-N"],
    &["-O", "parent"],
    &["-O", "parent", "-O", "offset"],
    &["-O", "indent=0"],
    &["-O", "fgraph:tailprint", "-O", "fgraph:depth"],
    &["--ts-diff"],
    &["-t", "--ts-diff"],
    &["--raw-ts"],
    &["--raw-ts", "--ts-diff"],
    &["-l", "-t", "-R"],
];

/// What recordings of system calls leave out, on kernels that record what is written: trace-cmd 3.1.6
/// does not know how that is printed (`__print_dynamic_array`) and shows the bare field, as text up to
/// the next zero, which may lie behind the record, and as numbers from the first value on that is no text.
const LEFT_OUT: &str = "\
left_out=$(grep -l __print_dynamic_array /sys/kernel/tracing/events/syscalls/*/format |
    sed 's,.*/\\(.*\\)/format,-e syscalls:\\1,')
left_out=${left_out:+-v $left_out}
";

/// The recording that needs a trace-cmd with zlib.
const ZLIB: &str = "zlib";

/// Recordings that are also compared with trace-cmd 3.4.
const BY_LATEST: [&str; 4] = ["stack", "graph-depth", "events", "their-function"];

/// Recordings that depend most on the kernel: its events and functions. Unless all kernels are asked for, the
/// first kernel makes all recordings, and the others only these.
const BY_KERNEL: [&str; 11] = [
    "function",
    "stack",
    "graph",
    "graph-depth",
    "events",
    "all-events",
    "mixed",
    "of-a-command",
    "their-function",
    "their-graph",
    "their-events",
];

/// Recordings that a second CPU changes: records merged by time, calls of both CPUs, lost events, each layout
/// of a file. A guest with two CPUs needs the host for itself, so it makes only these.
const ON_TWO_CPUS: [&str; 12] = [
    "function",
    "graph",
    "graph-depth",
    "events",
    "overrun",
    "clock-counter",
    "v6",
    "none",
    "instance",
    "their-function",
    "their-graph",
    "their-instance",
];

/// What is recorded: processes that fork and read, on both CPUs at once where there are two.
const WORKLOAD: &str = "\
#!/bin/sh
ls -l / > /dev/null &
cat /proc/uptime /proc/self/maps > /dev/null
echo hi | cat > /dev/null
wait
";

/// The trials, grouped by when they begin. The first trial of each guest boots it; others that need its
/// recordings would only wait, so they begin later.
pub struct Trials {
    /// The first one of each guest with two CPUs.
    pub on_two_cpus: Vec<Trial>,
    /// The first one of each guest with one.
    pub on_one_cpu: Vec<Trial>,
    pub others: Vec<Trial>,
}

/// Makes the trials, with the trace-cmd for comparison, if available.
pub fn trials(fetches: bool) -> xtask::base::error::Result<Trials> {
    let h = Workspace::new(root(), Cache::open()?, false);
    let recorder = fetches.then(|| trace_cmd::get(&h.host)).and_then(found).map(Arc::new);
    let exact = recorder.as_ref().map(|found| Reference::of_the_text(found.program.clone()));
    let with_zlib = fetches.then(|| trace_cmd::with_zlib(&h.host)).and_then(found).map(Reference::with_zlib);
    let latest = fetches.then(|| trace_cmd::latest(&h.host)).and_then(found).map(Reference::latest);
    let kernels = kernels()?;
    let first = kernels.iter().find(|(_, available)| *available).map(|(kernel, _)| kernel.clone());
    let newest = kernels.iter().rfind(|(_, available)| *available).map(|(kernel, _)| kernel.clone());
    let mut trials = Trials { on_two_cpus: Vec::new(), on_one_cpu: Vec::new(), others: Vec::new() };
    for (kernel, available) in kernels {
        if !available {
            eprintln!("{kernel}: unavailable: not cached, its recordings are not compared");
        }
        let all = Workspace::wants_all_kernels();
        let with_two = all || newest.as_ref().is_none_or(|one| *one == kernel);
        for cpus in 1..=1 + u32::from(with_two) {
            let is_recorded = |name: &str| match cpus {
                _ if all => true,
                1 => first.as_ref().is_none_or(|one| *one == kernel) || BY_KERNEL.contains(&name),
                _ => ON_TWO_CPUS.contains(&name),
            };
            let lines = OURS.into_iter().chain(THEIRS).filter(|(name, _)| is_recorded(name)).collect();
            let guest = Arc::new(Guest { kernel: kernel.clone(), cpus, lines, recordings: OnceLock::new() });
            let by_text = guest.lines.iter().map(|&(name, _)| match name {
                ZLIB => (name, "", with_zlib.clone()),
                _ => (name, "", exact.clone()),
            });
            let by_latest = BY_LATEST.into_iter().filter(|name| is_recorded(name));
            let by_latest = by_latest.map(|name| (name, " by 3.4", latest.clone()));
            let mut of_guest = by_text.chain(by_latest).map(|(name, by, reference)| {
                let (guest, recorder) = (guest.clone(), recorder.clone());
                let ignored = !available || recorder.is_none() || reference.is_none();
                let trial = Trial::test(format!("reference::{kernel}, {cpus} CPUs: {name}{by}"), move || {
                    let (recorder, reference) = recorder.zip(reference).ok_or("there is no trace-cmd")?;
                    compare(&guest, name, &recorder, &reference)
                });
                trial.with_ignored_flag(ignored)
            });
            let first = if cpus == 1 { &mut trials.on_one_cpu } else { &mut trials.on_two_cpus };
            first.extend(of_guest.next());
            trials.others.extend(of_guest);
        }
    }
    Ok(trials)
}

/// The value, or `None` after printing the error.
fn found<T>(found: xtask::base::error::Result<T>) -> Option<T> {
    found.map_err(|error| eprintln!("unavailable: {error}")).ok()
}

/// A trace-cmd to compare reports with.
#[derive(Clone)]
struct Reference {
    program: PathBuf,
    /// The style in which ours prints its text.
    style: &'static str,
    /// Options for which that style does not match its text.
    not_with: &'static [&'static str],
}

impl Reference {
    /// The version whose text is matched with all options.
    fn of_the_text(program: PathBuf) -> Reference {
        Reference { program, style: "trace-cmd-3.1", not_with: &[] }
    }

    /// The latest one, likewise.
    fn latest(program: PathBuf) -> Reference {
        Reference { program, style: "trace-cmd-3.4", not_with: &[] }
    }

    /// The later one, for which only the columns are matched.
    fn with_zlib(program: PathBuf) -> Reference {
        Reference { program, style: "trace-cmd-3.3", not_with: &["-R", "parent"] }
    }
}

/// A guest that is booted once, by the first trial that needs a recording of it.
struct Guest {
    kernel: String,
    cpus: u32,
    /// Name and options of each recording.
    lines: Vec<(&'static str, &'static str)>,
    recordings: OnceLock<Result<Recordings, String>>,
}

/// The recordings of a guest.
struct Recordings {
    folder: TempDir,
    /// The error for each recording that could not be made, by name.
    failed: BTreeMap<String, String>,
    snaptrace: PathBuf,
}

impl Guest {
    fn recording(&self, name: &str, recorder: &TraceCmd) -> Result<(PathBuf, &Path), Failed> {
        let made = self.recordings.get_or_init(|| record(self, recorder).map_err(|error| error.to_string()));
        let made = made.as_ref().map_err(|error| format!("the guest made no recordings: {error}"))?;
        match made.failed.get(name) {
            Some(said) => Err(format!("the recording could not be made:\n{said}").into()),
            None => Ok((made.folder.path().join(format!("{name}.dat")), &made.snaptrace)),
        }
    }
}

/// Boots a guest and copies its recordings out.
fn record(guest: &Guest, recorder: &TraceCmd) -> Result<Recordings, Box<dyn std::error::Error>> {
    let folder = TempDir::new()?;
    let script = folder.path().join("record.sh");
    fs::write(&script, recording_script(recorder, &guest.lines))?;
    let mut arguments: Vec<OsString> = [
        "run",
        "--accel",
        "tcg",
        "--timeout",
        "900",
        "--kernel",
        &guest.kernel,
        "--cpus",
        &guest.cpus.to_string(),
    ]
    .map(OsString::from)
    .into();
    for file in recorder.files()?.into_iter().chain([script.clone()]) {
        arguments.extend(["--put".into(), file.into_os_string()]);
    }
    for &(name, _) in &guest.lines {
        for ending in ["dat", "log"] {
            let to = folder.path().join(format!("{name}.{ending}"));
            arguments.extend(["--get".into(), format!("/tmp/{name}.{ending}:{}", to.display()).into()]);
        }
    }
    arguments.extend(["--", "sh", "/extra/record.sh"].map(OsString::from));
    let (alone, beside) = match guest.cpus {
        1 => (None, Some(host_shared())),
        _ => (Some(host_alone()), None),
    };
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(&arguments).current_dir(root()).output()?;
    drop((alone, beside));
    if !output.status.success() {
        return Err(described("xtask run … sh /extra/record.sh", &output).into());
    }
    let mut failed = BTreeMap::new();
    for &(name, _) in &guest.lines {
        // The script leaves an empty file where a recording failed.
        if fs::metadata(folder.path().join(format!("{name}.dat")))?.len() == 0 {
            let said = fs::read_to_string(folder.path().join(format!("{name}.log")))?;
            failed.insert(name.to_owned(), said);
        }
    }
    let snaptrace = initramfs::build(&Shell::new()?, &root())?.snaptrace;
    Ok(Recordings { folder, failed, snaptrace })
}

/// One line per recording; each leaves a log, and an empty file if it failed.
fn recording_script(recorder: &TraceCmd, lines: &[(&str, &str)]) -> String {
    let name = recorder.program.file_name().unwrap_or_default().to_string_lossy();
    let their = format!("/extra/ld-linux-x86-64.so.2 --library-path /extra /extra/{name}");
    let mut script =
        format!("cat > /tmp/workload <<'END'\n{WORKLOAD}END\nchmod 755 /tmp/workload\ncd /tmp\n{LEFT_OUT}");
    for (name, options) in lines {
        let program = if OURS.iter().any(|(our, _)| our == name) { "snaptrace" } else { their.as_str() };
        let system_calls = options.contains("-e syscalls") || options.contains("-e '*:*'");
        let left_out = if system_calls { "$left_out" } else { "" };
        script += &format!(
            "{program} record -q {options} {left_out} -o /tmp/{name}.dat /tmp/workload > /tmp/{name}.log 2>&1 || \
             : > /tmp/{name}.dat\n"
        );
    }
    script
}

/// Compares all reports of a recording by both programs.
fn compare(guest: &Guest, name: &str, recorder: &TraceCmd, reference: &Reference) -> Result<(), Failed> {
    let (file, snaptrace) = guest.recording(name, recorder)?;
    let _beside = host_shared();
    let mut differing = Vec::new();
    for options in REPORTS {
        // Of stacks with few frames trace-cmd prints, as raw fields, bytes that lie behind the record.
        if name == "stack" && options.contains(&"-R") {
            continue;
        }
        if options.iter().any(|option| reference.not_with.contains(option)) {
            continue;
        }
        let style = ["report", "--style", reference.style];
        let ours = Command::new(snaptrace).args(style).args(options).arg(&file).output()?;
        let theirs = Command::new(&reference.program).arg("report").args(options).arg(&file).output()?;
        if !theirs.status.success() {
            return Err(described(&format!("trace-cmd report {}", options.join(" ")), &theirs).into());
        }
        // There must be more than the line with the number of CPUs.
        if theirs.stdout.iter().filter(|&&byte| byte == b'\n').count() < 2 {
            return Err("the recording is empty".into());
        }
        if !ours.status.success() {
            differing.push(described(&format!("snaptrace report {}", options.join(" ")), &ours));
        } else if let Some(difference) = difference(&ours.stdout, &theirs.stdout) {
            differing.push(format!("report {}: {difference}", options.join(" ")));
        }
    }
    if differing.is_empty() {
        return Ok(());
    }
    // Guests with two CPUs make no recording twice.
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{name} of {} with {} CPUs.dat", guest.kernel, guest.cpus));
    fs::copy(&file, &kept)?;
    Err(format!("{}\nthe recording is kept as {}", differing.join("\n"), kept.display()).into())
}

/// The first line that differs, and the number of differing lines.
fn difference(ours: &[u8], theirs: &[u8]) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let lines = |text: &[u8]| -> Vec<String> {
        text.split(|&byte| byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    };
    let (ours, theirs) = (lines(ours), lines(theirs));
    let most = ours.len().max(theirs.len());
    let at = |lines: &[String], index: usize| lines.get(index).cloned().unwrap_or("(no line)".into());
    let differing: Vec<usize> = (0..most).filter(|&index| ours.get(index) != theirs.get(index)).collect();
    let first = *differing.first()?;
    Some(format!(
        "{} of {most} lines differ, the first is line {}\n  snaptrace: {}\n  trace-cmd: {}",
        differing.len(),
        first + 1,
        at(&ours, first),
        at(&theirs, first)
    ))
}

fn described(command: &str, output: &Output) -> String {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let first = stdout.lines().take(5).collect::<Vec<_>>().join("\n");
    format!("{command}\nended with {}\n--- stdout starts\n{first}\n--- stderr\n{stderr}", output.status)
}
