//! Writing trace.dat: a recording's metadata and its per-CPU sub-buffers, in version 6 or 7.
//!
//! Rules of the format: trace-cmd's manual pages `trace-cmd.dat.v6(5)` and `trace-cmd.dat.v7(5)`,
//! checked against files of trace-cmd 3.1.6. In version 6 all parts have a fixed order and are never
//! compressed. Version 7 has a prefix and sections. Its options section points at all others, so it is
//! written last, when all offsets are known, and then the prefix is patched to point at it.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::id::{self, MAGIC};

pub use super::compression::Compression;
pub use super::header::Version;
pub use super::metadata::{Metadata, System};

/// Pages of CPU data that are compressed together.
const PAGES_PER_CHUNK: usize = 10;
/// A section's header: u16 id, u16 flags, u32 string, u64 size.
const SECTION_HEADER: u64 = 16;
const COMPRESSED: u16 = 1;

/// The sub-buffers of one CPU, one after the other.
pub struct CpuData<'a> {
    /// The CPU's number.
    pub cpu: u32,
    /// The source of the sub-buffers.
    pub data: &'a mut dyn Read,
    /// Their size in bytes.
    pub size: u64,
}

/// Where the data of a CPU were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The CPU's number.
    pub cpu: u32,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Bytes in the file.
    pub size: u64,
    /// Bytes before compression.
    pub uncompressed: u64,
}

/// Writes a whole file to `out`, which is empty, and returns where each CPU's data are.
///
/// `cpus` are sorted by their numbers. Version 6 has no compression.
///
/// # Errors
/// Writing or seeking fails, a CPU has fewer data than its `size`, or a part is too large for the
/// format's 32-bit lengths.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::io::Cursor;
/// use trace_dat::write::{Compression, CpuData, Metadata, Version, write};
/// let metadata = Metadata { long_size: 8, page_size: 4096, sub_buffer_size: 4096, cpu_count: 1, ..Metadata::default() };
/// let mut file = Cursor::new(Vec::new());
/// let cpu = CpuData { cpu: 0, data: &mut [0; 4096].as_slice(), size: 4096 };
/// let stored = write(&mut file, Version::V7, Compression::None, &metadata, &mut [cpu])?;
/// assert_eq!(stored[0].offset % 4096, 0);
/// assert!(file.into_inner().starts_with(b"\x17\x08\x44tracing7\0"));
/// # Ok(())
/// # }
/// ```
pub fn write<W: Write + Seek>(
    out: &mut W,
    version: Version,
    compression: Compression,
    metadata: &Metadata,
    cpus: &mut [CpuData<'_>],
) -> io::Result<Vec<Stored>> {
    match version {
        Version::V6 => write_v6(out, metadata, cpus),
        Version::V7 => File7 { out, compression, metadata, strings: Vec::new() }.write(cpus),
    }
}

/// Bytes to write, with numbers in the recorded machine's byte order.
struct Bytes {
    big_endian: bool,
    bytes: Vec<u8>,
}

impl Bytes {
    fn new(metadata: &Metadata) -> Bytes {
        Bytes { big_endian: metadata.big_endian, bytes: Vec::new() }
    }

    fn u16(&mut self, number: u16) -> &mut Bytes {
        self.raw(&if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() })
    }

    fn u32(&mut self, number: u32) -> &mut Bytes {
        self.raw(&if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() })
    }

    fn u64(&mut self, number: u64) -> &mut Bytes {
        self.raw(&if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() })
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Bytes {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Bytes {
        self.raw(text.as_bytes()).raw(&[0])
    }

    /// Appends a u32 length and the data.
    fn with_u32(&mut self, data: &[u8]) -> io::Result<&mut Bytes> {
        Ok(self.u32(length(data.len())?).raw(data))
    }

    /// Appends a u64 length and the data.
    fn with_u64(&mut self, data: &[u8]) -> &mut Bytes {
        self.u64(data.len() as u64).raw(data)
    }

    fn option(&mut self, id: u16, data: &[u8]) -> io::Result<&mut Bytes> {
        Ok(self.u16(id).u32(length(data.len())?).raw(data))
    }

    fn headers(&mut self, metadata: &Metadata) -> &mut Bytes {
        self.text("header_page").with_u64(&metadata.header_page);
        self.text("header_event").with_u64(&metadata.header_event)
    }

    fn formats(&mut self, formats: &[Vec<u8>]) -> io::Result<&mut Bytes> {
        self.u32(length(formats.len())?);
        Ok(formats.iter().fold(self, |bytes, format| bytes.with_u64(format)))
    }

    fn systems(&mut self, systems: &[System]) -> io::Result<&mut Bytes> {
        self.u32(length(systems.len())?);
        for system in systems {
            self.text(&system.name).formats(&system.formats)?;
        }
        Ok(self)
    }

    /// Appends the options that both versions have, without the end mark.
    fn options(&mut self, metadata: &Metadata) -> io::Result<&mut Bytes> {
        let with_end = |text: &str| [text.as_bytes(), &[0]].concat();
        if let Some(date) = metadata.date {
            self.option(id::DATE, &with_end(&format!("{date:#x}")))?;
        }
        if !metadata.trace_clock.is_empty() {
            self.option(id::TRACECLOCK, &with_end(&metadata.trace_clock))?;
        }
        self.option(id::UNAME, &with_end(&metadata.uname))?;
        self.option(id::VERSION, &with_end(&metadata.program))?;
        let mut number = Bytes::new(metadata);
        self.option(id::TRACEID, &number.u64(metadata.trace_id).bytes)?;
        for stats in &metadata.cpu_stats {
            self.option(id::CPUSTAT, &with_end(stats))?;
        }
        for (id, content) in &metadata.more_options {
            self.option(*id, content)?;
        }
        Ok(self)
    }
}

fn length(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "a part of 4 GiB or more does not fit the format: record fewer events",
        )
    })
}

fn prefix(metadata: &Metadata, version: &str) -> Bytes {
    let mut bytes = Bytes::new(metadata);
    bytes.raw(MAGIC).text(version);
    bytes.raw(&[u8::from(metadata.big_endian), metadata.long_size]).u32(metadata.page_size);
    bytes
}

/// The first page-aligned offset at or after `offset`.
fn aligned(offset: u64, metadata: &Metadata) -> u64 {
    offset.next_multiple_of(u64::from(metadata.page_size.max(1)))
}

fn pad<W: Write + Seek>(out: &mut W, to: u64) -> io::Result<()> {
    let missing = to.saturating_sub(out.stream_position()?);
    io::copy(&mut io::repeat(0).take(missing), out).map(drop)
}

fn copy_all<W: Write>(cpu: &mut CpuData<'_>, out: &mut W) -> io::Result<()> {
    match io::copy(&mut (&mut *cpu.data).take(cpu.size), out)? == cpu.size {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn write_v6<W: Write + Seek>(
    out: &mut W,
    metadata: &Metadata,
    cpus: &mut [CpuData<'_>],
) -> io::Result<Vec<Stored>> {
    let mut bytes = prefix(metadata, "6");
    bytes.headers(metadata);
    bytes.formats(&metadata.ftrace_formats)?;
    bytes.systems(&metadata.systems)?;
    bytes.with_u32(&metadata.kallsyms)?;
    bytes.with_u32(&metadata.printk_formats)?;
    bytes.with_u64(&metadata.cmdlines);
    bytes.u32(metadata.cpu_count);
    bytes.text("options  ").options(metadata)?;
    if !metadata.instance.is_empty() {
        // Its table follows that of the top instance, which has no data.
        let option = 8 + metadata.instance.len() as u64 + 1;
        let after_options = bytes.bytes.len() as u64 + 6 + option + 2;
        let offset = after_options + table_v6(metadata, &[]).len() as u64;
        let mut body = Bytes::new(metadata);
        bytes.option(id::BUFFER, &body.u64(offset).text(&metadata.instance).bytes)?;
    }
    bytes.u16(id::DONE);
    if !metadata.instance.is_empty() {
        bytes.raw(&table_v6(metadata, &[]));
    }
    // The length of the table does not depend on its values.
    let length = table_v6(metadata, &[]).len() as u64;
    let mut offset = aligned(bytes.bytes.len() as u64 + length, metadata);
    let mut stored = Vec::new();
    for number in 0..metadata.cpu_count {
        let size = cpus.iter().find(|cpu| cpu.cpu == number).map_or(0, |cpu| cpu.size);
        stored.push(Stored { cpu: number, offset, size, uncompressed: size });
        offset = aligned(offset + size, metadata);
    }
    bytes.raw(&table_v6(metadata, &stored));
    out.write_all(&bytes.bytes)?;
    for cpu in cpus.iter_mut() {
        if let Some(place) = stored.iter().find(|stored| stored.cpu == cpu.cpu) {
            pad(out, place.offset)?;
            copy_all(cpu, out)?;
        }
    }
    // If the last CPU has no data, its offset must still be inside the file.
    pad(out, stored.last().map_or(0, |last| last.offset))?;
    out.flush()?;
    Ok(stored)
}

/// Version 6's table of CPU data: offset and size of each CPU, in the order of their numbers; then the
/// clock. A CPU without an entry in `stored` has no data.
fn table_v6(metadata: &Metadata, stored: &[Stored]) -> Vec<u8> {
    let mut bytes = Bytes::new(metadata);
    bytes.text("flyrecord");
    for number in 0..metadata.cpu_count {
        let place = stored.iter().find(|stored| stored.cpu == number);
        bytes.u64(place.map_or(0, |place| place.offset)).u64(place.map_or(0, |place| place.size));
    }
    if !metadata.trace_clock.is_empty() {
        bytes.with_u64(format!("[{}]\0", metadata.clock).as_bytes());
    }
    bytes.bytes
}

/// A file of version 7 that is being written.
struct File7<'a, W> {
    out: &'a mut W,
    compression: Compression,
    metadata: &'a Metadata,
    /// The names of the sections so far, each with a NUL.
    strings: Vec<u8>,
}

impl<W: Write + Seek> File7<'_, W> {
    fn write(mut self, cpus: &mut [CpuData<'_>]) -> io::Result<Vec<Stored>> {
        let mut start = prefix(self.metadata, "7");
        let version = if self.compression == Compression::None { "" } else { "1" };
        start.text(self.compression.name()).text(version);
        let first_options = start.bytes.len() as u64;
        self.out.write_all(&start.u64(0).bytes)?;

        let metadata = self.metadata;
        let mut options = Bytes::new(metadata);
        let new = || Bytes::new(metadata);
        for (id, name, body) in [
            (id::HEADER_INFO, "headers", new().headers(metadata)),
            (id::FTRACE_FORMATS, "ftrace events", new().formats(&metadata.ftrace_formats)?),
            (id::EVENT_FORMATS, "events format", new().systems(&metadata.systems)?),
            (id::KALLSYMS, "kallsyms", new().with_u32(&metadata.kallsyms)?),
            (id::PRINTK, "printk", new().with_u32(&metadata.printk_formats)?),
            (id::CMDLINES, "command lines", new().with_u64(&metadata.cmdlines)),
        ] {
            let offset = self.section(id, name, &body.bytes)?;
            options.option(id, &new().u64(offset).bytes)?;
        }
        if !metadata.btf.is_empty() {
            let offset = self.section(id::BTF, "BTF", &metadata.btf)?;
            options.option(id::BTF, &new().u64(offset).bytes)?;
        }
        options.options(metadata)?;
        options.option(id::CPUCOUNT, &new().u32(metadata.cpu_count).bytes)?;

        let (offset, stored) = self.buffer(cpus)?;
        let mut buffer = new();
        buffer.u64(offset).text(&metadata.instance).text(&metadata.clock).u32(metadata.sub_buffer_size);
        let with_data = || stored.iter().filter(|stored| stored.uncompressed > 0);
        buffer.u32(length(with_data().count())?);
        for stored in with_data() {
            buffer.u32(stored.cpu).u64(stored.offset).u64(stored.size);
        }
        options.option(id::BUFFER, &buffer.bytes)?;
        options.option(id::DONE, &new().u64(0).bytes)?;

        let offset = self.plain_section(id::OPTIONS, "options", &options.bytes)?;
        // The section with names contains its own name, too.
        let place = length(self.strings.len())?;
        self.strings.extend_from_slice(b"strings\0");
        let strings = std::mem::take(&mut self.strings);
        self.header(id::STRINGS, 0, place, strings.len() as u64)?;
        self.out.write_all(&strings)?;

        self.out.seek(SeekFrom::Start(first_options))?;
        self.out.write_all(&new().u64(offset).bytes)?;
        self.out.seek(SeekFrom::End(0))?;
        self.out.flush()?;
        Ok(stored)
    }

    /// Adds a section's name to the strings, and returns its offset in them.
    fn name(&mut self, name: &str) -> io::Result<u32> {
        let place = length(self.strings.len())?;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        Ok(place)
    }

    fn header(&mut self, id: u16, flags: u16, name: u32, size: u64) -> io::Result<()> {
        self.out.write_all(&Bytes::new(self.metadata).u16(id).u16(flags).u32(name).u64(size).bytes)
    }

    /// Writes a section, compressed if the file is, and returns its offset.
    fn section(&mut self, id: u16, name: &str, body: &[u8]) -> io::Result<u64> {
        let Some(compressed) = self.compression.pack(body)? else {
            return self.plain_section(id, name, body);
        };
        let offset = self.out.stream_position()?;
        let name = self.name(name)?;
        self.header(id, COMPRESSED, name, 8 + compressed.len() as u64)?;
        self.chunk(&compressed, body.len())?;
        Ok(offset)
    }

    fn plain_section(&mut self, id: u16, name: &str, body: &[u8]) -> io::Result<u64> {
        let offset = self.out.stream_position()?;
        let name = self.name(name)?;
        self.header(id, 0, name, body.len() as u64)?;
        self.out.write_all(body)?;
        Ok(offset)
    }

    fn chunk(&mut self, compressed: &[u8], uncompressed: usize) -> io::Result<()> {
        let mut sizes = Bytes::new(self.metadata);
        sizes.u32(length(compressed.len())?).u32(length(uncompressed)?);
        self.out.write_all(&sizes.bytes)?;
        self.out.write_all(compressed)
    }

    /// Writes the section with the data of all CPUs; returns its offset and theirs.
    fn buffer(&mut self, cpus: &mut [CpuData<'_>]) -> io::Result<(u64, Vec<Stored>)> {
        let flags = if self.compression == Compression::None { 0 } else { COMPRESSED };
        let section = self.out.stream_position()?;
        let name = self.name("buffer flyrecord")?;
        self.header(id::BUFFER, flags, name, 0)?;
        let mut stored = Vec::new();
        for cpu in cpus {
            let offset = aligned(self.out.stream_position()?, self.metadata);
            pad(self.out, offset)?;
            match self.compression {
                Compression::None => copy_all(cpu, self.out)?,
                Compression::Zlib | Compression::Zstd => self.chunks(cpu)?,
            }
            let size = self.out.stream_position()? - offset;
            stored.push(Stored { cpu: cpu.cpu, offset, size, uncompressed: cpu.size });
        }
        let end = self.out.stream_position()?;
        self.out.seek(SeekFrom::Start(section))?;
        self.header(id::BUFFER, flags, name, end - section - SECTION_HEADER)?;
        self.out.seek(SeekFrom::Start(end))?;
        Ok((section, stored))
    }

    /// Writes a CPU's data as a count of chunks and the chunks.
    fn chunks(&mut self, cpu: &mut CpuData<'_>) -> io::Result<()> {
        if cpu.size == 0 {
            return Ok(());
        }
        let chunk = PAGES_PER_CHUNK * self.metadata.sub_buffer_size.max(1) as usize;
        let count = cpu.size.div_ceil(chunk as u64);
        let count = u32::try_from(count).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        self.out.write_all(&Bytes::new(self.metadata).u32(count).bytes)?;
        let mut left = cpu.size;
        let mut piece = Vec::with_capacity(chunk);
        while left > 0 {
            piece.clear();
            let read = (&mut *cpu.data).take(left.min(chunk as u64)).read_to_end(&mut piece)? as u64;
            if read < left.min(chunk as u64) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= read;
            if let Some(compressed) = self.compression.pack(&piece)? {
                self.chunk(&compressed, piece.len())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
