//! `split`: a recording cut into smaller ones; pure.

use crate::error::{Error, Result};
use trace_dat::ring_buffer::Layout;
use trace_dat::ring_buffer::SubBuffers;
use trace_dat::write::Metadata;
use trace_dat::{Reader, Record, Records};

/// The most that a piece may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Everything.
    None,
    /// This many records.
    Events(u64),
    /// This many sub-buffers of each CPU.
    Pages(u64),
    /// Records up to this long after the first one, in units of the times that `report` shows.
    Time(u64),
}

/// A time as the user gave it: seconds with a fraction, or units of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// In units of `unit`.
    value: u64,
    /// How many units of the clock the last digit stands for.
    unit: u64,
}

impl Moment {
    /// Parses `SECONDS`, with up to nine digits after a point, as `report` shows times. If the clock does
    /// not count `nanoseconds`, the text is a number of the clock's units.
    ///
    /// ```
    /// use snaptrace::analysis::split::Moment;
    /// assert!(Moment::parse("4.893474", true).unwrap().is_at_or_before(4_893_473_878));
    /// assert!(!Moment::parse("4.893474000", true).unwrap().is_at_or_before(4_893_473_878));
    /// assert!(Moment::parse("soon", true).is_none());
    /// ```
    pub fn parse(text: &str, nanoseconds: bool) -> Option<Moment> {
        if !nanoseconds {
            return Some(Moment { value: text.parse().ok()?, unit: 1 });
        }
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // Times are shown with six or nine digits; fewer digits are filled up to six.
        let digits = if fraction.len() > 6 { 9 } else { 6 };
        let fraction: u64 = format!("{fraction:0<digits$}").parse().ok()?;
        let second = 10u64.pow(digits as u32);
        let value = seconds.parse::<u64>().ok()?.checked_mul(second)?.checked_add(fraction)?;
        Some(Moment { value, unit: 1_000_000_000 / second })
    }

    /// Whether a time, rounded as `report` shows it, is this one or later.
    pub fn is_at_or_before(self, time: u64) -> bool {
        self.value <= self.shown(time)
    }

    /// Whether a time, rounded as `report` shows it, is later than this one.
    pub fn is_before(self, time: u64) -> bool {
        self.value < self.shown(time)
    }

    fn shown(self, time: u64) -> u64 {
        if self.unit == 1 { time } else { time.saturating_add(self.unit / 2) / self.unit }
    }
}

/// Which records go into which piece.
#[derive(Debug, Clone)]
pub struct Config {
    /// The time of the first record; the beginning when `None`.
    pub start: Option<Moment>,
    /// The time of the last record; the end when `None`.
    pub end: Option<Moment>,
    /// The most that a piece may hold.
    pub limit: Limit,
    /// Apply the limit to each CPU separately; [`Limit::Pages`] is always applied so.
    pub per_cpu: bool,
    /// Make further pieces up to the end, not only the first one.
    pub repeat: bool,
    /// Only this CPU.
    pub cpu: Option<u32>,
    /// The instance; the top one when `None`.
    pub instance: Option<String>,
}

/// A piece: each CPU's number and its sub-buffers.
pub type Piece = Vec<(u32, Vec<u8>)>;

/// Splits a recording into pieces. Each piece is kept in memory as a whole.
#[derive(Debug)]
pub struct Split<'r> {
    reader: &'r Reader,
    config: Config,
    buffer: usize,
    page_size: usize,
    /// The metadata of the recording, which is also that of each piece.
    pub metadata: Metadata,
    /// The records of all CPUs together, or of each.
    streams: Vec<Records<'r>>,
}

impl<'r> Split<'r> {
    /// Fails when the instance or CPU does not exist, when the recording has several instances and none
    /// is named, and when its sub-buffers have a layout that no kernel uses so far.
    pub fn new(reader: &'r Reader, config: Config) -> Result<Split<'r>> {
        let buffers = reader.buffers();
        let names = || {
            buffers.iter().map(|buffer| match buffer.name.as_str() {
                "" => "the top-level one".to_string(),
                name => format!("'{name}'"),
            })
        };
        let buffer = match &config.instance {
            Some(name) => buffers.iter().position(|buffer| buffer.name == *name).ok_or_else(|| {
                Error::usage(format!("{} has no instance '{name}'", reader.name()))
                    .help(format!("it has: {}", names().collect::<Vec<_>>().join(", ")))
            })?,
            None => {
                let with_data = buffers.iter().filter(|buffer| !buffer.cpus.is_empty()).count();
                if with_data > 1 {
                    return Err(Error::usage(format!("{} has several instances", reader.name())).help(
                        format!(
                            "choose one with -B; '' is the top-level one: {}",
                            names().collect::<Vec<_>>().join(", ")
                        ),
                    ));
                }
                let found = buffers.iter().position(|buffer| !buffer.cpus.is_empty());
                found.unwrap_or(0)
            }
        };
        let Some(of) = buffers.get(buffer) else {
            return Err(Error::new(format!("{} contains no buffer", reader.name()))
                .help("only recordings of the ring buffer can be split"));
        };
        let cpus: Vec<u32> = of.cpus.iter().map(|data| data.cpu).collect();
        if let Some(cpu) = config.cpu.filter(|cpu| !cpus.contains(cpu)) {
            return Err(Error::usage(format!("{} has no data of CPU {cpu}", reader.name()))
                .help("'snaptrace report --cpus' lists its CPUs"));
        }
        let (order, long_size) = (reader.context().order, reader.context().long_size);
        if *reader.layout() != Layout::usual(order, long_size) {
            return Err(Error::new(format!("the sub-buffers of {} have an unusual header", reader.name()))
                .help("'snaptrace report' can read it, but 'split' cannot write it"));
        }
        let chosen = |cpu: u32| config.cpu.is_none_or(|chosen| chosen == cpu);
        let streams = if config.per_cpu || matches!(config.limit, Limit::Pages(_)) {
            let of = |cpu: u32| reader.records_of(move |index, of| index == buffer && of == cpu);
            cpus.into_iter().filter(|cpu| chosen(*cpu)).map(of).collect()
        } else {
            vec![reader.records_of(|index, cpu| index == buffer && chosen(cpu))]
        };
        let metadata = Metadata {
            sub_buffer_size: of.page_size as u32,
            instance: of.name.clone(),
            // The statistics describe the whole recording, not a piece.
            cpu_stats: Vec::new(),
            ..reader.container().metadata()?
        };
        Ok(Split { reader, config, buffer, page_size: of.page_size, metadata, streams })
    }

    /// The next piece, or `None` when no record is left.
    ///
    /// Fails when a record does not fit into a sub-buffer.
    pub fn next_piece(&mut self) -> Result<Option<Piece>> {
        let context = self.reader.context();
        let mut piece: Vec<(u32, SubBuffers)> = Vec::new();
        for stream in &mut self.streams {
            let (mut events, mut first) = (0, None);
            while let Some(record) = stream.peek(self.buffer) {
                let time = self.reader.shown_time(record.time);
                if self.config.start.is_some_and(|start| !start.is_at_or_before(time)) {
                    stream.skip();
                    continue;
                }
                if self.config.end.is_some_and(|end| end.is_before(time)) {
                    break;
                }
                let place = piece.iter().position(|(cpu, _)| *cpu == record.cpu).unwrap_or_else(|| {
                    let pages = SubBuffers::new(context.order, context.long_size, self.page_size);
                    piece.push((record.cpu, pages));
                    piece.len() - 1
                });
                let pages = &mut piece[place].1;
                let full = match self.config.limit {
                    Limit::None => false,
                    Limit::Events(most) => events >= most,
                    Limit::Time(most) => time.saturating_sub(*first.get_or_insert(time)) > most,
                    Limit::Pages(most) => {
                        pages.count() as u64 >= most
                            && pages.begins(record.time, record.missed, record.data.len())
                    }
                };
                if full {
                    break;
                }
                if !pages.add(record.time, record.missed, record.data) {
                    return Err(too_large(self.reader, &record));
                }
                events += 1;
                stream.skip();
            }
        }
        piece.retain(|(_, pages)| pages.count() > 0);
        piece.sort_by_key(|(cpu, _)| *cpu);
        let piece: Piece = piece.into_iter().map(|(cpu, pages)| (cpu, pages.finish())).collect();
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }

    /// Whether more than one piece is wanted.
    pub fn repeats(&self) -> bool {
        self.config.repeat
    }

    /// Ends the split. Fails when records that belong to the pieces were damaged.
    pub fn finish(self) -> Result<()> {
        Ok(self.streams.into_iter().try_for_each(Records::finish)?)
    }
}

fn too_large(reader: &Reader, record: &Record<'_>) -> Error {
    Error::new(format!(
        "cannot split {}: a record of CPU {} at time {} has {} bytes, more than a sub-buffer",
        reader.name(),
        record.cpu,
        record.time,
        record.data.len()
    ))
    .help("the recording is damaged: 'snaptrace report' shows what is sound")
}
