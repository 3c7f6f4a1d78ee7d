//! `report`: prints a recording.

use std::fs::File;
use std::io;
use std::mem;
use std::num::NonZero;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use clap::{ArgMatches, FromArgMatches};

use super::args::cpus::{CpuList, cpu_list};
use super::interface::{Kernel, Subcommand};

use crate::capture::recording::{self, STDIN};
use crate::error::{Error, Result};
use crate::report::about::{self, About};
use crate::report::{self, Returns, Style, merged};

/// Print a recording: a trace.dat of snaptrace or trace-cmd
#[derive(Debug, clap::Args)]
#[command(after_help = "Records of all CPUs are printed in the order of time. A damaged or truncated
recording is printed as far as it can be read; the exit code is 1 then.

OPTION is parent (print ' <-- ' and the parent of a function), offset (print
the offset of an address in its function), indent=0 (do not indent functions
below their callers), fgraph:tailprint (print the name where a function ends),
fgraph:depth (print the depth), or, for recorded return values,
fgraph:retval-skip, fgraph:retval-dec or fgraph:retval-hex. '=0' switches an
option off. With a --style of trace-cmd, parent is off.

A FILTER is EVENTS or 'EVENTS: CONDITION'. EVENTS is SYSTEM/EVENT, SYSTEM or
EVENT, each a regular expression, separated by commas. A CONDITION compares
fields, COMM, CPU and TIMESTAMP with numbers and quoted strings: == != < <= >
>=, and =~ !~ for regular expressions. It may calculate with & | ^ + - * / %,
and combine conditions with && || ! and parentheses. An address equals the name
of its function. A record is printed if it matches one of the -F before -v, if
there are any, and none of those after it.

Events are printed as the kernel prints them. If a print format is not
understood, the event's fields are printed; 'check-events' explains why. The
styles of trace-cmd print what trace-cmd prints, its mistakes included, except
where it crashes, prints its own memory addresses, or reads beyond the end of a
record.

Example:
  snaptrace report
  snaptrace report -F 'sched_switch: prev_comm =~ \"^sh\" && next_pid > 9'
  snaptrace report -F sched -v -F 'sched_stat_.*'
  snaptrace report -t --cpu 0,1 trace.dat
  ssh HOST cat trace.dat | snaptrace report -
  snaptrace report -i host.dat --ts-offset -1000 -i guest.dat
  snaptrace report --style trace-cmd-3.1 -O parent trace.dat")]
// '--version' is the recording's here.
#[command(disable_version_flag = true)]
pub(super) struct Args {
    /// The recording (repeatable); - is standard input [default: trace.dat]
    #[arg(short = 'i', value_name = "FILE", conflicts_with = "file")]
    inputs: Vec<PathBuf>,
    /// The recording; - is standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print times to the nanosecond
    #[arg(short = 't')]
    nanoseconds: bool,
    /// Show the latency flags: irqs off, need-resched, irq, preempt depth
    #[arg(short = 'l')]
    latency: bool,
    /// Print an event's fields and values, not its text
    #[arg(short = 'R')]
    raw_fields: bool,
    /// Use the kernel's print formats, not snaptrace's own text
    #[arg(short = 'N')]
    kernel_formats: bool,
    /// Set a display option (repeatable), see below
    #[arg(short = 'O', value_name = "OPTION[=0]")]
    options: Vec<String>,
    /// Only these CPUs: numbers and ranges, such as 0,2-3
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    cpu: Option<CpuList>,
    /// Only records of these processes, or that name them
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<i32>,
    /// Only records of these commands, or that name them
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    comm: Vec<String>,
    /// Only records that match this filter (repeatable), see below
    #[arg(short = 'F', value_name = "FILTER")]
    filters: Vec<String>,
    /// Invert the -F filters that follow: no records that match
    #[arg(short = 'v', requires = "filters")]
    invert: bool,
    /// The number of -F before -v.
    #[arg(skip)]
    upright: usize,
    /// No records made in hard interrupts
    #[arg(short = 'I')]
    hide_hardirq: bool,
    /// No records made in soft interrupts
    #[arg(short = 'S')]
    hide_softirq: bool,
    /// Show how long woken processes waited for a CPU; needs the events
    /// sched_switch and sched_wakeup
    #[arg(short = 'w')]
    wakeups: bool,
    /// Show the time since the line before
    #[arg(long)]
    ts_diff: bool,
    /// Add this to each time of the -i before it, in units of the clock
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    ts_offset: Vec<i64>,
    /// For each `ts_offset`, the index of its recording.
    #[arg(skip)]
    offset_inputs: Vec<usize>,
    /// Show times as they were recorded
    #[arg(long)]
    raw_ts: bool,
    /// In place of records: the CPUs with data
    #[arg(long)]
    cpus: bool,
    /// In place of records: the time of each CPU's first record
    #[arg(long)]
    first_event: bool,
    /// In place of records: the time of each CPU's last record
    #[arg(long)]
    last_event: bool,
    /// In place of records: buffer statistics, and where the data lie
    #[arg(long)]
    stat: bool,
    /// In place of records: the recorded machine and the program
    #[arg(long)]
    uname: bool,
    /// In place of records: the version of the program that recorded
    #[arg(long = "version")]
    writer: bool,
    /// In place of records: the formats of events
    #[arg(long)]
    events: bool,
    /// In place of records: the names of the events
    #[arg(short = 'E')]
    names: bool,
    /// In place of records: the functions by address
    #[arg(short = 'f')]
    functions: bool,
    /// In place of records: the formats of trace_printk by address
    #[arg(short = 'P')]
    printk: bool,
    /// In place of records: the byte orders of the file and of this machine
    #[arg(short = 'e')]
    byte_order: bool,
    /// The form of the lines
    #[arg(long, value_name = "STYLE", value_parser = style, default_value = "snaptrace")]
    #[arg(long_help = "The form of the lines: that of snaptrace, or of trace-cmd-3.1,
trace-cmd-3.3 or trace-cmd-3.4")]
    style: Style,
}

fn style(text: &str) -> std::result::Result<Style, String> {
    match text {
        "snaptrace" => Ok(Style::Snaptrace),
        "trace-cmd-3.1" => Ok(Style::TraceCmd31),
        "trace-cmd-3.3" => Ok(Style::TraceCmd33),
        "trace-cmd-3.4" => Ok(Style::TraceCmd34),
        _ => Err("the styles are snaptrace, trace-cmd-3.1, trace-cmd-3.3 and trace-cmd-3.4".into()),
    }
}

impl Subcommand for Args {
    const NAME: &'static str = "report";

    fn from_matches(matches: &ArgMatches) -> std::result::Result<Args, clap::Error> {
        let mut args = Args::from_arg_matches(matches)?;
        args.in_order(matches);
        Ok(args)
    }

    fn run(self, _: &Kernel) -> Result<u8> {
        self.print()?;
        Ok(0)
    }
}

impl Args {
    /// Sets the values that depend on the order of the arguments.
    fn in_order(&mut self, matches: &ArgMatches) {
        let places = |name: &str| matches.indices_of(name).into_iter().flatten();
        // For a flag that was not given clap returns the index of its default value, so do not ask.
        let turn = if self.invert { places("invert").next() } else { None };
        let inputs: Vec<usize> = places("inputs").collect();
        let before = |place: usize| inputs.iter().filter(|input| **input < place).count();
        // An offset before all recordings is for the first.
        self.offset_inputs = places("ts_offset").map(|place| before(place).saturating_sub(1)).collect();
        self.upright = places("filters").filter(|at| turn.is_none_or(|turn| *at < turn)).count();
    }

    /// Prints the recording.
    fn print(&self) -> Result<()> {
        let mut paths = self.inputs.clone();
        paths.extend(self.file.clone());
        if paths.is_empty() {
            paths.push(PathBuf::from("trace.dat"));
        }
        if paths.iter().filter(|path| path.as_path() == Path::new(STDIN)).count() > 1 {
            return Err(Error::usage("standard input is given more than once")
                .help("standard input can be read only once: give '-' only once"));
        }
        let config = self.config()?;
        let several = paths.len() > 1;
        if several && self.wakeups {
            return Err(
                Error::usage("-w works on one recording only").help("report each recording separately")
            );
        }
        let base = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let mut inputs = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            let mut config = config.clone();
            config.label = several.then(|| base(path));
            let offsets = self.ts_offset.iter().zip(&self.offset_inputs);
            for (offset, _) in offsets.filter(|(_, input)| **input == index) {
                config.time_offset = *offset;
            }
            inputs.push((recording::open(path)?, config));
        }
        if let Some(what) = self.about() {
            let width = paths.iter().map(|path| base(path).len()).max().unwrap_or(0);
            for (reader, config) in &mut inputs {
                config.label = config.label.as_ref().map(|label| format!("{label:>width$}"));
                about::about(reader, what, config, &mut io::stdout().lock())?;
            }
            return Ok(());
        }
        if let [(reader, config)] = inputs.as_slice() {
            let outcome = report::report(reader, config, standard_output()?);
            // The process ends now. Freeing thousands of formats and symbols would take longer than
            // printing a short recording.
            mem::forget(inputs);
            return outcome;
        }
        let inputs: Vec<_> = inputs.iter().map(|(reader, config)| (reader, config)).collect();
        merged::report(&inputs, &mut standard_output()?)
    }

    /// The information that is requested instead of records; of several, the one that trace-cmd would
    /// print first.
    fn about(&self) -> Option<About> {
        let cpus = self.cpus || self.first_event || self.last_event;
        let asked = [
            (self.byte_order, About::ByteOrder),
            (self.functions, About::Functions),
            (self.printk, About::Printk),
            (self.names, About::Events),
            (cpus, About::Cpus { first: self.first_event, last: self.last_event }),
            (self.events, About::Formats),
            (self.uname, About::Uname),
            (self.writer, About::Version),
            (self.stat, About::Stat),
        ];
        asked.into_iter().find_map(|(wanted, what)| wanted.then_some(what))
    }

    fn config(&self) -> Result<report::Config> {
        let mut config = report::Config {
            style: self.style,
            threads: available_parallelism().map_or(1, NonZero::get),
            nanoseconds: self.nanoseconds,
            latency: self.latency,
            raw_fields: self.raw_fields,
            kernel_formats: self.kernel_formats,
            raw_time: self.raw_ts,
            time_difference: self.ts_diff,
            cpus: self.cpu.clone().map_or_else(Vec::new, |list| list.0),
            pids: self.pid.clone(),
            comms: self.comm.clone(),
            include: self.filters[..self.upright].to_vec(),
            exclude: self.filters[self.upright..].to_vec(),
            hide_hardirq: self.hide_hardirq,
            hide_softirq: self.hide_softirq,
            wakeups: self.wakeups,
            ..report::Config::default()
        };
        for option in &self.options {
            let (name, value) = option.split_once('=').unwrap_or((option, "1"));
            let on = match value {
                "0" => false,
                "1" => true,
                _ => return Err(Error::usage(format!("-O {option}: the value is neither 0 nor 1"))),
            };
            match name {
                "parent" | "ftrace:parent" => config.parent = Some(on),
                "indent" | "ftrace:indent" => config.no_indent = !on,
                "offset" | "ftrace:offset" => config.offset = on,
                "tailprint" | "fgraph:tailprint" => config.graph_tail = on,
                "depth" | "fgraph:depth" => config.graph_depth = on,
                "retval-skip" | "fgraph:retval-skip" if on => config.returns = Returns::Skip,
                "retval-dec" | "fgraph:retval-dec" if on => config.returns = Returns::Decimal,
                "retval-hex" | "fgraph:retval-hex" if on => config.returns = Returns::Hexadecimal,
                "retval-skip" | "fgraph:retval-skip" | "retval-dec" | "fgraph:retval-dec" | "retval-hex"
                | "fgraph:retval-hex" => config.returns = Returns::ByValue,
                _ => {
                    return Err(Error::usage(format!("-O {name}: 'report' has no such option")).help(
                        "its options are parent, offset, indent, fgraph:tailprint, fgraph:depth, \
                             fgraph:retval-skip, fgraph:retval-dec and fgraph:retval-hex",
                    ));
                }
            }
        }
        Ok(config)
    }
}

/// Standard output without a buffer, for large writes.
fn standard_output() -> Result<File> {
    let output = io::stdout().as_fd().try_clone_to_owned();
    output.map(File::from).map_err(Error::output)
}
