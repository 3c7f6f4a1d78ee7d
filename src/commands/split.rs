//! `split`: cuts a recording into smaller ones.

use std::path::{Path, PathBuf};

use clap::ArgGroup;

use super::interface::{Kernel, Subcommand, print};
use crate::analysis::split::{self, Limit, Moment, Split};
use crate::capture::recording::{self, STDIN};
use crate::error::{Error, Result};
use trace_dat::Reader;

/// Cut a recording into smaller ones
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("limit"),
    after_help = "START and END are times as 'report' prints them; records at these times are
included. Without -r one piece is written, FILE.1; with -r as many as needed,
FILE.0001 and so on. The pieces have the version and the compression of the
recording.

Example:
  snaptrace split 75678.923853 75679.1
  snaptrace split -r -e 10000 -o part
  snaptrace split -C 1 -m 20 -i big.dat"
)]
pub(super) struct Args {
    /// The recording; - is standard input
    #[arg(short = 'i', value_name = "FILE", default_value = "trace.dat")]
    input: PathBuf,
    /// Start of the output files' names, which a number follows; required for standard input
    /// [default: the recording's name]
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
    /// Write further pieces until END
    #[arg(short = 'r', requires = "limit")]
    repeat: bool,
    /// Apply the limit to each CPU
    #[arg(short = 'c', requires = "limit")]
    per_cpu: bool,
    /// Only this CPU
    #[arg(short = 'C', value_name = "CPU")]
    cpu: Option<u32>,
    /// Split only this instance of the recording; '' means the top-level one
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// Time of the first record
    #[arg(value_name = "START")]
    start: Option<String>,
    /// Time of the last record
    #[arg(value_name = "END")]
    end: Option<String>,
}

impl Subcommand for Args {
    const NAME: &'static str = "split";

    fn run(self, _: &Kernel) -> Result<u8> {
        if self.output.is_none() && self.input == Path::new(STDIN) {
            return Err(Error::usage("the pieces of standard input need a name")
                .help("give it with -o; each piece gets a number after it"));
        }
        let reader = recording::open(&self.input)?;
        let (version, compression) = (reader.container().version(), reader.container().compression());
        let mut split = Split::new(&reader, self.config(&reader)?)?;
        let base = self.output.as_ref().unwrap_or(&self.input);
        let mut count = 0;
        while let Some(piece) = split.next_piece()? {
            count += 1;
            let mut path = base.clone().into_os_string();
            path.push(if split.repeats() { format!(".{count:04}") } else { format!(".{count}") });
            recording::write(path.as_ref(), version, compression, &split.metadata, &piece)?;
            print(&format!("{}\n", path.display()))?;
            if !split.repeats() {
                break;
            }
        }
        split.finish()?;
        if count == 0 {
            return Err(Error::usage(format!("{} has no records in this range", reader.name()))
                .help("'snaptrace report --first-event --last-event' prints the times of its first and last records"));
        }
        Ok(0)
    }
}

impl Args {
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
                .help("limit the pieces with -e or -p"));
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
