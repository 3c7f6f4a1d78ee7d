//! A file's header, options and sections; its records are [`super::Records`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::bytes::ByteOrder;
use crate::error::{Error, ErrorKind, Result};
use crate::event::btf::Btf;
use crate::event::context::Context;
use crate::event::events::Events;
use crate::event::symbols::Symbols;
use crate::file::compression::Compression;
use crate::file::cursor::Cursor;
use crate::file::id::{self, MAGIC};
use crate::file::input::{Input, View};
use crate::file::sections;
use crate::records::Records;
use crate::ring_buffer::read::Layout;

/// The CPU data of one CPU in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuData {
    /// The CPU's number.
    pub cpu: u32,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Size in the file, in bytes; for compressed data it may leave out the chunk count.
    pub size: u64,
}

/// The top instance's buffer (first, without a name) or an instance's.
#[derive(Debug, Clone)]
pub struct Buffer {
    /// The instance's name, empty for the top one.
    pub name: String,
    /// Bytes of a sub-buffer.
    pub page_size: usize,
    /// The CPUs with data, by number.
    pub cpus: Vec<CpuData>,
    pub(crate) compressed: bool,
}

/// No section is larger than this once unpacked, in bytes; kallsyms has some 15 MiB.
const LARGEST: usize = 32 << 20;

/// Turns TSC cycles into nanoseconds: `cycles * multiplier >> shift`.
#[derive(Debug, Clone, Copy)]
struct TscRate {
    multiplier: u32,
    shift: u32,
}

/// An open file.
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
    pub(crate) name: String,
    pub(crate) input: Arc<dyn Input>,
    pub(crate) compression: Compression,
    pub(crate) layout: Layout,
    version: u32,
    page_size: usize,
    events: Events,
    context: Context,
    cmdlines: HashMap<i32, Vec<u8>>,
    cpus: u32,
    /// Where the kernel's types are, read when they are first needed.
    btf: (Option<u64>, OnceLock<Option<Btf>>),
    options: Options,
    /// Offset of the first section; version 6 has none.
    first_section: Option<u64>,
}

/// What the options say.
#[derive(Debug, Default)]
struct Options {
    buffers: Vec<Buffer>,
    clock: Option<String>,
    tsc: Option<TscRate>,
    offset: i64,
    cpustat: Vec<String>,
    uname: Option<String>,
    version: Option<String>,
    cpus: Option<u32>,
    /// What the kernel's `trace` had, where a latency tracer was recorded.
    latency_text: Option<Vec<u8>>,
    /// Offsets of sections by id; of several the last.
    sections: BTreeMap<u16, u64>,
}

/// Where the sections of version 7 are read from, and how.
#[derive(Clone, Copy)]
pub(crate) struct Sections<'a> {
    pub input: &'a dyn Input,
    pub order: ByteOrder,
    pub compression: Compression,
}

/// A section's body, unpacked, and what to call it in errors.
pub(crate) struct Section {
    pub body: Vec<u8>,
    pub place: String,
}

impl<'a> Sections<'a> {
    /// The body of the section at an offset, which has to have this id.
    pub fn read(self, id: u16, offset: u64) -> Result<Section> {
        let place = format!("section {id} at offset 0x{offset:x}");
        let mut header = self.at(offset, &place);
        let found = header.u16()?;
        if found != id {
            return Err(header.error(&format!("section {found} stands there instead")));
        }
        let compressed = header.u16()? & 1 != 0;
        header.u32()?;
        let size = header.u64()?;
        let body = header.bytes(size)?;
        if !compressed {
            return Ok(Section { body: body.into_owned(), place });
        }
        let mut packed = Cursor::over(&body, self.order, place.as_str());
        let (size, unpacked) = (packed.u32()?, packed.u32()?);
        let data = packed.bytes(u64::from(size))?;
        let mut out = Vec::new();
        self.compression
            .unpack(&data, u64::from(unpacked), LARGEST, &mut out)
            .map_err(|error| packed.within(error))?;
        Ok(Section { body: out, place })
    }

    /// Functions by address, from the section with kallsyms.
    fn symbols(self, offset: u64) -> Result<Symbols> {
        let Section { mut body, place } = self.read(id::KALLSYMS, offset)?;
        let mut cursor = Cursor::over(&body, self.order, place);
        let size = cursor.u32()?;
        let start = cursor.at() as usize;
        let end = start + cursor.bytes(u64::from(size))?.len();
        // There are megabytes of it: they are kept, not copied.
        body.truncate(end);
        body.drain(..start);
        let symbols = Symbols::parse(text(body));
        symbols.prepare();
        Ok(symbols)
    }

    fn at(self, offset: u64, place: &str) -> Cursor<'a> {
        Cursor::new(View::File(self.input), offset, self.order, place)
    }
}

impl Reader {
    /// Reads the header, options and sections of a recording; `name` is for errors.
    ///
    /// Fails, with the place in the file, when it is no trace.dat of version 6 or 7 or is damaged.
    /// Damage in the records themselves is found by [`Records::finish`].
    pub fn new(name: &str, input: impl Input + 'static) -> Result<Reader> {
        Reader::open(name, Arc::new(input)).map_err(|error| error.in_file(name))
    }

    fn open(name: &str, input: Arc<dyn Input>) -> Result<Reader> {
        let file = Arc::clone(&input);
        let file = View::File(&*file);
        // The byte order is not known yet, nor needed for what comes before it.
        let mut cursor = Cursor::new(file, 0, ByteOrder::Little, "header");
        if !matches!(file.bytes(0, MAGIC.len() as u64), Ok(Some(magic)) if *magic == *MAGIC) {
            return Err(cursor.error_of(ErrorKind::NotTraceDat, "it does not begin like a trace.dat"));
        }
        cursor.bytes(MAGIC.len() as u64)?;
        let version = match cursor.text()?.as_str() {
            "6" => 6,
            "7" => 7,
            other => {
                let what = format!("version '{other}' is neither 6 nor 7");
                return Err(cursor.error_of(ErrorKind::UnsupportedVersion, &what));
            }
        };
        let order = match *cursor.bytes(1)? {
            [0] => ByteOrder::Little,
            [1] => ByteOrder::Big,
            _ => return Err(cursor.error("the byte order is neither 0 nor 1")),
        };
        let long_size = match *cursor.bytes(1)? {
            [size @ (4 | 8)] => usize::from(size),
            _ => return Err(cursor.error("the size of a long is neither 4 nor 8")),
        };
        let mut cursor = Cursor::new(file, cursor.at(), order, "header");
        let page_size = page_size(&mut cursor)?;
        let context = Context { order, long_size, symbols: Symbols::default(), printk: HashMap::new() };
        let mut reader = Reader {
            name: name.to_string(),
            input,
            compression: Compression::None,
            layout: Layout::usual(order, long_size),
            version,
            page_size,
            events: Events::default(),
            context,
            cmdlines: HashMap::new(),
            cpus: 0,
            btf: Default::default(),
            options: Options::default(),
            first_section: None,
        };
        if version == 6 {
            reader.read_version_6(file, cursor)?;
        } else {
            reader.read_version_7(cursor)?;
        }
        for buffer in &reader.options.buffers {
            if buffer.page_size <= reader.layout.header_size() {
                return Err(Error::malformed(format!(
                    "a page size of {} bytes has no room for data",
                    buffer.page_size
                )));
            }
        }
        reader.check_ranges()?;
        // The top instance comes first, whatever the order of the options.
        reader.options.buffers.sort_by_key(|buffer| !buffer.name.is_empty());
        Ok(reader)
    }

    /// No two CPUs have the same bytes: their number is what bounds the memory for reading them.
    fn check_ranges(&self) -> Result<()> {
        let mut ranges: Vec<&CpuData> = self.options.buffers.iter().flat_map(|buffer| &buffer.cpus).collect();
        ranges.sort_by_key(|data| data.offset);
        for pair in ranges.windows(2) {
            if pair[0].offset.saturating_add(pair[0].size) > pair[1].offset {
                return Err(Error::malformed(format!(
                    "the data of CPU {} at offset 0x{:x} overlap those of CPU {} at offset 0x{:x}",
                    pair[0].cpu, pair[0].offset, pair[1].cpu, pair[1].offset
                )));
            }
        }
        Ok(())
    }

    fn read_version_6(&mut self, file: View<'_>, mut cursor: Cursor<'_>) -> Result<()> {
        let (order, long_size) = (self.order(), self.context.long_size);
        self.layout = sections::header_info(&mut cursor, order, long_size)?;
        // Symbols stand behind the formats, but come first: a thread gets them ready meanwhile.
        let mut formats = cursor.clone();
        sections::skip_formats(&mut cursor)?;
        let size = cursor.u32()?;
        self.context.symbols = Symbols::parse(text(cursor.bytes(u64::from(size))?.into_owned()));
        self.context.symbols.prepare();
        sections::ftrace_formats(&mut formats, &mut self.events, long_size)?;
        sections::event_formats(&mut formats, &mut self.events, long_size)?;
        let size = cursor.u32()?;
        self.context.printk = sections::printk(&cursor.bytes(u64::from(size))?);
        let size = cursor.u64()?;
        self.cmdlines = sections::cmdlines(&cursor.bytes(size)?);
        self.cpus = cursor.u32()?;
        let mut instances = Vec::new();
        let mut has_clock = false;
        cursor.tag("options  \0")?;
        loop {
            let id = cursor.u16()?;
            if id == id::DONE {
                break;
            }
            let size = cursor.u32()?;
            let at = cursor.at();
            let body = cursor.bytes(u64::from(size))?;
            let mut option = Cursor::over(&body, order, format!("option {id} at offset 0x{at:x}"));
            match id {
                id::BUFFER => {
                    let offset = option.u64()?;
                    let cpus = self.options.cpus.take().unwrap_or(self.cpus);
                    instances.push((offset, option.text()?, cpus));
                }
                id::TRACECLOCK => has_clock = true,
                _ => self.option(id, option)?,
            }
        }
        if cursor.clone().tag("latency  \0").is_ok() {
            cursor.tag("latency  \0")?;
            let left = cursor.left();
            self.options.latency_text = Some(cursor.bytes(left)?.into_owned());
            return Ok(());
        }
        let top = self.flyrecord(&mut cursor, String::new(), self.cpus)?;
        self.options.buffers.push(top);
        if has_clock {
            let size = cursor.u64()?;
            let clock = cursor.bytes(size)?;
            self.options.clock = chosen_clock(&clock);
        }
        for (offset, name, cpus) in instances {
            let mut cursor = Cursor::new(file, offset, order, format!("instance '{name}'"));
            let buffer = self.flyrecord(&mut cursor, name, cpus)?;
            self.options.buffers.push(buffer);
        }
        Ok(())
    }

    /// Version 6's table of CPU data.
    fn flyrecord(&self, cursor: &mut Cursor<'_>, name: String, count: u32) -> Result<Buffer> {
        cursor.tag("flyrecord\0")?;
        let mut cpus = Vec::new();
        for cpu in 0..count {
            let (offset, size) = (cursor.u64()?, cursor.u64()?);
            if size > 0 {
                cpus.push(CpuData { cpu, offset, size });
            }
        }
        Ok(Buffer { name, page_size: self.page_size, cpus, compressed: false })
    }

    fn read_version_7(&mut self, mut cursor: Cursor<'_>) -> Result<()> {
        let (order, long_size) = (self.order(), self.context.long_size);
        let name = cursor.text()?;
        cursor.text()?;
        self.compression = Compression::named(&name).map_err(|error| cursor.within(error))?;
        let mut next = cursor.u64()?;
        self.first_section = Some(cursor.at());
        let mut seen = HashSet::new();
        while next != 0 {
            if !seen.insert(next) {
                return Err(
                    cursor.error(&format!("the options sections chain in a circle at offset 0x{next:x}"))
                );
            }
            next = self.options_section(next)?;
        }
        let mut offsets = std::mem::take(&mut self.options.sections);
        let kallsyms = offsets.remove(&id::KALLSYMS);
        self.btf.0 = offsets.remove(&id::BTF);
        let input = Arc::clone(&self.input);
        let sections = Sections { input: &*input, order, compression: self.compression };
        let mut layout = None;
        // Unpacking kallsyms takes as long as everything else, so it goes on beside it.
        self.context.symbols = thread::scope(|scope| {
            let symbols = scope.spawn(|| kallsyms.map_or(Ok(Symbols::default()), |at| sections.symbols(at)));
            for (id, offset) in offsets {
                let section = sections.read(id, offset)?;
                let mut cursor = Cursor::over(&section.body, order, section.place);
                match id {
                    id::HEADER_INFO => layout = Some(sections::header_info(&mut cursor, order, long_size)?),
                    id::FTRACE_FORMATS => sections::ftrace_formats(&mut cursor, &mut self.events, long_size)?,
                    id::EVENT_FORMATS => sections::event_formats(&mut cursor, &mut self.events, long_size)?,
                    id::PRINTK => {
                        let size = cursor.u32()?;
                        self.context.printk = sections::printk(&cursor.bytes(u64::from(size))?);
                    }
                    _ => {
                        let size = cursor.u64()?;
                        self.cmdlines = sections::cmdlines(&cursor.bytes(size)?);
                    }
                }
            }
            symbols.join().unwrap_or_else(|_| Err(Error::malformed("the symbols could not be read")))
        })?;
        self.layout = layout.ok_or_else(|| cursor.error("no option tells where header_page is"))?;
        let highest = self.options.buffers.iter().flat_map(|buffer| &buffer.cpus).map(|data| data.cpu).max();
        self.cpus = self.options.cpus.max(highest.and_then(|cpu| cpu.checked_add(1))).unwrap_or(0);
        Ok(())
    }

    /// Reads one options section of version 7 and gives the offset of the next, or 0.
    fn options_section(&mut self, offset: u64) -> Result<u64> {
        let section = self.sections().read(id::DONE, offset)?;
        let order = self.order();
        let mut cursor = Cursor::over(&section.body, order, section.place.as_str());
        while cursor.left() > 0 {
            let id = cursor.u16()?;
            let size = cursor.u32()?;
            let place = format!("option {id} in {}", section.place);
            let body = cursor.bytes(u64::from(size))?;
            let mut option = Cursor::over(&body, order, place);
            match id {
                id::DONE => return option.u64(),
                id::BUFFER => {
                    let buffer = self.buffer(&mut option)?;
                    self.options.buffers.push(buffer);
                }
                id::BUFFER_TEXT => {
                    let what = "it holds the text of a latency tracer, which is not read";
                    return Err(option.error_of(ErrorKind::Unsupported, what));
                }
                id::HEADER_INFO
                | id::FTRACE_FORMATS
                | id::EVENT_FORMATS
                | id::KALLSYMS
                | id::BTF
                | id::PRINTK
                | id::CMDLINES => drop(self.options.sections.insert(id, option.u64()?)),
                _ => self.option(id, option)?,
            }
        }
        Err(cursor.error("the options do not end"))
    }

    /// Looks for a section with strings that was cut off at the end of the file: no option points
    /// at it, so it would not be missed. (All other sections are checked when they are read.)
    pub(crate) fn check_strings(&self) -> Result<()> {
        let Some(mut offset) = self.first_section else { return Ok(()) };
        while offset < self.input.size() {
            let mut header = self.sections().at(offset, &format!("section 15 at offset 0x{offset:x}"));
            // Nothing says that sections lie side by side: what else there is ends the search.
            let Ok(id) = header.u16() else { return Ok(()) };
            let rest = header.u16().and_then(|flags| Ok((flags, header.u32()?, header.u64()?)));
            match rest {
                Ok((0 | 1, _, size)) if size <= header.left() => offset = header.at() + size,
                Ok((0 | 1, _, size)) if id == id::STRINGS => {
                    return Err(header.cut(size));
                }
                Err(error) if id == id::STRINGS => return Err(error),
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Version 7's BUFFER option.
    fn buffer(&self, option: &mut Cursor<'_>) -> Result<Buffer> {
        let offset = option.u64()?;
        let name = option.text()?;
        option.text()?;
        let page_size = page_size(option)?;
        let mut cpus = Vec::new();
        for _ in 0..option.u32()? {
            let data = CpuData { cpu: option.u32()?, offset: option.u64()?, size: option.u64()? };
            if data.size > 0 {
                cpus.push(data);
            }
        }
        cpus.sort_by_key(|data| data.cpu);
        let mut header = self.sections().at(offset, &format!("section 3 at offset 0x{offset:x}"));
        if header.u16()? != id::BUFFER {
            return Err(header.error("it is not the section with CPU data"));
        }
        Ok(Buffer { name, page_size, cpus, compressed: header.u16()? & 1 != 0 })
    }

    /// An option that both versions have.
    fn option(&mut self, id: u16, mut option: Cursor<'_>) -> Result<()> {
        let left = option.left();
        let options = &mut self.options;
        match id {
            id::CPUSTAT => options
                .cpustat
                .push(text(option.bytes(left)?.into_owned()).trim_end_matches('\0').to_string()),
            id::UNAME => {
                options.uname =
                    Some(text(option.bytes(left)?.into_owned()).trim_end_matches('\0').to_string())
            }
            id::VERSION => {
                options.version =
                    Some(text(option.bytes(left)?.into_owned()).trim_end_matches('\0').to_string())
            }
            id::TRACECLOCK => options.clock = chosen_clock(&option.bytes(left)?),
            id::CPUCOUNT => options.cpus = Some(option.u32()?),
            id::DATE => {
                options.offset = options.offset.wrapping_add(signed(&option.bytes(left)?).wrapping_mul(1000))
            }
            id::OFFSET => options.offset = options.offset.wrapping_add(signed(&option.bytes(left)?)),
            id::TSC2NSEC => {
                let rate = TscRate { multiplier: option.u32()?, shift: option.u32()? };
                options.tsc = Some(rate).filter(|rate| rate.multiplier > 0 && rate.shift < 64);
            }
            _ => {}
        }
        Ok(())
    }

    /// The sections of version 7.
    fn sections(&self) -> Sections<'_> {
        Sections { input: &*self.input, order: self.order(), compression: self.compression }
    }

    fn order(&self) -> ByteOrder {
        self.context.order
    }

    /// All records by time; see [`Records`].
    pub fn records(&self) -> Records<'_> {
        Records::new(self, |_, _| true)
    }

    /// The records of the buffers (by index) and CPUs that `wanted` accepts.
    pub fn records_of(&self, wanted: impl Fn(usize, u32) -> bool) -> Records<'_> {
        Records::new(self, wanted)
    }

    /// The name given to [`Reader::new`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of the file's format, 6 or 7.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The events that the file describes.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// What the text of events needs: byte order, symbols, constant strings.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Commands by pid.
    pub fn cmdlines(&self) -> &HashMap<i32, Vec<u8>> {
        &self.cmdlines
    }

    /// The kernel's types, where the recording has them and they can be read.
    pub fn btf(&self) -> Option<&Btf> {
        let (offset, btf) = &self.btf;
        let read = || self.sections().read(id::BTF, (*offset)?).ok();
        btf.get_or_init(|| Btf::parse(read()?.body, self.order())).as_ref()
    }

    /// The number of CPUs of the recorded machine.
    pub fn cpus(&self) -> u32 {
        self.cpus
    }

    /// Where the parts of a sub-buffer stand.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The buffers, the top instance's first.
    pub fn buffers(&self) -> &[Buffer] {
        &self.options.buffers
    }

    /// The trace clock, such as `local`.
    pub fn clock(&self) -> Option<&str> {
        self.options.clock.as_deref()
    }

    /// Whether times are nanoseconds, as the kernel has it (`in_ns` of its clocks); counters, cycles
    /// and the ticks of `uptime` are not.
    pub fn is_nanoseconds(&self) -> bool {
        self.options.tsc.is_some()
            || self.clock().is_none_or(|clock| {
                matches!(clock, "local" | "global" | "perf" | "boot" | "tai") || clock.starts_with("mono")
            })
    }

    /// The same as trace-cmd has it, which takes `uptime` for nanoseconds and `boot` for a counter.
    pub fn is_nanoseconds_to_trace_cmd(&self) -> bool {
        self.options.tsc.is_some()
            || self.clock().is_none_or(|clock| {
                matches!(clock, "local" | "global" | "perf" | "uptime" | "tai") || clock.starts_with("mono")
            })
    }

    /// The text of a latency tracer, which is recorded in place of records.
    pub fn latency_text(&self) -> Option<&[u8]> {
        self.options.latency_text.as_deref()
    }

    /// Buffer statistics of each CPU, as text, taken when recording ended.
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

    /// A record's stamp in the file's own units turned into the time to show: cycles into
    /// nanoseconds where the file says how, and moved by the file's offset (`--date`).
    pub fn shown_time(&self, stamp: u64) -> u64 {
        let time = match self.options.tsc {
            Some(rate) => ((u128::from(stamp) * u128::from(rate.multiplier)) >> rate.shift) as u64,
            None => stamp,
        };
        time.wrapping_add_signed(self.options.offset)
    }
}

fn page_size(cursor: &mut Cursor<'_>) -> Result<usize> {
    let size = cursor.u32()?;
    if size.is_power_of_two() && (64..=1 << 24).contains(&size) {
        return Ok(size as usize);
    }
    Err(cursor.error(&format!("a page size of {size} bytes cannot be")))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The clock in brackets of the text of `trace_clock`.
fn chosen_clock(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(clock, _)| clock.to_string())
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
