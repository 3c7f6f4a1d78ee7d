//! `cargo xtask run` and `shell`: one command, or a terminal, in a guest.

use std::fs::{self, File, Permissions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use initramfs::protocol::{Frame, Status};
use initramfs::{Job, Step};
use rustix::fs::{FileType, SeekFrom, fstat, seek};
use tempfile::NamedTempFile;

use super::bundle::{self, GuestFailure};
use super::results;
use crate::base::error::{Context, Error, Result};
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::base::{cache, terminal};
use crate::guest::folders;
use crate::guest::prepared::{Guest, GuestOptions, Tools};
use crate::kernel::{self, Request};
use crate::matrix::Record;
use crate::vm::accel::Purpose;
use crate::vm::{Accel, Deadlines, Exactness, Machine, Taken, TerminalEnd, console};

/// A file to copy out of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// Its path in the guest.
    pub guest: String,
    /// Its path on the host.
    pub host: PathBuf,
}

impl Get {
    /// The folder on the host that it goes to.
    fn folder(&self) -> &Path {
        match self.host.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// Checks, before a run, that the file can be written after it.
    fn check(&self) -> Result<()> {
        let failed = |error: io::Error| {
            Error::new(format!("cannot write {} for `--get`", self.host.display()))
                .because(error)
                .help("`--get GUEST_FILE:HOST_FILE` names a file in a folder that exists")
                .usage()
        };
        tempfile::tempfile_in(self.folder()).map_err(failed)?;
        if self.host.is_dir() { Err(failed(io::ErrorKind::IsADirectory.into())) } else { Ok(()) }
    }
}

impl std::str::FromStr for Get {
    type Err = String;

    /// `GUEST_FILE[:HOST_FILE]`; without the second part, the same name in the current folder.
    fn from_str(text: &str) -> Result<Get, String> {
        let (guest, host) = match text.split_once(':') {
            Some((guest, host)) => (guest, PathBuf::from(host)),
            None => {
                let name = Path::new(text).file_name();
                (text, PathBuf::from(name.ok_or_else(|| format!("{text} names no file"))?))
            }
        };
        if guest.is_empty() || host.as_os_str().is_empty() {
            return Err(format!("{text} is not GUEST_FILE[:HOST_FILE]"));
        }
        Ok(Get { guest: guest.into(), host })
    }
}

/// The standard input of a command in a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Our own standard input.
    Standard,
    /// A file.
    File(PathBuf),
}

impl Input {
    /// The most bytes that are passed on: they are in the guest's memory.
    const LIMIT: u64 = 64 << 20;
    /// How long to wait for its end before a message says so.
    const SILENCE: Duration = Duration::from_secs(2);

    fn name(&self) -> String {
        match self {
            Input::Standard => "standard input".into(),
            Input::File(path) => path.display().to_string(),
        }
    }

    /// Reads it to its end; if that takes long, a message says what it waits for.
    fn read(&self, say: &dyn Fn(String)) -> Result<Vec<u8>> {
        let name = self.name();
        let (sender, receiver) = mpsc::channel();
        let this = self.clone();
        // In a thread: opening a named pipe can block, as reading can.
        thread::spawn(move || {
            let read = |from: &mut dyn Read| {
                let mut bytes = Vec::new();
                from.take(Input::LIMIT + 1).read_to_end(&mut bytes).map(|_| bytes)
            };
            let bytes = match this {
                Input::Standard => read(&mut io::stdin()),
                Input::File(path) => File::open(path).and_then(|mut file| read(&mut file)),
            };
            // The receiver is gone if this process is about to end.
            let _ = sender.send(bytes);
        });
        let gone = || Error::new(format!("cannot read {name}"));
        let bytes = match receiver.recv_timeout(Input::SILENCE) {
            Err(RecvTimeoutError::Timeout) => {
                let terminal = *self == Input::Standard && io::stdin().is_terminal();
                let how = if terminal { "; Ctrl-D on a line of its own ends it" } else { "" };
                say(format!("waiting for the end of {name}, which is read before the boot{how}"));
                receiver.recv().map_err(|_| gone())?
            }
            received => received.map_err(|_| gone())?,
        };
        let bytes = bytes.context(|| format!("cannot read {name}"))?;
        if bytes.len() as u64 > Input::LIMIT {
            return Err(Error::new(format!("cannot pass on {name}: it is larger than 64 MiB"))
                .help("`--put FILE` puts a file of any size into the guest's /extra")
                .usage());
        }
        Ok(bytes)
    }
}

/// Whether our standard input has data, which nobody will read.
fn input_waits() -> bool {
    let stdin = rustix::stdio::stdin();
    let Ok(about) = fstat(stdin) else { return false };
    match FileType::from_raw_mode(about.st_mode) {
        FileType::RegularFile => {
            let at = seek(stdin, SeekFrom::Current(0)).unwrap_or(0);
            u64::try_from(about.st_size).is_ok_and(|size| size > at)
        }
        FileType::Fifo | FileType::Socket => rustix::io::ioctl_fionread(stdin).is_ok_and(|count| count > 0),
        _ => false,
    }
}

/// One command for a guest.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kernel; the first that can be obtained when `None`.
    pub kernel: Option<String>,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Files to copy out afterwards.
    pub get: Vec<Get>,
    /// The command's standard input; empty when `None`.
    pub stdin: Option<Input>,
    /// How the guest differs from the usual one.
    pub guest_options: GuestOptions,
    /// Seconds the command may take; no limit when `None`.
    pub timeout: Option<u64>,
}

/// Runs a command in a guest, and passes its output on as it arrives.
///
/// Returns the command's exit status, or, if the guest failed, the exit code of the verdict.
///
/// # Errors
/// When the guest cannot be prepared, or a file cannot be copied out.
pub fn run(workspace: &Workspace, options: &Options) -> Result<u8> {
    Machine::check_cpus(options.guest_options.cpus, options.guest_options.max_cpus)?;
    for get in &options.get {
        get.check()?;
    }
    let stdin =
        options.stdin.as_ref().map(|input| input.read(&|line| workspace.host.ui.say(line))).transpose()?;
    let tools = Tools::get(workspace)?;
    let (record, kernel) = pick(workspace, options.kernel.as_deref())?;
    let guest_options = GuestOptions { purpose: Purpose::Work, ..options.guest_options.clone() };
    let guest = Guest::prepare(workspace, &tools, &record, kernel, guest_options)?;
    if guest.accel == Accel::Kvm {
        workspace.host.ui.say(format!("{}: kvm, not exact", guest.kernel.name));
    }
    let step = Step { argv: options.argv.clone(), ..Step::default() };
    let get = options.get.iter().map(|get| get.guest.clone()).collect();
    let job = Job { steps: vec![step], get, stdin, ..guest.job() };
    let scratch = folders::scratch(&workspace.root)?;
    let folder = results::of_case(scratch.path(), &guest.kernel.name, "run")?;
    let mut output = Output::new(&options.get);
    // The user's own limit is not scaled to the accelerator.
    let job_limit = options.timeout.map(Duration::from_secs);
    let mut deadlines = Deadlines { job: job_limit, ..guest.deadlines(None) };
    if let Some(line) = guest.debugger() {
        workspace.host.ui.say(line);
        deadlines.boot = Duration::MAX;
    }
    let mut unread = Unread { reported: options.stdin.is_some() };
    unread.report(workspace);
    let (ended, inputs) = guest.boot(&job, &folder, deadlines, &mut |frame| output.take(frame))?;
    // Data may have arrived after the first check.
    unread.report(workspace);
    let advice = guest.advice(workspace, ended.took)?;
    if let Err((verdict, why)) = ended.judge() {
        let stdin = folder.join(bundle::STDIN);
        if let Some(bytes) = &job.stdin {
            fs::write(&stdin, bytes).map_err(|e| cache::denied("cannot write", &stdin, &e))?;
        }
        let again = again(&guest, options, &stdin);
        let failure =
            GuestFailure { case: "run", guest: &guest, inputs: &inputs, verdict, why: &why, again: &again };
        failure.write(&folder)?;
        scratch.keep();
        workspace.host.ui.say(format!("{verdict}: {why}"));
        for line in failure.shown(workspace, &folder).into_iter().chain(advice) {
            workspace.host.ui.say(line);
        }
        return Ok(verdict.exit_code());
    }
    if let Some(advice) = advice {
        workspace.host.ui.say(advice);
    }
    output.finish(workspace, &options.argv[0])
}

/// Remembers whether a message said that standard input is not passed on.
struct Unread {
    reported: bool,
}

impl Unread {
    fn report(&mut self, workspace: &Workspace) {
        if !self.reported && input_waits() {
            self.reported = true;
            workspace.host.ui.say("standard input is not passed on; `run -i` passes it on");
        }
    }
}

/// The command line that repeats the run.
fn again(guest: &Guest, options: &Options, stdin: &Path) -> String {
    let mut flags = bundle::quoted(&guest.options());
    if options.stdin.is_some() {
        // It works in any folder, even if the original file is gone.
        flags += &format!(" --stdin={}", bundle::quoted(&[stdin.display().to_string()]));
    }
    let mut words = Vec::new();
    for get in &options.get {
        words.extend(["--get".to_owned(), format!("{}:{}", get.guest, get.host.display())]);
    }
    if let Some(seconds) = options.timeout {
        words.extend(["--timeout".to_owned(), seconds.to_string()]);
    }
    words.push("--".to_owned());
    words.extend(options.argv.iter().cloned());
    format!("cargo xtask run {flags} {}", bundle::quoted(&words))
}

/// Opens a shell in a guest: on this terminal, or, if standard input is no terminal, one that runs the
/// commands it reads there. Returns the shell's exit status, or, if the guest failed, the exit code of the
/// verdict.
///
/// # Errors
/// When the guest cannot be prepared, or the terminal is gone.
pub fn shell(workspace: &Workspace, kernel: Option<&str>, guest_options: GuestOptions) -> Result<u8> {
    Machine::check_cpus(guest_options.cpus, guest_options.max_cpus)?;
    let terminal = io::stdin().is_terminal();
    let tools = Tools::get(workspace)?;
    let (record, kernel) = pick(workspace, kernel)?;
    // Input from people and pipes arrives at any time, so the guest is not bit-exact.
    let exact = Exactness::Off;
    let purpose = Purpose::Work;
    let guest_options = GuestOptions {
        busybox: true,
        interactive: terminal,
        input: !terminal,
        exact,
        purpose,
        ..guest_options
    };
    let guest = Guest::prepare(workspace, &tools, &record, kernel, guest_options.clone())?;
    let how = match terminal {
        true => "`exit` powers off, Ctrl-A X ends QEMU at once, Ctrl-A Ctrl-A is one Ctrl-A",
        false => "it ends with standard input",
    };
    let under = match guest.accel {
        Accel::Kvm => "kvm, not exact",
        Accel::Tcg => "tcg",
    };
    workspace.host.ui.say(format!("{} under {under}; {how}", guest.kernel.release));
    if let Some(line) = guest.debugger() {
        workspace.host.ui.say(line);
    }
    let scratch = folders::scratch(&workspace.root)?;
    let folder = scratch.path();
    let mut output = Output::new(&[]);
    let take = &mut |frame| output.take(frame);
    let ended = if terminal {
        let job = Job { shell: true, size: terminal::size(), ..guest.job() };
        match guest.boot_interactive(&job, folder, take)? {
            TerminalEnd::Ended(ended) => *ended,
            TerminalEnd::Escaped => {
                workspace.host.ui.say("\nended by Ctrl-A X");
                return Ok(0);
            }
        }
    } else {
        let step = Step { argv: vec![SHELL.into()], ..Step::default() };
        let job = Job { steps: vec![step], input: true, ..guest.job() };
        let usual = guest.deadlines(None);
        let boot = if guest_options.gdb.is_some() { Duration::MAX } else { usual.boot };
        guest.boot(&job, folder, Deadlines { boot, ..usual }, take)?.0
    };
    if let Err((verdict, why)) = ended.judge() {
        workspace.host.ui.say(format!("{verdict}: {why}"));
        return Ok(verdict.exit_code());
    }
    output.finish(workspace, SHELL)
}

/// The program that runs commands from standard input.
const SHELL: &str = "sh";

/// The named kernel, else the first cached one of the matrix, else the first that can be obtained. References
/// are tried first.
///
/// # Errors
/// When the name is unknown, or no kernel is available.
pub fn pick(workspace: &Workspace, name: Option<&str>) -> Result<(Record, kernel::Kernel)> {
    if let Some(name) = name {
        let record = kernel::record_of(workspace, name)?;
        let kernel = kernel::obtain(workspace, &record, &Request::default())?;
        return Ok((record, kernel));
    }
    let matrix = workspace.matrix()?;
    let mut records: Vec<&Record> = matrix.usual().collect();
    records.sort_by_key(|record| !record.reference);
    for record in &records {
        if let Some(kernel) = kernel::cached(workspace, record)? {
            return Ok(((*record).clone(), kernel));
        }
    }
    // Ready-made packages first: they take a minute, builds take ten.
    records.sort_by_key(|record| !record.is_ready_made());
    let mut said = Vec::new();
    for record in records {
        match kernel::obtain(workspace, record, &Request::default()) {
            Ok(kernel) => return Ok((record.clone(), kernel)),
            Err(error) => said.push(format!("{}: {error}", record.name)),
        }
    }
    Err(Error::new("no kernel is available").because(said.join("\n")).verdict(Verdict::Unavailable))
}

/// Handles the frames of a single command.
struct Output<'a> {
    stdout: Channel,
    stderr: Channel,
    status: Option<Status>,
    files: Files<'a>,
    failure: Option<Error>,
}

impl<'a> Output<'a> {
    fn new(get: &'a [Get]) -> Output<'a> {
        let (stdout, stderr) = (Channel::of(&io::stdout()), Channel::of(&io::stderr()));
        Output { stdout, stderr, status: None, files: Files::new(get), failure: None }
    }

    /// The command's own exit status. Files that could not be copied out are reported; if the command
    /// succeeded, they make the run fail.
    fn finish(self, workspace: &Workspace, program: &str) -> Result<u8> {
        let Some(status) = self.status else {
            return Err(Error::new("the guest powered off without the command's exit status")
                .verdict(Verdict::LostChannel));
        };
        if let Status::NotStarted(errno) = status {
            let why = io::Error::from_raw_os_error(errno);
            workspace.host.ui.say(format!("cannot start {program} in the guest: {why}"));
        }
        let failure = self.failure.or(self.files.finish().err());
        match (status.code() as u8, failure) {
            (0, Some(failure)) => Err(failure),
            (code, failure) => {
                if let Some(failure) = failure {
                    workspace.host.ui.say(format!("error: {failure}"));
                }
                Ok(code)
            }
        }
    }

    fn take(&mut self, frame: Frame) -> Taken {
        let done = match frame {
            Frame::Stdout(part) => self.stdout.pass(&mut io::stdout(), &part),
            Frame::Stderr(part) => self.stderr.pass(&mut io::stderr(), &part),
            Frame::StepEnd(status) => {
                self.status = Some(status);
                Ok(())
            }
            Frame::FileStart(name) => self.files.start(&name),
            Frame::FileData(part) => self.files.data(&part),
            Frame::FileError(why) => self.files.error(&why),
            _ => Ok(()),
        };
        if let (Err(error), None) = (done, &self.failure) {
            self.failure = Some(error);
        }
        Taken::More
    }
}

/// Passes a channel of the command on to ours: unchanged, or made safe on a terminal.
struct Channel(Option<console::Neutraliser>);

impl Channel {
    fn of(to: &dyn IsTerminal) -> Channel {
        Channel(to.is_terminal().then(console::Neutraliser::default))
    }

    fn pass(&mut self, to: &mut dyn Write, part: &[u8]) -> Result<()> {
        match &mut self.0 {
            Some(neutraliser) => write_out(to, neutraliser.pass(part).as_bytes()),
            None => write_out(to, part),
        }
    }
}

/// Writes output. If its reader has stopped, the command still continues.
fn write_out(to: &mut dyn Write, part: &[u8]) -> Result<()> {
    match to.write_all(part).and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new("cannot write the guest's output").because(error))
        }
        _ => Ok(()),
    }
}

/// Writes files from the guest under a temporary name, and renames them when complete.
struct Files<'a> {
    wanted: &'a [Get],
    started: usize,
    current: Option<NamedTempFile>,
    failed: Vec<String>,
}

impl<'a> Files<'a> {
    fn new(wanted: &'a [Get]) -> Files<'a> {
        Files { wanted, started: 0, current: None, failed: Vec::new() }
    }

    /// Begins a file. The guest sends the files in the requested order, and cannot choose their paths.
    fn start(&mut self, name: &str) -> Result<()> {
        self.settle()?;
        let Some(get) = self.wanted.get(self.started).filter(|get| get.guest == name) else {
            return Err(Error::new("the guest sent a file that nobody asked for"));
        };
        self.started += 1;
        let folder = get.folder();
        // The permissions of an ordinary new file; the umask reduces them.
        let usual = Permissions::from_mode(0o666);
        let file = tempfile::Builder::new().permissions(usual).tempfile_in(folder);
        self.current = Some(file.context(|| format!("cannot write into {}", folder.display()))?);
        Ok(())
    }

    fn data(&mut self, part: &[u8]) -> Result<()> {
        let Some(file) = &mut self.current else {
            return Err(Error::new("the guest sent data without a file"));
        };
        file.write_all(part).context(|| "cannot write a file from the guest".into())
    }

    fn error(&mut self, why: &str) -> Result<()> {
        self.current = None;
        if let Some(get) = self.started.checked_sub(1).and_then(|at| self.wanted.get(at)) {
            self.failed.push(format!("{}: {}", get.guest, console::neutralise(why)));
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        if let (Some(file), Some(get)) =
            (self.current.take(), self.started.checked_sub(1).map(|at| &self.wanted[at]))
        {
            file.persist(&get.host).context(|| format!("cannot write {}", get.host.display()))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.settle()?;
        if self.failed.is_empty() {
            return Ok(());
        }
        Err(Error::new("cannot bring files out of the guest").because(self.failed.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_to_get_has_a_place_on_the_host() {
        let get = |text: &str| text.parse::<Get>();
        assert_eq!(
            get("/tmp/out.dat").unwrap(),
            Get { guest: "/tmp/out.dat".into(), host: "out.dat".into() }
        );
        assert_eq!(get("out.dat:a/b.dat").unwrap(), Get { guest: "out.dat".into(), host: "a/b.dat".into() });
        assert!(get(":x").is_err());
        assert!(get("x:").is_err());
        assert!(get("/").is_err());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_found_before_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let check = |host: PathBuf| Get { guest: "a".into(), host }.check();
        assert!(check(folder.path().join("out")).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(check(folder.path().join("nosuch/out")).unwrap_err().to_string().contains("No such file"));
        assert!(check(folder.path().to_owned()).unwrap_err().to_string().contains("directory"));
    }

    #[test]
    fn input_is_bounded_before_it_is_passed_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        let quiet = |line: String| panic!("{line}");
        let read = || Input::File(path.clone()).read(&quiet);
        assert!(read().unwrap_err().to_string().contains("cannot read "));
        File::create(&path).unwrap().set_len(Input::LIMIT).unwrap();
        assert_eq!(read().unwrap().len() as u64, Input::LIMIT);
        File::create(&path).unwrap().set_len(Input::LIMIT + 1).unwrap();
        assert!(read().unwrap_err().to_string().contains("larger than 64 MiB"));
        // An endless file shows no length.
        let endless = Input::File("/dev/zero".into()).read(&quiet);
        assert!(endless.unwrap_err().to_string().contains("larger than 64 MiB"));
    }

    #[test]
    fn the_guest_does_not_choose_where_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = [Get { guest: "a".into(), host: folder.path().join("out") }];
        let mut files = Files::new(&wanted);
        assert!(files.start("../../etc/passwd").is_err());
        files.start("a").unwrap();
        files.data(b"one").unwrap();
        assert!(!folder.path().join("out").exists());
        files.finish().unwrap();
        assert_eq!(fs::read(folder.path().join("out")).unwrap(), b"one");
        let usual = folder.path().join("usual");
        fs::write(&usual, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&folder.path().join("out")), mode(&usual));
    }

    #[test]
    fn a_file_the_guest_cannot_read_is_an_error_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = [Get { guest: "a".into(), host: folder.path().join("out") }];
        let mut files = Files::new(&wanted);
        files.start("a").unwrap();
        files.error("No such file or directory").unwrap();
        assert!(files.finish().unwrap_err().to_string().contains("a: No such file"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
