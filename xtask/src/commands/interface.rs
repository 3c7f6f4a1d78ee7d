//! The trait of subcommands, and the options that all of them have.

use clap::ArgMatches;

use crate::base::error::Result;
use crate::base::scratch;
use crate::base::workspace::Workspace;

/// A subcommand: its arguments, which clap parses, and its run.
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

    /// Runs the subcommand, and returns the exit code.
    fn run(self, global: &Global) -> Result<u8>;
}

/// The options that every subcommand has.
#[derive(Debug)]
pub(super) struct Global {
    /// Install host packages without asking.
    pub(super) yes: bool,
}

impl Global {
    /// The context that nearly all subcommands work in. From here on temporary folders are removed when a
    /// signal ends this process.
    ///
    /// # Errors
    /// Signals cannot be caught, or no place for the cache is known.
    pub(super) fn workspace(&self) -> Result<Workspace> {
        scratch::go_with_signals()?;
        Workspace::open(self.yes)
    }
}
