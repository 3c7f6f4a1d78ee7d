//! Errors: what was attempted on which object, why it failed, and what to do about it.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use super::verdict::Verdict;

/// A failure with everything a person needs to act on it.
///
/// The message names operation and object (`cannot read /a/b`), the cause comes from the system or a tool,
/// and the help is one or more lines on what to do. A verdict, if there is one, decides the exit code of the
/// command.
#[derive(Debug)]
pub struct Error(Box<Parts>);

type Cause = Box<dyn StdError + Send + Sync>;

#[derive(Debug)]
struct Parts {
    message: String,
    cause: Option<Cause>,
    help: Option<String>,
    verdict: Option<Verdict>,
    usage: bool,
    disk_full: bool,
}

/// The result of anything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error whose message names the operation and its object.
    pub fn new(message: impl Into<String>) -> Error {
        Error(Box::new(Parts {
            message: message.into(),
            cause: None,
            help: None,
            verdict: None,
            usage: false,
            disk_full: false,
        }))
    }

    /// An unknown name: the error lists the known ones and suggests the nearest.
    pub fn unknown(what: &str, name: &str, known: &[&str]) -> Error {
        let nearest = known
            .iter()
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .filter(|(likeness, _)| *likeness > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let mut error = Error::new(format!("there is no {what} {name}"));
        error.0.usage = true;
        if let Some((_, nearest)) = nearest {
            error = error.help(format!("did you mean {nearest}?"));
        }
        error.help(format!("known: {}", known.join(", ")))
    }

    /// Adds the cause, from the system or a tool; [`source()`](StdError::source) returns it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.cause = Some(cause.into());
        self
    }

    /// Adds what to do about it; further calls add further lines.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Error {
        let help = help.into();
        self.0.help = Some(match self.0.help.take() {
            Some(before) => format!("{before}\n{help}"),
            None => help,
        });
        self
    }

    /// Sets the verdict of this failure.
    #[must_use]
    pub fn verdict(mut self, verdict: Verdict) -> Error {
        self.0.verdict = Some(verdict);
        self
    }

    /// Makes it a usage error: the request itself is wrong, and the exit code is 2.
    #[must_use]
    pub fn usage(mut self) -> Error {
        self.0.usage = true;
        self
    }

    /// Marks it as caused by a full disk, for a failure that a tool reported and not a system call of ours.
    #[must_use]
    pub fn disk_full(mut self) -> Error {
        self.0.disk_full = true;
        self
    }

    /// Whether a full disk or quota is the cause.
    pub fn is_disk_full(&self) -> bool {
        let causes =
            std::iter::successors(self.source(), |cause: &&(dyn StdError + 'static)| (*cause).source());
        let is_full = |cause: &(dyn StdError + 'static)| {
            let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
            matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
                || cause.downcast_ref::<Error>().is_some_and(|error| error.0.disk_full)
        };
        self.0.disk_full || causes.into_iter().any(is_full)
    }

    /// Whether it is a usage error.
    pub fn is_usage(&self) -> bool {
        self.0.usage
    }

    /// The verdict, if one was set.
    pub fn verdict_given(&self) -> Option<Verdict> {
        self.0.verdict
    }

    /// Message and cause on one line, for summaries.
    pub fn summary(&self) -> String {
        match &self.0.cause {
            Some(cause) => {
                format!("{}: {}", self.0.message, cause.to_string().lines().next().unwrap_or_default())
            }
            None => self.0.message.clone(),
        }
    }

    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        self.0.verdict.map_or(if self.0.usage { 2 } else { 1 }, Verdict::exit_code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.message)?;
        if let Some(cause) = &self.0.cause {
            write!(f, ": {cause}")?;
        }
        if let Some(help) = &self.0.help {
            for line in help.lines() {
                write!(f, "\n  help: {line}")?;
            }
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

/// Turns foreign errors into ours, with the operation and its object.
pub trait Context<T> {
    /// Names the operation and its object; called only on failure.
    fn context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::new(message()).because(cause))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.ok_or_else(|| Error::new(message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_operation_cause_help() {
        let error = Error::new("cannot read a.txt")
            .because("permission denied")
            .help("run as its owner")
            .help("or copy it");
        assert_eq!(
            error.to_string(),
            "cannot read a.txt: permission denied\n  help: run as its owner\n  help: or copy it"
        );
        assert_eq!(error.exit_code(), 1);
        assert_eq!(error.verdict(Verdict::Panic).exit_code(), 204);
    }

    #[test]
    fn the_cause_is_kept_and_a_full_disk_known_by_its_kind() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let error = Error::new("cannot write a").because(full());
        assert!(error.source().is_some_and(|cause| cause.is::<io::Error>()));
        assert!(error.is_disk_full());
        assert!(Error::new("cannot build").because(error).is_disk_full());
        assert!(Error::new("cannot build").because("make said so").disk_full().is_disk_full());
        let quoted = Error::new("cannot build").because("x.c: \"No space left on device\" is undeclared");
        assert!(!quoted.is_disk_full());
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_if_there_is_one() {
        let error = Error::unknown("case", "function-grap", &["function-graph", "mount"]);
        assert_eq!(
            error.to_string(),
            "there is no case function-grap\n  help: did you mean function-graph?\n  help: known: function-graph, mount"
        );
        assert_eq!(error.exit_code(), 2);
        assert!(!Error::unknown("case", "xyz", &["mount"]).to_string().contains("did you mean"));
    }
}
