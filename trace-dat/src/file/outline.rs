//! A file as it is put together: sections, options and metadata as they stand in it.

use super::cursor::Cursor;
use super::id::{self, MAGIC};
use super::input::View;
use super::write::{Metadata, System};
use crate::bytes::ByteOrder;
use crate::error::{Error, Result};
use crate::recording::{Reader, Sections};

/// No file has more sections; a damaged one may seem to consist of them.
const MOST_SECTIONS: usize = 10_000;

/// A section of version 7.
#[derive(Debug, Clone)]
pub struct SectionHeader {
    /// What it holds; the ids of options that point at sections.
    pub id: u16,
    /// Offset of its header in the file, in bytes.
    pub offset: u64,
    /// 1 when it is compressed.
    pub flags: u16,
    /// Its name, from the section with strings; empty when there is none.
    pub name: String,
    /// Bytes behind the header.
    pub size: u64,
    /// Bytes once unpacked; `None` when it is not compressed, or holds CPU data.
    pub unpacked: Option<u32>,
}

/// An option as it stands in the file.
#[derive(Debug, Clone)]
pub struct FileOption {
    /// What it tells.
    pub id: u16,
    /// Its content.
    pub data: Vec<u8>,
    /// Index of the section that it stands in; 0 in version 6.
    pub section: usize,
}

/// Where a file has the CPU data of a buffer.
#[derive(Debug, Clone)]
pub struct BufferPlace {
    /// Offset of its section, or of its table in version 6; 0 for version 6's top instance.
    pub offset: u64,
    /// The instance's name, empty for the top one.
    pub name: String,
    /// The clock in use; version 6 says it for the file as a whole.
    pub clock: String,
    /// Bytes of a sub-buffer.
    pub page_size: u32,
    /// The CPUs in the order of the file.
    pub cpus: Vec<CpuPlace>,
}

/// Where a file has the data of one CPU; all in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuPlace {
    /// The CPU's number.
    pub cpu: u32,
    /// Offset in the file.
    pub offset: u64,
    /// Size in the file.
    pub size: u64,
    /// Size once unpacked; the same as `size` when it is not compressed.
    pub unpacked: u64,
}

/// What a file consists of.
#[derive(Debug)]
pub struct Outline {
    /// The version of the format, 6 or 7.
    pub version: u32,
    /// The compression and the version of what compressed; empty in version 6.
    pub compression: (String, String),
    /// The sections of version 7 in the order of the file.
    pub sections: Vec<SectionHeader>,
    /// The options in the order of the file; those of version 7 with the marks at the ends.
    pub options: Vec<FileOption>,
    /// The buffers in the order of the file.
    pub buffers: Vec<BufferPlace>,
    /// What can be written again.
    pub metadata: Metadata,
}

impl Outline {
    /// Reads the outline of a recording that was opened.
    ///
    /// Fails, with the place in the file, when a part is damaged.
    pub fn read(reader: &Reader) -> Result<Outline> {
        let read = || {
            let file = View::File(&*reader.input);
            let order = reader.context().order;
            let mut cursor = Cursor::new(file, MAGIC.len() as u64, order, "header");
            cursor.text()?;
            cursor.bytes(2)?;
            let page_size = cursor.u32()?;
            let metadata = Metadata {
                big_endian: order == ByteOrder::Big,
                long_size: reader.context().long_size as u8,
                page_size,
                sub_buffer_size: page_size,
                cpu_count: reader.cpus(),
                clock: reader.clock().unwrap_or_default().to_string(),
                ..Metadata::default()
            };
            let mut outline = Outline {
                version: reader.version(),
                compression: Default::default(),
                sections: Vec::new(),
                options: Vec::new(),
                buffers: Vec::new(),
                metadata,
            };
            if outline.version == 6 {
                outline.read_version_6(file, cursor, order)?;
            } else {
                outline.read_version_7(reader, cursor, order)?;
            }
            outline.take_options(order)?;
            Ok(outline)
        };
        read().map_err(|error: Error| error.in_file(reader.name()))
    }

    fn read_version_6(&mut self, file: View<'_>, mut cursor: Cursor<'_>, order: ByteOrder) -> Result<()> {
        let metadata = &mut self.metadata;
        headers(&mut cursor, metadata)?;
        metadata.ftrace_formats = formats(&mut cursor)?;
        metadata.systems = systems(&mut cursor)?;
        metadata.kallsyms = with_u32(&mut cursor)?;
        metadata.printk_formats = with_u32(&mut cursor)?;
        metadata.cmdlines = with_u64(&mut cursor)?;
        let count = cursor.u32()?;
        cursor.tag("options  \0")?;
        loop {
            let id = cursor.u16()?;
            if id == id::DONE {
                break;
            }
            let size = cursor.u32()?;
            let data = cursor.bytes(u64::from(size))?.into_owned();
            self.options.push(FileOption { id, data, section: 0 });
        }
        let (clock, page_size) = (self.metadata.clock.clone(), self.metadata.page_size);
        let table = |cursor: &mut Cursor<'_>, offset: u64, name: String, count: u32| -> Result<BufferPlace> {
            cursor.tag("flyrecord\0")?;
            let mut cpus = Vec::new();
            for cpu in 0..count {
                let (offset, size) = (cursor.u64()?, cursor.u64()?);
                cpus.push(CpuPlace { cpu, offset, size, unpacked: size });
            }
            Ok(BufferPlace { offset, name, clock: clock.clone(), page_size, cpus })
        };
        if cursor.clone().tag("latency  \0").is_ok() {
            return Ok(());
        }
        self.buffers.push(table(&mut cursor, 0, String::new(), count)?);
        let mut own_count = None;
        for option in &self.options {
            let mut content = Cursor::over(&option.data, order, format!("option {}", option.id));
            match option.id {
                id::CPUCOUNT => own_count = Some(content.u32()?),
                id::BUFFER => {
                    let (offset, name) = (content.u64()?, content.text()?);
                    let mut cursor = Cursor::new(file, offset, order, format!("instance '{name}'"));
                    let count = own_count.take().unwrap_or(count);
                    self.buffers.push(table(&mut cursor, offset, name, count)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn read_version_7(&mut self, reader: &Reader, mut cursor: Cursor<'_>, order: ByteOrder) -> Result<()> {
        self.compression = (cursor.text()?, cursor.text()?);
        cursor.u64()?;
        let sections = Sections { input: &*reader.input, order, compression: reader.compression };
        let names = self.find_sections(&mut cursor, sections)?;
        for (index, (header, name)) in self.sections.iter_mut().zip(names).enumerate() {
            header.name = name;
            if header.id == id::BUFFER || header.id == id::STRINGS {
                continue;
            }
            let section = sections.read(header.id, header.offset)?;
            let mut cursor = Cursor::over(&section.body, order, section.place.as_str());
            let metadata = &mut self.metadata;
            match header.id {
                id::HEADER_INFO => headers(&mut cursor, metadata)?,
                id::FTRACE_FORMATS => metadata.ftrace_formats = formats(&mut cursor)?,
                id::EVENT_FORMATS => metadata.systems = systems(&mut cursor)?,
                id::KALLSYMS => metadata.kallsyms = with_u32(&mut cursor)?,
                id::PRINTK => metadata.printk_formats = with_u32(&mut cursor)?,
                id::CMDLINES => metadata.cmdlines = with_u64(&mut cursor)?,
                id::BTF => metadata.btf = section.body.clone(),
                id::OPTIONS => {
                    while cursor.left() > 0 {
                        let id = cursor.u16()?;
                        let size = cursor.u32()?;
                        let data = cursor.bytes(u64::from(size))?.into_owned();
                        self.options.push(FileOption { id, data, section: index });
                        if id == id::DONE {
                            break;
                        }
                    }
                }
                _ => {}
            }
        }
        for option in self.options.iter().filter(|option| option.id == id::BUFFER) {
            let mut content = Cursor::over(&option.data, order, "option 3");
            let (offset, name, clock) = (content.u64()?, content.text()?, content.text()?);
            let page_size = content.u32()?;
            let mut cpus = Vec::new();
            let section = self.sections.iter().find(|section| section.offset == offset);
            let compressed = section.is_some_and(|section| section.flags & 1 != 0);
            for _ in 0..content.u32()? {
                let (cpu, offset, size) = (content.u32()?, content.u64()?, content.u64()?);
                let unpacked = if compressed && size > 0 {
                    let place = format!("the data of CPU {cpu}");
                    let file = View::File(&*reader.input);
                    unpacked_size(&mut Cursor::new(file, offset, order, place))?
                } else {
                    size
                };
                cpus.push(CpuPlace { cpu, offset, size, unpacked });
            }
            self.buffers.push(BufferPlace { offset, name, clock, page_size, cpus });
        }
        Ok(())
    }

    /// Finds all sections, which stand one behind the other, and their names.
    fn find_sections(&mut self, cursor: &mut Cursor<'_>, sections: Sections<'_>) -> Result<Vec<String>> {
        let (mut places, mut strings) = (Vec::new(), Vec::new());
        while cursor.left() > 0 {
            if places.len() == MOST_SECTIONS {
                return Err(cursor.error(&format!("there are more than {MOST_SECTIONS} sections")));
            }
            let offset = cursor.at();
            let (id, flags, place, size) = (cursor.u16()?, cursor.u16()?, cursor.u32()?, cursor.u64()?);
            let mut unpacked = None;
            if flags & 1 != 0 && id != id::BUFFER {
                let mut sizes = cursor.clone();
                sizes.u32()?;
                unpacked = Some(sizes.u32()?);
            }
            cursor.skip(size)?;
            if id == id::STRINGS {
                strings.extend(sections.read(id, offset)?.body);
            }
            places.push(place as usize);
            let name = String::new();
            self.sections.push(SectionHeader { id, offset, flags, name, size, unpacked });
        }
        let name = |place: &usize| {
            let text = strings.get(*place..).unwrap_or_default();
            let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
            String::from_utf8_lossy(&text[..end]).into_owned()
        };
        Ok(places.iter().map(name).collect())
    }

    /// Puts the options where they are written from.
    fn take_options(&mut self, order: ByteOrder) -> Result<()> {
        let text = |data: &[u8]| String::from_utf8_lossy(data).trim_end_matches('\0').to_string();
        let metadata = &mut self.metadata;
        for FileOption { id, data, .. } in &self.options {
            match *id {
                id::TRACECLOCK => metadata.trace_clock = text(data),
                id::UNAME => metadata.uname = text(data),
                id::VERSION => metadata.program = text(data),
                id::TRACEID => metadata.trace_id = order.number_at(data, 0, 8).unwrap_or(0),
                id::CPUSTAT => metadata.cpu_stats.push(text(data)),
                // These point at parts that have another place in another file.
                id::DONE | id::BUFFER | id::CPUCOUNT | id::BUFFER_TEXT => {}
                id::HEADER_INFO..=id::CMDLINES | id::BTF.. => {}
                other => metadata.more_options.push((other, data.clone())),
            }
        }
        Ok(())
    }
}

/// The size of a CPU's chunks once unpacked.
fn unpacked_size(cursor: &mut Cursor<'_>) -> Result<u64> {
    let mut sum = 0;
    for _ in 0..cursor.u32()? {
        let (packed, unpacked) = (cursor.u32()?, cursor.u32()?);
        cursor.skip(u64::from(packed))?;
        sum += u64::from(unpacked);
    }
    Ok(sum)
}

fn headers(cursor: &mut Cursor<'_>, metadata: &mut Metadata) -> Result<()> {
    cursor.tag("header_page\0")?;
    metadata.header_page = with_u64(cursor)?;
    cursor.tag("header_event\0")?;
    metadata.header_event = with_u64(cursor)?;
    Ok(())
}

fn formats(cursor: &mut Cursor<'_>) -> Result<Vec<Vec<u8>>> {
    (0..cursor.u32()?).map(|_| with_u64(cursor)).collect()
}

fn systems(cursor: &mut Cursor<'_>) -> Result<Vec<System>> {
    (0..cursor.u32()?).map(|_| Ok(System { name: cursor.text()?, formats: formats(cursor)? })).collect()
}

fn with_u32(cursor: &mut Cursor<'_>) -> Result<Vec<u8>> {
    let size = cursor.u32()?;
    Ok(cursor.bytes(u64::from(size))?.into_owned())
}

fn with_u64(cursor: &mut Cursor<'_>) -> Result<Vec<u8>> {
    let size = cursor.u64()?;
    Ok(cursor.bytes(size)?.into_owned())
}
