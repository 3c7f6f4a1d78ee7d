//! `record`: the kernel is set up, its buffers are drained into a trace.dat, and it is put back.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::command::Held;
use crate::drain::{self, Drain, Drained};
use crate::error::{Error, Result};
use crate::session::{Lock, Session};
use crate::start::{self, Start, Step};
use crate::trace_dat::write::{self, Compression, CpuData, Metadata, Stored, Version};
use crate::tracefs::{Instance, Tracefs};
use crate::{events, metadata};

/// What the trace files of a per-CPU `stats` call an event that was not recorded.
const LOST: [&str; 3] = ["overrun: ", "commit overrun: ", "dropped events: "];
/// Copying to the file goes in pieces of this many bytes.
const PIECE: usize = 256 * 1024;

/// What to record, and where to.
#[derive(Clone, Debug)]
pub struct Record {
    /// Tracer, filters, processes and command. Without a tracer, it is nop.
    pub start: Start,
    /// Events, as [`events::choose`] takes them; all others are off meanwhile.
    pub events: Vec<String>,
    /// The trace clock.
    pub clock: Option<String>,
    /// Size of each CPU's buffer in KiB.
    pub buffer_kb: Option<u64>,
    /// The file to write; a regular file that is there is replaced once the new one is whole.
    pub output: PathBuf,
    /// Version of the file format.
    pub version: Version,
    /// Compression of version 7.
    pub compression: Compression,
    /// Tell nothing but errors and lost events.
    pub quiet: bool,
}

/// Records until the command ends, or without one until SIGINT, and gives the exit code.
///
/// That is the command's status; 0 after SIGINT; 128 and the number after SIGTERM and SIGHUP,
/// which are passed on to the command. The file is written in all these cases, and the kernel's
/// control files are put back in all cases. The buffer is emptied before, and other buffers, as
/// that of another instance, are left alone. `out` gets what is told on success.
///
/// # Errors
/// Something asked for does not exist or does not fit together, and then nothing was changed;
/// another recording runs; the kernel refuses a value; the disk is full.
pub fn record(tracefs: &Tracefs, config: &Record, out: &mut dyn Write) -> Result<u8> {
    check(config)?;
    let target = Target::new(&config.output)?;
    let _lock = Lock::take(tracefs)?;
    // From here on a signal ends the recording in order. SIGCHLD tells that the command ended.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGCHLD]).map_err(|cause| {
        Error::new("cannot prepare for signals").because(&cause).help("check the limit on files (ulimit -n)")
    })?;
    let mut session = Session::in_instance(tracefs, config.start.instance.as_deref())?;
    let outcome = recorded(tracefs, config, &target, &mut session, signals, out);
    // Whatever happened, the kernel is put back; the first failure is the one to tell.
    let restored = session.restore();
    let (code, recording) = outcome?;
    restored?;
    tell_lost(&recording.lost);
    let stored = target.write(tracefs, config, recording)?;
    if !config.quiet {
        say(out, &summary(&stored, config))?;
    }
    Ok(code)
}

/// What is left of a recording once tracing is off.
struct Recording {
    cpus: Vec<Drained>,
    lost: Vec<(u32, u64)>,
    /// What would change by putting the kernel back.
    metadata: Metadata,
}

/// Checks what can be checked without the kernel.
fn check(config: &Record) -> Result<()> {
    let start = &config.start;
    start::check(start)?;
    if start.tracer.is_none() {
        let filters = [
            ("-l", !start.functions.is_empty()),
            ("-n", !start.notrace.is_empty()),
            ("-g", !start.graph.is_empty()),
            ("--graph-notrace", !start.graph_notrace.is_empty()),
            ("--func-stack", start.func_stack),
            ("--max-graph-depth", start.max_graph_depth.is_some()),
        ];
        if let Some((option, _)) = filters.iter().find(|(_, given)| *given) {
            return Err(Error::usage(format!("{option} is about a tracer, and none was given"))
                .help("add -p function or -p function_graph"));
        }
        if config.events.is_empty() {
            return Err(Error::usage("nothing to record was given")
                .help("name a tracer (-p function) or events (-e sched); 'snaptrace list' shows them"));
        }
    }
    if config.version == Version::V6 {
        if config.compression != Compression::None {
            return Err(Error::usage("a file of version 6 cannot be compressed")
                .help("leave --compression out, or use --file-version 7"));
        }
        if start.instance.is_some() {
            return Err(Error::usage("a file of version 6 is not written from an instance")
                .help("leave --file-version out: version 7 keeps the instance's name"));
        }
    }
    match config.buffer_kb {
        Some(0) => {
            Err(Error::usage("-b 0 leaves no buffer").help("give the size of each CPU's buffer in KiB"))
        }
        _ => Ok(()),
    }
}

/// Sets up, records, drains and switches tracing off.
fn recorded(
    tracefs: &Tracefs,
    config: &Record,
    target: &Target,
    session: &mut Session,
    signals: Signals,
    out: &mut dyn Write,
) -> Result<(u8, Recording)> {
    let instance = session.instance().clone();
    let sub_buffer_size = metadata::sub_buffer_size(tracefs)?;
    let (held, steps) = plan(tracefs, &instance, config)?;
    if let (Some(tracer), false) = (&config.start.tracer, config.quiet) {
        say(out, &format!("  plugin '{tracer}'\n"))?;
    }
    for step in &steps {
        session.write(&step.file, &step.values)?;
    }
    // What was recorded before does not belong to this recording.
    instance.truncate("trace")?;
    let before = lost(&instance)?;
    let handle = signals.handle();
    let drain = Drain::start(&instance, sub_buffer_size, &target.folder, move || handle.close())?;
    instance.write("tracing_on", "1")?;
    let ended = wait(held, signals);
    instance.write("tracing_on", "0")?;
    let cpus = drain.finish()?;
    let after = lost(&instance)?;
    let lost = after.iter().map(|&(cpu, count)| {
        let before = before.iter().find(|before| before.0 == cpu).map_or(0, |before| before.1);
        (cpu, count.saturating_sub(before))
    });
    let recording = Recording { cpus, lost: lost.collect(), metadata: passing(tracefs, &instance)? };
    Ok((ended?, recording))
}

/// Everything that is written before tracing goes on, in a safe order; nothing is changed yet.
fn plan(tracefs: &Tracefs, instance: &Instance, config: &Record) -> Result<(Option<Held>, Vec<Step>)> {
    // The kernel lists them in the top instance only; they are the same in all.
    let events = events::choose(tracefs.top(), &config.events)?;
    let mut buffer = Vec::new();
    if let Some(clock) = &config.clock {
        let clocks = instance.read_value("trace_clock")?;
        let mut known = clocks.split_ascii_whitespace().map(|name| name.trim_matches(['[', ']']));
        if !known.any(|name| name == clock) {
            return Err(Error::usage(format!("clock '{clock}' does not exist"))
                .help(format!("clocks, the current one in brackets: {clocks}")));
        }
        buffer.push(Step::one("trace_clock", clock));
    }
    buffer.extend(config.buffer_kb.map(|size| Step::one("buffer_size_kb", &size.to_string())));
    let mut start = config.start.clone();
    start.tracer.get_or_insert_with(|| "nop".to_string());
    let (held, mut steps) = start::prepare(tracefs, instance, &start)?;
    // Tracing goes on only once the buffers are open for draining.
    let tracing_on = steps.pop();
    debug_assert_eq!(tracing_on.map(|step| step.file).as_deref(), Some("tracing_on"));
    let tracer = steps.len() - 1;
    if instance.has("set_event") && (!events.is_empty() || !instance.read_value("set_event")?.is_empty()) {
        steps.insert(tracer, Step::new("set_event", events));
    }
    // After tracing_on and nop: both empty the buffer.
    steps.splice(2..2, buffer);
    Ok((held, steps))
}

/// Lets the command run until it or the recording ends; gives the exit code.
fn wait(held: Option<Held>, mut signals: Signals) -> Result<u8> {
    let mut held = held;
    if let Some(held) = &mut held {
        held.release()?;
    }
    for signal in signals.forever() {
        let passed_on = match signal {
            SIGINT => return Ok(0),
            SIGTERM => Signal::TERM,
            SIGHUP => Signal::HUP,
            _ => match held.as_mut().map(Held::ended).transpose()?.flatten() {
                Some(code) => return Ok(code),
                None => continue,
            },
        };
        if let Some(held) = &held {
            held.signal(passed_on)?;
        }
        return Ok(u8::try_from(128 + signal).unwrap_or(Error::GENERAL));
    }
    // The signals were closed because a thread failed; draining tells its error.
    Ok(Error::GENERAL)
}

/// The events that were lost so far, by CPU.
fn lost(instance: &Instance) -> Result<Vec<(u32, u64)>> {
    let mut lost = Vec::new();
    for cpu in drain::cpus(instance)? {
        lost.push((cpu, count_lost(&instance.read(&format!("per_cpu/cpu{cpu}/stats"))?)));
    }
    Ok(lost)
}

fn count_lost(stats: &str) -> u64 {
    let count = |line: &str| LOST.iter().find_map(|name| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    stats.lines().filter_map(count).sum()
}

/// What has to be read before the kernel is put back.
fn passing(tracefs: &Tracefs, instance: &Instance) -> Result<Metadata> {
    let trace_clock = instance.read("trace_clock")?;
    let chosen =
        trace_clock.split_ascii_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    let cpus = drain::cpus(instance)?;
    let mut cpu_stats = Vec::new();
    for cpu in &cpus {
        cpu_stats.push(format!("CPU: {cpu}\n{}", instance.read(&format!("per_cpu/cpu{cpu}/stats"))?));
    }
    Ok(Metadata {
        cmdlines: tracefs.top().read_bytes("saved_cmdlines")?,
        clock: chosen.unwrap_or("local").to_string(),
        trace_clock,
        cpu_stats,
        cpu_count: cpus.last().map_or(0, |last| last + 1),
        instance: instance.name().unwrap_or_default().to_string(),
        ..Metadata::default()
    })
}

/// Where the recording goes.
struct Target {
    path: PathBuf,
    folder: PathBuf,
}

impl Target {
    /// Checks that the file can be written, before anything is traced.
    fn new(output: &Path) -> Result<Target> {
        let path = match fs::metadata(output) {
            Ok(meta) if !meta.is_file() => {
                return Err(Error::usage(format!("-o {} is no regular file", output.display()))
                    .help("name a file that may be replaced, or one that does not exist yet"));
            }
            // A link stays, what it points at is replaced.
            Ok(_) => fs::canonicalize(output).map_err(|cause| Error::io("follow", output, &cause))?,
            Err(_) => output.to_path_buf(),
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => PathBuf::from("."),
        };
        if path.file_name().is_none() {
            return Err(Error::usage(format!("-o {} names no file", output.display()))
                .help("give a path that ends in a file's name"));
        }
        drain::unnamed_file(&folder)?;
        Ok(Target { path, folder })
    }

    /// Writes the file aside and renames it, so that a whole file or the old one is there.
    fn write(&self, tracefs: &Tracefs, config: &Record, recording: Recording) -> Result<Vec<Stored>> {
        let Recording { cpus, metadata: passing, .. } = recording;
        let metadata = Metadata {
            cmdlines: passing.cmdlines,
            trace_clock: passing.trace_clock,
            clock: passing.clock,
            cpu_stats: passing.cpu_stats,
            cpu_count: passing.cpu_count,
            instance: passing.instance,
            ..metadata::gather(tracefs)?
        };
        if metadata::hides_addresses(&metadata.kallsyms) {
            // Not an error: what was recorded is sound, and events need no symbols.
            tell(
                "/proc/kallsyms hides its addresses, so functions will have no names; \
                 'sysctl kernel.kptr_restrict=1' shows them to root",
            );
        }
        let failed = |cause: &io::Error| {
            Error::io("write", &self.path, cause).help("make room there, or choose another folder with -o")
        };
        let mut aside = tempfile::Builder::new()
            .prefix(".snaptrace-")
            // What the umask leaves of it, as for any other new file.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&self.folder)
            .map_err(|cause| failed(&cause))?;
        let mut files: Vec<(u32, u64, File)> =
            cpus.into_iter().map(|cpu| (cpu.cpu, cpu.size, cpu.file)).collect();
        let mut data: Vec<CpuData<'_>> = files
            .iter_mut()
            .map(|(cpu, size, file)| CpuData { cpu: *cpu, data: file, size: *size })
            .collect();
        let mut out = BufWriter::with_capacity(PIECE, aside.as_file_mut());
        let stored = write::write(&mut out, config.version, config.compression, &metadata, &mut data)
            .map_err(|cause| failed(&cause))?;
        drop(out);
        aside.persist(&self.path).map_err(|error| failed(&error.error))?;
        Ok(stored)
    }
}

/// Tells lost events on standard error, as they concern whoever relies on the recording.
fn tell_lost(lost: &[(u32, u64)]) {
    for (cpu, count) in lost.iter().filter(|(_, count)| *count > 0) {
        tell(&format!("CPU {cpu}: {count} events lost"));
    }
}

fn tell(text: &str) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

fn summary(stored: &[Stored], config: &Record) -> String {
    let mut text = String::new();
    for Stored { cpu, offset, size, uncompressed } in stored {
        text.push_str(&format!("CPU{cpu} data recorded at offset={offset:#x}\n    {size} bytes in size"));
        if config.version == Version::V7 && config.compression != Compression::None {
            text.push_str(&format!(" ({uncompressed} uncompressed)"));
        }
        text.push('\n');
    }
    text.push_str(&format!("To read it: snaptrace report -i {}\n", config.output.display()));
    text
}

fn say(out: &mut dyn Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|cause| Error::output(&cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Record {
        Record {
            start: Start { tracer: Some("function".into()), ..Start::default() },
            events: Vec::new(),
            clock: None,
            buffer_kb: None,
            output: "trace.dat".into(),
            version: Version::V7,
            compression: Compression::Zstd,
            quiet: false,
        }
    }

    fn refused(change: impl FnOnce(&mut Record)) -> String {
        let mut config = config();
        change(&mut config);
        let error = check(&config).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        assert!(check(&config()).is_ok());
        assert!(refused(|config| config.start.tracer = None).starts_with("nothing to record"));
        let message = refused(|config| {
            config.start.tracer = None;
            config.events = vec!["sched".into()];
            config.start.functions = vec!["kfree".into()];
        });
        assert!(message.starts_with("-l is about a tracer"), "{message}");
        assert!(refused(|config| config.version = Version::V6).contains("cannot be compressed"));
        assert!(refused(|config| config.start.func_stack = true).contains("--func-stack"));
        assert!(refused(|config| config.buffer_kb = Some(0)).contains("-b 0"));
    }

    #[test]
    fn all_kinds_of_loss_are_counted() {
        let stats =
            "entries: 3\noverrun: 10\ncommit overrun: 200\nbytes: 96\ndropped events: 3000\nread events: 5\n";
        assert_eq!(count_lost(stats), 3210);
    }

    #[test]
    fn only_a_regular_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| Target::new(path).err().unwrap();
        assert_eq!(refused(Path::new("/dev/null")).exit_code(), 2);
        assert_eq!(refused(folder.path()).exit_code(), 2);
        assert!(refused(&folder.path().join("missing/trace.dat")).to_string().contains("missing"));
        let file = folder.path().join("trace.dat");
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, folder.path().join("link")).unwrap();
        assert_eq!(Target::new(&folder.path().join("link")).unwrap().path, fs::canonicalize(file).unwrap());
    }

    #[test]
    fn the_summary_reads_as_trace_cmd_s() {
        let stored = [Stored { cpu: 0, offset: 0x7a000, size: 260, uncompressed: 4096 }];
        let text = summary(&stored, &config());
        assert!(
            text.starts_with(
                "CPU0 data recorded at offset=0x7a000\n    260 bytes in size (4096 uncompressed)\n"
            ),
            "{text}"
        );
        let plain = summary(&stored, &Record { compression: Compression::None, ..config() });
        assert!(plain.contains("    260 bytes in size\n"), "{plain}");
    }
}
