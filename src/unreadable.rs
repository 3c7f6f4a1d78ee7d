//! Errors of reading recordings: their exit codes and what to do about each.

use trace_dat::ErrorKind;

use crate::error::Error;
use crate::filter::nearest;

impl From<trace_dat::Error> for Error {
    fn from(error: trace_dat::Error) -> Error {
        let code = match error.kind() {
            ErrorKind::Filter | ErrorKind::UnknownEvent | ErrorKind::UnknownField => Error::USAGE,
            _ => Error::GENERAL,
        };
        let advice = advice(&error);
        Error::of(error, code).advice(advice)
    }
}

fn advice(error: &trace_dat::Error) -> String {
    let near = || {
        let known = error.known_names().iter().map(String::as_str);
        nearest(error.unknown_name().unwrap_or_default(), known)
    };
    if error.cpu().is_some() {
        return "the records before it are printed above; the later ones of this CPU are not".into();
    }
    match error.kind() {
        ErrorKind::Filter => {
            "the form of a filter is 'EVENTS: FIELD == VALUE && ...', with strings in quotes".into()
        }
        ErrorKind::UnknownEvent => near_or(&near(), "'snaptrace report -E' lists the events"),
        ErrorKind::UnknownField => near_or(&near(), "'snaptrace report --events' shows the fields"),
        ErrorKind::UnsupportedCompression => "record with --compression zstd, zlib or none".into(),
        ErrorKind::UnsupportedVersion | ErrorKind::Unsupported => {
            "read it with the trace-cmd that recorded it, or record again with 'snaptrace record'".into()
        }
        ErrorKind::Read => "see dmesg for errors of the disk, and copy the file to another disk".into(),
        _ => "the file is damaged, incomplete or not a trace.dat: copy or record it again".into(),
    }
}

fn near_or(near: &[&str], otherwise: &str) -> String {
    match near {
        [] => otherwise.to_string(),
        near => format!("the nearest names: {}", near.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io;

    use trace_dat::filter::{Filter, Grouping};

    use super::*;

    /// A recording on a disk that fails after the first bytes.
    #[derive(Debug)]
    struct Failing;

    impl trace_dat::Input for Failing {
        fn size(&self) -> u64 {
            100
        }

        fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
            const MAGIC: &[u8] = b"\x17\x08\x44tracing";
            match offset {
                0 if into.len() == MAGIC.len() => into.copy_from_slice(MAGIC),
                _ => return Err(io::Error::from_raw_os_error(5)),
            }
            Ok(())
        }
    }

    #[test]
    fn the_causes_of_an_unreadable_recording_are_printed_and_kept() {
        let error = Error::from(trace_dat::Reader::new("x", Failing).unwrap_err());
        let text = error.to_string();
        assert!(
            text.starts_with("cannot read x: header") && text.contains(": Input/output error\n"),
            "{text}"
        );
        let kept = error.source().and_then(|cause| cause.downcast_ref::<trace_dat::Error>()).unwrap();
        assert_eq!(kept.kind(), ErrorKind::Read);
        let system = kept.source().and_then(|cause| cause.downcast_ref::<io::Error>()).unwrap();
        assert_eq!(system.raw_os_error(), Some(5));
    }

    #[test]
    fn advice_goes_by_the_kind_of_error() {
        let open = |bytes: &[u8]| Error::from(trace_dat::Reader::new("x", bytes.to_vec()).unwrap_err());
        assert!(
            open(b"text").to_string().contains("help: the file is damaged, incomplete or not a trace.dat")
        );
        let other = open(b"\x17\x08\x44tracing8\0\0\x08");
        assert!(
            other.to_string().contains("version '8' is neither 6 nor 7\n  help: read it with"),
            "{other}"
        );
        assert_eq!(other.exit_code(), Error::GENERAL);
        let text = "name: wakeup\nID: 7\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\tfield:int pid;\toffset:4;\tsize:4;\tsigned:1;\n\nprint fmt: \"\"\n";
        let mut events = trace_dat::event::Events::default();
        events.add("sched", text, 8).unwrap();
        let filter = |text: &str| Error::from(Filter::compile(text, &events, Grouping::AsC).unwrap_err());
        for (text, help) in [
            ("wakeupp", "help: the nearest names: wakeup"),
            ("qqq", "help: 'snaptrace report -E' lists the events"),
            ("wakeup: pidd == 1", "help: the nearest names: pid"),
            ("wakeup: pid ==", "help: the form of a filter is"),
        ] {
            let error = filter(text);
            assert!(error.to_string().contains(help), "{error}");
            assert_eq!(error.exit_code(), Error::USAGE);
        }
    }
}
