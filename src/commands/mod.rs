//! The command line: each subcommand becomes a plain config and one call.

mod args;
pub mod check;
pub mod extract;
pub mod list;
mod report;
pub mod reset;
pub mod set;
pub mod snapshot;
pub mod stat;
pub mod stream;
pub mod trace;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{ArgGroup, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::capture::command;
use crate::capture::output::tell;
use crate::error::{Error, Result};
use crate::restore::session;
use crate::setup::start;
use crate::tracefs::Tracefs;
use crate::tracefs::filter_files::{self, Change, FilterFile};
use args::files::{CheckEventsArgs, DumpArgs, HistArgs, ProfileArgs, SplitArgs};
use args::traced::TraceArgs;
use args::{live, record};
use list::Kind;
use report::ReportArgs;

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

Exit codes: 0 success, 1 failure, 2 usage or nothing matched, 13 permission;
commands that run a CMD pass on its own."
)]
struct Cli {
    /// The tracing directory [default: found, or mounted at
    /// /sys/kernel/tracing]
    #[arg(long, global = true, value_name = "PATH", display_order = 900)]
    tracing_dir: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what the kernel offers: tracers, events, functions and more
    List(ListArgs),
    /// Set up a tracer and start it, running a command if one is given
    Start(StartArgs),
    /// Record to a trace.dat file, then put the kernel back as it was
    Record(record::RecordArgs),
    /// Trace a command and show it live, then put the kernel back
    Trace(live::TraceLiveArgs),
    /// Print what is traced as 'report' does, live and without a file
    Stream(live::StreamArgs),
    /// Set what is given, and leave everything else as it is
    Set(live::SetArgs),
    /// Write what the buffer holds now to a trace.dat file
    Extract(record::ExtractArgs),
    /// Take, show, empty or free a copy of the buffer
    Snapshot(live::SnapshotArgs),
    /// Stop recording; tracer, filters and buffer stay
    #[command(after_help = "Example:\n  snaptrace stop")]
    Stop(InstanceArgs),
    /// Record again after 'stop'
    #[command(after_help = "Example:\n  snaptrace restart")]
    Restart(InstanceArgs),
    /// Print the buffer and keep it
    #[command(after_help = "Example:\n  snaptrace show | head -30")]
    Show(InstanceArgs),
    /// Empty the buffer; tracer and filters stay
    #[command(after_help = "Example:\n  snaptrace clear")]
    Clear(InstanceArgs),
    /// Bring back the kernel's defaults
    ///
    /// Sets the nop tracer, switches events, triggers and changed options off,
    /// clears filters and pids, empties the buffer, sets the local clock and no
    /// limit on the graph's depth, and switches recording on. The buffer keeps
    /// its size.
    #[command(after_help = "Example:\n  snaptrace reset")]
    Reset(ResetArgs),
    /// Show what is in effect, and how full the buffers are
    #[command(after_help = "Example:\n  snaptrace stat")]
    Stat(InstanceArgs),
    /// Is this kernel fit for tracing functions?
    ///
    /// Names the configuration symbol that brings what is missing. Exits with 0
    /// when the function and function_graph tracers and their filters are there,
    /// else with 1.
    #[command(after_help = "Example:\n  snaptrace check")]
    Check,
    /// Show or change which functions are traced
    Filter(FilterArgs),
    /// Print a recording: trace.dat, of trace-cmd or KernelShark
    Report(ReportArgs),
    /// Show what a recording's file consists of
    Dump(DumpArgs),
    /// Cut a recording into smaller ones
    Split(SplitArgs),
    /// Count what each process did in a recording, and from where
    Hist(HistArgs),
    /// Sum up a recorded graph: calls and times of each function
    Profile(ProfileArgs),
    /// Find events whose formats are not understood
    CheckEvents(CheckEventsArgs),
}

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true),
    after_help = "A PATTERN with '*', '?' or '[' is a glob over the whole name; any other is a
regular expression found anywhere in it, so a part of the name will do.

Example:
  snaptrace list -t
  snaptrace list -f '^dev_attr'
  snaptrace list -f vfs_open --proto
  snaptrace list -e 'sched:*'
  snaptrace list -e sched:sched_switch -F"
)]
struct ListArgs {
    /// Tracers
    #[arg(short = 't', group = "what")]
    tracers: bool,
    /// Options, NAME when on and noNAME when off
    #[arg(short = 'o', group = "what")]
    options: bool,
    /// Clocks, the current one in brackets
    #[arg(short = 'C', group = "what")]
    clocks: bool,
    /// Events, as SYSTEM:EVENT
    #[arg(short = 'e', group = "what", value_name = "PATTERN")]
    events: Option<Option<String>>,
    /// With -e, the fields of each event, which filters can name
    #[arg(short = 'F', requires = "events", conflicts_with_all = NO_EVENTS)]
    fields: bool,
    /// Functions that can be traced
    #[arg(short = 'f', group = "what", value_name = "PATTERN")]
    functions: Option<Option<String>>,
    /// With -f, the parameters of each, where the kernel has BTF
    #[arg(long, requires = "functions", conflicts_with_all = NO_FUNCTIONS)]
    proto: bool,
    /// Instances
    #[arg(short = 'B', group = "what")]
    instances: bool,
    /// Compressions of recordings
    #[arg(short = 'c', group = "what")]
    compressions: bool,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "snaptrace start [OPTIONS] [CMD]...",
    after_help = "FUNC is a name or a glob such as 'vfs_*', in -l and -n also PATTERN:mod:MODULE.
A FUNC that matches no function is an error, and nothing is changed then; one
for a module that is not loaded waits for it. EVENT is a system, an event or
SYSTEM:EVENT, also with globs. What is not given stays as it was: without -l
the functions chosen before, without -e the events. Only a choice of processes
that have all ended is dropped. Tracing stays on after CMD.

Example:
  snaptrace start -p function -l __kmalloc --func-stack
  snaptrace start -p function_graph -g vfs_read --max-graph-depth 3
  snaptrace start -p function -l 'vfs_*' -F cat /etc/hostname"
)]
struct StartArgs {
    #[command(flatten)]
    what: TraceArgs,
    /// Use this instance, created when missing
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// Command to run once tracing is on; its exit status is passed on
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// What `list` lists besides functions.
const NO_FUNCTIONS: [&str; 6] = ["tracers", "options", "clocks", "events", "instances", "compressions"];

/// What `list` lists besides events; a missing `-e` is not told beside one of these.
const NO_EVENTS: [&str; 6] = ["tracers", "options", "clocks", "functions", "instances", "compressions"];

#[derive(Debug, Args)]
struct InstanceArgs {
    /// Use this instance, not the top one
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
}

#[derive(Debug, Args)]
struct ResetArgs {
    /// Use this instance, not the top one
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// Delete the instance afterwards
    #[arg(short = 'd', requires = "instance")]
    delete: bool,
}

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("change"),
    group = ArgGroup::new("file"),
    after_help = "PATTERN is a name, a glob such as 'dev_attr_*', or PATTERN:mod:MODULE. After a
change the resulting filter is printed.

Example:
  snaptrace filter --set 'dev_attr_*'
  snaptrace filter --add __kmalloc 'write*:mod:ext4'
  snaptrace filter --remove __kmalloc"
)]
struct FilterArgs {
    /// Trace these functions only
    #[arg(long, group = "change", value_name = "PATTERN", num_args = 1..)]
    set: Vec<String>,
    /// Trace these functions too
    #[arg(long, group = "change", value_name = "PATTERN", num_args = 1..)]
    add: Vec<String>,
    /// Take these functions out of the filter
    #[arg(long, group = "change", value_name = "PATTERN", num_args = 1..)]
    remove: Vec<String>,
    /// Empty the filter
    #[arg(long, group = "change")]
    clear: bool,
    /// Functions that are not traced, instead of those that are
    #[arg(long, group = "file")]
    notrace: bool,
    /// Functions whose graph is traced
    #[arg(long, group = "file")]
    graph: bool,
    /// Functions whose graph is not traced
    #[arg(long, group = "file")]
    graph_notrace: bool,
    /// Use this instance, not the top one
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
}

/// Runs the command line of this process and gives its exit code.
pub fn run() -> u8 {
    let outcome = match command::words_to_hold() {
        Some(words) => Err(command::hold_then_exec(&words)),
        None => match parse() {
            Ok(cli) => dispatch(cli),
            Err(error) => {
                // As clap's own exit: output that nobody reads any more is no failure.
                let _ = error.print();
                return u8::try_from(error.exit_code()).unwrap_or(Error::USAGE);
            }
        },
    };
    match outcome {
        Ok(code) => code,
        Err(error) if error.is_closed_output() => 0,
        Err(error) => {
            // Without a standard error there is nobody to tell; the exit code says it.
            let _ = writeln!(io::stderr(), "snaptrace: {error}");
            error.exit_code()
        }
    }
}

fn parse() -> std::result::Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches()?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let (Command::Report(args), Some((_, matches))) = (&mut cli.command, matches.subcommand()) {
        args.in_order(matches);
    }
    Ok(cli)
}

/// The definition of the command line, for tests over its help texts.
pub fn definition() -> clap::Command {
    Cli::command()
}

fn dispatch(cli: Cli) -> Result<u8> {
    let tracing_dir = cli.tracing_dir;
    let command = match cli.command {
        Command::Report(args) => return args.print().map(|()| 0),
        Command::Dump(args) => return args.run().map(|()| 0),
        Command::Split(args) => return args.run().map(|()| 0),
        Command::Hist(args) => return args.run().map(|()| 0),
        Command::Profile(args) => return args.run().map(|()| 0),
        Command::CheckEvents(args) => return args.run(tracing_dir),
        on_the_kernel => on_the_kernel,
    };
    let tracefs = tracefs(tracing_dir)?;
    if let Some(pid) = session::recover(&tracefs)? {
        tell(&format!("a recording of process {pid} was killed; what it had changed is put back"));
    }
    let chosen = |args: &InstanceArgs| tracefs.instance(args.instance.as_deref());
    match command {
        Command::List(args) => print(&list::list(&tracefs, &args.kind())?)?,
        Command::Start(args) => {
            return start::start(&tracefs, &args.what.config(args.instance, args.command));
        }
        Command::Record(args) => {
            return crate::capture::engine::record(&tracefs, &args.config(), &mut io::stdout());
        }
        Command::Trace(args) => return args.run(&tracefs),
        Command::Stream(args) => return args.run(&tracefs),
        Command::Set(args) => return args.run(&tracefs),
        Command::Extract(args) => return extract::extract(&tracefs, &args.config(), &mut io::stdout()),
        Command::Snapshot(args) => args.run(&tracefs)?,
        Command::Stop(args) => reset::stop(&chosen(&args)?)?,
        Command::Restart(args) => reset::restart(&chosen(&args)?)?,
        Command::Show(args) => reset::show(&chosen(&args)?, &mut io::stdout().lock())?,
        Command::Clear(args) => reset::clear(&chosen(&args)?)?,
        Command::Reset(args) => {
            reset::reset(&tracefs.instance(args.instance.as_deref())?)?;
            if let (true, Some(name)) = (args.delete, &args.instance) {
                tracefs.remove_instance(name)?;
            }
        }
        Command::Stat(args) => print(&stat::stat(&tracefs, &chosen(&args)?)?)?,
        Command::Check => {
            let report = check::check(&tracefs)?;
            print(&report.text)?;
            return Ok(if report.fit { 0 } else { Error::GENERAL });
        }
        Command::Filter(args) => {
            let instance = tracefs.instance(args.instance.as_deref())?;
            let file = args.file();
            if let Some(change) = args.change() {
                filter_files::change(&tracefs, &instance, file, &change)?;
            }
            instance.copy(file.name(), &mut io::stdout().lock())?;
        }
        // Done above, without a tracing directory.
        Command::Report(_)
        | Command::Dump(_)
        | Command::Split(_)
        | Command::Hist(_)
        | Command::Profile(_)
        | Command::CheckEvents(_) => {}
    }
    Ok(0)
}

fn tracefs(tracing_dir: Option<PathBuf>) -> Result<Tracefs> {
    match tracing_dir {
        Some(path) => Tracefs::at(path),
        None => Tracefs::find_or_mount(),
    }
}

fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|cause| Error::output(&cause))
}

impl ListArgs {
    fn kind(self) -> Kind {
        if let Some(pattern) = self.events {
            if self.fields { Kind::Fields(pattern) } else { Kind::Events(pattern) }
        } else if let Some(pattern) = self.functions {
            if self.proto { Kind::Prototypes(pattern) } else { Kind::Functions(pattern) }
        } else if self.options {
            Kind::Options
        } else if self.clocks {
            Kind::Clocks
        } else if self.instances {
            Kind::Instances
        } else if self.compressions {
            Kind::Compressions
        } else {
            Kind::Tracers
        }
    }
}

impl FilterArgs {
    fn file(&self) -> FilterFile {
        match (self.notrace, self.graph, self.graph_notrace) {
            (true, _, _) => FilterFile::Notrace,
            (_, true, _) => FilterFile::Graph,
            (_, _, true) => FilterFile::GraphNotrace,
            _ => FilterFile::Function,
        }
    }

    fn change(self) -> Option<Change> {
        if !self.set.is_empty() {
            Some(Change::Set(self.set))
        } else if !self.add.is_empty() {
            Some(Change::Add(self.add))
        } else if !self.remove.is_empty() {
            Some(Change::Remove(self.remove))
        } else {
            self.clear.then_some(Change::Clear)
        }
    }
}
