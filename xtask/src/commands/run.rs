//! `run`: a command in a guest; its output and exit status come back.

use std::path::PathBuf;

use super::args::{ExactArgs, GuestArgs};
use super::interface::{Global, Subcommand};
use crate::base::error::Result;
use crate::guest::prepared::GuestOptions;
use crate::run::single::{self, Get, Input, Options};

/// Run a command in a guest; its output and exit status come back
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: cargo xtask run -- snaptrace list -f 'vfs_*'
         cargo xtask run -i -- sh -s < script")]
pub(super) struct Args {
    #[command(flatten)]
    guest: GuestArgs,
    #[command(flatten)]
    exact: ExactArgs,
    /// Copy a file out of the guest (repeatable)
    #[arg(long, value_name = "GUEST_FILE[:HOST_FILE]")]
    get: Vec<Get>,
    /// Pass on standard input, or FILE (--stdin=FILE): read to its end before
    /// the boot, at most 64 MiB
    #[arg(short = 'i', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    stdin: Option<Option<PathBuf>>,
    /// Seconds the command may take
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Subcommand for Args {
    const NAME: &'static str = "run";

    fn run(self, global: &Global) -> Result<u8> {
        let (kernel, guest_options) = self.guest.split()?;
        let guest_options = GuestOptions { busybox: true, exact: self.exact.exactness(), ..guest_options };
        let stdin = self.stdin.map(|file| file.map_or(Input::Standard, Input::File));
        let options = Options {
            kernel,
            argv: self.command,
            get: self.get,
            stdin,
            guest_options,
            timeout: self.timeout,
        };
        single::run(&global.workspace()?, &options)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    #[test]
    fn input_is_standard_input_or_a_file_and_never_the_command() {
        let stdin = |line: &str| {
            let definition = Args::augment_args(clap::Command::new("run"));
            let args = Args::from_arg_matches(&definition.get_matches_from(line.split(' '))).unwrap();
            (args.stdin, args.command.join(" "))
        };
        assert_eq!(stdin("run sh -i"), (None, "sh -i".into()));
        assert_eq!(stdin("run -i sh -s"), (Some(None), "sh -s".into()));
        assert_eq!(stdin("run --stdin -- cat"), (Some(None), "cat".into()));
        assert_eq!(stdin("run --stdin=a cat"), (Some(Some("a".into())), "cat".into()));
    }
}
