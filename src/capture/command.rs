//! Running a command whose pid is known before it runs.
//!
//! A second process of this program is started. It stops itself, and executes the command when it is
//! continued. While it is stopped, its pid can be written to the pid filters.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_parent_process_death_signal, waitpid,
};

use crate::error::{Error, Result};
use crate::setup::checked;
use crate::setup::control_files::Values;
use crate::setup::program::{self, NOT_EXECUTABLE, NOT_FOUND};
use crate::setup::request::Request;

/// The first argument of the process that waits and then executes the command.
const HELD: &str = "exec-when-continued";

/// A process that becomes the command when it is released, and is killed when it is dropped.
#[derive(Debug)]
pub struct Held {
    child: Child,
    pid: Pid,
    released: bool,
}

impl Held {
    /// Starts the process of the request's command, if there is one. If the request traces only the
    /// command, adds its pid to the pid filter.
    ///
    /// # Errors
    /// As [`Held::spawn`].
    pub(crate) fn hold(request: &Request, values: &mut Values) -> Result<Option<Held>> {
        if request.command.is_empty() {
            return Ok(None);
        }
        let held = Held::spawn(&request.command)?;
        checked::add_process(values, request, held.pid());
        Ok(Some(held))
    }

    /// Starts the process and waits until it has stopped. `words` is the program and its arguments.
    ///
    /// # Errors
    /// The program is not found ([`program::find`]), or the process cannot be started.
    pub fn spawn(words: &[OsString]) -> Result<Held> {
        let Some(program) = words.first() else { return Err(no_command()) };
        // Found here, so that no search along PATH shows up in the trace of the process.
        let path = program::find(program)?;
        let failed = |cause: io::Error| {
            Error::io("start a process from", Path::new("/proc/self/exe"), cause)
                .help("mount proc (mount -t proc proc /proc) and check the limit on processes (ulimit -u)")
        };
        let itself = env::current_exe().map_err(failed)?;
        let child = Command::new(itself).arg(HELD).arg(path).args(words).spawn().map_err(failed)?;
        let pid = Pid::from_child(&child);
        let held = Held { child, pid, released: false };
        loop {
            match waitpid(Some(pid), WaitOptions::UNTRACED) {
                Ok(Some((_, status))) if status.stopped() => return Ok(held),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
                Ok(_) => {
                    return Err(Error::new(format!(
                        "process {} ended before it could run the command",
                        pid.as_raw_nonzero()
                    ))
                    .help("another process or the kernel killed it: see dmesg, and try again"));
                }
            }
        }
    }

    /// The pid that the command will have.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Lets the command run and waits for its end.
    ///
    /// Gives its exit status as a shell does: 128 and the signal's number after a signal.
    ///
    /// # Errors
    /// The process cannot be continued or waited for.
    pub fn run(mut self) -> Result<u8> {
        self.release()?;
        let status = self.child.wait().map_err(|cause| self.failed("wait for", cause))?;
        Ok(exit_code(status))
    }

    /// Lets the command run.
    ///
    /// # Errors
    /// The process cannot be continued.
    pub fn release(&mut self) -> Result<()> {
        self.signal(Signal::CONT)?;
        self.released = true;
        Ok(())
    }

    /// The command's exit status as in [`Held::run`] if it has ended.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn ended(&mut self) -> Result<Option<u8>> {
        let status = self.child.try_wait().map_err(|cause| self.failed("wait for", cause))?;
        Ok(status.map(exit_code))
    }

    /// Sends the command a signal.
    ///
    /// # Errors
    /// The process is gone, or may not be signalled.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal).map_err(|cause| self.failed("signal", cause.into()))
    }

    fn failed(&self, operation: &str, cause: io::Error) -> Error {
        Error::io(operation, Path::new(&format!("process {}", self.pid())), cause)
            .help("another program ended it: try again")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.released {
            // A failure cannot be reported here, and the process has to end anyway.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The arguments for [`hold_then_exec`], if this process was started for it.
///
/// Call this first in the program: exec releases every page that this process has touched, and that is
/// part of the command's trace.
pub fn words_to_hold() -> Option<Vec<OsString>> {
    let mut arguments = env::args_os().skip(1);
    (arguments.next()? == HELD).then(|| arguments.collect())
}

/// Stops this process, and executes the command once it is continued. Returns only on failure.
///
/// `words` is the program's path, then its name and arguments as the user gave them.
pub fn hold_then_exec(words: &[OsString]) -> Error {
    let [path, name, arguments @ ..] = words else { return no_command() };
    // Everything is prepared before the stop, because what happens after it is traced.
    let mut command = Command::new(path);
    command.arg0(name).args(arguments);
    // If our parent dies first, nothing would ever continue this process.
    let stopped = set_parent_process_death_signal(Some(Signal::KILL))
        .and_then(|()| kill_process(getpid(), Signal::STOP))
        .and_then(|()| set_parent_process_death_signal(None));
    if let Err(cause) = stopped {
        return Error::io("stop", Path::new("the process of the command"), cause);
    }
    let cause = command.exec();
    let code = if cause.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
    Error::with_code(code, format!("cannot run '{}'", Path::new(path).display()))
        .because(cause)
        .help("check that it is an executable for this architecture, and that its interpreter exists")
}

fn no_command() -> Error {
    Error::usage("no command was given").help("name the command to run")
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    // A status is one byte; anything else counts as a failure.
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Error::GENERAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_status_is_that_of_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
