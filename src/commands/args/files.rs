//! Arguments of the commands over recordings, `report` apart.

use std::io;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};

use crate::analysis::split::{self, Limit, Moment, Split};
use crate::analysis::{check_events, dump, hist, profile};
use crate::capture::recording::STDIN;
use crate::capture::{metadata, recording};
use crate::commands::report::{CpuList, cpu_list};
use crate::error::{Error, Result};
use crate::trace_dat::Reader;
use crate::trace_dat::outline::Outline;
use crate::trace_dat::write::{Compression, Version};

/// Which recording.
#[derive(Debug, Args)]
struct InputArgs {
    /// The recording; - is standard input [default: trace.dat]
    #[arg(short = 'i', value_name = "FILE", conflicts_with = "file")]
    input: Option<PathBuf>,
    /// The recording; - is standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl InputArgs {
    fn path(&self) -> PathBuf {
        let path = self.input.as_ref().or(self.file.as_ref()).cloned();
        path.unwrap_or_else(|| PathBuf::from("trace.dat"))
    }

    fn open(&self) -> Result<Reader> {
        recording::open(&self.path())
    }
}

#[derive(Debug, Args)]
#[command(after_help = "The lines are those of 'trace-cmd dump'. Without an option a summary is shown.

Example:
  snaptrace dump
  snaptrace dump --systems --options trace.dat
  snaptrace dump -v trace.dat")]
pub(in crate::commands) struct DumpArgs {
    #[command(flatten)]
    input: InputArgs,
    /// Only tell whether all of the file can be read
    #[arg(short = 'v', long)]
    validate: bool,
    /// All of the following
    #[arg(long)]
    all: bool,
    /// Format, and counts and sizes of all parts
    #[arg(long)]
    summary: bool,
    /// The fields of a sub-buffer's header
    #[arg(long)]
    head_page: bool,
    /// The fields of an event's header
    #[arg(long)]
    head_event: bool,
    /// Formats of ftrace's own events
    #[arg(long)]
    ftrace_events: bool,
    /// Systems of events
    #[arg(long)]
    systems: bool,
    /// Formats of all other events
    #[arg(long)]
    events: bool,
    /// Functions by address
    #[arg(long)]
    kallsyms: bool,
    /// Formats of trace_printk
    #[arg(long)]
    printk: bool,
    /// Commands by pid
    #[arg(long)]
    cmd_lines: bool,
    /// Options with their content
    #[arg(long)]
    options: bool,
    /// Where the data of each CPU are
    #[arg(long)]
    flyrecord: bool,
    /// The trace clocks
    #[arg(long)]
    clock: bool,
}

impl DumpArgs {
    /// Shows what is asked for.
    pub(in crate::commands) fn run(&self) -> Result<()> {
        let reader = self.input.open()?;
        let outline = Outline::read(&reader)?;
        if self.validate {
            let mut records = reader.records();
            while records.next().is_some() {}
            records.finish()?;
            return crate::commands::print(&format!("File {} is a valid trace-cmd file\n", reader.name()));
        }
        let mut config = dump::Config {
            summary: self.summary,
            head_page: self.head_page,
            head_event: self.head_event,
            ftrace_events: self.ftrace_events,
            systems: self.systems,
            events: self.events,
            kallsyms: self.kallsyms,
            printk: self.printk,
            cmd_lines: self.cmd_lines,
            options: self.options,
            flyrecord: self.flyrecord,
            clock: self.clock,
            sections: false,
        };
        if self.all {
            config = dump::Config::all();
        } else if config == dump::Config::default() {
            config.summary = true;
        }
        dump::dump(reader.name(), &outline, &config, &mut io::stdout().lock())
    }
}

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("limit"),
    after_help = "START and END are times as 'report' shows them; records at them are in. Without
-r there is one piece, FILE.1, else as many as it takes, FILE.0001 and so on.
The pieces are of the recording's own version and compression.

Example:
  snaptrace split 75678.923853 75679.1
  snaptrace split -r -e 10000 -o part
  snaptrace split -C 1 -m 20 -i big.dat"
)]
pub(in crate::commands) struct SplitArgs {
    /// The recording; - is standard input
    #[arg(short = 'i', value_name = "FILE", default_value = "trace.dat")]
    input: PathBuf,
    /// What the pieces are called, before the number; has to be given for
    /// standard input [default: the recording]
    #[arg(short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Seconds in a piece
    #[arg(short = 's', value_name = "N", group = "limit", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Milliseconds in a piece
    #[arg(short = 'm', value_name = "N", group = "limit", value_parser = clap::value_parser!(u64).range(1..))]
    milliseconds: Option<u64>,
    /// Microseconds in a piece
    #[arg(short = 'u', value_name = "N", group = "limit", value_parser = clap::value_parser!(u64).range(1..))]
    microseconds: Option<u64>,
    /// Records in a piece
    #[arg(short = 'e', value_name = "N", group = "limit", value_parser = clap::value_parser!(u64).range(1..))]
    events: Option<u64>,
    /// Sub-buffers of each CPU in a piece
    #[arg(short = 'p', value_name = "N", group = "limit", value_parser = clap::value_parser!(u64).range(1..))]
    pages: Option<u64>,
    /// Go on with the next piece until the end
    #[arg(short = 'r', requires = "limit")]
    repeat: bool,
    /// The limit is for each CPU
    #[arg(short = 'c', requires = "limit")]
    per_cpu: bool,
    /// Only this CPU
    #[arg(short = 'C', value_name = "CPU")]
    cpu: Option<u32>,
    /// This instance of the recording; '' is the top one
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// The first time
    #[arg(value_name = "START")]
    start: Option<String>,
    /// The last time
    #[arg(value_name = "END")]
    end: Option<String>,
}

impl SplitArgs {
    /// Writes the pieces and names each.
    pub(in crate::commands) fn run(&self) -> Result<()> {
        if self.output.is_none() && self.input == Path::new(STDIN) {
            return Err(Error::usage("the pieces of standard input have no name")
                .help("give with -o what they are called, before the number"));
        }
        let reader = recording::open(&self.input)?;
        let outline = Outline::read(&reader)?;
        let version = if outline.version == 6 { Version::V6 } else { Version::V7 };
        let compression = match outline.compression.0.as_str() {
            "zlib" => Compression::Zlib,
            "zstd" => Compression::Zstd,
            _ => Compression::None,
        };
        let mut split = Split::new(&reader, outline, self.config(&reader)?)?;
        let base = self.output.as_ref().unwrap_or(&self.input);
        let mut count = 0;
        while let Some(piece) = split.next_piece()? {
            count += 1;
            let mut path = base.clone().into_os_string();
            path.push(if split.repeats() { format!(".{count:04}") } else { format!(".{count}") });
            recording::write(path.as_ref(), version, compression, &split.metadata, &piece)?;
            crate::commands::print(&format!("{}\n", path.display()))?;
            if !split.repeats() {
                break;
            }
        }
        split.finish()?;
        if count == 0 {
            return Err(Error::usage(format!("{} has no records in this range", reader.name()))
                .help("'snaptrace report --first-event --last-event' shows its times"));
        }
        Ok(())
    }

    fn config(&self, reader: &Reader) -> Result<split::Config> {
        let moment = |text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let unit =
                if reader.is_nanoseconds() { "seconds, such as 12.345678" } else { "units of its clock" };
            Moment::parse(text, reader.is_nanoseconds()).map(Some).ok_or_else(|| {
                Error::usage(format!("'{text}' is not a time of {}", reader.name()))
                    .help(format!("times are {unit}, as 'snaptrace report' shows them"))
            })
        };
        let time = self
            .seconds
            .map(|count| (count, 1_000_000_000))
            .or(self.milliseconds.map(|count| (count, 1_000_000)))
            .or(self.microseconds.map(|count| (count, 1000)));
        if time.is_some() && !reader.is_nanoseconds() {
            return Err(Error::usage(format!("the clock of {} does not count seconds", reader.name()))
                .help("limit the pieces by -e or -p"));
        }
        let limit = match (self.events, self.pages, time) {
            (Some(count), _, _) => Limit::Events(count),
            (_, Some(count), _) => Limit::Pages(count),
            (_, _, Some((count, unit))) => Limit::Time(count.saturating_mul(unit)),
            _ => Limit::None,
        };
        Ok(split::Config {
            start: moment(&self.start)?,
            end: moment(&self.end)?,
            limit,
            per_cpu: self.per_cpu,
            repeat: self.repeat,
            cpu: self.cpu,
            instance: self.instance.clone(),
        })
    }
}

#[derive(Debug, Args)]
#[command(after_help = "An event in asterisks is counted as such, any other name is a function. Callers
are a function's parent, or the stack that was recorded with it.

Example:
  snaptrace hist
  snaptrace hist -P trace.dat")]
pub(in crate::commands) struct HistArgs {
    #[command(flatten)]
    input: InputArgs,
    /// Count all processes together
    #[arg(short = 'P')]
    all_pids: bool,
    /// Only these CPUs: numbers and ranges, such as 0,2-3
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    cpu: Option<CpuList>,
}

impl HistArgs {
    /// Prints the counts.
    pub(in crate::commands) fn run(self) -> Result<()> {
        let reader = self.input.open()?;
        let cpus = self.cpu.map_or_else(Vec::new, |list| list.0);
        let config = hist::Config { all_pids: self.all_pids, cpus };
        hist::hist(&reader, &config, &mut io::stdout().lock())
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Calls count when their return is recorded. The self time leaves out functions
called that are recorded too.

Example:
  snaptrace record -p function_graph -g vfs_read cat /etc/hostname
  snaptrace profile
  snaptrace profile --sort self -n 10 trace.dat")]
pub(in crate::commands) struct ProfileArgs {
    #[command(flatten)]
    input: InputArgs,
    /// The order of the functions
    #[arg(long, value_name = "KEY", default_value = "total")]
    sort: SortKey,
    /// Only this many functions
    #[arg(short = 'n', value_name = "N")]
    rows: Option<usize>,
    /// Only these CPUs: numbers and ranges, such as 0,2-3
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    cpu: Option<CpuList>,
    /// Only these processes
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<i32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SortKey {
    /// Time from calls to returns
    Total,
    /// Time without the functions called
    #[value(name = "self")]
    Own,
    /// Number of calls
    Calls,
    /// Time of a call on average
    Average,
    /// Time of the longest call
    Maximum,
    /// The function's name
    Name,
}

impl ProfileArgs {
    /// Prints the table.
    pub(in crate::commands) fn run(self) -> Result<()> {
        let reader = self.input.open()?;
        let sort = match self.sort {
            SortKey::Total => profile::Sort::Total,
            SortKey::Own => profile::Sort::Own,
            SortKey::Calls => profile::Sort::Calls,
            SortKey::Average => profile::Sort::Average,
            SortKey::Maximum => profile::Sort::Maximum,
            SortKey::Name => profile::Sort::Name,
        };
        let cpus = self.cpu.map_or_else(Vec::new, |list| list.0);
        let config = profile::Config { sort, rows: self.rows, cpus, pids: self.pid };
        let (rows, damage) = profile::profile(&reader, &config)?;
        profile::print(&rows, &config, &mut io::stdout().lock())?;
        damage
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Names each event whose format cannot be followed, with the function of the
kernel or the pointer that it needs, and exits with 1 then. Such an event is
shown by its fields by 'report'.

Example:
  snaptrace check-events
  snaptrace check-events trace.dat")]
pub(in crate::commands) struct CheckEventsArgs {
    /// A recording, in place of the running kernel; - is standard input
    #[arg(short = 'i', value_name = "FILE", conflicts_with = "file")]
    input: Option<PathBuf>,
    /// A recording, in place of the running kernel; - is standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl CheckEventsArgs {
    /// Prints what is not understood of a recording, or of the kernel below a tracing directory.
    pub(in crate::commands) fn run(&self, tracing_dir: Option<PathBuf>) -> Result<u8> {
        let metadata = match self.input.as_ref().or(self.file.as_ref()) {
            Some(path) => Outline::read(&recording::open(path)?)?.metadata,
            None => metadata::gather(&crate::commands::tracefs(tracing_dir)?, |_| true)?,
        };
        let report = check_events::check(&metadata);
        crate::commands::print(&report.text)?;
        Ok(if report.all_good { 0 } else { Error::GENERAL })
    }
}
