//! The tracing directory and its instances: the only code here that opens tracefs files.
//!
//! A [`Tracefs`] is found in the mount table, mounted if it is not there, or opened at any folder that
//! looks like one. An [`Instance`] is one set of control files and buffers: the top instance, which is
//! the tracing directory itself, or a named one under `instances/`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::error::{Error, Result, lockdown};

const TRACEFS_MOUNT_POINT: &str = "/sys/kernel/tracing";
const DEBUGFS_MOUNT_POINT: &str = "/sys/kernel/debug";
const MOUNT_TABLE: &str = "/proc/mounts";
const FTRACE_ENABLED: &str = "/proc/sys/kernel/ftrace_enabled";
/// `f_type` of a tracefs mount (the kernel's include/uapi/linux/magic.h).
const TRACEFS_MAGIC: u64 = 0x7472_6163;

/// Bytes read at once.
const PIECE: usize = 64 * 1024;

/// What a write does with the present content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Opens with truncation; for a filter or pid file this forgets the old entries.
    Replace,
    /// Opens without truncation; a filter or pid file keeps its entries.
    Append,
}

/// A tracing directory.
///
/// ```
/// # fn main() -> snaptrace::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # std::fs::write(folder.path().join("current_tracer"), "nop\n").unwrap();
/// # std::fs::write(folder.path().join("tracing_on"), "1\n").unwrap();
/// use snaptrace::tracefs::Tracefs;
/// let tracefs = Tracefs::at(folder.path())?; // Tracefs::find_or_mount() for the running kernel's
/// assert_eq!(tracefs.top().read_value("current_tracer")?, "nop");
/// tracefs.top().write("tracing_on", "0")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Tracefs {
    top: Instance,
}

impl Tracefs {
    /// Finds the mounted tracing directory; mounts tracefs, else debugfs, when neither is mounted.
    ///
    /// # Errors
    /// The mount table cannot be read, or nothing is mounted and mounting fails.
    pub fn find_or_mount() -> Result<Tracefs> {
        if let Some(path) = mounted_directory(&read_mount_table()?) {
            return Tracefs::at(path);
        }
        let failed = match try_mount("tracefs", TRACEFS_MOUNT_POINT) {
            Ok(()) => return Tracefs::at(TRACEFS_MOUNT_POINT),
            Err(error) => mount_failed(error),
        };
        // Kernels before 4.1 have the tracing directory only inside debugfs.
        let inside_debugfs = Path::new(DEBUGFS_MOUNT_POINT).join("tracing");
        match try_mount("debugfs", DEBUGFS_MOUNT_POINT) {
            Ok(()) if is_tracing_directory(&inside_debugfs) => Tracefs::at(inside_debugfs),
            _ => Err(failed),
        }
    }

    /// Uses `path` as the tracing directory.
    ///
    /// # Errors
    /// The folder has no `current_tracer`, so it is not a tracing directory, or access is denied.
    pub fn at(path: impl Into<PathBuf>) -> Result<Tracefs> {
        let path = path.into();
        match fs::metadata(path.join("current_tracer")) {
            Ok(_) => Ok(Tracefs { top: Instance { name: None, path } }),
            // A kernel that is locked down since boot creates no files there.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && is_tracefs(&path) && lockdown().is_some() =>
            {
                let found = lockdown().unwrap_or_default();
                Err(Error::locked_down(format!("there is nothing in {}", path.display()), &found))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::usage(format!(
                "{} is not a tracing directory: it has no current_tracer",
                path.display()
            ))
            .help(
                "give the folder where tracefs is mounted, or leave --tracing-dir out: snaptrace finds it",
            )),
            Err(error) => Err(Error::io("open", &path.join("current_tracer"), error)),
        }
    }

    /// Where the tracing directory is.
    pub fn path(&self) -> &Path {
        &self.top.path
    }

    /// True on the running kernel's tracefs, false on an ordinary folder.
    pub fn is_live(&self) -> bool {
        is_tracefs(self.path())
    }

    /// Whether the running kernel has function tracing switched off (`kernel.ftrace_enabled` is 0),
    /// so that its function tracers would record nothing. Says nothing of an ordinary folder.
    pub fn functions_are_off(&self) -> bool {
        self.is_live() && fs::read_to_string(FTRACE_ENABLED).is_ok_and(|value| value.trim() == "0")
    }

    /// The top instance: the tracing directory itself.
    pub fn top(&self) -> &Instance {
        &self.top
    }

    /// The named instance, or the top instance for `None`.
    ///
    /// # Errors
    /// The instance does not exist; the error lists the existing ones.
    pub fn instance(&self, name: Option<&str>) -> Result<Instance> {
        let Some(name) = name else { return Ok(self.top.clone()) };
        let path = self.instance_path(name)?;
        if path.is_dir() {
            return Ok(Instance { name: Some(name.to_string()), path });
        }
        let names = self.instances()?;
        let error = Error::usage(format!("instance '{name}' does not exist in {}", self.path().display()));
        Err(match names.is_empty() {
            true => error.help("there are none; 'snaptrace start -B NAME' creates one"),
            false => error.help(format!("instances: {}", names.join(" "))),
        })
    }

    /// Names of all instances below the top, sorted.
    ///
    /// # Errors
    /// The `instances` folder exists and cannot be read.
    pub fn instances(&self) -> Result<Vec<String>> {
        self.top.folders("instances")
    }

    /// Creates an instance: buffers, a tracer and filters of its own.
    ///
    /// # Errors
    /// The name is not a file name, or the kernel refuses (no memory, no instances).
    pub fn create_instance(&self, name: &str) -> Result<Instance> {
        let path = self.instance_path(name)?;
        fs::create_dir(&path).map_err(|error| Error::io("create the instance", &path, error))?;
        Ok(Instance { name: Some(name.to_string()), path })
    }

    /// Deletes an instance and its buffers.
    ///
    /// # Errors
    /// The kernel refuses, for example while a program reads from it.
    pub fn remove_instance(&self, name: &str) -> Result<()> {
        let path = self.instance_path(name)?;
        fs::remove_dir(&path).map_err(|error| Error::io("delete the instance", &path, error))
    }

    fn instance_path(&self, name: &str) -> Result<PathBuf> {
        if name.is_empty() || name == "." || name == ".." || name.contains('/') {
            return Err(Error::usage(format!("'{name}' cannot be the name of an instance"))
                .help("use a plain name, without a slash"));
        }
        Ok(self.path().join("instances").join(name))
    }
}

/// One set of control files and ring buffers.
///
/// File names are relative to the instance, as in `options/func_stack_trace`.
#[derive(Clone, Debug)]
pub struct Instance {
    name: Option<String>,
    path: PathBuf,
}

impl Instance {
    /// The name, or `None` for the top instance.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The instance in words, for messages: "the top instance" or "instance 'NAME'".
    pub fn describe(&self) -> String {
        match &self.name {
            Some(name) => format!("instance '{name}'"),
            None => "the top instance".to_string(),
        }
    }

    /// The folder of the instance.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The full path of one of its files.
    pub fn file(&self, file: &str) -> PathBuf {
        self.path.join(file)
    }

    /// Whether the kernel offers this file here.
    pub fn has(&self, file: &str) -> bool {
        self.file(file).exists()
    }

    /// The whole content. Bytes that are not UTF-8, for example in a command name, become U+FFFD.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn read(&self, file: &str) -> Result<String> {
        Ok(String::from_utf8(self.read_bytes(file)?)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// The whole content, unchanged.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn read_bytes(&self, file: &str) -> Result<Vec<u8>> {
        let mut source = self.open(file)?;
        let mut bytes = Vec::new();
        // Not read_to_end, which begins with a small read: header_page and header_event return only as
        // much as the first read asks for.
        let mut piece = vec![0; PIECE];
        loop {
            match source.read(&mut piece) {
                Ok(0) => return Ok(bytes),
                Ok(length) => bytes.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.file(file), error)),
            }
        }
    }

    /// The content without white space around it, for files that hold one value.
    ///
    /// # Errors
    /// As [`Instance::read`].
    pub fn read_value(&self, file: &str) -> Result<String> {
        Ok(self.read(file)?.trim().to_string())
    }

    /// Opens a file for reading it piece by piece, as `trace` needs.
    ///
    /// # Errors
    /// The file is missing or may not be read.
    pub fn open(&self, file: &str) -> Result<File> {
        File::open(self.file(file)).map_err(|error| Error::io("read", &self.file(file), error))
    }

    /// Copies a file to `out` in pieces, so that a large buffer is never whole in memory.
    ///
    /// # Errors
    /// Reading fails, or writing to `out` does ([`Error::is_closed_output`] is true for a closed pipe).
    pub fn copy(&self, file: &str, out: &mut dyn Write) -> Result<()> {
        let mut source = self.open(file)?;
        let mut piece = vec![0; PIECE];
        loop {
            match source.read(&mut piece) {
                Ok(0) => return out.flush().map_err(Error::output),
                Ok(length) => out.write_all(&piece[..length]).map_err(Error::output)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.file(file), error)),
            }
        }
    }

    /// Replaces the content by one value.
    ///
    /// # Errors
    /// The kernel refuses; the error carries path, value and the matching `error_log` entry.
    pub fn write(&self, file: &str, value: &str) -> Result<()> {
        self.write_lines(file, &[value], Mode::Replace)
    }

    /// Appends one value to the content.
    ///
    /// # Errors
    /// As [`Instance::write`].
    pub fn append(&self, file: &str, value: &str) -> Result<()> {
        self.write_lines(file, &[value], Mode::Append)
    }

    /// Writes several values through one opened file, one write each.
    ///
    /// A filter file takes effect when it is closed, so the values take effect together: the old filter
    /// is replaced by the new one in a single step.
    ///
    /// # Errors
    /// As [`Instance::write`]; the values after the refused one are not written.
    pub fn write_lines<T: AsRef<str>>(&self, file: &str, values: &[T], mode: Mode) -> Result<()> {
        let mut target = self.open_for_writing(file, mode)?;
        for value in values {
            let value = value.as_ref();
            // With the line end the kernel parses the value now and reports errors. Without it, a filter
            // file is parsed when it is closed, and errors are lost.
            if let Err(error) = target.write_all(format!("{value}\n").as_bytes()) {
                let log = self.error_log_about(value);
                let operation = format!("write '{value}' to");
                return Err(Error::io(&operation, &self.file(file), error).kernel_log(log));
            }
        }
        Ok(())
    }

    /// Opens the file with truncation and writes nothing: empties a filter, or the buffer (`trace`).
    ///
    /// # Errors
    /// The file is missing or may not be written.
    pub fn truncate(&self, file: &str) -> Result<()> {
        self.open_for_writing(file, Mode::Replace).map(drop)
    }

    /// Empties the buffer of every CPU.
    ///
    /// A write for the whole buffer empties those of online CPUs only, so the buffers of offline CPUs are
    /// emptied one by one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn clear(&self) -> Result<()> {
        let mut held = Vec::new();
        for cpu in self.folders("per_cpu")? {
            if let Some(oldest) = self.oldest(&cpu)? {
                held.push((cpu, oldest));
            }
        }
        self.truncate("trace")?;
        for (cpu, oldest) in held {
            if self.oldest(&cpu)?.as_ref() == Some(&oldest) {
                self.truncate(&format!("per_cpu/{cpu}/trace"))?;
            }
        }
        Ok(())
    }

    /// The time of the oldest event in a CPU's buffer, as text from its statistics; `None` when there is
    /// no event.
    fn oldest(&self, cpu: &str) -> Result<Option<String>> {
        let file = format!("per_cpu/{cpu}/stats");
        let stats = if self.has(&file) { self.read(&file)? } else { String::new() };
        let value = |name: &str| stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Ok(value("entries").filter(|count| *count != "0").and(value("oldest event ts")).map(String::from))
    }

    /// Checks that the kernel supports snapshots of this instance.
    ///
    /// # Errors
    /// It does not support them. Exit code 2.
    pub fn check_snapshots(&self) -> Result<()> {
        match self.has("snapshot") {
            true => Ok(()),
            false => {
                Err(Error::usage(format!("this kernel does not support snapshots of {}", self.describe()))
                    .help("the kernel needs CONFIG_TRACER_SNAPSHOT for them"))
            }
        }
    }

    /// Names of the folders in a folder of the instance, sorted; none when it does not exist.
    ///
    /// # Errors
    /// The folder exists and cannot be read.
    pub fn folders(&self, folder: &str) -> Result<Vec<String>> {
        self.names(folder, true)
    }

    /// Names of the files in a folder of the instance, sorted; none when it does not exist.
    ///
    /// # Errors
    /// The folder exists and cannot be read.
    pub fn files(&self, folder: &str) -> Result<Vec<String>> {
        self.names(folder, false)
    }

    fn names(&self, folder: &str, folders: bool) -> Result<Vec<String>> {
        let path = self.file(folder);
        let failed = |error: io::Error| Error::io("read the folder", &path, error);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let is_folder = entry.file_type().map_err(failed)?.is_dir();
            if is_folder == folders {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn open_for_writing(&self, file: &str, mode: Mode) -> Result<File> {
        // Never with `create`: writing a file that the kernel does not offer must fail.
        OpenOptions::new()
            .write(true)
            .append(mode == Mode::Append)
            .truncate(mode == Mode::Replace)
            .open(self.file(file))
            .map_err(|error| Error::io("write", &self.file(file), error))
    }

    /// The newest `error_log` entry, if it is about `command`.
    fn error_log_about(&self, command: &str) -> Option<String> {
        entry_about(&self.read("error_log").ok()?, command)
    }
}

/// The last entry of an error log, if its `Command:` line holds the refused value or a part of it.
///
/// The log keeps the last eight errors of any origin, so the entry must be matched to the write.
fn entry_about(log: &str, command: &str) -> Option<String> {
    let start = log.rmatch_indices('[').map(|(at, _)| at).find(|&at| at == 0 || log[..at].ends_with('\n'))?;
    let entry = log[start..].trim_end();
    let logged = entry.lines().find_map(|line| line.trim_start().strip_prefix("Command: "))?.trim();
    let command = command.trim();
    let same = !logged.is_empty() && (logged.contains(command) || command.contains(logged));
    same.then(|| entry.to_string())
}

fn is_tracefs(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type as u64 == TRACEFS_MAGIC)
}

fn read_mount_table() -> Result<String> {
    let table = fs::read(MOUNT_TABLE).map_err(|error| {
        Error::io("read", Path::new(MOUNT_TABLE), error)
            .help("mount proc (mount -t proc proc /proc), or name the tracing directory with --tracing-dir")
    })?;
    Ok(String::from_utf8_lossy(&table).into_owned())
}

/// The tracing directory in a mount table: a tracefs, else the one inside a debugfs.
fn mounted_directory(table: &str) -> Option<PathBuf> {
    let points = |kind: &'static str| {
        table.lines().filter_map(move |line| {
            let mut fields = line.split(' ');
            let point = fields.nth(1)?;
            (fields.next()? == kind).then(|| PathBuf::from(unescape(point)))
        })
    };
    // The usual place comes first: others may be bind mounts into a container.
    let tracefs: Vec<_> = points("tracefs").collect();
    tracefs
        .iter()
        .find(|path| path.as_path() == Path::new(TRACEFS_MOUNT_POINT))
        .or(tracefs.first())
        .cloned()
        .or_else(|| {
            points("debugfs").map(|path| path.join("tracing")).find(|path| is_tracing_directory(path))
        })
}

/// Undoes the octal escapes of the mount table (`\040` for a space).
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_string(), |text, (escape, plain)| text.replace(escape, plain))
}

/// Whether a folder is a tracing directory. A folder without access counts as one, so that the later
/// error names it.
fn is_tracing_directory(path: &Path) -> bool {
    match fs::metadata(path.join("current_tracer")) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

fn mount_failed(cause: io::Error) -> Error {
    let number = cause.raw_os_error().map(Errno::from_raw_os_error);
    let error = Error::io("mount tracefs at", Path::new(TRACEFS_MOUNT_POINT), cause);
    match number {
        Some(Errno::NODEV) => error.help("this kernel has no ftrace: it needs CONFIG_FUNCTION_TRACER"),
        Some(Errno::NOENT) => error.help(
            "mount sysfs first (mount -t sysfs sysfs /sys); a kernel without ftrace \
             (CONFIG_FUNCTION_TRACER) lacks the folder even then",
        ),
        _ => error,
    }
}

fn try_mount(kind: &str, point: &str) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(kind, point, kind, flags, None).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::tracing_directory;
    use super::*;

    #[test]
    fn an_ordinary_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = Tracefs::at(folder.path()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("is not a tracing directory"), "{error}");
    }

    #[test]
    fn replace_forgets_and_append_keeps() {
        let (folder, tracefs) = tracing_directory(&[]);
        let file = folder.path().join("set_ftrace_filter");
        fs::write(&file, "old\n").unwrap();
        tracefs.top().append("set_ftrace_filter", "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "old\nnew\n");
        tracefs.top().write_lines("set_ftrace_filter", &["a", "b"], Mode::Replace).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "a\nb\n");
        tracefs.top().truncate("set_ftrace_filter").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "");
    }

    #[test]
    fn a_missing_file_is_not_created() {
        let (folder, tracefs) = tracing_directory(&[]);
        let error = tracefs.top().write("max_graph_depth", "3").unwrap_err();
        assert!(error.to_string().contains("cannot write"), "{error}");
        assert!(error.to_string().contains("snaptrace check"), "{error}");
        assert!(!folder.path().join("max_graph_depth").exists());
    }

    #[test]
    fn instances_are_listed_made_and_deleted() {
        let (folder, tracefs) = tracing_directory(&[]);
        fs::create_dir(folder.path().join("instances")).unwrap();
        let error = tracefs.instance(Some("probe")).unwrap_err();
        assert!(error.to_string().contains("there are none"), "{error}");
        let instance = tracefs.create_instance("probe").unwrap();
        assert_eq!(instance.name(), Some("probe"));
        assert_eq!(tracefs.instances().unwrap(), ["probe"]);
        let error = tracefs.instance(Some("prob")).unwrap_err();
        assert!(error.to_string().contains("instances: probe"), "{error}");
        assert_eq!(tracefs.instance(Some("../x")).unwrap_err().exit_code(), 2);
        tracefs.remove_instance("probe").unwrap();
        assert_eq!(tracefs.instances().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn the_customary_mount_point_is_preferred() {
        let table = "proc /proc proc rw 0 0\n\
                     none /my\\040jail/tracing tracefs rw 0 0\n\
                     tracefs /sys/kernel/tracing tracefs rw 0 0\n";
        assert_eq!(mounted_directory(table), Some(PathBuf::from("/sys/kernel/tracing")));
        let (first_two, _) = table.split_at(table.find("tracefs /sys").unwrap());
        assert_eq!(mounted_directory(first_two), Some(PathBuf::from("/my jail/tracing")));
        assert_eq!(mounted_directory("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn only_the_entry_about_the_command_is_quoted() {
        let log = "[   10.1] event filter parse error: error: Field not found\n  Command: a > 1\n           ^\n\
                   [   12.5] hist:sched:sched_switch: error: Couldn't find field\n  Command: keys=x[3]\n           ^\n";
        let entry = entry_about(log, "hist:keys=x[3]").unwrap();
        assert!(entry.starts_with("[   12.5]") && entry.ends_with('^'), "{entry}");
        assert_eq!(entry_about(log, "a > 1"), None);
        assert_eq!(entry_about("", "a"), None);
    }
}
