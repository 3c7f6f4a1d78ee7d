//! Facts about a recording, printed instead of its records.

use std::io::Write;

use super::config::{Config, Style};
use super::{columns, plan};
use crate::error::{Error, Result};
use trace_dat::Reader;
use trace_dat::bytes::ByteOrder;
use trace_dat::texts::printk_formats;

/// The requested information.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The byte orders of the recorded machine and of this one.
    ByteOrder,
    /// Functions by address.
    Functions,
    /// Formats of `trace_printk` by address.
    Printk,
    /// Names of events that have a format, as `SYSTEM:EVENT`.
    Events,
    /// Formats of events.
    Formats,
    /// The CPUs with data, with the time of their first and last record if wanted.
    Cpus {
        /// With the first record.
        first: bool,
        /// With the last record.
        last: bool,
    },
    /// The recorded machine and the program that recorded.
    Uname,
    /// The version of the program that recorded.
    Version,
    /// Statistics of the buffers, and where the data are.
    Stat,
}

/// Prints the requested information.
///
/// Fails when the file is damaged or lacks the information, and when the output fails.
pub fn about(reader: &Reader, what: About, config: &Config, out: &mut impl Write) -> Result<()> {
    let mut text = Vec::new();
    let outcome = describe(reader, what, config, &mut text);
    out.write_all(&text).and_then(|()| out.flush()).map_err(Error::output)?;
    outcome
}

fn describe(reader: &Reader, what: About, config: &Config, out: &mut Vec<u8>) -> Result<()> {
    let missing = |what: &str| {
        Error::new(format!("{} does not contain {what}", reader.name()))
            .help("not every program stores it; 'snaptrace dump --options' shows what the file has")
    };
    let label = config.label.as_ref().map_or_else(String::new, |label| format!("{label}: "));
    let head = format!("{label}cpus={}\n", reader.cpus());
    match what {
        About::ByteOrder => {
            let name = |big: bool| if big { "big" } else { "little" };
            let file = name(reader.context().order == ByteOrder::Big);
            let host = name(cfg!(target_endian = "big"));
            push(out, &format!("file is {file} endian and host is {host} endian\n"));
        }
        About::Functions => {
            for (symbol, module) in reader.context().symbols.with_modules() {
                push(out, &format!("{:016x} {}", symbol.address, symbol.name));
                if let Some(module) = module {
                    push(out, &format!(" [{module}]"));
                }
                push(out, "\n");
            }
        }
        About::Printk => printk(&reader.container().metadata()?.printk_formats, out),
        About::Events => {
            let mut names: Vec<(&str, &str)> =
                reader.events().iter().map(|event| (event.system.as_str(), event.name.as_str())).collect();
            names.sort_unstable();
            for (system, name) in names {
                push(out, &format!("{system}:{name}\n"));
            }
        }
        About::Formats => {
            for system in reader.container().metadata()?.systems {
                push(out, &format!("\nsystem: {}\n", system.name));
                for format in system.formats {
                    out.extend(format);
                    out.push(b'\n');
                }
            }
        }
        About::Cpus { first, last } => return cpus(reader, first, last, config, out),
        About::Uname => {
            push(out, &head);
            push(out, &format!("{}\n", reader.uname().ok_or_else(|| missing("its uname"))?));
            if let Some(version) = reader.writer_version() {
                push(out, &format!("{version}\n"));
            }
        }
        About::Version => {
            push(out, &head);
            let version = reader.writer_version().ok_or_else(|| missing("who wrote it"))?;
            push(out, &format!("{version}\n"));
        }
        About::Stat => {
            push(out, &head);
            stat(reader, config, out)?;
        }
    }
    Ok(())
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends lines of `ADDRESS TEXT`, sorted by address.
fn printk(formats: &[u8], out: &mut Vec<u8>) {
    let mut rows: Vec<_> = printk_formats(formats).collect();
    rows.sort_by_key(|(address, _)| *address);
    for (address, text) in rows {
        push(out, &format!("{address:016x} {text}\n"));
    }
}

fn cpus(reader: &Reader, first: bool, last: bool, config: &Config, out: &mut Vec<u8>) -> Result<()> {
    push(out, &format!("List of CPUs in {} with data:\n", reader.name()));
    let mut numbers: Vec<u32> =
        reader.buffers().iter().flat_map(|buffer| &buffer.cpus).map(|data| data.cpu).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for cpu in numbers {
        push(out, &format!("  {cpu}"));
        let mut records = reader.records_of(|_, of| of == cpu);
        let time = |out: &mut Vec<u8>, what: &str, stamp: Option<u64>| {
            push(out, &format!("\t{what} event:"));
            match stamp {
                Some(stamp) => time_text(reader, config, stamp, out),
                None => push(out, " none"),
            }
        };
        let start = records.next().map(|record| record.time);
        if first {
            time(out, "First", start);
        }
        if last {
            let mut end = start;
            while let Some(record) = records.next() {
                end = Some(record.time);
            }
            time(out, "Last", end);
        }
        out.push(b'\n');
        records.finish()?;
    }
    Ok(())
}

/// Appends a time as a record's line shows it, without the leading blank.
fn time_text(reader: &Reader, config: &Config, stamp: u64, out: &mut Vec<u8>) {
    let mut text = Vec::new();
    let time = plan::shown_time(reader, config, stamp);
    columns::time(time, plan::in_seconds(reader, config), config, &mut text);
    let bare = text.strip_prefix(b" ").unwrap_or(&text);
    out.extend_from_slice(bare);
}

fn stat(reader: &Reader, config: &Config, out: &mut Vec<u8>) -> Result<()> {
    push(out, "\nKernel buffer statistics:\n");
    push(out, "  Note: \"entries\" are the entries left in the kernel ring buffer and are not\n");
    push(out, "        recorded in the trace data. They should all be zero.\n\n");
    for cpu in reader.cpustat() {
        push(out, &format!("{cpu}\n"));
    }
    push(out, if reader.cpustat().is_empty() { " No stats in this file\n" } else { "\n" });
    // trace-cmd shows where it put compressed data after unpacking: one CPU after the other, from 4096 on.
    let mut unpacked_at = 4096;
    for buffer in reader.container().buffers() {
        for place in &buffer.cpus {
            let unpacked = reader.container().unpacked_size(buffer, place)?;
            let compressed = unpacked != place.size;
            let trace_cmd = config.style != Style::Snaptrace;
            let (offset, size) = match compressed && trace_cmd {
                true => (unpacked_at, unpacked),
                false => (place.offset, place.size),
            };
            // trace-cmd prints only the top instance.
            let of = match buffer.name.as_str() {
                "" => String::new(),
                _ if trace_cmd => continue,
                name => format!(" of instance '{name}'"),
            };
            push(out, &format!("CPU{} data{of} recorded at offset=0x{offset:x}\n", place.cpu));
            push(out, &format!("    {size} bytes in size"));
            if compressed && !trace_cmd {
                push(out, &format!(" ({unpacked} uncompressed)"));
            }
            push(out, "\n");
            unpacked_at += unpacked;
        }
    }
    Ok(())
}
