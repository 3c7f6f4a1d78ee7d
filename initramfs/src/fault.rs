//! The faults of the fault suite that a guest causes itself: as `fault KIND`, or, if it runs as PID 1
//! instead of init, by the variable `fault`. Only guests of that suite contain this program.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use initramfs::early;
use initramfs::protocol::{Frame, Hello, Sender, VERSION};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::system::{RebootCommand, finit_module, reboot};

/// The module for the faults that only the kernel can cause.
const MODULE: &str = "/extra/fault.ko";

/// Settings that make the kernel detect a fault sooner; each exists on some kernels only.
const SOONER: [(&str, &str); 3] = [
    ("/proc/sys/kernel/watchdog_thresh", "2"),
    ("/proc/sys/kernel/hung_task_timeout_secs", "2"),
    ("/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", "3"),
];

type FaultResult = Result<(), String>;

fn main() -> ExitCode {
    let kind = std::env::args().nth(1).or_else(|| std::env::var("fault").ok()).unwrap_or_default();
    match cause(&kind) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "fault {kind}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn cause(kind: &str) -> FaultResult {
    match kind {
        "nothing" => Ok(()),
        "panic" => sysrq("c"),
        "reboot" => sysrq("b"),
        "oops" | "lockup" | "stall" | "hang" => by_module(kind),
        "memory" => take_memory(),
        "init" => kill_init(),
        "silent" | "forever" => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        "flood" => write_for_ever(&mut io::stdout()),
        "babble" => write_for_ever(&mut open("/dev/ttyS0")?),
        "escapes" => say_escapes(),
        "cut" => cut_results(),
        "hostile" => greet_with_escapes(),
        "huge" => claim_a_huge_frame(),
        "foreign" => write_into_results(),
        _ => Err("there is no such fault".into()),
    }
}

fn write(path: &str, text: &str) -> FaultResult {
    fs::write(path, text).map_err(|error| format!("cannot write {text} to {path}: {error}"))
}

fn open(path: &str) -> Result<File, String> {
    OpenOptions::new().write(true).open(path).map_err(|error| format!("cannot open {path}: {error}"))
}

fn sysrq(key: &str) -> FaultResult {
    write("/proc/sysrq-trigger", key)
}

fn by_module(kind: &str) -> FaultResult {
    for (path, value) in SOONER {
        if Path::new(path).exists() {
            write(path, value)?;
        }
    }
    let file = File::open(MODULE).map_err(|error| format!("cannot open {MODULE}: {error}"))?;
    let parameters = CString::new(format!("kind={kind}")).map_err(|error| error.to_string())?;
    finit_module(&file, &parameters, 0).map_err(|error| format!("cannot load {MODULE}: {error}"))
}

/// Takes memory until the kernel kills this process.
fn take_memory() -> FaultResult {
    let mut taken = Vec::new();
    loop {
        // The kernel allocates pages only when they are written to.
        taken.push(vec![1_u8; 1 << 20]);
    }
}

/// Overwrites init's code with invalid instructions.
fn kill_init() -> FaultResult {
    let maps = fs::read_to_string("/proc/1/maps").map_err(|error| format!("cannot read its map: {error}"))?;
    let code = maps.lines().find(|line| line.contains(" r-xp ") && line.ends_with("/init"));
    let range = code.and_then(|line| line.split_once(' ')?.0.split_once('-'));
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let (from, to) = range
        .and_then(|(from, to)| Some((number(from)?, number(to)?)))
        .ok_or_else(|| format!("its map names no code:\n{maps}"))?;
    // The instruction ud2, repeated.
    let nonsense = [0x0f, 0x0b].repeat((to - from) as usize / 2);
    open("/proc/1/mem")?.write_all_at(&nonsense, from).map_err(|error| format!("cannot write: {error}"))
}

fn write_for_ever(to: &mut dyn Write) -> FaultResult {
    let line = "all work and no play makes a guest that says too much\n".repeat(1000);
    loop {
        to.write_all(line.as_bytes()).map_err(|error| format!("cannot write: {error}"))?;
    }
}

/// Sends control sequences on every channel: clear the screen, set the title, leave colours on.
fn say_escapes() -> FaultResult {
    let escapes = "\x1b[2J\x1b]0;owned\x07\x1b[31m\u{9b}5m";
    let mut console = open("/dev/ttyS0")?;
    writeln!(console, "{escapes}on the console").map_err(|error| error.to_string())?;
    Err(format!("{escapes}on standard error"))
}

/// Opens the results port, as PID 1.
fn port() -> Result<File, String> {
    early::mount_all()?;
    for module in early::read_job()?.boot_modules {
        early::load_module(&module)?;
    }
    early::open_port()
}

/// Says hello with a release that contains control sequences, and powers off properly.
fn greet_with_escapes() -> FaultResult {
    let mut sender = Sender::new(port()?);
    let release = "\x1b[2J\x1b]0;owned\x07".to_owned();
    let hello = Hello { version: VERSION, release, ..Hello::default() };
    for frame in [Frame::Hello(hello), Frame::End] {
        sender.send(&frame).map_err(|error| format!("cannot send: {error}"))?;
    }
    power_off()
}

/// Sends the head of a frame of 4 GiB, and no payload.
fn claim_a_huge_frame() -> FaultResult {
    let head = *b"SNPT\x04\0\0\0\xff\xff\xff\xff";
    port()?.write_all(&head).map_err(|error| format!("cannot write: {error}"))?;
    power_off()
}

fn power_off() -> FaultResult {
    reboot(RebootCommand::PowerOff).map_err(|error| format!("cannot power off: {error}"))
}

/// Removes the port while init sends.
fn cut_results() -> FaultResult {
    let driver = "/sys/bus/virtio/drivers/virtio_console";
    let devices = fs::read_dir(driver).map_err(|error| format!("cannot list {driver}: {error}"))?;
    for device in devices.flatten() {
        let name = device.file_name().to_string_lossy().into_owned();
        if name.starts_with("virtio") {
            return write(&format!("{driver}/unbind"), &name);
        }
    }
    Err(format!("{driver} has no device"))
}

/// Writes into the port through init's open file, unnoticed by init.
fn write_into_results() -> FaultResult {
    let failed = |error: Errno| format!("cannot take init's port: {error}");
    let init = pidfd_open(Pid::INIT, PidfdFlags::empty()).map_err(failed)?;
    for number in 0..64 {
        let link = fs::read_link(format!("/proc/1/fd/{number}")).unwrap_or_default();
        if link.to_string_lossy().starts_with("/dev/vport") {
            let port = pidfd_getfd(init, number, PidfdGetfdFlags::empty()).map_err(failed)?;
            return File::from(port).write_all(b"foreign").map_err(|error| format!("cannot write: {error}"));
        }
    }
    Err("init holds no port".into())
}
