//! Code that runs between fork and exec; the only unsafe code of this package.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes a command run under SCHED_FIFO: it gives up the CPU only when it waits.
pub fn under_fifo(command: &mut Command) {
    // SAFETY: the closure makes one system call on values of its own and allocates nothing,
    // so it may run in a forked child of a process with other threads.
    unsafe {
        command.pre_exec(|| {
            let lowest = libc::sched_param { sched_priority: 1 };
            match libc::sched_setscheduler(0, libc::SCHED_FIFO, &lowest) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
}

/// Makes the standard library use fork and exec, as a shell does. posix_spawn may use vfork or clone3,
/// depending on the libc, so traces would depend on the libc, too.
pub fn fork_not_spawn(command: &mut Command) {
    // SAFETY: the closure does nothing.
    unsafe {
        command.pre_exec(|| Ok(()));
    }
}
