//! Child processes that do not outlive this one.
//!
//! Who starts a process by what, in the whole harness:
//!
//! - `xshell` runs cargo and rustc, and asks compilers for their version: commands one after another that a
//!   person may repeat by hand, whose failure ends ours. The head of `cargo.rs` says how.
//! - `duct` runs what is watched while it goes on, with deadlines, channels captured or ended by us: QEMU,
//!   make, apt, git in a bisection. Such a child is [`mortal`].
//! - `std::process::Command` is for the rest: a short question (`dpkg --compare-versions`), a terminal that is
//!   lent (`make menuconfig`, cargo-insta), a child that is measured, or has a session ([`make_mortal`]).

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

/// What a child has to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// Nothing: a terminal's signals reach it as they reach this process.
    Nothing,
    /// A process group, which all that it starts belongs to.
    Group,
    /// A session, by which all that it starts can be found again.
    Session,
}

/// Lets the kernel send a signal to a child when this process dies, however it dies.
///
/// SIGKILL is for a child without children of its own; SIGTERM lets it end these first. The
/// thread that starts the child has to live as long as the child may.
pub fn mortal(command: duct::Expression, signal: Signal, own: Own) -> duct::Expression {
    command.before_spawn(move |command| {
        make_mortal(command, signal, own);
        Ok(())
    })
}

/// The same for a command of the standard library.
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

/// Starts a child that has a group of its own; a signal to this process then ends the group as
/// a whole, which a child that starts others all the time cannot do itself.
///
/// # Errors
/// Those of `start`.
pub fn in_group<T>(
    start: impl FnOnce() -> io::Result<T>,
    pids: impl FnOnce(&T) -> Vec<u32>,
) -> io::Result<(T, Group)> {
    // A signal in between waits for the group to be known.
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
        // It may have ended meanwhile.
        let _ = kill_process_group(group, Signal::TERM);
    }
    std::mem::forget(groups);
}
