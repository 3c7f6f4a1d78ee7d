//! A recording interpreted: events, symbols, commands, clock; its records are [`Records`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::thread;

use crate::error::{Error, ErrorKind, Result};
use crate::event::btf::Btf;
use crate::event::context::Context;
use crate::event::events::Events;
use crate::event::symbols::Symbols;
use crate::file::container::{Buffer, Container, FileOption};
use crate::file::header::Version;
use crate::file::id;
use crate::file::input::Input;
use crate::file::sections;
use crate::records::Records;
use crate::ring_buffer::read::Layout;
use crate::texts;

/// Turns TSC cycles into nanoseconds: `cycles * multiplier >> shift`.
#[derive(Debug, Clone, Copy)]
struct TscRate {
    multiplier: u32,
    shift: u32,
}

/// A recording, opened and interpreted.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bytes = std::fs::read("../tests/recordings/5.4-function.dat")?;
/// let reader = trace_dat::Reader::new("5.4-function.dat", bytes)?;
/// let mut records = reader.records();
/// let (mut functions, mut last) = (0, 0);
/// while let Some(record) = records.next() {
///     assert!(record.time >= last, "records come by time");
///     last = record.time;
///     let event = reader.events().of(reader.context().order, record.data);
///     functions += usize::from(event.is_some_and(|event| event.name == "function"));
/// }
/// assert!(functions > 0);
/// records.finish()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Reader {
    file: Container,
    layout: Layout,
    events: Events,
    context: Context,
    cmdlines: HashMap<i32, Vec<u8>>,
    /// The kernel's types, read when they are first needed.
    btf: OnceLock<Option<Btf>>,
    buffers: Vec<Buffer>,
    options: Options,
}

/// What the options say.
#[derive(Debug, Default)]
struct Options {
    tsc: Option<TscRate>,
    offset: i64,
    cpustat: Vec<String>,
    uname: Option<String>,
    version: Option<String>,
}

impl Options {
    fn read(file: &Container) -> Result<Options> {
        let mut options = Options::default();
        for option in file.options() {
            options.add(option, file)?;
        }
        Ok(options)
    }

    fn add(&mut self, option: &FileOption, file: &Container) -> Result<()> {
        match option.id {
            id::CPUSTAT => self.cpustat.push(option.text()),
            id::UNAME => self.uname = Some(option.text()),
            id::VERSION => self.version = Some(option.text()),
            id::DATE => self.offset = self.offset.wrapping_add(signed(&option.data).wrapping_mul(1000)),
            id::OFFSET => self.offset = self.offset.wrapping_add(signed(&option.data)),
            id::TSC2NSEC => {
                let mut content = option.cursor(file.order());
                let rate = TscRate { multiplier: content.u32()?, shift: content.u32()? };
                self.tsc = Some(rate).filter(|rate| rate.multiplier > 0 && rate.shift < 64);
            }
            id::BUFFER_TEXT if file.version() == Version::V7 => {
                let what = "it holds the text of a latency tracer, which is not read";
                return Err(option.cursor(file.order()).error_of(ErrorKind::Unsupported, what));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Reader {
    /// Reads the header, options and sections of a recording; `name` is used in errors.
    ///
    /// Fails, with the place in the file, when it is not a trace.dat of version 6 or 7, or is damaged.
    /// Damage in the records themselves is reported by [`Records::finish`].
    pub fn new(name: &str, input: impl Input + 'static) -> Result<Reader> {
        Reader::of(Container::open(name, input)?)
    }

    /// Interprets an opened file.
    ///
    /// Fails when its options or sections are damaged.
    pub fn of(file: Container) -> Result<Reader> {
        let name = file.name().to_string();
        Reader::interpret(file).map_err(|error| error.in_file(&name))
    }

    fn interpret(file: Container) -> Result<Reader> {
        let options = Options::read(&file)?;
        let context = Context {
            order: file.order(),
            long_size: file.long_size(),
            symbols: Symbols::default(),
            printk: HashMap::new(),
        };
        let mut reader = Reader {
            layout: Layout::usual(file.order(), file.long_size()),
            buffers: with_data(&file),
            file,
            events: Events::default(),
            context,
            cmdlines: HashMap::new(),
            btf: OnceLock::new(),
            options,
        };
        reader.read_sections()?;
        for buffer in &reader.buffers {
            if buffer.page_size <= reader.layout.header_size() {
                return Err(Error::malformed(format!(
                    "a page size of {} bytes has no room for data",
                    buffer.page_size
                )));
            }
        }
        Ok(reader)
    }

    fn read_sections(&mut self) -> Result<()> {
        let Reader { file, events, context, cmdlines, layout, .. } = self;
        let (order, long_size) = (context.order, context.long_size);
        let file = &*file;
        // Unpacking kallsyms takes as long as everything else, so a separate thread does it.
        context.symbols = thread::scope(|scope| {
            let symbols = scope.spawn(|| symbols(file));
            let Some(section) = file.section(id::HEADER_INFO)? else {
                return Err(Error::malformed("no option tells where header_page is"));
            };
            let mut cursor = section.cursor();
            let (page, _) = sections::header_info(&mut cursor)?;
            *layout = Layout::parse(&String::from_utf8_lossy(&page), order, long_size)
                .map_err(|error| cursor.within(error))?;
            let mut add = |system: &str, format: &[u8]| {
                // Nearly all formats are UTF-8, and checking is faster than replacing.
                let text =
                    str::from_utf8(format).map_or_else(|_| String::from_utf8_lossy(format), Cow::Borrowed);
                events.add(system, &text, long_size)
            };
            if let Some(section) = file.section(id::FTRACE_FORMATS)? {
                sections::formats(&mut section.cursor(), |format| add("ftrace", format))?;
            }
            if let Some(section) = file.section(id::EVENT_FORMATS)? {
                sections::formats_by_system(&mut section.cursor(), &mut add)?;
            }
            if let Some(section) = file.section(id::PRINTK)? {
                let text = sections::with_u32(&mut section.cursor())?;
                let formats = texts::printk_formats(&text);
                context.printk =
                    formats.map(|(address, text)| (address, text.into_owned().into_bytes())).collect();
            }
            if let Some(section) = file.section(id::CMDLINES)? {
                *cmdlines = texts::cmdlines(&sections::with_u64(&mut section.cursor())?);
            }
            symbols.join().unwrap_or_else(|_| Err(Error::malformed("the symbols could not be read")))
        })?;
        Ok(())
    }

    /// All records by time; see [`Records`].
    pub fn records(&self) -> Records<'_> {
        self.records_of(|_, _| true)
    }

    /// The records of the buffers (by index) and CPUs that `wanted` accepts.
    pub fn records_of(&self, wanted: impl Fn(usize, u32) -> bool) -> Records<'_> {
        Records::new(&self.file, &self.layout, &self.buffers, wanted)
    }

    /// The structure of the file.
    pub fn container(&self) -> &Container {
        &self.file
    }

    /// The name given to [`Reader::new`].
    pub fn name(&self) -> &str {
        self.file.name()
    }

    /// The events that the file describes.
    #[inline]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The data needed to print events: byte order, symbols, constant strings.
    #[inline]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Commands by pid.
    pub fn cmdlines(&self) -> &HashMap<i32, Vec<u8>> {
        &self.cmdlines
    }

    /// The kernel's types, if the recording has them and they can be read.
    pub fn btf(&self) -> Option<&Btf> {
        let read = || Btf::parse(self.file.section(id::BTF).ok()??.body, self.context.order);
        self.btf.get_or_init(read).as_ref()
    }

    /// The number of CPUs of the recorded machine.
    pub fn cpus(&self) -> u32 {
        self.file.cpus()
    }

    /// The layout of sub-buffers.
    #[inline]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The buffers, the top instance's first. Each lists the CPUs that have data, sorted by number.
    #[inline]
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// The trace clock, such as `local`.
    pub fn clock(&self) -> Option<&str> {
        self.file.clock()
    }

    /// Whether times are nanoseconds, according to the kernel's own table of clocks (`in_ns`). Counters,
    /// cycles and the ticks of `uptime` are not.
    pub fn is_nanoseconds(&self) -> bool {
        self.options.tsc.is_some()
            || self.clock().is_none_or(|clock| {
                matches!(clock, "local" | "global" | "perf" | "boot" | "tai") || clock.starts_with("mono")
            })
    }

    /// The same according to trace-cmd's table, which takes `uptime` for nanoseconds and `boot` for a
    /// counter.
    pub fn is_nanoseconds_to_trace_cmd(&self) -> bool {
        self.options.tsc.is_some()
            || self.clock().is_none_or(|clock| {
                matches!(clock, "local" | "global" | "perf" | "uptime" | "tai") || clock.starts_with("mono")
            })
    }

    /// The text of a latency tracer, if the file has it instead of records.
    pub fn latency_text(&self) -> Option<&[u8]> {
        self.file.latency_text()
    }

    /// Buffer statistics of each CPU at the end of the recording, as text.
    pub fn cpustat(&self) -> &[String] {
        &self.options.cpustat
    }

    /// `uname` of the recorded machine.
    pub fn uname(&self) -> Option<&str> {
        self.options.uname.as_deref()
    }

    /// The version of the program that wrote the file.
    pub fn writer_version(&self) -> Option<&str> {
        self.options.version.as_deref()
    }

    /// The time to show for a record's time stamp: cycles are converted to nanoseconds if the file says
    /// how, and the file's offset (`--date`) is added.
    #[inline]
    pub fn shown_time(&self, stamp: u64) -> u64 {
        let time = match self.options.tsc {
            Some(rate) => ((u128::from(stamp) * u128::from(rate.multiplier)) >> rate.shift) as u64,
            None => stamp,
        };
        time.wrapping_add_signed(self.options.offset)
    }
}

/// The buffers, the top instance's first. Each lists the CPUs that have data, sorted by number.
fn with_data(file: &Container) -> Vec<Buffer> {
    let mut buffers = file.buffers().to_vec();
    for buffer in &mut buffers {
        buffer.cpus.retain(|extent| extent.size > 0);
        buffer.cpus.sort_by_key(|extent| extent.cpu);
    }
    // The top instance comes first, whatever the order of the options.
    buffers.sort_by_key(|buffer| !buffer.name.is_empty());
    buffers
}

/// Functions by address, from the section with kallsyms.
fn symbols(file: &Container) -> Result<Symbols> {
    let Some(mut section) = file.section(id::KALLSYMS)? else { return Ok(Symbols::default()) };
    let mut cursor = section.cursor();
    let size = cursor.u32()?;
    let start = cursor.at() as usize;
    let end = start + cursor.bytes(u64::from(size))?.len();
    // The text has megabytes, so the vector is reused instead of copied.
    section.body.truncate(end);
    section.body.drain(..start);
    let text = String::from_utf8(section.body)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    let symbols = Symbols::parse(text);
    symbols.prepare();
    Ok(symbols)
}

/// A number as C's strtoll reads it, decimal or hexadecimal; 0 when there is none.
fn signed(text: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_matches(['\0', ' ', '\n']);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let number = match digits.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    let number = number.unwrap_or(0);
    if negative { number.wrapping_neg() } else { number }
}

#[cfg(test)]
mod tests;
