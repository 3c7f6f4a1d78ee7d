//! The metadata of a trace.dat file, gathered from the running kernel.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use rustix::param::page_size;
use rustix::system::uname;

use crate::error::{Error, Result};
use crate::tracefs::{Instance, Tracefs};
use trace_dat::header_page;
use trace_dat::write::{Metadata, System};

const KALLSYMS: &str = "/proc/kallsyms";
/// The file with the kernel's types, in BTF.
pub const TYPES: &str = "/sys/kernel/btf/vmlinux";
/// With these options functions are recorded with their arguments.
const WITH_ARGUMENTS: [&str; 2] = ["options/func-args", "options/funcgraph-args"];
const HEADER_PAGE: &str = "events/header_page";

/// Metadata that the restore does not change; other fields stay at their default:
/// `cmdlines`, the clock, `cpu_stats`, `cpu_count` and `instance`.
///
/// Includes the events of those systems that are `wanted`.
///
/// # Errors
/// One of the kernel's files cannot be read.
pub fn gather(tracefs: &Tracefs, wanted: impl Fn(&str) -> bool) -> Result<Metadata> {
    let top = tracefs.top();
    let header_page = top.read_bytes(HEADER_PAGE)?;
    let layout = Layout::parse(&String::from_utf8_lossy(&header_page))?;
    let mut systems = Vec::new();
    for name in top.folders("events")?.into_iter().filter(|name| wanted(name)) {
        let formats = formats(top, &name)?;
        // The formats of the ftrace system are stored separately.
        if name != "ftrace" && !formats.is_empty() {
            systems.push(System { name, formats });
        }
    }
    let kallsyms = fs::read(KALLSYMS).map_err(|cause| {
        Error::io("read", Path::new(KALLSYMS), cause)
            .help("mount proc (mount -t proc proc /proc); 'snaptrace check' shows what the kernel lacks")
    })?;
    let name = uname();
    Ok(Metadata {
        big_endian: cfg!(target_endian = "big"),
        long_size: layout.long_size,
        page_size: u32::try_from(page_size()).unwrap_or(layout.sub_buffer_size),
        sub_buffer_size: layout.sub_buffer_size,
        header_event: top.read_bytes("events/header_event")?,
        header_page,
        ftrace_formats: formats(top, "ftrace")?,
        systems,
        kallsyms,
        // A kernel without trace_printk does not have this file.
        printk_formats: if top.has("printk_formats") {
            top.read_bytes("printk_formats")?
        } else {
            Vec::new()
        },
        uname: [name.sysname(), name.nodename(), name.release(), name.machine()]
            .map(|part| part.to_string_lossy().into_owned())
            .join(" "),
        program: concat!("snaptrace ", env!("CARGO_PKG_VERSION")).to_string(),
        trace_id: RandomState::new().hash_one(std::process::id()),
        ..Metadata::default()
    })
}

/// The kernel's types, if the instance records arguments, which need them to be printed; else empty.
///
/// # Errors
/// An option cannot be read. Without the types arguments are shown as registers.
pub fn types_of_arguments(instance: &Instance) -> Result<Vec<u8>> {
    for option in WITH_ARGUMENTS {
        if instance.has(option) && instance.read_value(option)? == "1" {
            return Ok(fs::read(TYPES).unwrap_or_default());
        }
    }
    Ok(Vec::new())
}

/// Whether the kernel hides its addresses from us, so that functions cannot be named.
pub fn hides_addresses(kallsyms: &[u8]) -> bool {
    // Per-CPU symbols begin at 0, so a single line proves nothing.
    let is_zero = |line: &[u8]| line.iter().take_while(|byte| **byte != b' ').all(|byte| *byte == b'0');
    kallsyms.split(|byte| *byte == b'\n').all(is_zero)
}

/// The format files of a system's events.
fn formats(top: &Instance, system: &str) -> Result<Vec<Vec<u8>>> {
    let mut formats = Vec::new();
    for event in top.folders(&format!("events/{system}"))? {
        let file = format!("events/{system}/{event}/format");
        if top.has(&file) {
            formats.push(top.read_bytes(&file)?);
        }
    }
    Ok(formats)
}

/// The size of a sub-buffer in bytes, from `events/header_page`.
///
/// # Errors
/// The file cannot be read, or does not contain the size.
pub fn sub_buffer_size(tracefs: &Tracefs) -> Result<usize> {
    let layout = Layout::parse(&tracefs.top().read(HEADER_PAGE)?)?;
    usize::try_from(layout.sub_buffer_size).map_err(|_| unknown("data"))
}

/// What header_page says about the kernel.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    long_size: u8,
    sub_buffer_size: u32,
}

impl Layout {
    /// The commit field has the size of a long, and the data end at the end of the sub-buffer.
    fn parse(header_page: &str) -> Result<Layout> {
        let field = |name: &str| {
            let part = header_page::part(header_page, name)?;
            Some((part.offset, part.size?))
        };
        let (_, long) = field("commit").ok_or_else(|| unknown("commit"))?;
        let (offset, size) = field("data").ok_or_else(|| unknown("data"))?;
        let end = offset.checked_add(size).and_then(|end| u32::try_from(end).ok());
        match (u8::try_from(long), end) {
            (Ok(long_size @ (4 | 8)), Some(sub_buffer_size)) if sub_buffer_size > 0 => {
                Ok(Layout { long_size, sub_buffer_size })
            }
            _ => Err(unknown("commit")),
        }
    }
}

fn unknown(field: &str) -> Error {
    Error::new(format!("{HEADER_PAGE} does not give the offset and size of '{field}'"))
        .help("snaptrace does not know the buffer layout of this kernel: read the kernel's own 'trace' file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_addresses_are_all_zero() {
        assert!(hides_addresses(b"0000 A fixed_percpu_data\n0000 T _text\n"));
        assert!(!hides_addresses(b"0000 A fixed_percpu_data\nff81 T _text\n"));
    }

    #[test]
    fn the_layout_is_taken_from_header_page() {
        let text = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
                    \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
                    \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
                    \tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n";
        assert_eq!(Layout::parse(text).unwrap(), Layout { long_size: 8, sub_buffer_size: 4096 });
        let narrow = text.replace("offset:8;\tsize:8", "offset:8;\tsize:4").replace("offset:16", "offset:12");
        assert_eq!(Layout::parse(&narrow).unwrap(), Layout { long_size: 4, sub_buffer_size: 4092 });
        assert!(Layout::parse("").is_err());
        assert!(Layout::parse(&text.replace("size:8", "size:0")).is_err());
    }
}
