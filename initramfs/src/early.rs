//! What PID 1 does before it can speak: mounts, the job, the modules, the port.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::system::finit_module;

use crate::Job;
use crate::job::{JOB_PATH, MODULE_DIR, RESULTS_PORT};

/// Why PID 1 cannot go on, in one sentence.
pub type Failure = String;

/// Source, target, type: mounted in this order. What is already mounted is left alone.
const MOUNTS: [(&str, &str, &str); 7] = [
    ("proc", "/proc", "proc"),
    ("sysfs", "/sys", "sysfs"),
    ("devtmpfs", "/dev", "devtmpfs"),
    ("devpts", "/dev/pts", "devpts"),
    ("tmpfs", "/tmp", "tmpfs"),
    ("debugfs", "/sys/kernel/debug", "debugfs"),
    ("tracefs", "/sys/kernel/tracing", "tracefs"),
];

/// Mounts what there is to mount.
///
/// # Errors
/// Something that every kernel has cannot be mounted.
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
    Ok(())
}

/// Reads the job that the host packed.
///
/// # Errors
/// There is none, or it cannot be parsed.
pub fn read_job() -> Result<Job, Failure> {
    let bytes = fs::read(JOB_PATH).map_err(|error| format!("cannot read the job {JOB_PATH}: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("cannot parse the job {JOB_PATH}: {error}"))
}

/// Loads a module by its name, unless it is there already.
///
/// # Errors
/// The kernel does not take it.
pub fn load_module(name: &str) -> Result<(), Failure> {
    let path = format!("{MODULE_DIR}/{name}.ko");
    let file = File::open(&path).map_err(|error| format!("cannot open the module {path}: {error}"))?;
    match finit_module(&file, &CString::default(), 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(format!("cannot load the module {path}: {error}")),
    }
}

/// Finds the virtio-serial port by the name the host gave it.
fn find_port() -> Option<PathBuf> {
    let entries = fs::read_dir("/sys/class/virtio-ports").ok()?;
    for entry in entries.flatten() {
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if name.trim_end() == RESULTS_PORT {
            return Some(Path::new("/dev").join(entry.file_name()));
        }
    }
    None
}

/// Opens the port that carries the frames.
///
/// # Errors
/// There is none, or it does not open.
pub fn open_port() -> Result<File, Failure> {
    // The port's name arrives in a message from the host some time after the driver has loaded.
    for _ in 0..1000 {
        if let Some(path) = find_port() {
            match OpenOptions::new().write(true).open(&path) {
                Ok(port) => return Ok(port),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(format!("cannot open the results port {}: {error}", path.display()));
                }
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(format!("there is no virtio-serial port named {RESULTS_PORT}"))
}
