//! Runs a guest: starts QEMU as a child process, reads its channels as they grow, and keeps its deadlines.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use initramfs::protocol::{Frame, Receiver, VERSION};
use rustix::process::Signal;

use super::console::{self, Sign};
use super::input;
use super::machine::{Deadlines, Machine};
use super::noise::Noise;
use crate::base::cache;
use crate::base::child::{self, Own};
use crate::base::clock::Running;
use crate::base::error::{Context, Error, Result};
use crate::base::qemu::Qemu;
use crate::base::ui::Ui;
use crate::base::verdict::Verdict;

/// How often the channels are read.
const TICK: Duration = Duration::from_millis(10);

/// The most bytes that a guest may write to its console.
pub(super) const CONSOLE_LIMIT: u64 = 64 << 20;
/// The most bytes that a guest may send as results.
const RESULTS_LIMIT: u64 = 4 << 30;

/// How many bytes of the results are read slowly from a socket, so that the guest has to wait. It is more
/// than a socket buffers, and less than one step can print.
const SLOW_BYTES: usize = 1 << 20;

/// How long QEMU alone may be stopped before a message says so.
const REPORTED_AFTER: Duration = Duration::from_secs(30);

/// The stop after which a guest that follows the host's clock may report a lock-up.
const LOCKS_UP: Duration = Duration::from_secs(10);

/// The most multiples of its deadline that a guest may take while the host gives QEMU no processor.
const MOST_DEADLINES: u32 = 4;

/// Why the host ended a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// init did not send its hello in time.
    Boot,
    /// The job did not end in time.
    Job,
    /// The guest sent more than it may.
    Flood,
    /// The guest wrote more to its console than it may.
    Babble,
    /// The disk has no room for the guest's output.
    FullDisk,
}

/// Whether the receiver of frames accepts more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Go on.
    More,
    /// The guest has sent too much: end it.
    TooMuch,
}

/// The facts about a guest that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Whether init sent its hello.
    pub greeted: bool,
    /// Whether the end marker arrived, after an undamaged stream.
    pub whole: bool,
    /// The first damage of the stream.
    pub damage: Option<String>,
    /// The fatal error that init reported.
    pub fatal: Option<String>,
    /// Why the host ended it, if it did.
    pub cut: Option<Cut>,
    /// QEMU's exit status, `None` when a signal ended it.
    pub qemu_status: Option<i32>,
    /// The last line that QEMU itself printed, made safe for a terminal.
    pub qemu_said: Option<String>,
    /// The first sign of trouble on the console.
    pub sign: Option<Sign>,
    /// Whether the kernel reported that it powers off.
    pub powered_off: bool,
    /// Whether the console stayed empty.
    pub silent: bool,
    /// The time it took, without the time in which QEMU or this process was stopped.
    pub took: Duration,
    /// The time in which QEMU or this process was stopped.
    pub stopped: Duration,
    /// The part of `took` in which QEMU waited for a processor; measured only if the host ended the guest.
    pub waited: Duration,
}

impl Ended {
    /// The verdict on the boot itself: `Ok` if the stream is whole and nothing went wrong, else the verdict
    /// and one sentence. The results of the steps are not judged here.
    pub fn judge(&self) -> std::result::Result<(), (Verdict, String)> {
        // The console comes first: its message is the cause of everything else that failed.
        if let Some(sign) = &self.sign {
            let mut why = console::neutralise(&sign.line);
            if sign.verdict == Verdict::Lockup && self.stopped >= LOCKS_UP {
                let seconds = self.stopped.as_secs();
                why += &format!(
                    ": QEMU was stopped for {seconds} s, which a guest by the host's clock takes for that"
                );
            }
            return Err((sign.verdict, why));
        }
        match &self.cut {
            Some(Cut::Boot) if self.silent => {
                let what = "init did not start in time, and the console is empty: the host is slow, or the \
                            guest's memory too small for this kernel";
                return Err((Verdict::BootTimeout, self.late(what)));
            }
            Some(Cut::Boot) => return Err((Verdict::BootTimeout, self.late("init did not start in time"))),
            Some(Cut::Job) => return Err((Verdict::Timeout, self.late("the job did not end in time"))),
            Some(Cut::Flood) => {
                return Err((Verdict::GuestFailed, "the guest sent more than its bounds allow".into()));
            }
            Some(Cut::FullDisk) => {
                return Err((Verdict::LostChannel, "the disk has no room for what the guest sends".into()));
            }
            Some(Cut::Babble) => {
                return Err((Verdict::GuestFailed, "the console said more than its bounds allow".into()));
            }
            None => {}
        }
        match self.qemu_status {
            Some(0) => {}
            Some(status) => {
                let why = format!("QEMU ended with status {status}");
                let said = self.qemu_said.as_ref().map(|said| format!("{why}: {said}"));
                return Err((Verdict::QemuFailed, said.unwrap_or(why)));
            }
            None => return Err((Verdict::QemuFailed, "a signal ended QEMU".into())),
        }
        if let Some(fatal) = &self.fatal {
            return Err((Verdict::GuestFailed, format!("init: {}", console::neutralise(fatal))));
        }
        if let Some(damage) = &self.damage {
            return Err((Verdict::LostChannel, format!("the results are damaged: {damage}")));
        }
        if self.whole {
            return Ok(());
        }
        // `-no-reboot` makes QEMU exit with 0 for a reset as for a power-off; only the
        // latter is announced by the kernel.
        if self.powered_off {
            Err((Verdict::LostChannel, "the guest powered off, but the results have no end marker".into()))
        } else {
            Err((Verdict::Rebooted, "the guest restarted by itself".into()))
        }
    }

    /// The text of a timeout; adds how long QEMU waited for a processor, if that was a large part.
    fn late(&self, what: &str) -> String {
        if self.waited < self.took / 4 {
            return what.into();
        }
        let (waited, took) = (self.waited.as_secs(), self.took.as_secs());
        format!("{what}: the host let QEMU wait for a processor for {waited} of {took} s")
    }
}

/// Boots a machine and hands its frames to `take` as they arrive, until it has ended.
///
/// # Errors
/// When QEMU cannot be started or the channels cannot be read. What happens in the guest is
/// never an error here but part of [`Ended`].
pub fn boot(
    machine: &Machine,
    qemu: &Qemu,
    deadlines: Deadlines,
    ui: &Ui,
    take: &mut dyn FnMut(Frame) -> Taken,
) -> Result<Ended> {
    let started = Instant::now();
    let mut clock = Running::start();
    // QEMU truncates a file chardev's file, but only some time after it has started.
    for path in [machine.console(), machine.results()] {
        fs::write(&path, []).map_err(|e| cache::denied("cannot write", &path, &e))?;
    }
    let mut copier = match machine.noise {
        Some(Noise::Socket) => Some(copy_slowly(machine)?),
        _ => None,
    };
    let short = machine.input.then(|| input::with_short_names(machine)).transpose()?;
    let machine = short.as_ref().map_or(machine, |(short, _)| short);
    if machine.input {
        input::feed(machine)?;
    }
    let child = command(machine, qemu)
        .stdin_null()
        // duct applies the outermost redirection first: stdout becomes the file, stderr follows.
        .stderr_to_stdout()
        .stdout_path(machine.qemu_log())
        .unchecked()
        .start()
        .map_err(|error| cannot_start(qemu, error))?;
    let results = machine.results();
    let mut stream = File::open(&results).context(|| format!("cannot read {}", results.display()))?;
    let mut watch = Watch::default();
    let mut stop = QemuStop::default();
    let (mut cut, mut waited) = (None, Duration::ZERO);
    let output = loop {
        let (part, pids) = (clock.look(TICK), child.pids());
        match pids.iter().find(|&&pid| is_stopped(pid)) {
            None => {
                stop = QemuStop::default();
                watch.ran += part;
            }
            Some(pid) if stop.must_report(part) => ui.say(format!(
                "QEMU (pid {pid}) is stopped; no deadline counts meanwhile; continue it with kill -CONT {pid}"
            )),
            Some(_) => {}
        }
        let output = child.try_wait().context(|| "cannot wait for QEMU".into())?.map(|output| output.status);
        if let Some(copier) = copier.take_if(|_| output.is_some()) {
            // If QEMU never connected, the copier would wait for ever.
            drop(UnixStream::connect(machine.socket()));
            copier.join().ok();
        }
        // Read after checking for the exit, so that everything written before it is read.
        let taken = watch.read(&mut stream, take).context(|| format!("cannot read {}", results.display()))?;
        if let Some(status) = output {
            break status;
        }
        let said = fs::metadata(machine.console()).map_or(0, |about| about.len());
        cut = watch
            .overdue(deadlines, || self::waited(&pids))
            .or((taken == Taken::TooMuch || watch.bytes > RESULTS_LIMIT).then_some(Cut::Flood))
            .or((said > CONSOLE_LIMIT).then_some(Cut::Babble))
            .or(is_full(&machine.dir).then_some(Cut::FullDisk));
        if cut.is_some() {
            waited = self::waited(&pids);
            child.kill().context(|| "cannot end QEMU".into())?;
            break child.wait().context(|| "cannot wait for QEMU".into())?.status;
        }
        thread::sleep(TICK);
    };
    let console = machine.console();
    let said = fs::read(&console).context(|| format!("cannot read {}", console.display()))?;
    let own_words = fs::read(machine.qemu_log()).unwrap_or_default();
    let ended = Ended {
        greeted: watch.greeted.is_some(),
        whole: watch.receiver.ended() && watch.damage.is_none(),
        damage: watch.damage,
        fatal: watch.fatal,
        cut,
        qemu_status: output.code(),
        qemu_said: console::last_lines(&own_words, 1).pop(),
        sign: console::first_sign(&said),
        powered_off: console::powered_off(&said),
        silent: said.is_empty(),
        took: watch.ran,
        stopped: started.elapsed().saturating_sub(watch.ran),
        waited,
    };
    if ended.cut == Some(Cut::FullDisk) || ended.judge().is_err() && is_full(&machine.dir) {
        // Any part of the output may be missing, so the guest cannot be judged.
        return Err(cache::denied("cannot keep what the guest sends in", &machine.dir, &full()));
    }
    Ok(ended)
}

/// A time in which QEMU, but not this process, is stopped.
#[derive(Default)]
struct QemuStop {
    time: Duration,
    reported: bool,
}

impl QemuStop {
    /// Adds time; returns whether to report the stop now, which happens once.
    fn must_report(&mut self, part: Duration) -> bool {
        self.time += part;
        !self.reported && self.time >= REPORTED_AFTER && {
            self.reported = true;
            true
        }
    }
}

/// Whether a process is stopped, by a signal or by a debugger.
fn is_stopped(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat_is_stopped(&stat))
}

/// The state follows the process name, which may contain any character.
fn stat_is_stopped(stat: &str) -> bool {
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
}

/// How long a guest's processes waited for a processor since their start: the time of the thread that waited
/// longest, which is the one that runs the guest. Zero if the host's kernel does not provide it.
fn waited(pids: &[u32]) -> Duration {
    let threads = |pid: &u32| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let thread =
        |about: fs::DirEntry| in_schedstat(&fs::read_to_string(about.path().join("schedstat")).ok()?);
    pids.iter().flat_map(threads).filter_map(thread).max().unwrap_or_default()
}

/// The second number of a `schedstat`: nanoseconds spent on a run queue (Documentation/scheduler/
/// sched-stats.rst of the kernel).
fn in_schedstat(line: &str) -> Option<Duration> {
    line.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// Whether a guest is overdue after `elapsed`. `waited` is called only past the deadline.
fn is_past(deadline: Duration, elapsed: Duration, waited: impl FnOnce() -> Duration) -> bool {
    elapsed > deadline && (elapsed > deadline * MOST_DEADLINES || elapsed > deadline + waited())
}

/// Whether the disk of a folder has no room left for this user.
fn is_full(folder: &Path) -> bool {
    let Ok(about) = rustix::fs::statvfs(folder) else { return false };
    let free = if rustix::process::geteuid().is_root() { about.f_bfree } else { about.f_bavail };
    free == 0
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

/// Copies the results from the socket to their file, the first bytes so slowly that the guest has to wait.
/// The rest is copied quickly: bytes that QEMU has not passed on when the guest powers off are lost.
fn copy_slowly(machine: &Machine) -> Result<JoinHandle<io::Result<()>>> {
    let path = machine.socket();
    let listener = UnixListener::bind(&path).context(|| format!("cannot listen on {}", path.display()))?;
    let results = machine.results();
    let mut file = File::create(&results).context(|| format!("cannot write {}", results.display()))?;
    // A failure shows as a lost channel: the end marker does not arrive.
    Ok(thread::spawn(move || {
        let (mut from, _) = listener.accept()?;
        let mut buffer = [0; 4096];
        let mut slow_bytes = 0;
        loop {
            let count = from.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            file.write_all(&buffer[..count])?;
            slow_bytes += count;
            if slow_bytes < SLOW_BYTES {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }))
}

pub(super) fn command(machine: &Machine, qemu: &Qemu) -> duct::Expression {
    let mut command =
        child::mortal(duct::cmd(&qemu.program, machine.arguments(qemu)), Signal::KILL, Own::Nothing);
    if let Some(path) = &qemu.library_path {
        command = command.env("LD_LIBRARY_PATH", path);
    }
    command
}

pub(super) fn cannot_start(qemu: &Qemu, error: io::Error) -> Error {
    Error::new(format!("cannot start {}", qemu.program.display()))
        .because(error)
        .help("`cargo xtask doctor` lists what is missing")
        .verdict(Verdict::QemuFailed)
}

/// The receiving end of the results channel.
#[derive(Default)]
pub(super) struct Watch {
    receiver: Receiver,
    bytes: u64,
    /// The time in which the guest was not stopped so far.
    ran: Duration,
    /// When init sent its hello.
    greeted: Option<Duration>,
    damage: Option<String>,
    fatal: Option<String>,
}

impl Watch {
    /// The facts about an ended guest, from its results alone.
    pub(super) fn ended(self) -> Ended {
        Ended {
            greeted: self.greeted.is_some(),
            whole: self.receiver.ended() && self.damage.is_none(),
            damage: self.damage,
            fatal: self.fatal,
            cut: None,
            qemu_status: None,
            qemu_said: None,
            sign: None,
            powered_off: false,
            silent: false,
            took: Duration::ZERO,
            stopped: Duration::ZERO,
            waited: Duration::ZERO,
        }
    }

    pub(super) fn read(
        &mut self,
        from: &mut File,
        take: &mut dyn FnMut(Frame) -> Taken,
    ) -> io::Result<Taken> {
        let mut buffer = vec![0; 256 << 10];
        while self.damage.is_none() {
            let count = from.read(&mut buffer)?;
            if count == 0 || self.bytes > RESULTS_LIMIT {
                break;
            }
            self.bytes += count as u64;
            self.receiver.push(&buffer[..count]);
            loop {
                match self.receiver.frame() {
                    Ok(Some(frame)) => {
                        self.note(&frame);
                        if take(frame) == Taken::TooMuch {
                            return Ok(Taken::TooMuch);
                        }
                    }
                    Ok(None) => break,
                    Err(damage) => {
                        self.damage = Some(damage.to_string());
                        break;
                    }
                }
            }
        }
        Ok(Taken::More)
    }

    fn note(&mut self, frame: &Frame) {
        match frame {
            Frame::Hello(hello) if hello.version == VERSION => self.greeted = Some(self.ran),
            Frame::Hello(hello) => {
                self.damage = Some(format!("the guest speaks version {} of the protocol", hello.version));
            }
            Frame::Fatal(words) => self.fatal = Some(words.clone()),
            _ => {}
        }
    }

    fn overdue(&self, deadlines: Deadlines, waited: impl FnOnce() -> Duration) -> Option<Cut> {
        match self.greeted {
            None => is_past(deadlines.boot, self.ran, waited).then_some(Cut::Boot),
            Some(greeted) => deadlines
                .job
                .filter(|&job| is_past(job, self.ran.saturating_sub(greeted), waited))
                .map(|_| Cut::Job),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended() -> Ended {
        Ended {
            greeted: true,
            whole: true,
            damage: None,
            fatal: None,
            cut: None,
            qemu_status: Some(0),
            qemu_said: None,
            sign: None,
            powered_off: true,
            silent: false,
            took: Duration::from_secs(150),
            stopped: Duration::ZERO,
            waited: Duration::ZERO,
        }
    }

    fn verdict(ended: Ended) -> Option<Verdict> {
        ended.judge().err().map(|(verdict, _)| verdict)
    }

    #[test]
    fn only_a_whole_stream_of_a_quiet_guest_passes() {
        assert_eq!(verdict(ended()), None);
        assert_eq!(verdict(Ended { whole: false, ..ended() }), Some(Verdict::LostChannel));
        assert_eq!(verdict(Ended { damage: Some("x".into()), ..ended() }), Some(Verdict::LostChannel));
        assert_eq!(verdict(Ended { whole: false, powered_off: false, ..ended() }), Some(Verdict::Rebooted));
        let silent = Ended { cut: Some(Cut::Boot), silent: true, ..ended() }.judge().unwrap_err();
        assert!(silent.0 == Verdict::BootTimeout && silent.1.contains("memory too small"), "{silent:?}");
        assert_eq!(verdict(Ended { qemu_status: Some(1), ..ended() }), Some(Verdict::QemuFailed));
        assert_eq!(verdict(Ended { qemu_status: None, ..ended() }), Some(Verdict::QemuFailed));
        assert_eq!(verdict(Ended { fatal: Some("x".into()), ..ended() }), Some(Verdict::GuestFailed));
        assert_eq!(verdict(Ended { cut: Some(Cut::Boot), ..ended() }), Some(Verdict::BootTimeout));
        assert_eq!(verdict(Ended { cut: Some(Cut::Job), ..ended() }), Some(Verdict::Timeout));
        assert_eq!(verdict(Ended { cut: Some(Cut::Flood), ..ended() }), Some(Verdict::GuestFailed));
        assert_eq!(verdict(Ended { cut: Some(Cut::Babble), ..ended() }), Some(Verdict::GuestFailed));
        assert_eq!(verdict(Ended { cut: Some(Cut::FullDisk), ..ended() }), Some(Verdict::LostChannel));
    }

    #[test]
    fn time_that_the_host_withheld_does_not_count() {
        let seconds = Duration::from_secs;
        assert!(!is_past(seconds(120), seconds(120), || panic!("asked within the deadline")));
        assert!(is_past(seconds(120), seconds(121), || Duration::ZERO));
        assert!(!is_past(seconds(120), seconds(150), || seconds(100)));
        assert!(is_past(seconds(120), seconds(221), || seconds(100)));
        // A run ends even if the host never gives QEMU a processor.
        assert!(is_past(seconds(120), seconds(481), || seconds(470)));
    }

    #[test]
    fn a_host_that_withholds_its_processors_is_told() {
        let late = |waited| {
            let ended = Ended { cut: Some(Cut::Boot), waited: Duration::from_secs(waited), ..ended() };
            ended.judge().unwrap_err().1
        };
        assert_eq!(late(3), "init did not start in time");
        assert_eq!(
            late(147),
            "init did not start in time: the host let QEMU wait for a processor for 147 of 150 s"
        );
    }

    #[test]
    fn waits_are_read_from_schedstat() {
        assert_eq!(in_schedstat("209744963 424129434 1059\n"), Some(Duration::from_nanos(424_129_434)));
        assert_eq!(in_schedstat(""), None);
        assert_eq!(in_schedstat("1 x 1"), None);
    }

    /// A script in place of QEMU: it stops itself, and after that sends a whole stream.
    fn stand_in(folder: &Path) -> (Machine, Qemu) {
        let machine = Machine {
            image: "vmlinux".into(),
            initrd: "initrd".into(),
            append: String::new(),
            accel: crate::vm::Accel::Tcg,
            icount_shift: None,
            cpus: 1,
            max_cpus: None,
            memory: 64,
            gdb: None,
            interactive: false,
            input: false,
            boot: crate::vm::Boot::Fast,
            noise: None,
            dir: folder.into(),
            sockets: folder.into(),
        };
        let [all, pid, text, program] = ["all", "pid", "script", "qemu"].map(|name| folder.join(name));
        let mut sent = initramfs::protocol::Sender::new(File::create(&all).unwrap());
        let hello = initramfs::protocol::Hello { version: VERSION, ..Default::default() };
        for frame in [Frame::Hello(hello), Frame::End] {
            sent.send(&frame).unwrap();
        }
        let script = format!(
            "#!/bin/sh\necho $$ > {pid}.new; mv {pid}.new {pid}; kill -STOP $$; cat {all} > {results}\n",
            pid = pid.display(),
            all = all.display(),
            results = machine.results().display()
        );
        // A program that this process held open for writing could be busy (ETXTBSY) in another test's child.
        fs::write(&text, script).unwrap();
        duct::cmd!("install", "-m", "755", text, &program).run().unwrap();
        let qemu = Qemu { program, library_path: None, firmware: Vec::new(), version: "7.2".into() };
        (machine, qemu)
    }

    #[test]
    fn a_qemu_that_is_stopped_past_its_deadline_is_no_timeout() {
        let folder = tempfile::tempdir().unwrap();
        let (machine, qemu) = stand_in(folder.path());
        let pid = folder.path().join("pid");
        let waker = thread::spawn(move || {
            let pid = loop {
                match fs::read_to_string(&pid) {
                    Ok(pid) if is_stopped(pid.trim().parse().unwrap()) => break pid,
                    _ => thread::sleep(TICK),
                }
            };
            thread::sleep(Duration::from_secs(4));
            let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
            rustix::process::kill_process(pid, Signal::CONT).unwrap();
        });
        let deadlines = Deadlines { boot: Duration::from_secs(2), job: Some(Duration::from_secs(2)) };
        let ended = boot(&machine, &qemu, deadlines, &Ui::new(), &mut |_| Taken::More).unwrap();
        waker.join().unwrap();
        assert_eq!(ended.cut, None);
        assert!(ended.greeted && ended.whole, "{ended:?}");
        assert!(ended.stopped > ended.took, "{ended:?}");
    }

    #[test]
    fn a_stopped_qemu_is_told_once_and_not_at_once() {
        let mut stop = QemuStop::default();
        let reported: Vec<u64> = (1..100).filter(|_| stop.must_report(Duration::from_secs(1))).collect();
        assert_eq!(reported, [30]);
    }

    #[test]
    fn whether_a_process_is_stopped_stands_behind_its_name() {
        assert!(stat_is_stopped("12 (qemu) T 1 2"));
        assert!(stat_is_stopped("12 (a) S (b) t 1 2"));
        assert!(!stat_is_stopped("12 (a) T b) S 1 2"));
        assert!(!stat_is_stopped(""));
    }

    #[test]
    fn a_lock_up_after_a_stop_names_it() {
        let why = |seconds| {
            let sign = Some(Sign { verdict: Verdict::Lockup, line: "soft lockup".into() });
            let stopped = Duration::from_secs(seconds);
            Ended { sign, stopped, ..ended() }.judge().unwrap_err().1
        };
        assert_eq!(why(2), "soft lockup");
        assert!(why(45).starts_with("soft lockup: QEMU was stopped for 45 s"), "{}", why(45));
    }

    #[test]
    fn the_console_outweighs_everything_else() {
        let sign = Some(Sign { verdict: Verdict::Oops, line: "Oops: ".into() });
        assert_eq!(
            verdict(Ended { sign, cut: Some(Cut::Job), qemu_status: None, ..ended() }),
            Some(Verdict::Oops)
        );
    }
}
