//! The structure of a file: header, sections, options and buffers, with their places.
//!
//! Only this module walks through files, of both versions. It does not interpret the parts; their contents
//! are read when they are requested.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::compression::Compression;
use super::cursor::Cursor;
use super::header::{Header, Version, page_size};
use super::id;
use super::input::{Input, View};
use super::metadata::Metadata;
use super::sections;
use crate::bytes::ByteOrder;
use crate::error::{Error, Result};
use crate::texts;

/// No file has more sections; a damaged one may seem to have far more.
const MOST_SECTIONS: usize = 10_000;
/// The largest size of an unpacked section, in bytes; kallsyms has about 15 MiB.
const LARGEST: usize = 32 << 20;
/// The flag of a section that is compressed.
const COMPRESSED: u16 = 1;

/// A section of version 7.
#[derive(Debug, Clone)]
pub struct SectionHeader {
    /// The kind of content: the id of the option that points at such a section.
    pub id: u16,
    /// Offset of its header in the file, in bytes.
    pub offset: u64,
    /// 1 when it is compressed.
    pub flags: u16,
    /// Its name, from the section with strings; empty when there is none.
    pub name: String,
    /// Bytes after the header.
    pub size: u64,
    /// Bytes after unpacking; `None` when it is not compressed, or holds CPU data.
    pub unpacked: Option<u32>,
}

/// An option as it is in the file.
#[derive(Debug, Clone)]
pub struct FileOption {
    /// Its meaning, see [`id`](crate::id).
    pub id: u16,
    /// Its content.
    pub data: Vec<u8>,
    /// Offset of the section that contains it; 0 in version 6, which has no sections of options.
    pub section: u64,
    /// Its name in errors.
    place: String,
}

impl FileOption {
    /// A cursor at the start of its content.
    pub(crate) fn cursor(&self, order: ByteOrder) -> Cursor<'_> {
        Cursor::over(&self.data, order, self.place.as_str())
    }

    /// Its content as text, without the NUL at the end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).trim_end_matches('\0').to_string()
    }
}

/// The buffer of the top instance, or of another one.
#[derive(Debug, Clone)]
pub struct Buffer {
    /// The instance's name, empty for the top one.
    pub name: String,
    /// The clock in use; in version 6 it applies to the whole file.
    pub clock: String,
    /// The size of a sub-buffer in bytes.
    pub page_size: usize,
    /// Offset of its section, or of its table in version 6; 0 for version 6's top instance.
    pub offset: u64,
    /// Whether the data are compressed.
    pub compressed: bool,
    /// Where the data of each CPU are.
    pub cpus: Vec<Extent>,
}

/// The place of one CPU's data in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The CPU's number.
    pub cpu: u32,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Size in the file, in bytes; for compressed data it may not include the chunk count.
    pub size: u64,
}

/// Where the content of a section is.
#[derive(Debug, Clone, Copy)]
enum SectionPlace {
    /// Version 6: the bytes themselves.
    Bytes { offset: u64, size: u64 },
    /// Version 7: a header, and the bytes after it.
    Section { offset: u64 },
}

/// A section's unpacked content, and its name in errors.
pub(crate) struct Section {
    pub body: Vec<u8>,
    place: String,
    order: ByteOrder,
}

impl Section {
    /// A cursor at the start of the content.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor::over(&self.body, self.order, self.place.as_str())
    }
}

/// A recording's file, opened but not interpreted.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use trace_dat::{Container, Version};
/// let bytes = std::fs::read("../tests/recordings/5.4-function.dat")?;
/// let file = Container::open("5.4-function.dat", bytes)?;
/// assert_eq!(file.version(), Version::V7);
/// let largest = file.sections()?.into_iter().max_by_key(|section| section.unpacked);
/// assert_eq!(largest.map(|section| section.name).as_deref(), Some("kallsyms"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Container {
    name: String,
    input: Arc<dyn Input>,
    header: Header,
    compression: Compression,
    compression_version: String,
    /// Sections by id; if options name several with the same id, the last.
    places: BTreeMap<u16, SectionPlace>,
    options: Vec<FileOption>,
    buffers: Vec<Buffer>,
    cpus: u32,
    clock: Option<String>,
    latency_text: Option<Vec<u8>>,
    /// Offset of the first section; version 6 has none.
    first_section: Option<u64>,
}

impl Container {
    /// Reads the header, the options and the places of all parts; `name` is used in errors.
    ///
    /// Fails, with the place in the file, when it is not a trace.dat of version 6 or 7, or is damaged.
    /// Damage within sections and CPU data is found when they are read.
    pub fn open(name: &str, input: impl Input + 'static) -> Result<Container> {
        let walk = || {
            let input: Arc<dyn Input> = Arc::new(input);
            let file = Arc::clone(&input);
            let (header, cursor) = Header::read(View::File(&*file))?;
            let mut container = Container {
                name: name.to_string(),
                input,
                header,
                compression: Compression::None,
                compression_version: String::new(),
                places: BTreeMap::new(),
                options: Vec::new(),
                buffers: Vec::new(),
                cpus: 0,
                clock: None,
                latency_text: None,
                first_section: None,
            };
            match header.version {
                Version::V6 => container.walk_version_6(View::File(&*file), cursor)?,
                Version::V7 => container.walk_version_7(cursor)?,
            }
            container.check_extents()?;
            Ok(container)
        };
        walk().map_err(|error: Error| error.in_file(name))
    }

    /// Checks that no two CPUs share bytes. So the size of the file bounds the memory for reading them.
    fn check_extents(&self) -> Result<()> {
        let all = self.buffers.iter().flat_map(|buffer| &buffer.cpus);
        let mut extents: Vec<&Extent> = all.filter(|extent| extent.size > 0).collect();
        extents.sort_by_key(|extent| extent.offset);
        for pair in extents.windows(2) {
            if pair[0].offset.saturating_add(pair[0].size) > pair[1].offset {
                return Err(Error::malformed(format!(
                    "the data of CPU {} at offset 0x{:x} overlap those of CPU {} at offset 0x{:x}",
                    pair[0].cpu, pair[0].offset, pair[1].cpu, pair[1].offset
                )));
            }
        }
        Ok(())
    }

    fn walk_version_6(&mut self, file: View<'_>, mut cursor: Cursor<'_>) -> Result<()> {
        for (id, skip) in [
            (id::HEADER_INFO, sections::skip_header_info as fn(&mut Cursor<'_>) -> Result<()>),
            (id::FTRACE_FORMATS, sections::skip_formats),
            (id::EVENT_FORMATS, sections::skip_systems),
            (id::KALLSYMS, sections::skip_with_u32),
            (id::PRINTK, sections::skip_with_u32),
            (id::CMDLINES, sections::skip_with_u64),
        ] {
            let offset = cursor.at();
            skip(&mut cursor)?;
            self.places.insert(id, SectionPlace::Bytes { offset, size: cursor.at() - offset });
        }
        self.cpus = cursor.u32()?;
        cursor.tag("options  \0")?;
        loop {
            let id = cursor.u16()?;
            if id == id::DONE {
                break;
            }
            let size = cursor.u32()?;
            let place = format!("option {id} at offset 0x{:x}", cursor.at());
            let data = cursor.bytes(u64::from(size))?.into_owned();
            self.options.push(FileOption { id, data, section: 0, place });
        }
        if cursor.clone().tag("latency  \0").is_ok() {
            cursor.tag("latency  \0")?;
            let left = cursor.left();
            self.latency_text = Some(cursor.bytes(left)?.into_owned());
            return Ok(());
        }
        let mut buffers = vec![self.table(&mut cursor, 0, String::new(), self.cpus)?];
        // The clock follows the table of the top instance.
        if self.options.iter().any(|option| option.id == id::TRACECLOCK) {
            let size = cursor.u64()?;
            self.clock = chosen_clock(&cursor.bytes(size)?);
        }
        let mut own_count = None;
        for option in &self.options {
            let mut content = option.cursor(self.header.order);
            match option.id {
                // The CPU count of the instance whose option follows.
                id::CPUCOUNT => own_count = Some(content.u32()?),
                id::BUFFER => {
                    let (offset, name) = (content.u64()?, content.text()?);
                    let place = format!("instance '{name}'");
                    let mut cursor = Cursor::new(file, offset, self.header.order, place);
                    let count = own_count.take().unwrap_or(self.cpus);
                    buffers.push(self.table(&mut cursor, offset, name, count)?);
                }
                _ => {}
            }
        }
        for buffer in &mut buffers {
            buffer.clock = self.clock.clone().unwrap_or_default();
        }
        self.buffers = buffers;
        Ok(())
    }

    /// Reads version 6's table of CPU data.
    fn table(&self, cursor: &mut Cursor<'_>, offset: u64, name: String, count: u32) -> Result<Buffer> {
        cursor.tag("flyrecord\0")?;
        let mut cpus = Vec::new();
        for cpu in 0..count {
            cpus.push(Extent { cpu, offset: cursor.u64()?, size: cursor.u64()? });
        }
        let page_size = self.header.page_size;
        Ok(Buffer { name, clock: String::new(), page_size, offset, compressed: false, cpus })
    }

    fn walk_version_7(&mut self, mut cursor: Cursor<'_>) -> Result<()> {
        let name = cursor.text()?;
        self.compression_version = cursor.text()?;
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
        let (mut buffers, mut count) = (Vec::new(), None);
        for option in &self.options {
            let mut content = option.cursor(self.header.order);
            match option.id {
                id::BUFFER => buffers.push(self.buffer(&mut content)?),
                id::CPUCOUNT => count = Some(content.u32()?),
                id::TRACECLOCK => self.clock = chosen_clock(&option.data),
                id::HEADER_INFO..=id::CMDLINES | id::BTF => {
                    self.places.insert(option.id, SectionPlace::Section { offset: content.u64()? });
                }
                _ => {}
            }
        }
        let with_data = || buffers.iter().flat_map(|buffer| &buffer.cpus).filter(|extent| extent.size > 0);
        let highest = with_data().map(|extent| extent.cpu).max();
        self.cpus = count.max(highest.and_then(|cpu| cpu.checked_add(1))).unwrap_or(0);
        self.buffers = buffers;
        Ok(())
    }

    /// Reads one options section of version 7 and returns the offset of the next, or 0.
    fn options_section(&mut self, offset: u64) -> Result<u64> {
        let section = self.section_at(id::OPTIONS, offset)?;
        let mut cursor = section.cursor();
        while cursor.left() > 0 {
            let id = cursor.u16()?;
            let size = cursor.u32()?;
            let place = format!("option {id} in {}", section.place);
            let data = cursor.bytes(u64::from(size))?.into_owned();
            let option = FileOption { id, data, section: offset, place };
            let next = (id == id::DONE).then(|| option.cursor(self.header.order).u64());
            self.options.push(option);
            if let Some(next) = next {
                return next;
            }
        }
        Err(cursor.error("the options do not end"))
    }

    /// Reads the buffer that an option of version 7 describes.
    fn buffer(&self, option: &mut Cursor<'_>) -> Result<Buffer> {
        let (offset, name, clock) = (option.u64()?, option.text()?, option.text()?);
        let page_size = page_size(option)?;
        let mut cpus = Vec::new();
        for _ in 0..option.u32()? {
            cpus.push(Extent { cpu: option.u32()?, offset: option.u64()?, size: option.u64()? });
        }
        let mut header = self.at(offset, &section_place(id::BUFFER, offset));
        if header.u16()? != id::BUFFER {
            return Err(header.error("it is not the section with CPU data"));
        }
        let compressed = header.u16()? & COMPRESSED != 0;
        Ok(Buffer { name, clock, page_size, offset, compressed, cpus })
    }

    /// The content of the section with an id; `None` when the file has none.
    pub(crate) fn section(&self, id: u16) -> Result<Option<Section>> {
        let order = self.header.order;
        match self.places.get(&id) {
            None => Ok(None),
            Some(SectionPlace::Section { offset }) => self.section_at(id, *offset).map(Some),
            Some(SectionPlace::Bytes { offset, size }) => {
                let place = format!("{} at offset 0x{offset:x}", id::name(id).unwrap_or_default());
                let body = self.at(*offset, &place).bytes(*size)?.into_owned();
                Ok(Some(Section { body, place, order }))
            }
        }
    }

    /// The content of the section at an offset; it must have this id.
    fn section_at(&self, id: u16, offset: u64) -> Result<Section> {
        let (order, place) = (self.header.order, section_place(id, offset));
        let mut cursor = self.at(offset, &place);
        let found = cursor.u16()?;
        if found != id {
            return Err(cursor.error(&format!("section {found} stands there instead")));
        }
        let head = Head::read(&mut cursor)?;
        let body = cursor.bytes(head.size)?;
        if !head.is_compressed() {
            return Ok(Section { body: body.into_owned(), place, order });
        }
        let mut packed = Cursor::over(&body, order, place.as_str());
        let (size, unpacked) = (packed.u32()?, packed.u32()?);
        let data = packed.bytes(u64::from(size))?;
        let mut out = Vec::new();
        self.compression
            .unpack(&data, u64::from(unpacked), LARGEST, &mut out)
            .map_err(|error| packed.within(error))?;
        Ok(Section { body: out, place, order })
    }

    fn at(&self, offset: u64, place: &str) -> Cursor<'_> {
        Cursor::new(View::File(&*self.input), offset, self.header.order, place)
    }

    /// Checks that the section with strings is not cut off at the end of the file. No option points at it,
    /// so this would otherwise go unnoticed. (All other sections are checked when they are read.)
    pub(crate) fn check_strings(&self) -> Result<()> {
        let Some(mut offset) = self.first_section else { return Ok(()) };
        while offset < self.input.size() {
            let mut cursor = self.at(offset, &section_place(id::STRINGS, offset));
            // Sections need not be contiguous: stop at the first thing that is not one.
            let Ok(id) = cursor.u16() else { return Ok(()) };
            match Head::read(&mut cursor) {
                Ok(head) if head.flags > COMPRESSED => return Ok(()),
                Ok(head) if head.size <= cursor.left() => offset = cursor.at() + head.size,
                Ok(head) if id == id::STRINGS => return Err(cursor.cut(head.size)),
                Err(error) if id == id::STRINGS => return Err(error),
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// The sections of version 7 in the order of the file; none in version 6.
    ///
    /// Fails when a section is not followed by another one.
    pub fn sections(&self) -> Result<Vec<SectionHeader>> {
        let find = || {
            let Some(first) = self.first_section else { return Ok(Vec::new()) };
            let mut cursor = self.at(first, "sections");
            let (mut found, mut names, mut strings) = (Vec::new(), Vec::new(), Vec::new());
            while cursor.left() > 0 {
                if found.len() == MOST_SECTIONS {
                    return Err(cursor.error(&format!("there are more than {MOST_SECTIONS} sections")));
                }
                let offset = cursor.at();
                let id = cursor.u16()?;
                let head = Head::read(&mut cursor)?;
                let mut unpacked = None;
                if head.is_compressed() && id != id::BUFFER {
                    let mut sizes = cursor.clone();
                    sizes.u32()?;
                    unpacked = Some(sizes.u32()?);
                }
                cursor.skip(head.size)?;
                if id == id::STRINGS {
                    strings.extend(self.section_at(id, offset)?.body);
                }
                names.push(head.name as usize);
                let (flags, size) = (head.flags, head.size);
                found.push(SectionHeader { id, offset, flags, name: String::new(), size, unpacked });
            }
            for (section, name) in found.iter_mut().zip(names) {
                let text = crate::bytes::until_nul(strings.get(name..).unwrap_or_default());
                section.name = String::from_utf8_lossy(text).into_owned();
            }
            Ok(found)
        };
        find().map_err(|error: Error| error.in_file(&self.name))
    }

    /// The size of a CPU's data after unpacking, in bytes.
    ///
    /// Fails when a chunk is not complete.
    pub fn unpacked_size(&self, buffer: &Buffer, extent: &Extent) -> Result<u64> {
        if !buffer.compressed || extent.size == 0 {
            return Ok(extent.size);
        }
        let sum = || {
            let mut cursor = self.at(extent.offset, &format!("the data of CPU {}", extent.cpu));
            let mut sum = 0;
            for _ in 0..cursor.u32()? {
                let (packed, unpacked) = (cursor.u32()?, cursor.u32()?);
                cursor.skip(u64::from(packed))?;
                sum += u64::from(unpacked);
            }
            Ok(sum)
        };
        sum().map_err(|error: Error| error.in_file(&self.name))
    }

    /// Everything that a new file can contain unchanged: contents of sections and options.
    ///
    /// Fails when one of them is damaged.
    pub fn metadata(&self) -> Result<Metadata> {
        self.gather().map_err(|error| error.in_file(&self.name))
    }

    fn gather(&self) -> Result<Metadata> {
        let page_size = self.header.page_size as u32;
        let mut metadata = Metadata {
            big_endian: self.header.order == ByteOrder::Big,
            long_size: self.header.long_size as u8,
            page_size,
            sub_buffer_size: page_size,
            cpu_count: self.cpus,
            clock: self.clock.clone().unwrap_or_default(),
            ..Metadata::default()
        };
        for id in self.places.keys() {
            let Some(section) = self.section(*id)? else { continue };
            let mut cursor = section.cursor();
            match *id {
                id::HEADER_INFO => {
                    (metadata.header_page, metadata.header_event) = sections::header_info(&mut cursor)?;
                }
                id::FTRACE_FORMATS => {
                    let add = |format: &[u8]| {
                        metadata.ftrace_formats.push(format.to_vec());
                        Ok(())
                    };
                    sections::formats(&mut cursor, add)?;
                }
                id::EVENT_FORMATS => metadata.systems = sections::systems(&mut cursor)?,
                id::KALLSYMS => metadata.kallsyms = sections::with_u32(&mut cursor)?.into_owned(),
                id::PRINTK => metadata.printk_formats = sections::with_u32(&mut cursor)?.into_owned(),
                id::CMDLINES => metadata.cmdlines = sections::with_u64(&mut cursor)?.into_owned(),
                id::BTF => metadata.btf = section.body,
                _ => {}
            }
        }
        for option in &self.options {
            match option.id {
                id::TRACECLOCK => metadata.trace_clock = option.text(),
                id::UNAME => metadata.uname = option.text(),
                id::VERSION => metadata.program = option.text(),
                id::TRACEID => {
                    metadata.trace_id = self.header.order.number_at(&option.data, 0, 8).unwrap_or(0);
                }
                id::CPUSTAT => metadata.cpu_stats.push(option.text()),
                // These hold offsets in this file, which would be wrong in another one.
                id::DONE | id::BUFFER | id::CPUCOUNT | id::BUFFER_TEXT => {}
                id::HEADER_INFO..=id::CMDLINES | id::BTF.. => {}
                other => metadata.more_options.push((other, option.data.clone())),
            }
        }
        Ok(metadata)
    }

    /// The name given to [`Container::open`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of the file's format.
    pub fn version(&self) -> Version {
        self.header.version
    }

    /// The recorded machine's byte order.
    pub fn order(&self) -> ByteOrder {
        self.header.order
    }

    /// The size of a long of the recorded kernel, 4 or 8 bytes.
    pub fn long_size(&self) -> usize {
        self.header.long_size
    }

    /// The page size of the recorded machine in bytes.
    pub fn page_size(&self) -> usize {
        self.header.page_size
    }

    /// How sections and CPU data are compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The version of the compression library; empty in version 6.
    pub fn compression_version(&self) -> &str {
        &self.compression_version
    }

    /// The options in the order of the file; in version 7 with the mark at the end of each section.
    pub fn options(&self) -> &[FileOption] {
        &self.options
    }

    /// The buffers in the order of the file, with the CPUs as the file lists them.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// The number of CPUs of the recorded machine.
    pub fn cpus(&self) -> u32 {
        self.cpus
    }

    /// The trace clock, such as `local`.
    pub fn clock(&self) -> Option<&str> {
        self.clock.as_deref()
    }

    /// The text of a latency tracer, if the file has it instead of records.
    pub fn latency_text(&self) -> Option<&[u8]> {
        self.latency_text.as_deref()
    }

    pub(crate) fn input(&self) -> &dyn Input {
        &*self.input
    }
}

/// A section's header, without the id.
struct Head {
    flags: u16,
    /// The offset of its name in the section with strings.
    name: u32,
    /// Bytes after the header.
    size: u64,
}

impl Head {
    fn read(cursor: &mut Cursor<'_>) -> Result<Head> {
        Ok(Head { flags: cursor.u16()?, name: cursor.u32()?, size: cursor.u64()? })
    }

    fn is_compressed(&self) -> bool {
        self.flags & COMPRESSED != 0
    }
}

/// The name of a section in errors.
fn section_place(id: u16, offset: u64) -> String {
    format!("section {id} at offset 0x{offset:x}")
}

fn chosen_clock(text: &[u8]) -> Option<String> {
    texts::chosen_clock(&String::from_utf8_lossy(text)).map(str::to_string)
}
