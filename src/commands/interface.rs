//! What a subcommand is, and what it is given.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::ArgMatches;

use crate::capture::output::warn;
use crate::error::{Error, Result};
use crate::restore::session;
use crate::tracefs::Tracefs;

/// A subcommand: its arguments, read by clap, and its run.
///
/// The arguments' doc comment is the subcommand's line in the help.
pub(super) trait Subcommand: clap::Args {
    /// The word on the command line.
    const NAME: &'static str;

    /// The arguments, once clap has read the command line.
    ///
    /// # Errors
    /// They do not fit together.
    fn from_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        Self::from_arg_matches(matches)
    }

    /// Runs the subcommand and returns the exit code.
    ///
    /// A subcommand that works on the kernel opens the tracing directory first; one that works on
    /// files has no use for it.
    fn run(self, kernel: &Kernel) -> Result<u8>;
}

/// The kernel to work on, whose tracing directory is looked for only when a subcommand needs it.
#[derive(Debug)]
pub(super) struct Kernel {
    /// The tracing directory, where the command line names one.
    pub(super) tracing_dir: Option<PathBuf>,
}

impl Kernel {
    /// The tracing directory, as it was before a recording that was killed.
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

    /// The tracing directory with whatever a killed recording left in it, for those that only read
    /// what no recording changes.
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

/// Prints a text that is complete.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::output)
}
