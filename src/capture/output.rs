//! A drained recording: its remaining metadata and statistics, and writing it to a file.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::capture::drain::{self, Drained};
use crate::capture::metadata;
use crate::error::{Error, Result};
use crate::tracefs::{Instance, Tracefs};
use trace_dat::texts;
use trace_dat::write::{self, Compression, CpuData, Metadata, Stored, Version};

/// The lines of a per-CPU `stats` file that count lost events.
const LOST: [&str; 3] = ["overrun: ", "commit overrun: ", "dropped events: "];
/// Bytes copied to the file at once.
const PIECE: usize = 256 * 1024;

/// The file that a recording is written to.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its path; an existing regular file is replaced once the new one is complete.
    pub path: PathBuf,
    /// Version of the file format.
    pub version: Version,
    /// Compression of version 7.
    pub compression: Compression,
}

/// A drained recording, once tracing is off.
pub(crate) struct Recording {
    pub(crate) cpus: Vec<Drained>,
    /// Events that were lost, by CPU.
    pub(crate) lost: Vec<(u32, u64)>,
    /// Metadata that the restore would change.
    pub(crate) metadata: Metadata,
}

impl Output {
    /// Checks that version and compression fit together.
    pub(crate) fn check(&self) -> Result<()> {
        match (self.version, self.compression) {
            (Version::V6, Compression::None) | (Version::V7, _) => Ok(()),
            (Version::V6, _) => Err(Error::usage("a file of version 6 cannot be compressed")
                .help("leave --compression out, or use --file-version 7")),
        }
    }
}

/// The events that were lost so far, by CPU.
pub(crate) fn lost(instance: &Instance) -> Result<Vec<(u32, u64)>> {
    let mut lost = Vec::new();
    for cpu in drain::cpus(instance)? {
        lost.push((cpu, count_lost(&instance.read(&format!("per_cpu/cpu{cpu}/stats"))?)));
    }
    Ok(lost)
}

/// Counts of an instance's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Recorded events, including those already read.
    pub(crate) events: u64,
    /// Events that were not recorded, or overwritten.
    pub(crate) lost: u64,
}

/// The counts of an instance, over all CPUs.
pub(crate) fn counts(instance: &Instance) -> Result<Counts> {
    let mut counts = Counts::default();
    for cpu in drain::cpus(instance)? {
        let stats = instance.read(&format!("per_cpu/cpu{cpu}/stats"))?;
        counts.events += count(&stats, &["entries: ", "read events: "]);
        counts.lost += count_lost(&stats);
    }
    Ok(counts)
}

fn count_lost(stats: &str) -> u64 {
    count(stats, &LOST)
}

/// The sum of the values of these lines.
fn count(stats: &str, names: &[&str]) -> u64 {
    let number =
        |line: &str| names.iter().find_map(|name| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    stats.lines().filter_map(number).sum()
}

/// The name of the clock in use.
pub(crate) fn clock(instance: &Instance) -> Result<String> {
    Ok(chosen_clock(&instance.read("trace_clock")?))
}

fn chosen_clock(trace_clock: &str) -> String {
    texts::chosen_clock(trace_clock).unwrap_or("local").to_string()
}

/// Reads the metadata that the restore would change.
pub(crate) fn passing(tracefs: &Tracefs, instance: &Instance) -> Result<Metadata> {
    let trace_clock = instance.read("trace_clock")?;
    let cpus = drain::cpus(instance)?;
    let mut cpu_stats = Vec::new();
    for cpu in &cpus {
        cpu_stats.push(format!("CPU: {cpu}\n{}", instance.read(&format!("per_cpu/cpu{cpu}/stats"))?));
    }
    Ok(Metadata {
        cmdlines: tracefs.top().read_bytes("saved_cmdlines")?,
        clock: chosen_clock(&trace_clock),
        trace_clock,
        cpu_stats,
        cpu_count: cpus.last().map_or(0, |last| last + 1),
        instance: instance.name().unwrap_or_default().to_string(),
        btf: metadata::types_of_arguments(instance)?,
        ..Metadata::default()
    })
}

/// The checked destination of a recording.
pub(crate) struct Target {
    output: Output,
    path: PathBuf,
    /// The folder that has room for the recording.
    pub(crate) folder: PathBuf,
}

impl Target {
    /// Checks that the file can be written, before anything is traced.
    pub(crate) fn new(wanted: &Output) -> Result<Target> {
        wanted.check()?;
        let output = wanted.path.as_path();
        let path = match fs::metadata(output) {
            Ok(meta) if !meta.is_file() => {
                return Err(Error::usage(format!("-o {} is not a regular file", output.display()))
                    .help("name a file that may be replaced, or one that does not exist yet"));
            }
            // A symbolic link is kept; its target is replaced.
            Ok(_) => fs::canonicalize(output).map_err(|cause| Error::io("follow", output, cause))?,
            Err(_) => output.to_path_buf(),
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => PathBuf::from("."),
        };
        if path.file_name().is_none() {
            return Err(Error::usage(format!("-o {} does not name a file", output.display()))
                .help("give a path that ends in a file's name"));
        }
        drain::unnamed_file(&folder)?;
        Ok(Target { output: wanted.clone(), path, folder })
    }

    /// Writes a temporary file and renames it, so that the path always names a complete file.
    pub(crate) fn write(&self, tracefs: &Tracefs, recording: Recording) -> Result<Vec<Stored>> {
        let Recording { cpus, metadata: passing, .. } = recording;
        let metadata = Metadata {
            cmdlines: passing.cmdlines,
            trace_clock: passing.trace_clock,
            clock: passing.clock,
            cpu_stats: passing.cpu_stats,
            cpu_count: passing.cpu_count,
            instance: passing.instance,
            btf: passing.btf,
            date: passing.date,
            ..metadata::gather(tracefs, |_| true)?
        };
        if metadata::hides_addresses(&metadata.kallsyms) {
            // Not an error: the recording is complete, and events need no symbols.
            warn(
                "/proc/kallsyms hides its addresses, so functions will have no names; \
                 'sysctl kernel.kptr_restrict=1' shows them to root",
            );
        }
        let failed = |cause: io::Error| {
            Error::io("write", &self.path, cause).help("make room there, or choose another folder with -o")
        };
        let mut aside = tempfile::Builder::new()
            .prefix(".snaptrace-")
            // The umask applies to it, as to any other new file.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&self.folder)
            .map_err(failed)?;
        let mut files: Vec<(u32, u64, File)> =
            cpus.into_iter().map(|cpu| (cpu.cpu, cpu.size, cpu.file)).collect();
        let mut data: Vec<CpuData<'_>> = files
            .iter_mut()
            .map(|(cpu, size, file)| CpuData { cpu: *cpu, data: file, size: *size })
            .collect();
        let mut out = BufWriter::with_capacity(PIECE, aside.as_file_mut());
        let stored =
            write::write(&mut out, self.output.version, self.output.compression, &metadata, &mut data)
                .map_err(failed)?;
        drop(out);
        aside.persist(&self.path).map_err(|error| failed(error.error))?;
        Ok(stored)
    }
}

/// Reports lost events on standard error: the recording is incomplete.
pub(crate) fn warn_of_lost_events(lost: &[(u32, u64)]) {
    for (cpu, count) in lost.iter().filter(|(_, count)| *count > 0) {
        warn(&format!("CPU {cpu}: {count} events lost"));
    }
}

/// Writes a line to standard error.
pub(crate) fn warn(text: &str) {
    // If standard error cannot be written, nothing can be reported.
    let _ = writeln!(io::stderr(), "{text}");
}

/// The summary: where the data of each CPU were written, and which command to type next.
pub(crate) fn summary(stored: &[Stored], output: &Output) -> String {
    let mut text = String::new();
    for Stored { cpu, offset, size, uncompressed } in stored {
        text.push_str(&format!("CPU{cpu} data recorded at offset={offset:#x}\n    {size} bytes in size"));
        if output.version == Version::V7 && output.compression != Compression::None {
            text.push_str(&format!(" ({uncompressed} uncompressed)"));
        }
        text.push('\n');
    }
    text.push_str(&format!("To read it: snaptrace report -i {}\n", output.path.display()));
    text
}

/// Writes a text to standard output and flushes it. A closed pipe is not a failure: a recording goes on
/// without its reader.
pub(crate) fn print(out: &mut dyn Write, text: &str) -> Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(cause) if cause.kind() != io::ErrorKind::BrokenPipe => Err(Error::output(cause)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn output(path: &Path) -> Output {
        Output { path: path.to_path_buf(), version: Version::V7, compression: Compression::Zstd }
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
        let refused = |path: &Path| Target::new(&output(path)).err().unwrap();
        assert_eq!(refused(Path::new("/dev/null")).exit_code(), 2);
        assert_eq!(refused(folder.path()).exit_code(), 2);
        assert!(refused(&folder.path().join("missing/trace.dat")).to_string().contains("missing"));
        let file = folder.path().join("trace.dat");
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, folder.path().join("link")).unwrap();
        assert_eq!(
            Target::new(&output(&folder.path().join("link"))).unwrap().path,
            fs::canonicalize(file).unwrap()
        );
    }

    #[test]
    fn the_summary_reads_as_trace_cmd_s() {
        let stored = [Stored { cpu: 0, offset: 0x7a000, size: 260, uncompressed: 4096 }];
        let text = summary(&stored, &output(Path::new("trace.dat")));
        assert!(
            text.starts_with(
                "CPU0 data recorded at offset=0x7a000\n    260 bytes in size (4096 uncompressed)\n"
            ),
            "{text}"
        );
        let plain =
            summary(&stored, &Output { compression: Compression::None, ..output(Path::new("trace.dat")) });
        assert!(plain.contains("    260 bytes in size\n"), "{plain}");
    }
}
