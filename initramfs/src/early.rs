//! The start of PID 1, before the results port is open: mounts, the loopback device, the job, the
//! modules, the port.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use rustix::system::finit_module;

use crate::Job;
use crate::job::{INPUT_PORT, JOB_PATH, MODULE_DIR, RESULTS_PORT, STDIN_PATH};

/// Why PID 1 cannot go on, in one sentence.
pub type Failure = String;

/// Source, target, type: mounted in this order. What is already mounted is left alone.
const MOUNTS: [(&str, &str, &str); 8] = [
    ("proc", "/proc", "proc"),
    ("sysfs", "/sys", "sysfs"),
    ("devtmpfs", "/dev", "devtmpfs"),
    ("devpts", "/dev/pts", "devpts"),
    ("tmpfs", "/dev/shm", "tmpfs"),
    ("tmpfs", "/tmp", "tmpfs"),
    ("debugfs", "/sys/kernel/debug", "debugfs"),
    ("tracefs", "/sys/kernel/tracing", "tracefs"),
];

/// Link, target: links that programs expect in /dev and that devtmpfs does not create.
const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Mounts the file systems that this kernel supports, and completes /dev.
///
/// # Errors
/// A file system that every kernel supports cannot be mounted.
pub fn mount_all() -> Result<(), Failure> {
    for (source, target, kind) in MOUNTS {
        // debugfs and tracefs bring their own mount points; a kernel without them has neither.
        if !Path::new(target).is_dir() {
            match fs::create_dir_all(target) {
                Ok(()) => {}
                Err(_) if target.starts_with("/sys/") => continue,
                Err(error) => return Err(format!("cannot create {target}: {error}")),
            }
        }
        match mount(source, target, kind, MountFlags::empty(), None) {
            // EBUSY: mounted already. ENODEV: this kernel does not have it.
            Ok(()) | Err(Errno::BUSY | Errno::NODEV | Errno::EXIST) => {}
            Err(error) => return Err(format!("cannot mount {kind} on {target}: {error}")),
        }
    }
    for (link, target) in LINKS {
        match symlink(target, link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(format!("cannot link {link} to {target}: {error}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Sets the loopback device up if the kernel has IPv4; the kernel then assigns its addresses.
///
/// # Errors
/// The kernel has IPv4 and refuses.
pub fn loopback_up() -> Result<(), Failure> {
    // Checked in /proc: opening a socket makes a kernel without IPv4 look for a module.
    if !Path::new("/proc/sys/net/ipv4").exists() {
        return Ok(());
    }
    let failed = |error: Errno| format!("cannot bring the loopback device up: {error}");
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None);
    let socket = socket.map_err(failed)?;
    send(&socket, &set_link_up(LOOPBACK), SendFlags::empty()).map_err(failed)?;
    // The answer: a header of 16 bytes, and the error as a negative number or 0.
    let mut answer = [0; 128];
    let (_, length) = recv(&socket, &mut answer, RecvFlags::empty()).map_err(failed)?;
    let code = answer[..length.min(answer.len())].get(16..20).and_then(|code| code.try_into().ok());
    match code.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(code) => Err(failed(Errno::from_raw_os_error(code.saturating_neg()))),
        None => Err("cannot bring the loopback device up: the kernel's answer is too short".into()),
    }
}

/// The index that the loopback device has in every network namespace.
const LOOPBACK: i32 = 1;

/// A message of rtnetlink(7) that sets a link up: `nlmsghdr`, then `ifinfomsg`.
fn set_link_up(index: i32) -> Vec<u8> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const NLM_F_ACK: u16 = 4;
    const IFF_UP: u32 = 1;
    let mut message = Vec::new();
    message.extend(32_u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    // Sequence number and sender, then family and device type: all may be 0.
    message.extend([0; 12]);
    message.extend(index.to_ne_bytes());
    // The flags, and the mask of flags to change.
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message
}

/// Reads the job that the host packed.
///
/// # Errors
/// The job cannot be read or parsed.
pub fn read_job() -> Result<Job, Failure> {
    let bytes = fs::read(JOB_PATH).map_err(|error| format!("cannot read the job {JOB_PATH}: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("cannot parse the job {JOB_PATH}: {error}"))
}

/// Loads a module by its name, unless it is loaded already.
///
/// # Errors
/// The file cannot be read, or the kernel refuses it.
pub fn load_module(name: &str) -> Result<(), Failure> {
    let path = format!("{MODULE_DIR}/{name}.ko");
    let file = File::open(&path).map_err(|error| format!("cannot open the module {path}: {error}"))?;
    match finit_module(&file, &CString::default(), 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(format!("cannot load the module {path}: {error}")),
    }
}

/// Finds a virtio-serial port by the name the host gave it.
fn find_port(wanted: &str) -> Option<PathBuf> {
    let entries = fs::read_dir("/sys/class/virtio-ports").ok()?;
    for entry in entries.flatten() {
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if name.trim_end() == wanted {
            return Some(Path::new("/dev").join(entry.file_name()));
        }
    }
    None
}

/// Opens the port that carries the frames.
///
/// # Errors
/// There is no such port, or it cannot be opened.
pub fn open_port() -> Result<File, Failure> {
    open(RESULTS_PORT, OpenOptions::new().write(true))
}

/// Opens the steps' standard input: the input port, or the file that the host passed.
///
/// # Errors
/// There is no such port, the host has not opened its other end, or the file cannot be opened.
pub fn open_input(job: &Job) -> Result<Option<File>, Failure> {
    if !job.input {
        return match File::open(STDIN_PATH) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot open {STDIN_PATH}: {error}")),
        };
    }
    let port = open(INPUT_PORT, OpenOptions::new().read(true))?;
    // The driver learns by a message that the host has opened its end; before that, a read returns end of
    // file.
    for _ in 0..1000 {
        let mut watched = [PollFd::new(&port, PollFlags::IN)];
        match poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(_) if !watched[0].revents().contains(PollFlags::HUP) => return Ok(Some(port)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(format!("cannot wait for the input port: {error}")),
        }
        // A host with little to send may have closed its end already; its data can still be read.
        if watched[0].revents().contains(PollFlags::IN) {
            return Ok(Some(port));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(Some(port))
}

fn open(name: &str, how: &OpenOptions) -> Result<File, Failure> {
    // The port's name arrives in a message from the host some time after the driver has loaded.
    for _ in 0..1000 {
        if let Some(path) = find_port(name) {
            match how.open(&path) {
                Ok(port) => return Ok(port),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(format!("cannot open the port {name}, {}: {error}", path.display()));
                }
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(format!("there is no virtio-serial port named {name}"))
}
