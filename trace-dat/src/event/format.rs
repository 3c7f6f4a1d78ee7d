//! One format file: name, id, fields and the compiled print format.

use std::sync::OnceLock;

use super::field::{Dynamic, Field};
use crate::error::{Error, Result};
use crate::print_fmt::program::Program;
use crate::print_fmt::{as_trace_cmd, c};

/// One event.
#[derive(Debug)]
pub struct Event {
    /// The system, such as `sched`.
    pub system: String,
    /// The name, such as `sched_switch`.
    pub name: String,
    /// Its index among the events of the recording.
    pub index: usize,
    /// The id, which records hold as `common_type`; the kernel uses 16 bits, too.
    pub id: u16,
    /// All fields; the first [`Event::common`] of them are the common fields.
    pub fields: Vec<Field>,
    /// The number of common fields.
    pub common: usize,
    /// The print format's text. It is compiled when first needed: a recording has hundreds of formats, and
    /// few are used.
    print_format: String,
    long_size: usize,
    declared_size: usize,
    least_size: usize,
    /// The format compiled according to C, or why that fails.
    print: OnceLock<std::result::Result<Program, String>>,
    /// The format compiled as trace-cmd reads it; `None` if that fails.
    print_as_trace_cmd: OnceLock<Option<Program>>,
}

impl Event {
    /// Parses a format file.
    pub(crate) fn parse(system: &str, text: &str, long_size: usize) -> Result<Event> {
        let bad =
            |what: &str| Error::malformed(format!("a format of system '{system}' has no usable {what}"));
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let name = value("name:").ok_or_else(|| bad("name"))?;
        let id = value("ID:").and_then(|id| id.parse().ok()).ok_or_else(|| bad("ID"))?;
        let (mut fields, mut common, mut in_common) = (Vec::new(), 0, true);
        let start = text.find("\nformat:").map_or("", |at| &text[at + 1..]);
        let mut rest = start.split_once('\n').map_or("", |(_, rest)| rest);
        let print = loop {
            if let Some(print) = rest.strip_prefix("print fmt:") {
                break print;
            }
            if rest.is_empty() {
                break "";
            }
            let (line, following) = rest.split_once('\n').unwrap_or((rest, ""));
            rest = following;
            let line = line.trim();
            if line.is_empty() {
                // A blank line separates the common fields from the event's own.
                in_common &= fields.is_empty();
                continue;
            }
            fields.push(Field::parse(line).ok_or_else(|| bad(&format!("field in '{name}': {line}")))?);
            common += usize::from(in_common);
        };
        Ok(Event {
            index: 0,
            system: system.into(),
            name: name.into(),
            id,
            declared_size: declared_size(&fields),
            least_size: least_size(&fields),
            fields,
            common,
            print_format: print.trim().into(),
            long_size,
            print: OnceLock::new(),
            print_as_trace_cmd: OnceLock::new(),
        })
    }

    /// The compiled print format, read according to C or as trace-cmd reads it; `None` when it uses
    /// something that is not supported.
    #[inline]
    pub fn print(&self, as_trace_cmd: bool) -> Option<&Program> {
        if !as_trace_cmd {
            return self.compiled().as_ref().ok();
        }
        let compile = || as_trace_cmd::compile(&self.print_format, &self.fields, self.long_size, self.common);
        self.print_as_trace_cmd.get_or_init(compile).as_ref()
    }

    /// Why the print format is not understood, such as `calls libata_trace_parse_status(), which only the
    /// kernel has`: a text to print after the event's name. `None` when the format is understood.
    ///
    /// An event whose format is not understood is printed field by field.
    pub fn why_not(&self) -> Option<&str> {
        self.compiled().as_ref().err().map(String::as_str)
    }

    fn compiled(&self) -> &std::result::Result<Program, String> {
        self.print.get_or_init(|| c::compile(&self.print_format, &self.fields, self.long_size))
    }

    /// The field with a name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The event's own fields, without the common ones.
    pub fn own_fields(&self) -> &[Field] {
        &self.fields[self.common..]
    }

    /// The size in bytes of all declared fields.
    pub fn declared_size(&self) -> usize {
        self.declared_size
    }

    /// The smallest size of a record of this event, in bytes: all fields without an array at the end.
    /// (Records of `kernel_stack` may be shorter than the declared array.)
    #[inline]
    pub fn least_size(&self) -> usize {
        self.least_size
    }
}

fn end(field: &Field) -> usize {
    field.offset + field.size
}

fn declared_size(fields: &[Field]) -> usize {
    fields.iter().map(end).max().unwrap_or(0)
}

fn least_size(fields: &[Field]) -> usize {
    let all = declared_size(fields);
    match fields.iter().find(|field| end(field) == all && field.array && field.dynamic == Dynamic::No) {
        Some(last) => last.offset,
        None => all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::ByteOrder;

    const TEXT: &str = "name: demo\nID: 42\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:1;\n\
        \tfield:__data_loc char[] name;\toffset:24;\tsize:4;\tsigned:1;\n\
        \tfield:const void * ptr;\toffset:32;\tsize:8;\tsigned:0;\n\n\
        print fmt: \"%s\", REC->comm\n";

    #[test]
    fn fields_are_told_apart() {
        let event = Event::parse("demo", TEXT, 8).unwrap();
        assert_eq!((event.id, event.name.as_str(), event.common), (42, "demo", 2));
        let comm = event.field("comm").unwrap();
        assert!(comm.array && comm.is_string() && comm.dynamic == Dynamic::No);
        let name = event.field("name").unwrap();
        assert!(name.is_string() && name.dynamic == Dynamic::Record);
        let ptr = event.field("ptr").unwrap();
        assert!(ptr.is_pointer() && !ptr.array);
        assert_eq!((ptr.offset, ptr.size, event.least_size()), (32, 8, 40));
    }

    #[test]
    fn dynamic_bytes_stay_within_the_record() {
        let event = Event::parse("demo", TEXT, 8).unwrap();
        let name = event.field("name").unwrap();
        let mut record = vec![0; 40];
        record.extend(b"abc\0");
        record[24..28].copy_from_slice(&(40u32 | 4 << 16).to_le_bytes());
        assert_eq!(name.bytes(ByteOrder::Little, &record), Some(&b"abc\0"[..]));
        record[26] = 5;
        assert_eq!(name.bytes(ByteOrder::Little, &record), None);
    }

    #[test]
    fn a_format_may_end_with_a_field() {
        let (fields, print) = TEXT.split_once("\n\nprint fmt:").unwrap();
        assert!(!print.is_empty());
        let event = Event::parse("demo", fields, 8).unwrap();
        assert_eq!(event.fields.last().unwrap().name, "ptr");
    }

    #[test]
    fn formats_without_id_or_with_a_bad_field_are_errors() {
        assert!(Event::parse("demo", &TEXT.replace("ID: 42", "ID: x"), 8).is_err());
        let error = Event::parse("demo", &TEXT.replace("offset:8;", ""), 8).unwrap_err().to_string();
        assert!(error.contains("char comm[16]"), "{error}");
    }
}
