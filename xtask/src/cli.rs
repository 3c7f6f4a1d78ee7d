//! Arguments of `cargo xtask`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use xtask::ci::events::Format;
use xtask::ci::shard::Shard;
use xtask::run::single::Get;
use xtask::selftest::put_back::Side;
use xtask::vm::{Accel, Exactness, MOST_CPUS};

/// The harness of snaptrace: kernels, virtual machines and snapshots.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 79, after_help = EXIT_CODES)]
pub struct Cli {
    /// Install missing host packages without asking; nothing is removed or downgraded
    #[arg(long, global = true)]
    pub yes: bool,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 pass, 1 failure, 2 usage; a verdict has its own:
  200 mismatch       201 drift          202 guest-failed   203 timeout
  204 panic          205 oops           206 lockup         207 hung-task
  208 out-of-memory  209 init-died      210 rebooted       211 lost-channel
  212 boot-timeout   213 qemu-failed    214 config-unmet   215 build-failed
  216 checksum-mismatch                 217 unavailable
  218 not-repeatable
`run` passes on the exit status of its command otherwise.";

const SHELL_EXAMPLES: &str = "\
On a terminal `exit` powers the guest off and Ctrl-A X ends QEMU at once;
Ctrl-A Ctrl-A sends one Ctrl-A. From a file or a pipe the shell ends with its
input. Its exit status is passed on.
Example: cargo xtask shell --kernel 5.4 --append trace_event=sched
         echo 'uname -r; exit 3' | cargo xtask shell";

const RUN_EXAMPLES: &str = "\
Example: cargo xtask run -- snaptrace list -f 'vfs_*'
         cargo xtask run -i -- sh -s < script";

const FAULT_CODES: &str = "\
Exit codes: 0 all agree, 1 one does not, 217 nothing was caused, or something
that was asked for by name cannot be caused here.
Example: cargo xtask faults --kernel debian-6.1 panic oops";

const TEST_VM_EXAMPLES: &str = "\
Example: cargo xtask test-vm --kernel debian-6.1 function call-stack
         cargo xtask test-vm --all --junit results.xml
         cargo xtask test-vm --all --shard 1/2 --message-format json";

const DIFF_EXAMPLES: &str = "\
A and B are kernels, source trees or tarballs (built like the kernel of the
matrix that fits), or earlier results: RUN or RUN/KERNEL of target/vm.
Exit codes: 0 compared, whatever differs; with --exit-code 200 (mismatch) where
something does. A case that failed on a side counts with its verdict.
Example: cargo xtask diff debian-5.10 debian-6.1 function-graph
         cargo xtask diff 5.4 ~/linux --html diff.html
         cargo xtask diff latest/5.4 5.4 --exit-code";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every scenario of the tutorial live in a guest
    #[command(after_help = "Example: cargo xtask --yes tour")]
    Tour {
        /// The kernel; by default the first cached one, else Debian's
        #[arg(long, value_name = "NAME")]
        kernel: Option<String>,
    },
    /// Obtain, verify, configure and build kernels
    #[command(after_help = "Example: cargo xtask kernel 5.4 --source ~/src/linux")]
    Kernel(KernelArgs),
    /// Run the cases in guests and compare with the snapshots
    #[command(after_help = TEST_VM_EXAMPLES)]
    TestVm(TestVmArgs),
    /// Merge the parts of a run that --shard made
    #[command(after_help = "Example: cargo xtask merge-results --junit all.xml part-1 part-2")]
    MergeResults(MergeArgs),
    /// Run a command in a guest; its output and exit status come back
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Show what the functions of a graph case cost, in instructions
    #[command(after_help = "Example: cargo xtask cost function-graph --against debian-6.1")]
    Cost(CostArgs),
    /// Show what changed between two kernels, case by case
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(DiffArgs),
    /// Prove that every command of the tracer restores the kernel
    #[command(
        name = "restore",
        alias = "put-back",
        after_help = "Example: cargo xtask restore --kernel 5.4 record-graph/KILL"
    )]
    PutBack(PutBackArgs),
    /// Find the commit that changed what a case says, with git bisect
    #[command(after_help = "Example: cargo xtask bisect --good A --bad B --case function ~/linux")]
    Bisect(BisectArgs),
    /// What puts the terminal back after `shell` where that was killed
    #[command(name = xtask::base::terminal::KEEPER, hide = true, after_help = "Example: cargo xtask shell --help")]
    KeepTerminal,
    /// A step of `bisect`, which git starts
    #[command(hide = true, after_help = "Example: cargo xtask bisect --help")]
    BisectStep {
        /// The folder of the bisection
        folder: PathBuf,
    },
    /// Open a shell in a guest, or run the commands on standard input there
    #[command(after_help = SHELL_EXAMPLES)]
    Shell(GuestArgs),
    /// Run formatting, lints, host tests, the quickest faults and the cases
    #[command(after_help = "Example: cargo xtask --yes test")]
    Test {
        /// Also everything slow, on all cached kernels: faults, restore, bisect
        #[arg(long)]
        full: bool,
    },
    /// Cause faults and check that each ends with its expected verdict
    #[command(after_help = FAULT_CODES)]
    Faults(FaultsArgs),
    /// Report what this host lacks
    #[command(after_help = "Example: cargo xtask doctor")]
    Doctor,
    /// Install what this host lacks
    #[command(after_help = "Example: cargo xtask --yes setup")]
    Setup,
    /// Measure, as ratios in one run
    #[command(after_help = "Example: cargo xtask bench boot")]
    Bench {
        /// What to measure
        what: Bench,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Bench {
    /// Exact, plain and untuned boots; `run -- true` and a bare boot
    Boot,
    /// `snaptrace report` against trace-cmd's, on long recordings
    Report,
    /// `snaptrace record` against trace-cmd's, under the same load
    Record,
}

#[derive(Debug, Args)]
pub struct KernelArgs {
    /// Kernels by name; all that are missing when left out
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Build from a local tree, git work tree or tarball
    #[arg(long, value_name = "PATH")]
    pub source: Option<PathBuf>,
    /// The compiler, such as gcc-12
    #[arg(long, value_name = "COMPILER")]
    pub cc: Option<String>,
    /// Open Kconfig and print the fragment that the changes amount to
    #[arg(long)]
    pub menuconfig: bool,
    /// Show the matrix and what is cached
    #[arg(long, conflicts_with_all = ["source", "cc", "menuconfig", "clean"])]
    pub list: bool,
    /// Empty the cache, or remove the kernels named
    #[arg(long, conflicts_with_all = ["source", "cc", "menuconfig"])]
    pub clean: bool,
    /// Form of the list
    #[arg(long, value_enum, default_value = "text", requires = "list")]
    pub format: ListFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ListFormat {
    /// A table
    Text,
    /// One JSON array
    Json,
}

#[derive(Debug, Args)]
pub struct TestVmArgs {
    /// Cases by name; all when left out
    #[arg(value_name = "CASE")]
    pub cases: Vec<String>,
    /// A kernel (repeatable); the run fails when it is unavailable
    #[arg(long = "kernel", value_name = "NAME")]
    pub kernels: Vec<String>,
    /// Every kernel but the -src ones; those not cached are fetched or built
    #[arg(long, conflicts_with = "kernels")]
    pub all: bool,
    /// Only part I of N of all kernels and cases (see merge-results)
    #[arg(long, value_name = "I/N", default_value_t, hide_default_value = true)]
    pub shard: Shard,
    #[command(flatten)]
    pub output: OutputArgs,
    /// Accept differences as the new snapshots of the kernels that ran
    #[arg(long, conflicts_with = "review")]
    pub update: bool,
    /// Show each difference and ask (needs cargo-insta)
    #[arg(long, conflicts_with = "message_format")]
    pub review: bool,
    /// Work on the results of the last run, without a guest
    #[arg(long, conflicts_with_all = ["kernels", "all", "shard", "append", "extra_file", "repeat", "exact", "no_exact", "accel"])]
    pub stored: bool,
    /// Another folder of snapshots than tests/snapshots
    #[arg(long, value_name = "FOLDER")]
    pub snapshots: Option<PathBuf>,
    /// Let differences pass on kernels that nobody reviewed
    #[arg(long)]
    pub allow_drift: bool,
    /// Print the SHA-256 of each case's raw transcript
    #[arg(long)]
    pub digests: bool,
    /// Run each case N times; all raw results have to be equal
    #[arg(long, value_name = "N", conflicts_with = "no_exact", value_parser = clap::value_parser!(u32).range(2..))]
    pub repeat: Option<u32>,
    /// Keep every core of this host busy during the runs
    #[arg(long, requires = "repeat")]
    pub load: bool,
    #[command(flatten)]
    pub exact: ExactArgs,
    /// tcg (the default) or kvm; results under kvm become no snapshots
    #[arg(long, value_name = "NAME")]
    pub accel: Option<Accel>,
    /// A word for the kernel command line (repeatable)
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub append: Vec<String>,
    /// A file to put into the guest's /extra (repeatable)
    #[arg(long, value_name = "FILE")]
    pub extra_file: Vec<PathBuf>,
    /// Seconds in which init has to start
    #[arg(long, value_name = "SECONDS")]
    pub boot_timeout: Option<u64>,
}

#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Write the results as a JUnit file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Format of standard output; docs/ci.md describes each
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub message_format: Format,
}

#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The parts, each a folder target/vm/RUN of the machine that ran it
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<PathBuf>,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// On which kernels something runs that takes long on each.
#[derive(Debug, Args)]
pub struct ReferencesArgs {
    /// A kernel (repeatable); the cached references when left out
    #[arg(long = "kernel", value_name = "NAME")]
    pub kernels: Vec<String>,
    /// All cached kernels but the -src ones, not only the references
    #[arg(long, conflicts_with = "kernels")]
    pub all_kernels: bool,
}

#[derive(Debug, Args)]
pub struct FaultsArgs {
    /// Faults by name; all when left out
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub on: ReferencesArgs,
    /// Only those that `test` includes, on one kernel
    #[arg(long)]
    pub quick: bool,
    /// List the faults, and how each has to end
    #[arg(long, conflicts_with_all = ["kernels", "all_kernels", "quick"])]
    pub list: bool,
}

#[derive(Debug, Args)]
pub struct ExactArgs {
    /// Demand a bit-exact run: under TCG, with one CPU
    #[arg(long, conflicts_with = "no_exact")]
    pub exact: bool,
    /// Run by the host's clock
    #[arg(long)]
    pub no_exact: bool,
}

impl ExactArgs {
    /// Whether the run is to be bit-exact.
    pub fn exactness(&self) -> Exactness {
        match (self.exact, self.no_exact) {
            (true, _) => Exactness::Demanded,
            (false, true) => Exactness::Off,
            (false, false) => Exactness::WherePossible,
        }
    }
}

#[derive(Debug, Args)]
pub struct GuestArgs {
    /// The kernel; by default the first cached one, else Debian's
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<String>,
    /// CPUs; runs with more than one are not bit-exact
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MOST_CPUS.into()))]
    pub cpus: u32,
    /// Slots for CPUs, at least N; the others stay empty, as for hotplug
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(1..=MOST_CPUS.into()))]
    pub max_cpus: Option<u32>,
    /// Memory, such as 512M or 2G
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = memory)]
    pub memory: u32,
    /// A word for the kernel command line (repeatable)
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub append: Vec<String>,
    /// A file to put into the guest's /extra (repeatable)
    #[arg(long, value_name = "FILE")]
    pub extra_file: Vec<PathBuf>,
    /// Seconds in which init has to start
    #[arg(long, value_name = "SECONDS")]
    pub boot_timeout: Option<u64>,
    /// Wait for a debugger on TCP port 1234
    #[arg(long)]
    pub gdb: bool,
    /// kvm or tcg; by default kvm if it works here, unless --exact or --gdb
    #[arg(long, value_name = "NAME")]
    pub accel: Option<Accel>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub guest: GuestArgs,
    #[command(flatten)]
    pub exact: ExactArgs,
    /// Copy a file out of the guest (repeatable)
    #[arg(long, value_name = "GUEST_FILE[:HOST_FILE]")]
    pub get: Vec<Get>,
    /// Pass on standard input, or FILE (--stdin=FILE): read to its end before
    /// the boot, at most 64 MiB
    #[arg(short = 'i', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub stdin: Option<Option<PathBuf>>,
    /// Seconds the command may take
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct PutBackArgs {
    /// Cells, COMMAND/END/STATE or a part of it; all when left out
    #[arg(value_name = "CELL")]
    pub cells: Vec<String>,
    #[command(flatten)]
    pub on: ReferencesArgs,
    /// A few cells of each kind
    #[arg(long)]
    pub quick: bool,
    /// Only snaptrace or trace-cmd; by default both, trace-cmd on the references and where named
    #[arg(long, value_name = "PROGRAM")]
    pub only: Option<Side>,
}

#[derive(Debug, Args)]
pub struct CostArgs {
    /// Graph cases by name
    #[arg(value_name = "CASE", required = true)]
    pub cases: Vec<String>,
    /// The kernel; by default the first cached one, else Debian's
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<String>,
    /// Compare with this kernel instead of the reviewed table
    #[arg(long, value_name = "NAME")]
    pub against: Option<String>,
    /// Keep the tables as the reviewed ones
    #[arg(long, conflicts_with = "against")]
    pub update: bool,
    /// A word for the kernel command line (repeatable)
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub append: Vec<String>,
    /// A file to put into the guest's /extra (repeatable)
    #[arg(long, value_name = "FILE")]
    pub extra_file: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The old side
    #[arg(value_name = "A")]
    pub old: String,
    /// The new side
    #[arg(value_name = "B")]
    pub new: String,
    /// Cases by name; all when left out
    #[arg(value_name = "CASE")]
    pub cases: Vec<String>,
    /// Write the comparison as one page, which needs no network
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Differences count: the exit code is then that of a mismatch
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Debug, Args)]
pub struct BisectArgs {
    /// A revision on which the case says what it should
    #[arg(long, value_name = "A")]
    pub good: String,
    /// A later one on which it does not
    #[arg(long, value_name = "B")]
    pub bad: String,
    /// The case
    #[arg(long, value_name = "CASE")]
    pub case: String,
    /// The git repository of the kernel
    #[arg(value_name = "SOURCE")]
    pub source: PathBuf,
    /// The kernel whose configuration each commit is built with
    #[arg(long, value_name = "NAME", default_value = "5.4")]
    pub kernel: String,
    /// The compiler, such as gcc-12
    #[arg(long, value_name = "COMPILER")]
    pub cc: Option<String>,
}

/// A size with a unit, in MiB.
fn memory(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text} is no size such as 512M or 2G");
    let (digits, factor) = match text.strip_suffix(['G', 'g']) {
        Some(digits) => (digits, 1024),
        None => (text.strip_suffix(['M', 'm']).unwrap_or(text), 1),
    };
    let size: u32 = digits.parse().map_err(|_| wrong())?;
    let size = size.checked_mul(factor).ok_or_else(wrong)?;
    if size < 64 { Err("a guest needs at least 64M".into()) } else { Ok(size) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;
    use xtask::base::verdict::Verdict;

    use super::*;

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
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_fits_79_columns_and_has_an_example() {
        let mut root = Cli::command();
        root.build();
        for command in root.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            for help in [command.render_help(), command.render_long_help()] {
                let help = help.to_string();
                assert!(help.contains("Example: cargo xtask"), "{help}");
                assert!(help.lines().all(|line| line.chars().count() <= 79), "{help}");
            }
        }
    }

    /// The command lines of a text: what follows `cargo xtask` up to the end of the line or of the
    /// command, without what is said beside it.
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
            ("kernels.yml", include_str!("../../.github/workflows/kernels.yml"), 4),
            ("ci.md", include_str!("../../docs/ci.md"), 5),
            ("cases.md", include_str!("../../docs/cases.md"), 10),
            ("diffs.md", include_str!("../../docs/diffs.md"), 5),
            ("exactness.md", include_str!("../../docs/exactness.md"), 4),
            ("kernels.md", include_str!("../../docs/kernels.md"), 7),
            ("tracer.md", include_str!("../../docs/tracer.md"), 0),
            ("tests.md", include_str!("../../docs/tests.md"), 8),
            ("README.md", include_str!("../../README.md"), 7),
            ("CONTRIBUTING.md", include_str!("../../CONTRIBUTING.md"), 6),
        ];
        for (name, text, at_least) in texts {
            let lines = command_lines(text);
            assert!(lines.len() >= at_least, "{name}: {lines:?}");
            for line in lines {
                let parsed = Cli::try_parse_from([&["cargo xtask".to_owned()], &line[..]].concat());
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
        assert!(Cli::try_parse_from([&["cargo xtask".to_owned()], &wrong[0][..]].concat()).is_err());
    }

    #[test]
    fn parts_all_and_named_kernels_exclude_what_they_have_to() {
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("xtask test-vm --all --shard 2/3 --message-format ktap --junit f"));
        assert!(!parses("xtask test-vm --all --kernel 5.4"));
        assert!(!parses("xtask test-vm --shard 3/2"));
        assert!(!parses("xtask test-vm --stored --shard 1/2"));
        assert!(parses("xtask test-vm --stored --review"));
        assert!(!parses("xtask test-vm --review --message-format json"));
        assert!(!parses("xtask merge-results"));
    }

    #[test]
    fn input_is_standard_input_or_a_file_and_never_the_command() {
        let stdin = |line: &str| match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Command::Run(args) => (args.stdin, args.command.join(" ")),
            _ => panic!("not run"),
        };
        assert_eq!(stdin("xtask run sh -i"), (None, "sh -i".into()));
        assert_eq!(stdin("xtask run -i sh -s"), (Some(None), "sh -s".into()));
        assert_eq!(stdin("xtask run --stdin -- cat"), (Some(None), "cat".into()));
        assert_eq!(stdin("xtask run --stdin=a cat"), (Some(Some("a".into())), "cat".into()));
    }

    #[test]
    fn the_old_name_of_restore_works_and_is_hidden() {
        for name in ["restore", "put-back"] {
            let parsed = Cli::try_parse_from(["xtask", name, "--quick"]).unwrap();
            assert!(matches!(parsed.command, Command::PutBack(PutBackArgs { quick: true, .. })), "{name}");
        }
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("  restore ") && !help.contains("put-back"), "{help}");
    }

    #[test]
    fn every_page_of_docs_is_among_those_whose_command_lines_are_read() {
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        for entry in std::fs::read_dir(docs).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let read = include_str!("cli.rs").contains(&format!("docs/{name}\")"));
            assert!(read || !name.ends_with(".md"), "{name} is not read");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(memory("512M"), Ok(512));
        assert_eq!(memory("2G"), Ok(2048));
        assert!(memory("lots").is_err());
        assert!(memory("1M").is_err());
        assert!(memory("4194304G").is_err());
    }
}
