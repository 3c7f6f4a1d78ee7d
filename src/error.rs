//! The error of this crate: what was tried, on which object, why it failed, and what helps.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;

const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const CMDLINE: &str = "/proc/cmdline";

/// The result of anything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed operation, worded for the person who asked for it.
///
/// The text names the operation and its object, the cause, the kernel's own `error_log` entry
/// where there is one, and what to do about it.
///
/// ```
/// use snaptrace::Error;
/// let error = Error::usage("tracer 'functoin' does not exist").help("did you mean 'function'?");
/// assert_eq!(error.exit_code(), 2);
/// assert_eq!(error.to_string(), "tracer 'functoin' does not exist\n  help: did you mean 'function'?");
/// ```
#[derive(Debug)]
pub struct Error(Box<Parts>);

/// Boxed, so that results are as small where all goes well as they are without an error.
#[derive(Debug)]
struct Parts {
    exit_code: u8,
    what: String,
    cause: Option<String>,
    kernel_log: Option<String>,
    help: Option<String>,
    closed_output: bool,
}

impl Error {
    /// Exit code of a failure that has no code of its own.
    pub const GENERAL: u8 = 1;
    /// Exit code when the request itself is at fault: nothing matched, no such tracer.
    pub const USAGE: u8 = 2;
    /// Exit code when the kernel denied access.
    pub const PERMISSION: u8 = 13;

    /// A failure with exit code 1.
    pub fn new(what: impl Into<String>) -> Error {
        Error::with_code(Error::GENERAL, what)
    }

    /// A request that cannot be carried out as it stands; exit code 2.
    pub fn usage(what: impl Into<String>) -> Error {
        Error::with_code(Error::USAGE, what)
    }

    /// A failure with an exit code chosen by the caller.
    pub fn with_code(exit_code: u8, what: impl Into<String>) -> Error {
        Error(Box::new(Parts {
            exit_code,
            what: what.into(),
            cause: None,
            kernel_log: None,
            help: None,
            closed_output: false,
        }))
    }

    /// A failed system call: `operation` is a verb ("read", "write 'nop' to"), `path` its object.
    ///
    /// Denied access gets exit code 13; for the common causes the error says what helps.
    pub fn io(operation: &str, path: &Path, cause: &io::Error) -> Error {
        let denied = cause.kind() == io::ErrorKind::PermissionDenied;
        // Files of function filters say so by "No such device".
        if matches!(cause.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::PERM | Errno::NODEV))
            && let Some(lockdown) = lockdown()
        {
            return Error::locked_down(format!("cannot {operation} {}", path.display()), &lockdown)
                .because(cause);
        }
        let code = if denied { Error::PERMISSION } else { Error::GENERAL };
        Error::with_code(code, format!("cannot {operation} {}", path.display())).because(cause).help(
            match cause.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::ACCESS) => "tracing needs root: run the command again with sudo",
                Some(Errno::PERM) => {
                    "tracing needs root, and a kernel that is not locked down: /sys/kernel/security/lockdown \
                     tells (mount -t securityfs securityfs /sys/kernel/security)"
                }
                Some(Errno::NOENT) => {
                    "this kernel does not offer it; 'snaptrace check' tells which configuration symbol does"
                }
                Some(Errno::BUSY) => {
                    "a reader of trace_pipe or another tracing program holds it: end that first"
                }
                Some(Errno::INVAL) => {
                    "the kernel does not accept it in its present state; 'snaptrace stat' shows that state"
                }
                Some(Errno::NODEV) if path.components().any(|part| part.as_os_str() == "per_cpu") => {
                    "this CPU has no buffer: it was not online yet; 'snaptrace stat' shows the CPUs"
                }
                Some(Errno::NODEV) => "ftrace has shut itself down after a fault: see dmesg, then reboot",
                Some(Errno::NOMEM | Errno::NOSPC) => "the kernel is out of memory for it: ask for less",
                _ => "'snaptrace stat' shows what is in effect, dmesg what the kernel says",
            },
        )
    }

    /// Something that a locked down kernel does not allow; `found` tells how that is known.
    pub(crate) fn locked_down(what: String, found: &str) -> Error {
        Error::with_code(Error::PERMISSION, what).help(format!(
            "the kernel is locked down ({found}), and does not let even root trace: boot it without \
             lockdown=confidentiality; lockdown=integrity allows tracing"
        ))
    }

    /// Output that could not be written. A closed pipe is no failure: see [`Error::is_closed_output`].
    pub fn output(cause: &io::Error) -> Error {
        let mut error = Error::new("cannot write the output").because(cause);
        error.0.closed_output = cause.kind() == io::ErrorKind::BrokenPipe;
        error.help("check the file or pipe that standard output goes to")
    }

    /// Adds the system's own words on the cause.
    pub fn because(mut self, cause: &io::Error) -> Error {
        self.0.cause = Some(describe(cause));
        self
    }

    /// Replaces the advice.
    pub fn help(mut self, help: impl Into<String>) -> Error {
        self.0.help = Some(help.into());
        self
    }

    /// Adds a sentence after the advice given so far.
    pub fn and_help(mut self, help: &str) -> Error {
        self.0.help = Some(match self.0.help.take() {
            Some(before) => format!("{before}\n        {help}"),
            None => help.to_string(),
        });
        self
    }

    /// Adds what the kernel's `error_log` says about the refused command.
    pub fn kernel_log(mut self, excerpt: Option<String>) -> Error {
        self.0.kernel_log = excerpt;
        self
    }

    /// Makes it the fault of a request, with other words for what was tried; cause and the
    /// kernel's words stay. Denied access stays what it is.
    pub fn of_request(mut self, what: impl Into<String>) -> Error {
        if self.0.exit_code != Error::PERMISSION {
            self.0.exit_code = Error::USAGE;
            self.0.what = what.into();
        }
        self
    }

    /// The exit code a command ends with after this error: 1, 2 or 13, or what the caller chose.
    pub fn exit_code(&self) -> u8 {
        self.0.exit_code
    }

    /// True when the reader of standard output went away, as in `snaptrace show | head`.
    pub fn is_closed_output(&self) -> bool {
        self.0.closed_output
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.what)?;
        if let Some(cause) = &self.0.cause {
            write!(f, ": {cause}")?;
        }
        if let Some(log) = &self.0.kernel_log {
            write!(f, "\n  the kernel's error_log:")?;
            for line in log.lines() {
                write!(f, "\n    {line}")?;
            }
        }
        match &self.0.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// How it is known that the kernel is locked down so far that nobody may trace; `None` when it is
/// not, or does not tell.
pub(crate) fn lockdown() -> Option<String> {
    found_lockdown(fs::read_to_string(LOCKDOWN).ok().as_deref(), || fs::read_to_string(CMDLINE).ok())
}

/// `state` is what the kernel says; where securityfs is not mounted it says nothing, and its command
/// line is asked.
fn found_lockdown(state: Option<&str>, cmdline: impl Fn() -> Option<String>) -> Option<String> {
    match state {
        Some(state) => {
            let is_locked = state.split_ascii_whitespace().any(|word| word == "[confidentiality]");
            is_locked.then(|| format!("{LOCKDOWN} says confidentiality"))
        }
        None => {
            let cmdline = cmdline()?;
            let mut given = cmdline.split_ascii_whitespace().filter(|word| word.starts_with("lockdown="));
            (given.next_back()? == "lockdown=confidentiality")
                .then(|| "it was booted with lockdown=confidentiality".to_string())
        }
    }
}

/// The system's words without the "(os error 13)" that std appends.
fn describe(cause: &io::Error) -> String {
    let text = cause.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_access_names_the_file_and_exits_13() {
        let denied = io::Error::from_raw_os_error(Errno::ACCESS.raw_os_error());
        let error = Error::io("read", Path::new("/sys/kernel/tracing/trace"), &denied);
        assert_eq!(error.exit_code(), 13);
        assert_eq!(
            error.to_string(),
            "cannot read /sys/kernel/tracing/trace: Permission denied\n  \
             help: tracing needs root: run the command again with sudo"
        );
    }

    #[test]
    fn a_cpu_without_a_buffer_is_not_taken_for_a_fault_of_the_kernel() {
        let gone = io::Error::from_raw_os_error(Errno::NODEV.raw_os_error());
        let help = |path: &str| Error::io("read", Path::new(path), &gone).to_string();
        let of_cpu = help("/sys/kernel/tracing/per_cpu/cpu1/trace_pipe_raw");
        assert!(of_cpu.contains("this CPU has no buffer") && !of_cpu.contains("reboot"), "{of_cpu}");
        assert!(help("/sys/kernel/tracing/set_ftrace_filter").contains("see dmesg, then reboot"));
    }

    #[test]
    fn a_lockdown_is_found_in_what_the_kernel_says() {
        let found = |state, cmdline: &str| found_lockdown(state, || Some(cmdline.to_string()));
        assert!(found(Some("none integrity [confidentiality]\n"), "").unwrap().contains("says"));
        assert_eq!(found(Some("[none] integrity confidentiality\n"), "lockdown=confidentiality"), None);
        assert_eq!(found(Some("none [integrity] confidentiality\n"), ""), None);
        assert!(found(None, "quiet lockdown=confidentiality\n").unwrap().contains("was booted with"));
        assert_eq!(found(None, "lockdown=integrity quiet\n"), None);
        assert_eq!(found(None, "lockdown=confidentiality lockdown=none\n"), None, "the last word holds");
    }

    #[test]
    fn the_kernel_log_stands_between_cause_and_help() {
        let error = Error::new("cannot write 'x'").kernel_log(Some("a\n  Command: x".into())).help("see y");
        assert_eq!(
            error.to_string(),
            "cannot write 'x'\n  the kernel's error_log:\n    a\n      Command: x\n  help: see y"
        );
    }

    #[test]
    fn only_a_closed_pipe_counts_as_closed_output() {
        assert!(Error::output(&io::ErrorKind::BrokenPipe.into()).is_closed_output());
        assert!(!Error::output(&io::ErrorKind::StorageFull.into()).is_closed_output());
    }
}
