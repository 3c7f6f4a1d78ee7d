//! Child processes that do not outlive this one.
//!
//! What the harness starts processes with:
//!
//! - `xshell` for cargo, rustc and the versions of compilers: commands that run one after another, that a person
//!   may repeat by hand, and whose failure ends ours. See `cargo.rs`.
//! - `duct` for processes that are watched while they run, with deadlines or captured channels, or that we end:
//!   QEMU, make, apt, git in a bisection. Such a child is [`mortal`].
//! - `std::process::Command` for the rest: short queries (`dpkg --compare-versions`), programs that use the
//!   terminal (`make menuconfig`, cargo-insta), children that are measured or have a session ([`make_mortal`]).

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal, setpgid, setsid};

/// The groups of children that a signal to this process ends.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn groups() -> MutexGuard<'static, Vec<Pid>> {
    GROUPS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What a child does not share with this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// Nothing: signals of the terminal reach the child and this process.
    Nothing,
    /// A process group, which its own children belong to.
    Group,
    /// A session, by which its own children can be found.
    Session,
}

/// Lets the kernel send a signal to a child when this process dies, however it dies.
///
/// Use SIGKILL for a child without children, and SIGTERM for one that has to end its own children first. The
/// thread that starts the child has to live as long as the child.
pub fn mortal(command: duct::Expression, signal: Signal, own: Own) -> duct::Expression {
    command.before_spawn(move |command| {
        make_mortal(command, signal, own);
        Ok(())
    })
}

/// Like [`mortal`], for a command of the standard library.
pub fn make_mortal(command: &mut Command, signal: Signal, own: Own) {
    // SAFETY: the closure makes system calls on values of its own and allocates nothing,
    // so it may run in a forked child of a process with other threads.
    unsafe {
        command.pre_exec(move || {
            match own {
                Own::Nothing => {}
                Own::Group => setpgid(None, None)?,
                Own::Session => setsid().map(|_| ())?,
            }
            Ok(set_parent_process_death_signal(Some(signal))?)
        });
    }
}

/// A group of children, for as long as they may run.
#[derive(Debug)]
pub struct Group(Option<Pid>);

/// Starts a child in its own process group. A signal to this process then ends the whole group; a child that
/// keeps starting processes could not do so itself.
///
/// # Errors
/// Those of `start`.
pub fn in_group<T>(
    start: impl FnOnce() -> io::Result<T>,
    pids: impl FnOnce(&T) -> Vec<u32>,
) -> io::Result<(T, Group)> {
    // Holding the lock delays a signal's handler until the group is registered.
    let mut groups = groups();
    let started = start()?;
    let leader = pids(&started).first().and_then(|&pid| Pid::from_raw(i32::try_from(pid).ok()?));
    groups.extend(leader);
    Ok((started, Group(leader)))
}

impl Drop for Group {
    fn drop(&mut self) {
        groups().retain(|group| Some(*group) != self.0);
    }
}

/// Ends all groups; none is started any more.
pub fn end_groups() {
    let groups = groups();
    for &group in groups.iter() {
        // The group may have ended meanwhile.
        let _ = kill_process_group(group, Signal::TERM);
    }
    std::mem::forget(groups);
}
