//! The command line: the list of subcommands, each with a file here, and the code that runs one.

mod args;
mod bench;
mod bisect;
mod bisect_step;
mod cost;
mod diff;
mod doctor;
mod faults;
mod interface;
mod keep_terminal;
mod kernel;
mod merge_results;
mod restore;
mod run;
mod setup;
mod shell;
pub mod test;
mod test_vm;
mod tour;

use std::ffi::OsString;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};

use crate::base::error::Result;
use crate::base::ui::{self, printable};
use interface::{Global, Subcommand};

/// The subcommands, in the order of the help.
const SUBCOMMANDS: &[Entry] = &[
    entry::<tour::Args>(),
    entry::<kernel::Args>(),
    entry::<test_vm::Args>(),
    entry::<merge_results::Args>(),
    entry::<run::Args>(),
    entry::<cost::Args>(),
    entry::<diff::Args>(),
    entry::<restore::Args>(),
    entry::<bisect::Args>(),
    entry::<keep_terminal::Args>(),
    entry::<bisect_step::Args>(),
    entry::<shell::Args>(),
    entry::<test::Args>(),
    entry::<faults::Args>(),
    entry::<doctor::Args>(),
    entry::<setup::Args>(),
    entry::<bench::Args>(),
];

/// The exit code of a command that did its work but could not print the result.
const FAILURE: u8 = 1;

const EXIT_CODES: &str = "\
Exit codes: 0 pass, 1 failure, 2 usage; a verdict has its own:
  200 mismatch       201 drift          202 guest-failed   203 timeout
  204 panic          205 oops           206 lockup         207 hung-task
  208 out-of-memory  209 init-died      210 rebooted       211 lost-channel
  212 boot-timeout   213 qemu-failed    214 config-unmet   215 build-failed
  216 checksum-mismatch                 217 unavailable
  218 not-repeatable
Otherwise `run` exits with the status of its command.";

/// The harness of snaptrace: kernels, virtual machines and snapshots.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 79, after_help = EXIT_CODES)]
struct Cli {
    /// Install missing host packages without asking; nothing is removed or downgraded
    #[arg(long, global = true)]
    yes: bool,
}

/// A subcommand in the list.
struct Entry {
    name: &'static str,
    /// Adds its arguments and its help.
    describe: fn(clap::Command) -> clap::Command,
    /// Takes the arguments from what clap has read.
    prepare: fn(&ArgMatches) -> std::result::Result<Prepared, clap::Error>,
}

/// A subcommand with its arguments, ready to run.
type Prepared = Box<dyn FnOnce(&Global) -> Result<u8>>;

const fn entry<S: Subcommand + 'static>() -> Entry {
    Entry { name: S::NAME, describe: S::augment_args, prepare: prepare::<S> }
}

fn prepare<S: Subcommand + 'static>(matches: &ArgMatches) -> std::result::Result<Prepared, clap::Error> {
    let args = S::from_matches(matches)?;
    Ok(Box::new(move |global| args.run(global)))
}

/// Runs the command line of this process and returns its exit code.
pub fn run() -> u8 {
    let (global, subcommand) = parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match subcommand(&global) {
        Ok(code) => match ui::lost_output() {
            Some(error) if code == 0 => {
                ui::print_error(format_args!("error: cannot write to standard output: {error}\n"));
                FAILURE
            }
            _ => code,
        },
        Err(error) => {
            let text = match error.verdict_given() {
                Some(verdict) => format!("error: {verdict}: {error}"),
                None => format!("error: {error}"),
            };
            ui::print_error(format_args!("{}\n", printable(&text)));
            error.exit_code()
        }
    }
}

fn parse(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> std::result::Result<(Global, Prepared), clap::Error> {
    let mut definition = definition();
    let matches = definition.try_get_matches_from_mut(words)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let chosen = matches.subcommand().and_then(|(name, matches)| {
        Some((SUBCOMMANDS.iter().find(|subcommand| subcommand.name == name)?, matches))
    });
    // clap rejects a command line without a subcommand.
    let Some((subcommand, matches)) = chosen else {
        return Err(definition.error(clap::error::ErrorKind::MissingSubcommand, "no subcommand was given"));
    };
    Ok((Global { yes: cli.yes }, (subcommand.prepare)(matches)?))
}

fn definition() -> clap::Command {
    let subcommands = SUBCOMMANDS.iter().map(|entry| (entry.describe)(clap::Command::new(entry.name)));
    Cli::command().subcommand_required(true).arg_required_else_help(true).subcommands(subcommands)
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;
    use crate::base::verdict::Verdict;

    #[test]
    fn every_exit_code_is_the_documented_one() {
        let words: Vec<&str> = EXIT_CODES.split_whitespace().collect();
        for verdict in Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::Pass) {
            let code = verdict.exit_code().to_string();
            let documented = words.windows(2).any(|pair| pair == [code.as_str(), verdict.name()]);
            assert!(documented, "{code} {verdict} is not in the help");
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn every_help_fits_79_columns_and_has_an_example() {
        let mut root = definition();
        root.build();
        for command in root.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            for help in [command.render_help(), command.render_long_help()] {
                let help = help.to_string();
                assert!(help.contains("Example: cargo xtask"), "{help}");
                assert!(help.lines().all(|line| line.chars().count() <= 79), "{help}");
            }
        }
    }

    /// The command lines in a text: the words after `cargo xtask`, up to the end of the line or of the
    /// command, without remarks beside it.
    fn command_lines(text: &str) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        for line in text.lines() {
            let Some((before, rest)) = line.split_once("cargo xtask ") else { continue };
            let end = if before.ends_with('`') { "`" } else { "   " };
            let words = shlex::split(rest.split(end).next().unwrap_or_default());
            let words = words.unwrap_or_else(|| panic!("an open quote in: {line}"));
            let ends = ["|", ">", ">>", "&&", ";"];
            let own = words.iter().take_while(|word| !ends.contains(&word.as_str()));
            found.push(own.map(|word| word.trim_end_matches(';').to_owned()).collect());
        }
        found
    }

    #[test]
    fn the_command_lines_of_the_workflow_and_of_the_pages_are_accepted() {
        let texts = [
            ("kernels.yml", include_str!("../../../.github/workflows/kernels.yml"), 4),
            ("ci.md", include_str!("../../../docs/ci.md"), 5),
            ("cases.md", include_str!("../../../docs/cases.md"), 10),
            ("diffs.md", include_str!("../../../docs/diffs.md"), 5),
            ("exactness.md", include_str!("../../../docs/exactness.md"), 4),
            ("kernels.md", include_str!("../../../docs/kernels.md"), 7),
            ("tracer.md", include_str!("../../../docs/tracer.md"), 0),
            ("tests.md", include_str!("../../../docs/tests.md"), 8),
            ("README.md", include_str!("../../../README.md"), 7),
            ("CONTRIBUTING.md", include_str!("../../../CONTRIBUTING.md"), 6),
        ];
        for (name, text, at_least) in texts {
            let lines = command_lines(text);
            assert!(lines.len() >= at_least, "{name}: {lines:?}");
            for line in lines {
                let parsed = parse([&["cargo xtask".to_owned()], &line[..]].concat());
                let Err(error) = parsed else { continue };
                let fine = match error.kind() {
                    ErrorKind::DisplayHelp => true,
                    // A command that is only mentioned.
                    ErrorKind::MissingRequiredArgument => line.len() == 1,
                    _ => false,
                };
                assert!(fine, "{name}: {line:?}: {error}");
            }
        }
        let wrong = command_lines("run: cargo xtask test-vm --nosuch | tee log\n`cargo xtask run` is");
        assert_eq!(wrong, [vec!["test-vm", "--nosuch"], vec!["run"]]);
        assert!(parse([&["cargo xtask".to_owned()], &wrong[0][..]].concat()).is_err());
    }

    #[test]
    fn parts_all_and_named_kernels_exclude_what_they_have_to() {
        let parses = |line: &str| parse(line.split(' ')).is_ok();
        assert!(parses("xtask test-vm --all --shard 2/3 --message-format ktap --junit f"));
        assert!(!parses("xtask test-vm --all --kernel 5.4"));
        assert!(!parses("xtask test-vm --shard 3/2"));
        assert!(!parses("xtask test-vm --stored --shard 1/2"));
        assert!(parses("xtask test-vm --stored --review"));
        assert!(!parses("xtask test-vm --review --message-format json"));
        assert!(!parses("xtask merge-results"));
    }

    #[test]
    fn the_old_name_of_restore_works_and_is_hidden() {
        for name in ["restore", "put-back"] {
            let matches = definition().try_get_matches_from(["xtask", name, "--quick"]).unwrap();
            assert_eq!(matches.subcommand_name(), Some("restore"), "{name}");
            assert!(parse(["xtask", name, "--quick"]).is_ok(), "{name}");
        }
        let help = definition().render_long_help().to_string();
        assert!(help.contains("  restore ") && !help.contains("put-back"), "{help}");
    }

    #[test]
    fn every_page_of_docs_is_among_those_whose_command_lines_are_read() {
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        for entry in std::fs::read_dir(docs).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let read = include_str!("mod.rs").contains(&format!("docs/{name}\")"));
            assert!(read || !name.ends_with(".md"), "{name} is not read");
        }
    }
}
