//! Changes to an instance that are undone afterwards: each file is read before it is first written, and
//! the files are restored in reverse order.
//!
//! Control files are restored; contents of buffers and statistics are not. A buffer with its boot-time
//! size ("7 (expanded: 1408)") gets the expanded size, because the kernel cannot go back.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{FlockOperation, flock, major, minor};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::restore::journal::{Entry, FoundJournal, Journal};
use crate::tracefs::{Instance, Mode, Tracefs};
use trace_dat::texts::chosen_clock;

const TRACER: &str = "current_tracer";
const TRACING_ON: &str = "tracing_on";
pub(crate) const BUFFER_SIZE: &str = "buffer_size_kb";
const LOCKS: &str = "/proc/locks";
/// Files whose values the kernel does not copy from the top instance to a new one.
const INHERITED: [&str; 10] = [
    "set_ftrace_filter",
    "set_ftrace_notrace",
    "set_ftrace_pid",
    "set_ftrace_notrace_pid",
    "set_event_pid",
    "set_event_notrace_pid",
    "options/function-fork",
    "options/event-fork",
    "tracing_cpumask",
    "trace_clock",
];

/// A file, and the values that undo a change.
#[derive(Debug, PartialEq, Eq)]
struct Saved {
    file: String,
    values: Vec<String>,
    mode: Mode,
}

/// Changes to one instance. When the session is restored or dropped, all control files get their old
/// values.
///
/// ```
/// # fn main() -> snaptrace::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # std::fs::write(folder.path().join("current_tracer"), "nop\n").unwrap();
/// # std::fs::write(folder.path().join("max_graph_depth"), "0\n").unwrap();
/// use snaptrace::restore::session::Session;
/// use snaptrace::tracefs::Tracefs;
/// let tracefs = Tracefs::at(folder.path())?; // Tracefs::find_or_mount() for the running kernel's
/// let mut session = Session::new(tracefs.top().clone());
/// session.write("max_graph_depth", &["3".to_string()])?;
/// session.restore()?;
/// assert_eq!(tracefs.top().read_value("max_graph_depth")?, "0");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Session {
    instance: Instance,
    saved: Vec<Saved>,
    created_in: Option<Tracefs>,
    journal: Option<Rc<Journal>>,
}

impl Session {
    /// A session on an existing instance; nothing is changed yet.
    pub fn new(instance: Instance) -> Session {
        Session { instance, saved: Vec::new(), created_in: None, journal: None }
    }

    /// Notes all changes in a journal before they are made.
    pub fn with_journal(mut self, journal: Option<&Rc<Journal>>) -> Session {
        self.journal = journal.cloned();
        self
    }

    /// A session on the named instance. If it does not exist, it is created, and deleted at the end.
    ///
    /// # Errors
    /// The name is not a file name, or the kernel refuses.
    pub fn in_instance(
        tracefs: &Tracefs,
        name: Option<&str>,
        journal: Option<&Rc<Journal>>,
    ) -> Result<Session> {
        match name {
            Some(name) if !tracefs.instances()?.iter().any(|known| known == name) => {
                Session::create(tracefs, name, journal)
            }
            name => Ok(Session::new(tracefs.instance(name)?).with_journal(journal)),
        }
    }

    /// A session on a temporary instance, which is deleted at the end; `purpose` is a part of its name.
    /// `None` if it cannot be created: the kernel has no instances, or no memory for one more.
    pub fn in_own_instance(
        tracefs: &Tracefs,
        purpose: &str,
        journal: Option<&Rc<Journal>>,
    ) -> Option<Session> {
        if !tracefs.top().has("instances") {
            return None;
        }
        let name = format!("snaptrace-{purpose}-{}", std::process::id());
        let session = Session::create(tracefs, &name, journal).ok()?;
        // In an ordinary folder that only looks like a tracing directory, the new folder stays empty.
        session.instance.has(TRACER).then_some(session)
    }

    fn create(tracefs: &Tracefs, name: &str, journal: Option<&Rc<Journal>>) -> Result<Session> {
        expand(tracefs.top())?;
        if let Some(journal) = journal {
            journal.note(&Entry::Created { instance: name.to_string() })?;
        }
        let mut session = Session::new(tracefs.create_instance(name)?).with_journal(journal);
        session.created_in = Some(tracefs.clone());
        Ok(session)
    }

    /// Copies settings of the top instance to a new one: filters, processes, clock, buffer size.
    ///
    /// # Errors
    /// A file cannot be read, or the kernel refuses a value.
    pub fn inherit(&self, top: &Instance) -> Result<()> {
        let mut files: Vec<String> = INHERITED.map(String::from).to_vec();
        if self.instance.has(BUFFER_SIZE) && written_form(BUFFER_SIZE, &top.read(BUFFER_SIZE)?) == ["X"] {
            let cpus = top.folders("per_cpu")?;
            files.extend(cpus.iter().map(|cpu| format!("per_cpu/{cpu}/{BUFFER_SIZE}")));
        } else {
            files.push(BUFFER_SIZE.to_string());
        }
        for file in files.iter().filter(|file| top.has(file) && self.instance.has(file)) {
            let values = written_form(file, &top.read(file)?);
            if values != self.values(file)? {
                self.instance.write_lines(file, &values, Mode::Replace)?;
            }
        }
        Ok(())
    }

    /// Whether this session created the instance, so that it holds no data of other users.
    pub fn is_new(&self) -> bool {
        self.created_in.is_some()
    }

    /// The instance.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Saves a file unless it is saved already, and replaces its content; without values it is emptied.
    ///
    /// # Errors
    /// The file cannot be read, or the kernel refuses a value.
    pub fn write(&mut self, file: &str, values: &[String]) -> Result<()> {
        self.save(file)?;
        self.instance.write_lines(file, values, Mode::Replace)
    }

    /// Appends values to a file, such as a trigger; `undo` is appended to restore it.
    ///
    /// # Errors
    /// The kernel refuses a value.
    pub fn append(&mut self, file: &str, values: &[String], undo: Vec<String>) -> Result<()> {
        self.note(Saved { file: file.to_string(), values: undo, mode: Mode::Append })?;
        let outcome = self.instance.write_lines(file, values, Mode::Append);
        if outcome.is_err() {
            // The refused value was not added, so there is nothing to undo.
            self.saved.pop();
        }
        outcome
    }

    fn save(&mut self, file: &str) -> Result<()> {
        if self.saved.iter().any(|saved| saved.file == file) {
            return Ok(());
        }
        let values = self.values(file)?;
        // "X" says that the CPUs' buffers differ in size.
        if file == BUFFER_SIZE && values == ["X"] {
            for cpu in self.instance.folders("per_cpu")? {
                self.save(&format!("per_cpu/{cpu}/{BUFFER_SIZE}"))?;
            }
            return Ok(());
        }
        self.note(Saved { file: file.to_string(), values, mode: Mode::Replace })
    }

    /// Remembers how to undo a change, here and in the journal.
    fn note(&mut self, saved: Saved) -> Result<()> {
        if let Some(journal) = &self.journal {
            journal.note(&Entry::Changed {
                instance: self.instance.name().unwrap_or_default().to_string(),
                file: saved.file.clone(),
                values: saved.values.clone(),
                mode: saved.mode,
            })?;
        }
        self.saved.push(saved);
        Ok(())
    }

    fn values(&self, file: &str) -> Result<Vec<String>> {
        let mut values = written_form(file, &self.instance.read(file)?);
        if file == "set_event" {
            values.retain(|event| !self.is_only_triggered(event));
        }
        Ok(values)
    }

    /// Whether an event is listed as on only because of its triggers, and records nothing.
    fn is_only_triggered(&self, event: &str) -> bool {
        let file = format!("events/{}/enable", event.replacen(':', "/", 1));
        self.instance.has(&file) && self.instance.read_value(&file).is_ok_and(|state| state.starts_with('0'))
    }

    /// Restores everything, the last change first, and deletes the instance if the session created it.
    ///
    /// Meanwhile tracing is off and the tracer is nop: some filters cannot be changed while a tracer is
    /// set, and an empty filter means every function. A failure does not stop the rest.
    ///
    /// # Errors
    /// The first failure; the error names the file, and the old value if the kernel refused it.
    pub fn restore(&mut self) -> Result<()> {
        let mut saved = std::mem::take(&mut self.saved);
        let mut first = Ok(());
        let mut note = |outcome: Result<()>| {
            if first.is_ok() {
                first = outcome.map_err(|error| {
                    error.note("not all settings could be restored; 'snaptrace stat' shows the present ones")
                });
            }
        };
        if saved.iter().any(|saved| saved.file == TRACER) {
            for (file, value) in [(TRACING_ON, "0"), (TRACER, "nop")] {
                if saved.iter().any(|saved| saved.file == file) {
                    note(self.instance.write(file, value));
                }
            }
        }
        while let Some(Saved { file, values, mode }) = saved.pop() {
            // Unchanged files are not written: some writes, such as to trace_clock, empty the buffer.
            // Pid files are always written: if all processes of a filter have ended, it looks empty, but
            // traces nothing.
            match self.values(&file) {
                Ok(now) if mode == Mode::Replace && now == values && !file.ends_with("_pid") => {}
                // A restore that was killed may have removed the values already.
                Ok(now) if mode == Mode::Append && now.is_empty() => {}
                _ => note(self.instance.write_lines(&file, &values, mode)),
            }
        }
        // Last, after its files: on some kernels an option of an instance is also set in the top one.
        if let (Some(tracefs), Some(name)) = (self.created_in.take(), self.instance.name()) {
            note(tracefs.remove_instance(name));
        }
        first
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Something is left to restore only after a failure, which is reported anyway.
        let _ = self.restore();
    }
}

/// Expands the top instance's buffer to the size that it would get at its first use.
///
/// After another instance was created, or a size was refused, the kernel takes the small boot-time buffer
/// for the expanded one and no longer expands it.
pub(crate) fn expand(top: &Instance) -> Result<()> {
    if top.has(BUFFER_SIZE) && top.read(BUFFER_SIZE)?.contains("(expanded: ") {
        top.write_lines(BUFFER_SIZE, &written_form(BUFFER_SIZE, &top.read(BUFFER_SIZE)?), Mode::Replace)?;
    }
    Ok(())
}

/// Restores the settings that a killed recording has changed, if there is one; returns its pid.
///
/// While a recording runs, nothing is done: the journal is in use.
///
/// # Errors
/// The journal cannot be read, or not everything could be restored; there is no second attempt.
pub fn recover(tracefs: &Tracefs) -> Result<Option<String>> {
    let Some(path) = FoundJournal::path(tracefs)? else { return Ok(None) };
    let Ok(_lock) = Lock::take(tracefs) else { return Ok(None) };
    let Some(found) = FoundJournal::read(&path)? else { return Ok(None) };
    let mut outcome = Ok(());
    let mut sessions: Vec<Session> = Vec::new();
    for entry in &found.entries {
        let (Entry::Created { instance } | Entry::Changed { instance, .. }) = entry;
        let name = Some(instance.as_str()).filter(|name| !name.is_empty());
        // If the instance was deleted, there is nothing to restore in it.
        let Ok(instance) = tracefs.instance(name) else { continue };
        let index = sessions.iter().position(|known| known.instance.name() == name).unwrap_or_else(|| {
            sessions.push(Session::new(instance));
            sessions.len() - 1
        });
        match entry {
            Entry::Created { .. } => sessions[index].created_in = Some(tracefs.clone()),
            Entry::Changed { file, values, mode, .. } => {
                let saved = Saved { file: file.clone(), values: values.clone(), mode: *mode };
                sessions[index].saved.push(saved);
            }
        }
    }
    while let Some(mut session) = sessions.pop() {
        outcome = outcome.and(session.restore());
    }
    found.remove()?;
    outcome.map(|()| Some(found.pid))
}

/// The values to write to a file so that it has this content again.
fn written_form(file: &str, content: &str) -> Vec<String> {
    let lines = || content.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let name = file.rsplit('/').next().unwrap_or(file);
    match name {
        "set_ftrace_filter" | "set_ftrace_notrace" => {
            lines().filter(|line| !is_function_command(line)).map(with_module).collect()
        }
        "set_graph_function" | "set_graph_notrace" => {
            lines().filter_map(|line| line.split_ascii_whitespace().next()).map(String::from).collect()
        }
        "set_event" | "trigger" => lines().map(String::from).collect(),
        // A filter that the kernel refused is shown with the reason, but has no effect.
        "filter" => {
            let filter = content.trim();
            let none = filter == "none" || filter.contains("parse_error:");
            vec![if none { "0" } else { filter }.to_string()]
        }
        "set_ftrace_pid" | "set_ftrace_notrace_pid" | "set_event_pid" | "set_event_notrace_pid" => {
            lines().filter(|line| *line != "no pid").map(String::from).collect()
        }
        "trace_clock" => {
            vec![chosen_clock(content).unwrap_or(content.trim()).to_string()]
        }
        BUFFER_SIZE => {
            let size = content.split_once("(expanded: ").map_or(content, |(_, rest)| rest);
            vec![size.trim().trim_end_matches(')').to_string()]
        }
        _ => vec![content.trim().to_string()],
    }
}

/// Whether a line of a filter file is a command such as `schedule:traceoff:unlimited`, which
/// stays when the filter is replaced.
fn is_function_command(line: &str) -> bool {
    line.contains(':') && !line.contains(":mod:")
}

/// The filter for a line of a filter file; for a module's function it includes the module.
fn with_module(line: &str) -> String {
    match line.split_once(" [") {
        Some((name, module)) => format!("{name}:mod:{}", module.trim_end_matches(']')),
        None => line.to_string(),
    }
}

/// The right to record in a tracing directory; one recording holds it at a time.
///
/// The lock is on the directory itself. So it leaves no file behind, it is the same in every mount of the
/// kernel's tracefs and in every container, and it ends with its process, even if that is killed.
#[derive(Debug)]
pub struct Lock {
    _directory: File,
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// Another recording holds it; the error names its process if it is visible from here.
    pub fn take(tracefs: &Tracefs) -> Result<Lock> {
        let path = tracefs.path();
        let directory = File::open(path).map_err(|cause| Error::io("open", path, cause))?;
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { _directory: directory }),
            Err(Errno::WOULDBLOCK) => Err(held_by(path, &directory)),
            Err(error) => Err(Error::io("lock", path, error)),
        }
    }
}

fn held_by(path: &Path, directory: &File) -> Error {
    // If the process is unknown, the message does not name it.
    let pid = directory.metadata().ok().and_then(|meta| {
        let inode = format!("{:02x}:{:02x}:{}", major(meta.dev()), minor(meta.dev()), meta.ino());
        lock_holder(&std::fs::read_to_string(LOCKS).ok()?, &inode)
    });
    let who = pid.map_or("another process".to_string(), |pid| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        match words.trim() {
            "" => format!("process {pid}"),
            words => format!("process {pid} ({words})"),
        }
    });
    Error::new(format!("{} is used by a recording of {who}", path.display())).help(
        "two recordings cannot share tracer, stacks and graphs: wait for that one, or end it with Ctrl-C or kill -INT",
    )
}

/// The process that holds the lock on an inode, from the content of /proc/locks.
fn lock_holder(locks: &str, inode: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [_, "FLOCK", _, _, pid, place, ..] if *place == inode => pid.parse().ok(),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tracefs::fixture::tracing_directory;

    #[test]
    fn contents_become_what_has_to_be_written() {
        for (file, content, values) in [
            ("current_tracer", "nop\n", &["nop"][..]),
            ("trace_clock", "local [global] counter\n", &["global"]),
            ("buffer_size_kb", "7 (expanded: 1408)\n", &["1408"]),
            ("per_cpu/cpu1/buffer_size_kb", "64\n", &["64"]),
            ("set_ftrace_filter", "#### all functions enabled ####\n", &[]),
            (
                "set_ftrace_filter",
                "kfree\next4_sync_fs [ext4]\nwrite*:mod:fuse\na:traceoff:unlimited\n",
                &["kfree", "ext4_sync_fs:mod:ext4", "write*:mod:fuse"],
            ),
            ("set_graph_function", "vfs_read\next4_sync_fs [ext4]\n", &["vfs_read", "ext4_sync_fs"]),
            ("set_ftrace_pid", "no pid\n", &[]),
            ("set_event_pid", "12\n13\n", &["12", "13"]),
            (
                "set_event",
                "sched:sched_switch\nirq:softirq_entry\n",
                &["sched:sched_switch", "irq:softirq_entry"],
            ),
        ] {
            assert_eq!(written_form(file, content), values, "{file}: {content}");
        }
    }

    fn directory(files: &[(&str, &str)]) -> (tempfile::TempDir, Tracefs) {
        let usual = [("current_tracer", "function\n"), ("tracing_on", "1\n")];
        tracing_directory(&[&usual, files].concat())
    }

    fn one(value: &str) -> Vec<String> {
        vec![value.to_string()]
    }

    #[test]
    fn what_was_there_first_comes_back_even_after_several_changes() {
        let (folder, tracefs) = directory(&[("set_ftrace_filter", "kfree\n__kmalloc\n")]);
        let mut session = Session::new(tracefs.top().clone());
        for (file, value) in [
            ("tracing_on", "0"),
            ("current_tracer", "nop"),
            ("set_ftrace_filter", "a"),
            ("current_tracer", "function_graph"),
        ] {
            session.write(file, &one(value)).unwrap();
        }
        session.write("set_ftrace_filter", &[]).unwrap();
        session.restore().unwrap();
        let content = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap();
        assert_eq!(content("set_ftrace_filter"), "kfree\n__kmalloc\n");
        assert_eq!(content("current_tracer"), "function\n");
        assert_eq!(content("tracing_on"), "1\n");
    }

    #[test]
    fn dropping_restores() {
        let (folder, tracefs) = directory(&[("max_graph_depth", "2\n")]);
        let mut session = Session::new(tracefs.top().clone());
        session.write("max_graph_depth", &one("5")).unwrap();
        drop(session);
        assert_eq!(fs::read_to_string(folder.path().join("max_graph_depth")).unwrap(), "2\n");
    }

    #[test]
    fn buffers_of_different_sizes_are_saved_one_by_one() {
        let (_folder, tracefs) = directory(&[
            ("buffer_size_kb", "X\n"),
            ("per_cpu/cpu0/buffer_size_kb", "64\n"),
            ("per_cpu/cpu1/buffer_size_kb", "128\n"),
        ]);
        let mut session = Session::new(tracefs.top().clone());
        session.write("buffer_size_kb", &one("10")).unwrap();
        let saved: Vec<(&str, &str)> =
            session.saved.iter().map(|saved| (saved.file.as_str(), saved.values[0].as_str())).collect();
        assert_eq!(saved, [("per_cpu/cpu0/buffer_size_kb", "64"), ("per_cpu/cpu1/buffer_size_kb", "128")]);
    }

    #[test]
    fn a_new_instance_begins_with_what_is_in_effect_at_the_top() {
        let (folder, tracefs) = directory(&[
            ("set_ftrace_filter", "kfree\nwrite_end [ext4]\n"),
            ("set_event_pid", "7\n"),
            ("trace_clock", "local [global]\n"),
            ("buffer_size_kb", "X\n"),
            ("per_cpu/cpu0/buffer_size_kb", "64\n"),
            ("per_cpu/cpu1/buffer_size_kb", "128\n"),
            ("max_graph_depth", "3\n"),
            ("instances/mine/set_ftrace_filter", "#### all functions enabled ####\n"),
            ("instances/mine/set_event_pid", ""),
            ("instances/mine/trace_clock", "[local] global\n"),
            ("instances/mine/buffer_size_kb", "1408\n"),
            ("instances/mine/per_cpu/cpu0/buffer_size_kb", "1408\n"),
            ("instances/mine/per_cpu/cpu1/buffer_size_kb", "1408\n"),
        ]);
        let session = Session::new(tracefs.instance(Some("mine")).unwrap());
        session.inherit(tracefs.top()).unwrap();
        let content =
            |file: &str| fs::read_to_string(folder.path().join("instances/mine").join(file)).unwrap();
        assert_eq!(content("set_ftrace_filter"), "kfree\nwrite_end:mod:ext4\n");
        assert_eq!(content("set_event_pid"), "7\n");
        assert_eq!(content("trace_clock"), "global\n");
        assert_eq!(content("buffer_size_kb"), "1408\n", "there are sizes of the CPUs' own");
        assert_eq!(content("per_cpu/cpu0/buffer_size_kb"), "64\n");
        assert_eq!(content("per_cpu/cpu1/buffer_size_kb"), "128\n");
    }

    #[test]
    fn an_instance_that_is_created_does_not_leave_the_top_with_the_buffer_of_the_boot() {
        let (folder, tracefs) = directory(&[("buffer_size_kb", "7 (expanded: 1408)\n")]);
        fs::create_dir(folder.path().join("instances")).unwrap();
        assert!(Session::in_own_instance(&tracefs, "test", None).is_none(), "it has no tracers here");
        assert_eq!(fs::read_to_string(folder.path().join("buffer_size_kb")).unwrap(), "1408\n");
        assert_eq!(tracefs.instances().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_event_that_is_on_for_its_trigger_alone_is_not_switched_on() {
        let (folder, tracefs) = directory(&[
            ("set_event", "sched:sched_switch\nsched:sched_waking\n"),
            ("events/sched/sched_switch/enable", "0*\n"),
            ("events/sched/sched_waking/enable", "1*\n"),
        ]);
        let mut session = Session::new(tracefs.top().clone());
        session.write("set_event", &one("irq:irq_handler_entry")).unwrap();
        session.restore().unwrap();
        let content = fs::read_to_string(folder.path().join("set_event")).unwrap();
        assert_eq!(content, "sched:sched_waking\n");
    }

    #[test]
    fn a_failure_does_not_stop_the_rest() {
        let (folder, tracefs) = directory(&[("max_graph_depth", "2\n"), ("set_event_pid", "7\n")]);
        let mut session = Session::new(tracefs.top().clone());
        session.write("max_graph_depth", &one("5")).unwrap();
        session.write("set_event_pid", &one("8")).unwrap();
        fs::remove_file(folder.path().join("set_event_pid")).unwrap();
        let error = session.restore().unwrap_err();
        assert!(error.to_string().contains("set_event_pid"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join("max_graph_depth")).unwrap(), "2\n");
    }

    #[test]
    fn a_second_recording_is_told_who_holds_the_first() {
        let (_folder, tracefs) = directory(&[]);
        let lock = Lock::take(&tracefs).unwrap();
        let error = Lock::take(&tracefs).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(lock);
        Lock::take(&tracefs).unwrap();
    }

    #[test]
    fn the_holder_is_found_by_inode() {
        let locks =
            "1: POSIX  ADVISORY  WRITE 11 00:0b:1 0 EOF\n2: FLOCK  ADVISORY  WRITE 12 00:0b:1 0 EOF\n";
        assert_eq!(lock_holder(locks, "00:0b:1"), Some(12));
        assert_eq!(lock_holder(locks, "00:0b:2"), None);
    }
}
