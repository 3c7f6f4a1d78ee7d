//! The command line: the list of subcommands, each in a file of its own, and how one is run.

mod args;
mod check;
mod check_events;
mod clear;
mod dump;
mod extract;
mod filter;
mod hist;
mod interface;
mod list;
mod profile;
mod record;
mod report;
mod reset;
mod restart;
mod set;
mod show;
mod snapshot;
mod split;
mod start;
mod stat;
mod stop;
mod stream;
mod trace;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};

use crate::capture::command;
use crate::error::{Error, Result};
use interface::{Kernel, Subcommand};

/// The subcommands, in the order of the help.
const SUBCOMMANDS: &[Entry] = &[
    entry::<list::Args>(),
    entry::<start::Args>(),
    entry::<record::Args>(),
    entry::<trace::Args>(),
    entry::<stream::Args>(),
    entry::<set::Args>(),
    entry::<extract::Args>(),
    entry::<snapshot::Args>(),
    entry::<stop::Args>(),
    entry::<restart::Args>(),
    entry::<show::Args>(),
    entry::<clear::Args>(),
    entry::<reset::Args>(),
    entry::<stat::Args>(),
    entry::<check::Args>(),
    entry::<filter::Args>(),
    entry::<report::Args>(),
    entry::<dump::Args>(),
    entry::<split::Args>(),
    entry::<hist::Args>(),
    entry::<profile::Args>(),
    entry::<check_events::Args>(),
];

/// Watch what the Linux kernel does: a front-end for ftrace
#[derive(Debug, Parser)]
#[command(
    name = "snaptrace",
    version,
    max_term_width = 79,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Example:
  snaptrace start -p function -l 'vfs_*' ls /
  snaptrace show
  snaptrace reset

Exit codes: 0 success, 1 failure, 2 wrong usage or nothing matched, 13 no
permission. Commands that run a CMD exit with its exit code."
)]
struct Cli {
    /// The tracing directory [default: where tracefs is mounted; if nowhere,
    /// it is mounted at /sys/kernel/tracing]
    #[arg(long, global = true, value_name = "PATH", display_order = 900)]
    tracing_dir: Option<PathBuf>,
}

/// A subcommand in the list.
struct Entry {
    name: &'static str,
    /// Adds its arguments and its help.
    describe: fn(clap::Command) -> clap::Command,
    /// Takes the arguments from the command line that clap has parsed.
    prepare: fn(&ArgMatches) -> std::result::Result<Prepared, clap::Error>,
}

/// A subcommand with its arguments, ready to run.
type Prepared = Box<dyn FnOnce(&Kernel) -> Result<u8>>;

const fn entry<S: Subcommand + 'static>() -> Entry {
    Entry { name: S::NAME, describe: S::augment_args, prepare: prepare::<S> }
}

fn prepare<S: Subcommand + 'static>(matches: &ArgMatches) -> std::result::Result<Prepared, clap::Error> {
    let args = S::from_matches(matches)?;
    Ok(Box::new(move |kernel| args.run(kernel)))
}

/// Runs the command line of this process and returns its exit code.
pub fn run() -> u8 {
    let outcome = match command::words_to_hold() {
        Some(words) => Err(command::hold_then_exec(&words)),
        None => match parse() {
            Ok((kernel, subcommand)) => subcommand(&kernel),
            Err(error) => {
                // As clap itself does: a closed output is not a failure.
                let _ = error.print();
                return u8::try_from(error.exit_code()).unwrap_or(Error::USAGE);
            }
        },
    };
    match outcome {
        Ok(code) => code,
        Err(error) if error.is_closed_output() => 0,
        Err(error) => {
            // If standard error cannot be written, only the exit code reports the failure.
            let _ = writeln!(io::stderr(), "snaptrace: {error}");
            error.exit_code()
        }
    }
}

fn parse() -> std::result::Result<(Kernel, Prepared), clap::Error> {
    let mut definition = definition();
    let matches = definition.try_get_matches_from_mut(std::env::args_os())?;
    let cli = Cli::from_arg_matches(&matches)?;
    let chosen = matches.subcommand().and_then(|(name, matches)| {
        Some((SUBCOMMANDS.iter().find(|subcommand| subcommand.name == name)?, matches))
    });
    // clap accepts no command line without a subcommand.
    let Some((subcommand, matches)) = chosen else {
        return Err(definition.error(clap::error::ErrorKind::MissingSubcommand, "no subcommand was given"));
    };
    Ok((Kernel { tracing_dir: cli.tracing_dir }, (subcommand.prepare)(matches)?))
}

/// The definition of the command line, for tests over its help texts.
pub fn definition() -> clap::Command {
    let subcommands = SUBCOMMANDS.iter().map(|entry| (entry.describe)(clap::Command::new(entry.name)));
    Cli::command().subcommand_required(true).subcommands(subcommands)
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    /// Splits words as a shell does, as far as the pages need it: quotes, and the end of a command.
    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (at, part) in text.split('\'').enumerate() {
            match at % 2 {
                1 => words.push(part.to_owned()),
                _ => words.extend(part.split_whitespace().map(str::to_owned)),
            }
        }
        words
    }

    #[test]
    fn the_command_lines_of_the_pages_are_accepted() {
        let mut count = 0;
        for page in [include_str!("../../README.md"), include_str!("../../docs/tracer.md")] {
            let blocks = page.split("```").skip(1).step_by(2);
            let lines = blocks.flat_map(str::lines).filter(|line| !line.starts_with("cargo xtask"));
            // Three spaces separate a command from the remark beside it.
            for line in lines.filter_map(|line| line.split("   ").next()) {
                let commands = line.split([';', '|']).map(str::trim);
                for command in commands.filter(|command| command.starts_with("snaptrace ")) {
                    let parsed = definition().try_get_matches_from(words(command));
                    let fine =
                        parsed.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::DisplayHelp);
                    assert!(fine, "{command}: {}", parsed.unwrap_err());
                    count += 1;
                }
            }
        }
        assert!(count > 20, "{count}");
        assert!(definition().try_get_matches_from(words("snaptrace start --nosuch")).is_err());
    }
}
