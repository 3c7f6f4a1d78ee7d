//! The error of this crate: the operation, its object, the cause, and what to do.

use std::error::Error as StdError;
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
/// The text names the operation and its object, the cause, the kernel's own `error_log` entry if there
/// is one, and what to do. The cause itself is kept: `source()` returns it, and programs decide by its
/// kind, never by the text.
///
/// ```
/// use std::error::Error as _;
/// use std::io;
/// use snaptrace::Error;
/// let error = Error::usage("tracer 'functoin' does not exist").help("did you mean 'function'?");
/// assert_eq!(error.exit_code(), 2);
/// assert_eq!(error.to_string(), "tracer 'functoin' does not exist\n  help: did you mean 'function'?");
///
/// let error = Error::io("read", "trace.dat".as_ref(), io::Error::from(io::ErrorKind::NotFound));
/// let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
/// assert_eq!(cause.map(io::Error::kind), Some(io::ErrorKind::NotFound));
/// ```
#[derive(Debug)]
pub struct Error(Box<Parts>);

type Cause = Box<dyn StdError + Send + Sync>;

/// Boxed, so that a `Result` is small when nothing fails.
#[derive(Debug, Default)]
struct Parts {
    exit_code: u8,
    /// The operation that failed; `None` if the cause names it.
    what: Option<String>,
    cause: Option<Cause>,
    kernel_log: Option<String>,
    /// What to do, a sentence each.
    help: Vec<String>,
    /// General advice on this kind of cause; shown if there is no `help`.
    advice: Option<String>,
    /// The state that the failed operation left behind.
    note: Option<String>,
    is_output: bool,
}

impl Error {
    /// Exit code of a failure that has no code of its own.
    pub const GENERAL: u8 = 1;
    /// Exit code of a wrong request: nothing matched, or the tracer does not exist.
    pub const USAGE: u8 = 2;
    /// Exit code when the kernel denied access.
    pub const PERMISSION: u8 = 13;

    /// A failure with exit code 1.
    pub fn new(what: impl Into<String>) -> Error {
        Error::with_code(Error::GENERAL, what)
    }

    /// A wrong request; exit code 2.
    pub fn usage(what: impl Into<String>) -> Error {
        Error::with_code(Error::USAGE, what)
    }

    /// A failure with an exit code chosen by the caller.
    pub fn with_code(exit_code: u8, what: impl Into<String>) -> Error {
        Error(Box::new(Parts { exit_code, what: Some(what.into()), ..Parts::default() }))
    }

    /// An error of another library whose text already names the operation and its object.
    pub(crate) fn of(cause: impl Into<Cause>, exit_code: u8) -> Error {
        Error(Box::new(Parts { exit_code, cause: Some(cause.into()), ..Parts::default() }))
    }

    /// A failed system call: `operation` is a verb ("read", "write 'nop' to"), `path` its object.
    ///
    /// Denied access gets exit code 13. If the caller adds no [`help`](Error::help), the advice is chosen
    /// by the system's error number.
    pub fn io(operation: &str, path: &Path, cause: impl Into<io::Error>) -> Error {
        let cause = cause.into();
        let what = format!("cannot {operation} {}", path.display());
        let number = cause.raw_os_error().map(Errno::from_raw_os_error);
        // In a locked-down kernel the files of function filters fail with "No such device".
        if matches!(number, Some(Errno::PERM | Errno::NODEV))
            && let Some(lockdown) = lockdown()
        {
            return Error::locked_down(what, &lockdown).because(cause);
        }
        let code = match cause.kind() {
            io::ErrorKind::PermissionDenied => Error::PERMISSION,
            _ => Error::GENERAL,
        };
        Error::with_code(code, what).advice(advice(number, path)).because(cause)
    }

    /// An operation that a locked-down kernel does not allow; `found` says how the lockdown was detected.
    pub(crate) fn locked_down(what: String, found: &str) -> Error {
        Error::with_code(Error::PERMISSION, what).advice(format!(
            "the kernel is locked down ({found}) and does not allow tracing, not even to root: boot it \
             without lockdown=confidentiality; lockdown=integrity allows tracing"
        ))
    }

    /// Output that could not be written. A closed pipe is not a failure: see [`Error::is_closed_output`].
    pub fn output(cause: impl Into<io::Error>) -> Error {
        let mut error = Error::new("cannot write the output").because(cause.into());
        error.0.is_output = true;
        error.advice("check the file or pipe that standard output goes to")
    }

    /// Adds the cause, which [`source()`](StdError::source) then returns.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.cause = Some(cause.into());
        self
    }

    /// Adds a sentence that says what to do; it replaces the general advice on the cause.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Error {
        self.0.help.push(help.into());
        self
    }

    /// Sets the general advice on the cause.
    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Error {
        self.0.advice = Some(advice.into());
        self
    }

    /// Adds the state that was left behind, if something was changed before the failure.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Error {
        self.0.note = Some(note.into());
        self
    }

    /// Adds the kernel's `error_log` entry about the refused command.
    pub fn kernel_log(mut self, excerpt: Option<String>) -> Error {
        self.0.kernel_log = excerpt;
        self
    }

    /// Turns this into a wrong request (exit code 2), with a new text for the operation; the cause and the
    /// kernel's text are kept. The exit code of denied access is kept, too.
    pub fn of_request(mut self, what: impl Into<String>) -> Error {
        if self.0.exit_code != Error::PERMISSION {
            self.0.exit_code = Error::USAGE;
            self.0.what = Some(what.into());
        }
        self
    }

    /// The exit code for this error: 1, 2 or 13, or one chosen by the caller.
    pub fn exit_code(&self) -> u8 {
        self.0.exit_code
    }

    /// Whether the reader of standard output has closed it, as in `snaptrace show | head`.
    pub fn is_closed_output(&self) -> bool {
        let cause = self.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        self.0.is_output && cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        if let Some(what) = &self.0.what {
            f.write_str(what)?;
            between = ": ";
        }
        for cause in causes(self) {
            write!(f, "{between}{}", Described(cause))?;
            between = ": ";
        }
        if let Some(log) = &self.0.kernel_log {
            write!(f, "\n  the kernel's error_log:")?;
            for line in log.lines() {
                write!(f, "\n    {line}")?;
            }
        }
        let advice = self.0.advice.iter().filter(|_| self.0.help.is_empty());
        for help in self.0.help.iter().chain(advice) {
            write!(f, "\n  help: {help}")?;
        }
        match &self.0.note {
            Some(note) => write!(f, "\n  note: {note}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

fn causes(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |cause: &&(dyn StdError + 'static)| StdError::source(*cause))
}

/// General advice on a failed system call.
fn advice(number: Option<Errno>, path: &Path) -> &'static str {
    match number {
        Some(Errno::ACCESS) => "tracing needs root: run the command again with sudo",
        Some(Errno::PERM) => {
            "tracing needs root, and a kernel that is not locked down; /sys/kernel/security/lockdown shows \
             whether it is (mount -t securityfs securityfs /sys/kernel/security)"
        }
        Some(Errno::NOENT) => {
            "this kernel does not have it; 'snaptrace check' names the configuration symbol that adds it"
        }
        Some(Errno::BUSY) => {
            "a reader of trace_pipe or another tracing program is using it: end that program first"
        }
        Some(Errno::INVAL) => "the kernel refuses it with the present settings; 'snaptrace stat' shows them",
        Some(Errno::NODEV) if path.components().any(|part| part.as_os_str() == "per_cpu") => {
            "this CPU has no buffer, because it has not been online; 'snaptrace stat' shows the CPUs"
        }
        Some(Errno::NODEV) => {
            "ftrace has switched itself off after an error in the kernel: see dmesg, then reboot"
        }
        Some(Errno::NOMEM | Errno::NOSPC) => "the kernel has not enough memory for it: ask for less",
        _ => "'snaptrace stat' shows the settings, dmesg the kernel's messages",
    }
}

/// How it was detected that the kernel is locked down and does not allow tracing. `None` when it is not
/// locked down, or when this is unknown.
pub(crate) fn lockdown() -> Option<String> {
    found_lockdown(fs::read_to_string(LOCKDOWN).ok().as_deref(), || fs::read_to_string(CMDLINE).ok())
}

/// `state` is the content of the kernel's lockdown file. It is `None` when securityfs is not mounted; then
/// the kernel command line is checked.
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

/// Shows a cause without the "(os error 13)" that std appends.
struct Described<'a>(&'a (dyn StdError + 'static));

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let number = self.0.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        let suffix = number.map(|number| format!(" (os error {number})"));
        f.write_str(suffix.and_then(|suffix| text.strip_suffix(&suffix)).unwrap_or(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_access_names_the_file_and_exits_13() {
        let denied = io::Error::from_raw_os_error(Errno::ACCESS.raw_os_error());
        let error = Error::io("read", Path::new("/sys/kernel/tracing/trace"), denied);
        assert_eq!(error.exit_code(), 13);
        assert_eq!(
            error.to_string(),
            "cannot read /sys/kernel/tracing/trace: Permission denied\n  \
             help: tracing needs root: run the command again with sudo"
        );
    }

    #[test]
    fn a_cpu_without_a_buffer_is_not_taken_for_a_fault_of_the_kernel() {
        let help = |path: &str| Error::io("read", Path::new(path), Errno::NODEV).to_string();
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
    fn the_cause_is_kept_with_its_kind_and_number() {
        let number = |error: &Error| {
            let cause = error.source()?.downcast_ref::<io::Error>()?;
            cause.raw_os_error().map(Errno::from_raw_os_error)
        };
        let full = Error::io("write", Path::new("trace.dat"), Errno::NOSPC).help("make room there");
        assert_eq!(number(&full), Some(Errno::NOSPC));
        let refused =
            Error::io("write 'x' to", Path::new("filter"), Errno::INVAL).of_request("no such field");
        assert_eq!(number(&refused), Some(Errno::INVAL));
        assert_eq!(number(&Error::output(Errno::PIPE)), Some(Errno::PIPE));
        assert!(Error::usage("no setting was given").source().is_none());
    }

    #[test]
    fn decisions_go_by_the_kind_and_not_by_the_text() {
        let says = |kind, text: &str| io::Error::new(kind, text.to_string());
        for text in ["Broken pipe", "Permission denied (os error 13)", "pas d'espace"] {
            let [other, pipe, denied] =
                [io::ErrorKind::Other, io::ErrorKind::BrokenPipe, io::ErrorKind::PermissionDenied]
                    .map(|kind| says(kind, text));
            assert_eq!(Error::io("read", Path::new("x"), denied).exit_code(), Error::PERMISSION);
            assert!(Error::output(pipe).is_closed_output());
            let unknown = Error::io("read", Path::new("x"), other);
            assert_eq!(unknown.exit_code(), Error::GENERAL);
            assert!(unknown.to_string().starts_with(&format!("cannot read x: {text}\n  help: ")));
        }
    }

    #[test]
    fn each_help_is_a_line_and_stands_in_place_of_general_advice() {
        let failed = || Error::io("read", Path::new("x"), Errno::NOENT);
        assert!(failed().to_string().contains("\n  help: this kernel does not have it"));
        assert_eq!(
            failed().help("try y").help("or z").note("nothing was changed").to_string(),
            "cannot read x: No such file or directory\n  help: try y\n  help: or z\n  \
             note: nothing was changed"
        );
    }

    #[test]
    fn only_a_closed_pipe_counts_as_closed_output() {
        assert!(Error::output(io::ErrorKind::BrokenPipe).is_closed_output());
        assert!(!Error::output(io::ErrorKind::StorageFull).is_closed_output());
    }
}
