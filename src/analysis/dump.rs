//! `dump`: the parts of a recording's file, as trace-cmd shows them; pure.

use std::io::Write;

use crate::error::{Error, Result};
use trace_dat::id;
use trace_dat::{Buffer, Container, Extent, FileOption, Metadata, SectionHeader, Version};

/// The parts to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Config {
    /// Format, counts and sizes of all parts.
    pub summary: bool,
    /// `header_page`.
    pub head_page: bool,
    /// `header_event`.
    pub head_event: bool,
    /// Formats of ftrace's own events.
    pub ftrace_events: bool,
    /// Systems and how many events of each there are.
    pub systems: bool,
    /// Formats of all other events.
    pub events: bool,
    /// Functions by address.
    pub kallsyms: bool,
    /// Formats of `trace_printk`.
    pub printk: bool,
    /// Commands by pid.
    pub cmd_lines: bool,
    /// Options with their content.
    pub options: bool,
    /// The place of each CPU's data.
    pub flyrecord: bool,
    /// The trace clocks.
    pub clock: bool,
    /// The sections of version 7 and their names.
    pub sections: bool,
}

impl Config {
    /// Everything.
    pub fn all() -> Config {
        Config {
            summary: true,
            head_page: true,
            head_event: true,
            ftrace_events: true,
            systems: true,
            events: true,
            kallsyms: true,
            printk: true,
            cmd_lines: true,
            options: true,
            flyrecord: true,
            clock: true,
            sections: true,
        }
    }
}

/// Shows the parts of a file.
///
/// Fails when a part is damaged, and when the output fails.
pub fn dump(file: &Container, config: &Config, out: &mut impl Write) -> Result<()> {
    let (sections, metadata) = (file.sections()?, file.metadata()?);
    let mut dump = Dump { file, sections: &sections, metadata: &metadata, config, out: Vec::new() };
    if config.summary {
        dump.start();
    }
    match file.version() {
        Version::V6 => dump.version_6(),
        Version::V7 => dump.version_7(),
    }
    out.write_all(&dump.out).and_then(|()| out.flush()).map_err(Error::output)
}

struct Dump<'a> {
    file: &'a Container,
    sections: &'a [SectionHeader],
    metadata: &'a Metadata,
    config: &'a Config,
    out: Vec<u8>,
}

impl Dump<'_> {
    fn line(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'\n');
    }

    /// Appends a part unchanged, and a newline.
    fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.out.push(b'\n');
    }

    fn start(&mut self) {
        let (file, metadata) = (self.file, self.metadata);
        self.line(&format!("\n Tracing meta data in file {}:", file.name()));
        self.line("\t[Initial format]");
        self.line(&format!("\t\t{}\t[Version]", file.version()));
        self.line(match metadata.big_endian {
            true => "\t\t1\t[Big endian]",
            false => "\t\t0\t[Little endian]",
        });
        self.line(&format!("\t\t{}\t[Bytes in a long]", metadata.long_size));
        self.line(&format!("\t\t{}\t[Page size, bytes]", metadata.page_size));
        if file.version() == Version::V7 {
            self.line(&format!("\t\t{}\t[Compression algorithm]", file.compression().name()));
            self.line(&format!("\t\t{}\t[Compression version]", file.compression_version()));
        }
    }

    fn version_6(&mut self) {
        for part in
            [id::HEADER_INFO, id::FTRACE_FORMATS, id::EVENT_FORMATS, id::KALLSYMS, id::PRINTK, id::CMDLINES]
        {
            self.part(part);
        }
        let file = self.file;
        if self.config.summary {
            self.line(&format!("\t{} [CPUs with tracing data]", file.cpus()));
        }
        file.options().iter().for_each(|option| self.option(option));
        if self.config.summary || self.config.options {
            self.line(&format!("\t[{} options]", file.options().len()));
        }
        if file.buffers().is_empty() && (self.config.summary || self.config.flyrecord) {
            self.line("\t[Latency tracing data]");
        }
        for buffer in file.buffers() {
            if self.config.summary || self.config.flyrecord {
                self.line(&match buffer.name.as_str() {
                    "" => "\t[Flyrecord tracing data]".to_string(),
                    name => format!("\t[Flyrecord tracing data of instance '{name}']"),
                });
            }
            if self.config.flyrecord {
                for Extent { cpu, offset, size } in &buffer.cpus {
                    self.line(&format!("\t{offset:11}{size:11}\t[offset, size of cpu {cpu}]"));
                }
            }
        }
        if (self.config.summary || self.config.clock)
            && let Some(clock) = file.clock()
        {
            self.line("\t[Tracing clock]");
            self.line(&format!("\t\t[{clock}]"));
        }
    }

    fn version_7(&mut self) {
        let (sections, options) = (self.sections, self.file.options());
        if self.config.sections {
            self.line("\t[String @ offset]");
            let mut at = 0;
            for section in sections {
                self.line(&format!("\t\t\"{}\" @ {at}", section.name));
                at += section.name.len() + 1;
            }
            sections.iter().for_each(|section| self.section_row(section));
        }
        for section in sections {
            if section.id != id::OPTIONS {
                continue;
            }
            if self.config.options {
                self.section(section);
            }
            for option in options.iter().filter(|option| option.section == section.offset) {
                self.option(option);
            }
        }
        if self.config.summary || self.config.options {
            self.line(&format!("\t[{} options]", options.len()));
        }
        for section in sections.iter().rev() {
            if self.shows(section.id) {
                self.section(section);
            }
            self.part(section.id);
        }
        if self.config.summary {
            self.line(&format!("\t[{} sections]", sections.len()));
        }
    }

    /// Whether the content of a part is requested.
    fn shows(&self, id: u16) -> bool {
        let config = self.config;
        match id {
            id::HEADER_INFO => config.head_page || config.head_event,
            id::FTRACE_FORMATS => config.ftrace_events,
            id::EVENT_FORMATS => config.systems || config.events,
            id::KALLSYMS => config.kallsyms,
            id::PRINTK => config.printk,
            id::CMDLINES => config.cmd_lines,
            _ => false,
        }
    }

    /// Appends the heading of a section whose content follows.
    fn section(&mut self, section: &SectionHeader) {
        let SectionHeader { id, offset, name, flags, size, .. } = section;
        self.line(&format!("\t[Section {id} @ {offset}: \"{name}\", flags 0x{flags:X}, {size} bytes]"));
    }

    /// Appends a section's row in the table of sections.
    fn section_row(&mut self, section: &SectionHeader) {
        let SectionHeader { id, offset, name, flags, size, unpacked } = section;
        let size = match (unpacked, flags & 1 != 0) {
            (Some(unpacked), _) => {
                format!("{} compressed, {unpacked} uncompressed]", size.saturating_sub(8))
            }
            (None, true) => format!("{size} compressed bytes]"),
            (None, false) => format!("{size} bytes]"),
        };
        self.line(&format!("\t[Section {id:2} @ {offset:<16}\t\"{name}\", flags 0x{flags:X}, {size}"));
    }

    /// Appends the requested facts about one part that both versions have.
    fn part(&mut self, id: u16) {
        let (config, metadata) = (self.config, self.metadata);
        let shown = config.summary || self.shows(id);
        let texts = |what: &str, text: &[u8]| format!("\t[{what}, {} bytes]", text.len());
        match id {
            id::HEADER_INFO => {
                for (what, text, whole) in [
                    ("Header page", &metadata.header_page, config.head_page),
                    ("Header event", &metadata.header_event, config.head_event),
                ] {
                    if config.summary || whole {
                        self.line(&texts(what, text));
                    }
                    if whole {
                        self.raw(text);
                    }
                }
            }
            id::FTRACE_FORMATS => {
                if shown {
                    self.line(&format!("\t[Ftrace format, {} events]", metadata.ftrace_formats.len()));
                }
                if config.ftrace_events {
                    metadata.ftrace_formats.iter().for_each(|format| self.raw(format));
                }
            }
            id::EVENT_FORMATS => {
                if shown {
                    self.line(&format!("\t[Events format, {} systems]", metadata.systems.len()));
                }
                for system in &metadata.systems {
                    if config.systems {
                        let count = system.formats.len();
                        self.line(&format!("\t\t{} {count} [system, events]", system.name));
                    }
                    if config.events {
                        system.formats.iter().for_each(|format| self.raw(format));
                    }
                }
            }
            _ => {
                let (what, text) = match id {
                    id::KALLSYMS => ("Kallsyms", &metadata.kallsyms),
                    id::PRINTK => ("Trace printk", &metadata.printk_formats),
                    id::CMDLINES => ("Saved command lines", &metadata.cmdlines),
                    _ => return,
                };
                if shown {
                    self.line(&texts(what, text));
                }
                if self.shows(id) {
                    self.raw(text);
                }
            }
        }
    }

    /// Appends the requested facts about one option.
    fn option(&mut self, option: &FileOption) {
        let (config, file) = (self.config, self.file);
        if option.id == id::BUFFER && file.version() == Version::V7 {
            let before = file.options().iter().filter(|other| other.id == id::BUFFER);
            let index = before.take_while(|other| !std::ptr::eq(*other, option)).count();
            if let Some(buffer) = file.buffers().get(index) {
                self.buffer(buffer, option);
            }
            return;
        }
        let number = || file.order().number(&option.data).unwrap_or(0);
        let text = option.data.strip_suffix(b"\0").unwrap_or(&option.data);
        if config.clock && !config.options && option.id == id::TRACECLOCK {
            self.raw(text);
        }
        if !config.options {
            return;
        }
        let heading = match id::name(option.id) {
            Some(name) => format!("\t\t[Option {name}, {} bytes]", option.data.len()),
            None => format!("\t\t[Option {}, {} bytes]", option.id, option.data.len()),
        };
        match option.id {
            id::HEADER_INFO..=id::CMDLINES => self.line(&format!("{heading} @ {}", number())),
            _ => self.line(&heading),
        }
        match option.id {
            id::HEADER_INFO..=id::CMDLINES => {}
            id::DONE => self.line(&format!("{}{}", number(), if number() > 0 { "\n\n" } else { "" })),
            id::CPUCOUNT => self.line(&number().to_string()),
            id::TRACEID => self.line(&format!("0x{:X}", number())),
            _ if text.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => {
                self.raw(text)
            }
            _ => {
                let hex: Vec<String> = option.data.iter().map(|byte| format!("{byte:02x}")).collect();
                self.line(&hex.join(" "));
            }
        }
    }

    /// Appends the option of version 7 that describes a buffer.
    fn buffer(&mut self, buffer: &Buffer, option: &FileOption) {
        let Buffer { offset, name, clock, page_size, cpus, .. } = buffer;
        if self.config.flyrecord {
            let section = self.sections.iter().find(|section| section.offset == *offset);
            if let Some(section) = section {
                self.section(section);
            }
        }
        if self.config.flyrecord || self.config.options {
            self.line(&format!("\t\t[Option BUFFER, {} bytes]", option.data.len()));
            self.line(&format!("{offset} [offset]\n\"{name}\" [name]\n\"{clock}\" [clock]"));
            self.line(&format!("{page_size} [Page size, bytes]\n{} [CPUs]:", cpus.len()));
            for Extent { cpu, offset, size } in cpus {
                self.line(&format!("   {cpu} {offset}\t{size}\t[id, data offset and size]"));
            }
        }
        if self.config.summary {
            let size: u64 = cpus.iter().fold(0, |sum, cpu| sum.saturating_add(cpu.size));
            self.line(&format!(
                "\t[buffer \"{name}\", \"{clock}\" clock, {page_size} page size, {} cpus, {size} bytes \
                 flyrecord data]",
                cpus.len()
            ));
        }
    }
}
