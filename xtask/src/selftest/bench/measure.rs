//! Measures a process: wall time, CPU time, and peak memory.

use std::io;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::base::error::{Context, Error, Result};

/// The resources that a process used.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Wall time.
    pub wall: Duration,
    /// Its peak resident memory, in KiB; at least that of this process when it started the child.
    pub memory: u64,
}

/// Runs a command to its end; it has to succeed.
///
/// # Errors
/// It cannot be started or fails.
pub fn run(command: &mut Command) -> Result<Usage> {
    let shown = format!("{command:?}");
    let started = Instant::now();
    let child = command.spawn().context(|| format!("cannot start {shown}"))?;
    let (status, memory) = wait(&child).context(|| format!("cannot wait for {shown}"))?;
    let wall = started.elapsed();
    if status != 0 {
        return Err(Error::new(format!("{shown} failed")).because(format!("its wait status is {status}")));
    }
    Ok(Usage { wall, memory })
}

/// Waits for one child: only `wait4` returns the resources of a single process.
fn wait(child: &Child) -> io::Result<(i32, u64)> {
    let mut status = 0;
    // SAFETY: all-zero bytes are a valid `rusage`, which consists of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to variables of this function, and the process is a child
        // that nobody else waits for.
        let waited = unsafe { libc::wait4(child.id() as i32, &mut status, 0, &mut usage) };
        if waited >= 0 {
            return Ok((status, usage.ru_maxrss as u64));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The value in the middle.
pub fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// The number of cores for the measurements.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, |count| count.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_measured_and_its_failure_told() {
        let usage = run(&mut Command::new("true")).unwrap();
        assert!(usage.memory > 0);
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.contains("exit 3"), "{error}");
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![3, 1, 2]), 2);
        assert_eq!(median(vec![5, 1, 4, 9, 2]), 4);
    }
}
