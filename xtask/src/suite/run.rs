//! `cargo xtask run` and `shell`: one command, or a terminal, in a guest.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use initramfs::protocol::{Frame, Status};
use initramfs::{Job, Step};
use tempfile::NamedTempFile;

use super::bundle::{self, Failure};
use super::guest::{Guest, Tools, Wish};
use super::results;
use crate::error::{Context, Error, Result};
use crate::harness::Harness;
use crate::kernel::{self, Request};
use crate::matrix::Record;
use crate::verdict::Verdict;
use crate::vm::accel::Purpose;
use crate::vm::{Accel, Deadlines, Machine, Taken, console};

/// A file to bring out of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// Its path in the guest.
    pub guest: String,
    /// Where it goes on the host.
    pub host: PathBuf,
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

/// One command for a guest.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The kernel; the first that can be had when `None`.
    pub kernel: Option<String>,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Files to bring out afterwards.
    pub get: Vec<Get>,
    /// How the guest differs from the usual one.
    pub wish: Wish,
    /// Seconds the command may take; no limit when `None`.
    pub timeout: Option<u64>,
}

/// Runs a command in a guest; its output goes to ours as it comes.
///
/// Returns the exit status: the command's own, or that of the verdict on a guest that did
/// not survive it.
///
/// # Errors
/// When the guest cannot be prepared, or a file cannot be brought out.
pub fn run(h: &Harness, plan: &Plan) -> Result<u8> {
    Machine::check_cpus(plan.wish.cpus, plan.wish.max_cpus)?;
    let tools = Tools::get(h)?;
    let (record, kernel) = pick(h, plan.kernel.as_deref())?;
    let wish = Wish { purpose: Purpose::Work, ..plan.wish.clone() };
    let guest = Guest::prepare(h, &tools, &record, kernel, wish)?;
    if guest.accel == Accel::Kvm {
        h.ui.say(format!("{}: kvm, not exact", guest.kernel.name));
    }
    let step = Step { argv: plan.argv.clone(), ..Step::default() };
    let get = plan.get.iter().map(|get| get.guest.clone()).collect();
    let job = Job { steps: vec![step], get, ..guest.job() };
    let scratch = results::scratch(&h.root)?;
    let folder = results::of_case(scratch.path(), &guest.kernel.name, "run")?;
    let (stdout, stderr) = (Channel::of(&io::stdout()), Channel::of(&io::stderr()));
    let mut output = Output { stdout, stderr, status: None, files: Files::new(&plan.get), failure: None };
    // The user's own limit is not scaled to the accelerator.
    let job_limit = plan.timeout.map(Duration::from_secs);
    let mut deadlines = Deadlines { job: job_limit, ..guest.deadlines(None) };
    if plan.wish.gdb {
        h.ui.say("waiting for a debugger: gdb -ex 'target remote 127.0.0.1:1234'");
        deadlines.boot = Duration::MAX;
    }
    let (ended, inputs) = guest.boot(&job, &folder, deadlines, &mut |frame| output.take(frame))?;
    let advice = guest.advice(h, ended.took)?;
    if let Err((verdict, why)) = ended.judge() {
        let again = again(&guest, plan);
        let failure =
            Failure { case: "run", guest: &guest, inputs: &inputs, verdict, why: &why, again: &again };
        failure.write(&folder)?;
        scratch.keep();
        h.ui.say(format!("{verdict}: {why}"));
        for line in failure.shown(h, &folder).into_iter().chain(advice) {
            h.ui.say(line);
        }
        return Ok(verdict.exit_code());
    }
    if let Some(advice) = advice {
        h.ui.say(advice);
    }
    if let Some(failure) = output.failure {
        return Err(failure);
    }
    output.files.finish()?;
    match output.status {
        Some(Status::NotStarted(errno)) => {
            let why = io::Error::from_raw_os_error(errno);
            h.ui.say(format!("cannot start {} in the guest: {why}", plan.argv[0]));
            Ok(Status::NotStarted(errno).code() as u8)
        }
        Some(status) => Ok(status.code() as u8),
        None => Err(Error::new("the guest ended in order, but did not tell the command's status")
            .verdict(Verdict::LostChannel)),
    }
}

/// The command line that does it again.
fn again(guest: &Guest, plan: &Plan) -> String {
    let mut words = guest.options();
    for get in &plan.get {
        words.extend(["--get".to_owned(), format!("{}:{}", get.guest, get.host.display())]);
    }
    if let Some(seconds) = plan.timeout {
        words.extend(["--timeout".to_owned(), seconds.to_string()]);
    }
    words.push("--".to_owned());
    words.extend(plan.argv.iter().cloned());
    format!("cargo xtask run {}", bundle::quoted(&words))
}

/// Opens a shell in a guest, on this terminal.
///
/// # Errors
/// When the guest cannot be prepared, or QEMU fails.
pub fn shell(h: &Harness, kernel: Option<&str>, wish: Wish) -> Result<()> {
    Machine::check_cpus(wish.cpus, wish.max_cpus)?;
    let tools = Tools::get(h)?;
    let (record, kernel) = pick(h, kernel)?;
    let wish = Wish { busybox: true, interactive: true, purpose: Purpose::Work, ..wish };
    let guest = Guest::prepare(h, &tools, &record, kernel, wish)?;
    let under = match guest.accel {
        Accel::Kvm => "kvm, not exact",
        Accel::Tcg => "tcg",
    };
    let release = &guest.kernel.release;
    h.ui.say(format!("{release} under {under}; `exit` powers off, Ctrl-A X ends QEMU at once"));
    let job = Job { shell: true, ..guest.job() };
    let folder = results::scratch(&h.root)?;
    guest.boot_interactive(&job, folder.path())
}

/// The kernel asked for, else the first of the matrix at hand, else the first that can be had;
/// references come first.
///
/// # Errors
/// When the name is unknown, or no kernel can be had.
pub fn pick(h: &Harness, name: Option<&str>) -> Result<(Record, kernel::Kernel)> {
    let matrix = h.matrix()?;
    if let Some(name) = name {
        let record = matrix.find(name)?;
        return Ok((record.clone(), kernel::obtain(h, record, &Request::default())?));
    }
    let mut records: Vec<&Record> = matrix.usual().collect();
    records.sort_by_key(|record| !record.reference);
    for record in &records {
        if let Some(kernel) = kernel::at_hand(h, record)? {
            return Ok(((*record).clone(), kernel));
        }
    }
    // Ready-made packages first: they take a minute, a build takes ten.
    records.sort_by_key(|record| !record.is_ready_made());
    let mut said = Vec::new();
    for record in records {
        match kernel::obtain(h, record, &Request::default()) {
            Ok(kernel) => return Ok((record.clone(), kernel)),
            Err(error) => said.push(format!("{}: {error}", record.name)),
        }
    }
    Err(Error::new("no kernel can be had").because(said.join("\n")).verdict(Verdict::Unavailable))
}

/// Where the frames of a single command go.
struct Output<'a> {
    stdout: Channel,
    stderr: Channel,
    status: Option<Status>,
    files: Files<'a>,
    failure: Option<Error>,
}

impl Output<'_> {
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

/// A channel of the command on its way to ours: as it is, but neutralised on a terminal.
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

/// Whoever reads our output may stop reading; the command goes on all the same.
fn write_out(to: &mut dyn Write, part: &[u8]) -> Result<()> {
    match to.write_all(part).and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new("cannot write the guest's output").because(error))
        }
        _ => Ok(()),
    }
}

/// Files on their way out of the guest: written aside, renamed when whole.
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

    /// The guest sends the files in the order they were asked for; it cannot choose a place.
    fn start(&mut self, name: &str) -> Result<()> {
        self.settle()?;
        let Some(get) = self.wanted.get(self.started).filter(|get| get.guest == name) else {
            return Err(Error::new("the guest sent a file that nobody asked for"));
        };
        self.started += 1;
        let folder = match get.host.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let file = NamedTempFile::new_in(folder);
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
    use std::fs;

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
