//! The interface of a subcommand, and its access to the kernel.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::ArgMatches;

use crate::capture::output::warn;
use crate::error::{Error, Result};
use crate::restore::session;
use crate::tracefs::Tracefs;

/// A subcommand: its arguments, parsed by clap, and the function that runs it.
///
/// The arguments' doc comment is the subcommand's line in the help.
pub(super) trait Subcommand: clap::Args {
    /// The word on the command line.
    const NAME: &'static str;

    /// Takes the arguments from the command line that clap has parsed.
    ///
    /// # Errors
    /// The arguments do not fit together.
    fn from_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        Self::from_arg_matches(matches)
    }

    /// Runs the subcommand and returns the exit code.
    ///
    /// A subcommand that works on the kernel opens the tracing directory first; one that works on files
    /// does not open it.
    fn run(self, kernel: &Kernel) -> Result<u8>;
}

/// The kernel to work on. Its tracing directory is searched for only when a subcommand needs it.
#[derive(Debug)]
pub(super) struct Kernel {
    /// The tracing directory, if the command line names one.
    pub(super) tracing_dir: Option<PathBuf>,
}

impl Kernel {
    /// The tracing directory. If a recording was killed, its changes are undone first.
    ///
    /// # Errors
    /// There is no tracing directory, or not everything could be restored.
    pub(super) fn tracefs(&self) -> Result<Tracefs> {
        let tracefs = self.as_it_is()?;
        if let Some(pid) = session::recover(&tracefs)? {
            warn(&format!(
                "a recording of process {pid} was killed; the settings that it changed are restored"
            ));
        }
        Ok(tracefs)
    }

    /// The tracing directory as it is, even if a killed recording left changes in it. For subcommands
    /// that only read files that no recording changes.
    ///
    /// # Errors
    /// There is no tracing directory.
    pub(super) fn as_it_is(&self) -> Result<Tracefs> {
        match &self.tracing_dir {
            Some(path) => Tracefs::at(path),
            None => Tracefs::find_or_mount(),
        }
    }
}

/// Prints a text to standard output.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::output)
}
