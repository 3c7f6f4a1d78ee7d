//! Runs work on several threads, limited by the cores and the memory of this machine.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::base::error::{Error, Result};

/// What QEMU needs besides the guest's memory, mostly for translated code, in MiB.
const QEMU_MEMORY: u64 = 256;

/// Calls `work` for each item, in order, on at most `at_once` threads. After the first error no more work is
/// started, and running work is waited for.
///
/// # Errors
/// The first one of `work`.
pub fn each<T: Sync>(items: &[T], at_once: usize, work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let lock = || failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    thread::scope(|scope| {
        for _ in 0..at_once.max(1).min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = work(item) {
                        lock().get_or_insert(error);
                        next.store(items.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    match lock().take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// How many threads this machine runs at once.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, |count| count.get())
}

/// How many guests of `memory` MiB can run at once: one for each core, as far as memory allows.
pub fn guests_at_once(memory: u32) -> usize {
    let room = available_memory(Path::new("/proc/meminfo"), Path::new("/sys/fs/cgroup"));
    fitting(cores(), room, memory)
}

fn fitting(cores: usize, room: Option<u64>, memory: u32) -> usize {
    let by_memory = room.map_or(usize::MAX, |room| (room / (u64::from(memory) + QEMU_MEMORY)) as usize);
    // Always try one: the kernel counts memory as used that it could free.
    cores.min(by_memory).max(1)
}

/// The available memory in MiB: the machine's, or the control group's if that is less. `None` if neither is
/// known.
fn available_memory(meminfo: &Path, cgroup: &Path) -> Option<u64> {
    let machine = fs::read_to_string(meminfo).ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
    });
    let number = |name: &str| fs::read_to_string(cgroup.join(name)).ok()?.trim().parse::<u64>().ok();
    // `memory.max` says `max` where there is no limit.
    let group = number("memory.max")
        .map(|limit| limit.saturating_sub(number("memory.current").unwrap_or(0)) / (1 << 20));
    [machine, group].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_until_one_fails() {
        let seen = Mutex::new(Vec::new());
        let note = |item: &u32| {
            seen.lock().unwrap().push(*item);
            if *item == 7 { Err(Error::new("seven")) } else { Ok(()) }
        };
        each(&[1, 2, 3, 4, 5], 3, note).unwrap();
        let mut all = std::mem::take(&mut *seen.lock().unwrap());
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3, 4, 5]);
        assert_eq!(each(&[1, 7, 2], 1, note).unwrap_err().to_string(), "seven");
        assert_eq!(*seen.lock().unwrap(), [1, 7]);
        each(&[], 4, note).unwrap();
    }

    #[test]
    fn guests_are_bounded_by_cores_and_by_memory() {
        assert_eq!(fitting(8, None, 512), 8);
        assert_eq!(fitting(8, Some(768 * 3 + 5), 512), 3);
        assert_eq!(fitting(2, Some(24 << 10), 512), 2);
        assert_eq!(fitting(4, Some(100), 512), 1);
    }

    #[test]
    fn a_control_group_bounds_the_memory_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let meminfo = folder.path().join("meminfo");
        assert_eq!(available_memory(&meminfo, folder.path()), None);
        fs::write(&meminfo, "MemTotal:  9000000 kB\nMemAvailable:    4194304 kB\n").unwrap();
        assert_eq!(available_memory(&meminfo, folder.path()), Some(4096));
        fs::write(folder.path().join("memory.max"), "max\n").unwrap();
        assert_eq!(available_memory(&meminfo, folder.path()), Some(4096));
        fs::write(folder.path().join("memory.max"), format!("{}\n", 2u64 << 30)).unwrap();
        fs::write(folder.path().join("memory.current"), format!("{}\n", 1u64 << 30)).unwrap();
        assert_eq!(available_memory(&meminfo, folder.path()), Some(1024));
    }
}
