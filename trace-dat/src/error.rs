//! The error of this crate: its kind, and the place in the recording.

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// The result of anything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. Programs decide by this, never by an error's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes could not be read; the error's `source()` is the system's [`std::io::Error`].
    Read,
    /// The input does not begin like a trace.dat.
    NotTraceDat,
    /// The file's version is neither 6 nor 7.
    UnsupportedVersion,
    /// The file is compressed in a way that this crate does not know.
    UnsupportedCompression,
    /// The file holds something that this crate does not read.
    Unsupported,
    /// The file announces more bytes than it has: its end is missing, or a size is damaged.
    Cut,
    /// The bytes contradict the format.
    Malformed,
    /// An event filter does not parse, or compares values that cannot be compared.
    Filter,
    /// An event filter names an event that the recording does not have.
    UnknownEvent,
    /// An event filter names a field that none of its events has.
    UnknownField,
}

/// A failed operation: its kind, the place in the recording, and a text for people.
///
/// The text names file, CPU and place, if they are known. The system's error is returned by `source()`
/// and is not part of the text.
///
/// ```
/// use trace_dat::{ErrorKind, Reader};
/// let error = Reader::new("notes.txt", b"some notes".to_vec()).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotTraceDat);
/// assert_eq!((error.section(), error.offset()), (Some("header"), Some(0)));
/// assert!(error.to_string().starts_with("cannot read notes.txt: header, byte 0"));
/// ```
#[derive(Debug)]
pub struct Error(Box<Parts>);

/// Boxed, to keep a `Result` small when nothing fails.
#[derive(Debug)]
struct Parts {
    kind: ErrorKind,
    what: String,
    file: Option<String>,
    cpu: Option<u32>,
    place: Option<Position>,
    unknown: Option<Unknown>,
    source: Option<io::Error>,
}

/// A place in a recording.
#[derive(Debug)]
struct Position {
    section: String,
    offset: u64,
    /// Whether to print the offset; some names of sections include it.
    shows_offset: bool,
}

/// A name that does not exist, and the names that do.
#[derive(Debug)]
struct Unknown {
    name: String,
    known: Vec<String>,
}

impl Error {
    /// An error with this kind and text; code outside of this crate may use it, too.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Error {
        Error(Box::new(Parts {
            kind,
            what: what.into(),
            file: None,
            cpu: None,
            place: None,
            unknown: None,
            source: None,
        }))
    }

    pub(crate) fn malformed(what: impl Into<String>) -> Error {
        Error::new(ErrorKind::Malformed, what)
    }

    pub(crate) fn cut(what: impl Into<String>) -> Error {
        Error::new(ErrorKind::Cut, what)
    }

    /// A failed read of the input.
    pub(crate) fn read(what: impl Into<String>, source: io::Error) -> Error {
        let mut error = Error::new(ErrorKind::Read, what);
        error.0.source = Some(source);
        error
    }

    /// Adds the error of the system or a library.
    pub(crate) fn because(mut self, source: io::Error) -> Error {
        self.0.source = Some(source);
        self
    }

    /// Adds the place, an offset in a section, unless there is one already.
    pub(crate) fn at(mut self, section: &str, offset: u64) -> Error {
        let place = || Position { section: section.to_string(), offset, shows_offset: true };
        self.0.place.get_or_insert_with(place);
        self
    }

    /// The same for a section whose name includes the offset.
    pub(crate) fn within(mut self, section: String, offset: u64) -> Error {
        self.0.place.get_or_insert(Position { section, offset, shows_offset: false });
        self
    }

    /// Adds a name that does not exist, and the names that do.
    pub(crate) fn unknown(mut self, name: &str, known: impl Iterator<Item = String>) -> Error {
        self.0.unknown = Some(Unknown { name: name.to_string(), known: known.collect() });
        self
    }

    /// Adds the recording's name, as given to [`Reader::new`](crate::Reader::new).
    pub fn in_file(mut self, name: &str) -> Error {
        self.0.file.get_or_insert_with(|| name.to_string());
        self
    }

    /// Adds the CPU whose records are damaged.
    pub fn on_cpu(mut self, cpu: u32) -> Error {
        self.0.cpu.get_or_insert(cpu);
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The part of the recording with the error, such as `section 16 at offset 0x5a`.
    pub fn section(&self) -> Option<&str> {
        self.0.place.as_ref().map(|place| place.section.as_str())
    }

    /// The offset in that part, in bytes; in a compressed section, the offset after unpacking.
    pub fn offset(&self) -> Option<u64> {
        self.0.place.as_ref().map(|place| place.offset)
    }

    /// The CPU whose records are damaged; `None` when the error concerns the whole recording.
    pub fn cpu(&self) -> Option<u32> {
        self.0.cpu
    }

    /// The name in a filter that the recording does not have.
    pub fn unknown_name(&self) -> Option<&str> {
        self.0.unknown.as_ref().map(|unknown| unknown.name.as_str())
    }

    /// The valid names that could replace [`Error::unknown_name`].
    pub fn known_names(&self) -> &[String] {
        self.0.unknown.as_ref().map_or(&[], |unknown| &unknown.known)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.0.file {
            write!(f, "cannot read {file}: ")?;
        }
        if let Some(cpu) = self.0.cpu {
            write!(f, "CPU {cpu}: ")?;
        }
        match &self.0.place {
            Some(Position { section, offset, shows_offset: true }) => {
                write!(f, "{section}, byte {offset} (0x{offset:x}): ")?;
            }
            Some(Position { section, .. }) => write!(f, "{section}: ")?,
            None => {}
        }
        f.write_str(&self.0.what)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_place_and_cause_are_kept_apart_from_the_text() {
        let cause = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Error::read("reading failed", cause).at("section 16 at offset 0x5a", 12);
        let error = error.at("a wider section", 0).on_cpu(3).in_file("trace.dat").in_file("another");
        assert_eq!(
            error.to_string(),
            "cannot read trace.dat: CPU 3: section 16 at offset 0x5a, byte 12 (0xc): reading failed"
        );
        assert_eq!(error.kind(), ErrorKind::Read);
        assert_eq!((error.section(), error.offset()), (Some("section 16 at offset 0x5a"), Some(12)));
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(source.unwrap().kind(), io::ErrorKind::PermissionDenied);
    }
}
