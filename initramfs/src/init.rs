//! PID 1 of the guest.
//!
//! Contract: mount what programs need, set the loopback device up, load the modules for the results
//! port, send [`Frame::Hello`], run the job's steps, send the requested files, send the end marker,
//! power off.
//! A failure is written to the console and, if the port is open, sent as [`Frame::Fatal`]. PID 1 never
//! returns: that would make the kernel panic.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use initramfs::early::{self, Failure};
use initramfs::job::WORKLOAD_DIR;
use initramfs::protocol::{Frame, Hello, MAX_PAYLOAD, Sender, Status, VERSION};
use initramfs::{Step, spawn};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, wait};
use rustix::system::{RebootCommand, reboot};
use rustix::termios::{Winsize, tcsetwinsize};

/// Path and value of settings that have no kernel parameter, at least in 5.4.
const SETTINGS: [(&str, &str); 2] = [
    // Panic on an RCU stall; the console shows the stall first.
    ("/proc/sys/kernel/panic_on_rcu_stall", "1"),
    // Panic on a hung task.
    ("/proc/sys/kernel/hung_task_panic", "1"),
];

/// Further settings for a job with steps under SCHED_FIFO. Such a step must lose the CPU only when it
/// waits: any other pause would come at a moment that depends on everything that ran before, and would
/// change the trace.
const SETTINGS_FOR_FIFO: [(&str, &str); 3] = [
    // No throttling after 0.95 s.
    ("/proc/sys/kernel/sched_rt_runtime_us", "-1"),
    // Since 6.12: do not reserve 50 ms of each second for tasks of lower scheduling classes.
    ("/sys/kernel/debug/sched/fair_server/cpu0/runtime", "0"),
    // RCU's tasks have to wait, too: during a step of a case for longer than the usual limit of 21 s of
    // guest time. A step that never ends is still detected.
    ("/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", "100"),
];

/// Environment variables: names and values.
type Env = [(String, String)];

fn main() {
    let mut sender = None;
    if let Err(failure) = run(&mut sender) {
        console(&failure);
        if let Some(sender) = &mut sender {
            // If even this fails, the host notices the missing end marker.
            let _ = sender.send(&Frame::Fatal(failure));
        }
    }
    power_off();
}

fn run(to: &mut Option<Sender<File>>) -> Result<(), Failure> {
    early::mount_all()?;
    if let Err(failure) = early::loopback_up() {
        // Not fatal: few jobs need the loopback device.
        console(&failure);
    }
    apply(&SETTINGS)?;
    let job = early::read_job()?;
    if job.steps.iter().any(|step| step.fifo) {
        apply(&SETTINGS_FOR_FIFO)?;
    }
    for module in &job.boot_modules {
        early::load_module(module)?;
    }
    let sender = to.insert(Sender::new(early::open_port()?));
    let hello = hello()?;
    send(sender, &Frame::Hello(hello))?;
    if let Ok(config) = fs::read("/proc/config.gz") {
        for part in config.chunks(MAX_PAYLOAD) {
            send(sender, &Frame::Config(part.to_vec()))?;
        }
    }
    install_busybox();
    let input = early::open_input(&job)?;
    for (index, step) in (0..).zip(&job.steps) {
        send(sender, &Frame::StepStart(index))?;
        let status = carry_out(step, &job.env, input.as_ref(), sender)?;
        send(sender, &Frame::StepEnd(status))?;
        if status != Status::Exited(step.expect) {
            break;
        }
    }
    for name in &job.get {
        send_file(name, sender)?;
    }
    if job.shell {
        let status = shell(job.size, &job.env)?;
        send(sender, &Frame::StepEnd(status))?;
    }
    send(sender, &Frame::End)
}

fn apply(settings: &[(&str, &str)]) -> Result<(), Failure> {
    for (path, value) in settings {
        // A kernel without this file does not need the setting.
        if Path::new(path).exists() {
            fs::write(path, value).map_err(|error| format!("cannot write {value} to {path}: {error}"))?;
        }
    }
    Ok(())
}

fn hello() -> Result<Hello, Failure> {
    let tracing_dir = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .into_iter()
        .find(|dir| Path::new(dir).join("current_tracer").exists())
        .unwrap_or_default();
    let tracers = fs::read_to_string(Path::new(tracing_dir).join("available_tracers")).unwrap_or_default();
    Ok(Hello {
        version: VERSION,
        release: rustix::system::uname().release().to_string_lossy().into_owned(),
        tracing_dir: tracing_dir.to_string(),
        tracers: tracers.split_whitespace().map(str::to_string).collect(),
    })
}

/// If busybox was packed, makes its tools available under their names.
fn install_busybox() {
    if Path::new("/bin/busybox").exists() {
        let installed = Command::new("/bin/busybox").args(["--install", "-s", "/bin"]).status();
        if !installed.is_ok_and(|status| status.success()) {
            console("busybox --install failed: its tools are there as `busybox NAME` only");
        }
    }
}

fn send(sender: &mut Sender<File>, frame: &Frame) -> Result<(), Failure> {
    sender.send(frame).map_err(|error| format!("cannot write to the results port: {error}"))
}

/// Starts a step and sends its output until it ends.
fn carry_out(
    step: &Step,
    env: &Env,
    input: Option<&File>,
    sender: &mut Sender<File>,
) -> Result<Status, Failure> {
    let Some((program, arguments)) = step.argv.split_first() else {
        return Err("a step without a command".into());
    };
    let stdin = match input.map(File::try_clone).transpose() {
        Ok(input) => input.map_or_else(Stdio::null, Stdio::from),
        Err(error) => return Err(format!("cannot pass on the standard input of a step: {error}")),
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", format!("/bin:{WORKLOAD_DIR}"))
        .env("HOME", "/")
        .env("TERM", "linux")
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if step.fifo {
        spawn::under_fifo(&mut command);
    }
    match command.spawn() {
        Ok(child) => pass_on(child, sender),
        Err(error) => Ok(Status::NotStarted(error.raw_os_error().unwrap_or(0))),
    }
}

fn pass_on(mut child: Child, sender: &mut Sender<File>) -> Result<Status, Failure> {
    let failed = |what: &str, error: io::Error| format!("cannot {what} of a step: {error}");
    let pid = Pid::from_child(&child);
    let ended =
        pidfd_open(pid, PidfdFlags::empty()).map_err(|error| failed("watch the end", error.into()))?;
    let mut channels = [
        child.stdout.take().map(|pipe| (OwnedFd::from(pipe), Frame::Stdout as fn(Vec<u8>) -> Frame)),
        child.stderr.take().map(|pipe| (OwnedFd::from(pipe), Frame::Stderr as fn(Vec<u8>) -> Frame)),
    ];
    for (pipe, _) in channels.iter().flatten() {
        rustix::io::ioctl_fionbio(pipe, true).map_err(|error| failed("read the output", error.into()))?;
    }
    loop {
        let mut watched: Vec<PollFd<'_>> =
            channels.iter().flatten().map(|(pipe, _)| PollFd::new(pipe, PollFlags::IN)).collect();
        watched.push(PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN));
        match poll(&mut watched, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(failed("wait for the output", error.into())),
        }
        // A process left behind by the step may keep the pipes open for ever, so do not wait for their
        // end. What the step wrote is still in the pipes when it ends.
        let over = watched.last().is_some_and(|fd| !fd.revents().is_empty());
        drop(watched);
        for channel in &mut channels {
            let Some((pipe, frame)) = channel else { continue };
            if drain(pipe, *frame, sender)? {
                *channel = None;
            }
        }
        if over {
            break;
        }
    }
    let status = child.wait().map_err(|error| failed("take the status", error))?;
    reap();
    Ok(as_sent(status))
}

fn as_sent(status: ExitStatus) -> Status {
    match (status.code(), status.signal()) {
        (Some(code), _) => Status::Exited(code),
        (None, signal) => Status::Signaled(signal.unwrap_or(0)),
    }
}

/// Sends the present content of a pipe; true when all its writers have closed it.
fn drain(pipe: &OwnedFd, frame: fn(Vec<u8>) -> Frame, sender: &mut Sender<File>) -> Result<bool, Failure> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match rustix::io::read(pipe, &mut buffer[..]) {
            Ok(0) => return Ok(true),
            Ok(count) => send(sender, &frame(buffer[..count].to_vec()))?,
            Err(Errno::AGAIN) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(format!("cannot read the output of a step: {error}")),
        }
    }
}

/// Reaps orphans that have become children of PID 1.
fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

fn send_file(name: &str, sender: &mut Sender<File>) -> Result<(), Failure> {
    send(sender, &Frame::FileStart(name.to_string()))?;
    let mut file = match File::open(name) {
        Ok(file) => file,
        Err(error) => return send(sender, &Frame::FileError(error.to_string())),
    };
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => send(sender, &Frame::FileData(buffer[..count].to_vec()))?,
            Err(error) => return send(sender, &Frame::FileError(error.to_string())),
        }
    }
}

/// Runs an interactive shell on the console, with job control, on a terminal of this size (rows, columns).
fn shell(size: Option<(u16, u16)>, env: &Env) -> Result<Status, Failure> {
    let terminal = |what: &str| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/ttyS0")
            .map_err(|error| format!("cannot open /dev/ttyS0 for the {what} of the shell: {error}"))
    };
    let input = terminal("input")?;
    if let Some((ws_row, ws_col)) = size {
        let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&input, size)
            .map_err(|error| format!("cannot give the console the size of the terminal: {error}"))?;
    }
    let status = Command::new("/bin/busybox")
        .args(["setsid", "-c", "/bin/busybox", "sh", "-i"])
        .env_clear()
        .env("PATH", format!("/bin:{WORKLOAD_DIR}"))
        .env("HOME", "/")
        .env("TERM", "linux")
        .env("PS1", "guest# ")
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(input)
        .stdout(terminal("output")?)
        .stderr(terminal("errors")?)
        .status()
        .map_err(|error| format!("cannot start /bin/busybox sh: {error}"))?;
    Ok(as_sent(status))
}

/// Writes a line to the console, among the kernel's own messages.
fn console(line: &str) {
    let _ = writeln!(io::stderr(), "init: {line}");
}

fn power_off() -> ! {
    rustix::fs::sync();
    loop {
        // This returns only if the kernel cannot power off; a restart ends QEMU as well.
        let _ = reboot(RebootCommand::PowerOff);
        let _ = reboot(RebootCommand::Restart);
        std::thread::sleep(Duration::from_secs(1));
    }
}
