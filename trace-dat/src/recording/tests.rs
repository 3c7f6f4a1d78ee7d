//! Writes files and reads them back, as recordings and as containers.

use std::io::Cursor;

use super::*;
use crate::file::compression::Compression;
use crate::file::write::tests::metadata as made_up;
use crate::file::write::{CpuData, Metadata, System, write};

const PAGE: usize = 4096;

const VERSIONS: [(Version, Compression); 4] = [
    (Version::V6, Compression::None),
    (Version::V7, Compression::None),
    (Version::V7, Compression::Zlib),
    (Version::V7, Compression::Zstd),
];

/// Metadata of a file that can be opened: its header_page is valid, and there are no events.
fn metadata() -> Metadata {
    Metadata { header_page: HEADER_PAGE.into(), ftrace_formats: Vec::new(), systems: Vec::new(), ..made_up() }
}

const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
                           \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
                           \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
                           \tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n";

/// A sub-buffer with one record of 12 bytes, which `mark` fills.
fn sub_buffer(stamp: u64, mark: u8) -> Vec<u8> {
    let mut page = [stamp.to_le_bytes(), 16_u64.to_le_bytes()].concat();
    page.extend(3_u32.to_le_bytes());
    page.extend([mark; 12]);
    page.resize(PAGE, 0);
    page
}

#[test]
fn what_was_written_is_read_back() {
    let data =
        [(0..25).map(|n| sub_buffer(100 + 10 * n, 1)).collect::<Vec<_>>().concat(), sub_buffer(105, 2)];
    for instance in ["", "mine"] {
        let metadata = Metadata { instance: instance.to_string(), date: Some(7), ..metadata() };
        for (version, compression) in VERSIONS {
            let (mut first, mut last) = (&data[0][..], &data[1][..]);
            let mut cpus = [
                CpuData { cpu: 0, size: first.len() as u64, data: &mut first },
                CpuData { cpu: 2, size: last.len() as u64, data: &mut last },
            ];
            let mut file = Cursor::new(Vec::new());
            write(&mut file, version, compression, &metadata, &mut cpus).unwrap();
            let file = file.into_inner();
            let reader = Reader::new("test", file.clone()).unwrap();
            assert_eq!((reader.cpus(), reader.clock()), (3, Some("local")));
            assert_eq!((reader.uname(), reader.writer_version()), (Some("Linux"), Some("snaptrace")));
            assert_eq!(reader.shown_time(100), 7_100, "microseconds are added");
            assert_eq!(reader.cmdlines().get(&1).unwrap(), b"init");
            let with_data = reader.buffers().iter().filter(|buffer| !buffer.cpus.is_empty());
            let names: Vec<&str> = with_data.map(|buffer| buffer.name.as_str()).collect();
            assert_eq!(names, [instance], "{version:?}");
            let mut records = reader.records();
            let mut read = Vec::new();
            while let Some(record) = records.next() {
                assert_eq!(record.data.len(), 12);
                read.push((record.time, record.cpu, record.data[0]));
            }
            records.finish().unwrap();
            assert_eq!(read.len(), 26, "{version:?} {compression:?}");
            assert_eq!(read[..3], [(100, 0, 1), (105, 2, 2), (110, 0, 1)]);
            assert_eq!(read[25], (340, 0, 1));
        }
    }
}

#[test]
fn a_container_of_either_version_has_what_was_written() {
    let written = Metadata {
        ftrace_formats: vec![b"function".to_vec()],
        systems: vec![System { name: "sched".into(), formats: vec![b"switch".to_vec(), b"waking".to_vec()] }],
        ..metadata()
    };
    for (version, compression) in VERSIONS {
        let data = sub_buffer(100, 1);
        let mut file = Cursor::new(Vec::new());
        let cpu = CpuData { cpu: 1, size: data.len() as u64, data: &mut data.as_slice() };
        let stored = write(&mut file, version, compression, &written, &mut [cpu]).unwrap();
        let file = Container::open("test", file.into_inner()).unwrap();
        assert_eq!((file.version(), file.compression(), file.cpus()), (version, compression, 3));
        assert_eq!(format!("{:?}", file.metadata().unwrap()), format!("{written:?}"), "{version:?}");
        let [buffer] = file.buffers() else { panic!("{:?}", file.buffers()) };
        let extent = buffer.cpus.iter().find(|extent| extent.cpu == 1).unwrap();
        let place = stored.iter().find(|stored| stored.cpu == 1).unwrap();
        assert_eq!((extent.offset, extent.size), (place.offset, place.size));
        assert_eq!(file.unpacked_size(buffer, extent).unwrap(), 4096);
        assert_eq!(file.sections().unwrap().len(), if version == Version::V6 { 0 } else { 9 });
        // These formats are invalid: only the recording reads them, the container does not.
        let error = Reader::of(file).unwrap_err();
        let formats = if version == Version::V6 { "FTRACE EVENTS at offset" } else { "section 17 at offset" };
        assert!(error.section().is_some_and(|section| section.starts_with(formats)), "{error}");
    }
}

#[test]
fn damage_in_a_section_leaves_the_others() {
    let mut file = Cursor::new(Vec::new());
    write(&mut file, Version::V7, Compression::None, &metadata(), &mut []).unwrap();
    let mut bytes = file.into_inner();
    let at = bytes.windows(6).position(|window| window == b"1 init").unwrap();
    // The length of the commands.
    bytes[at - 8] = 0xff;
    let file = Container::open("test", bytes).unwrap();
    assert!(file.section(id::CMDLINES).unwrap().is_some_and(|section| section.body.len() == 15));
    assert!(file.section(id::KALLSYMS).is_ok_and(|section| section.is_some()));
    let error = file.metadata().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cut);
    assert!(error.to_string().starts_with("cannot read test: section 21 at offset 0x"), "{error}");
}

/// A disk that fails.
#[derive(Debug)]
struct Broken;

impl Input for Broken {
    fn size(&self) -> u64 {
        1 << 20
    }

    fn read_at(&self, _offset: u64, _into: &mut [u8]) -> std::io::Result<()> {
        Err(std::io::Error::other("a bad block"))
    }
}

#[test]
fn a_disk_that_fails_is_not_a_file_of_another_kind() {
    let error = Container::open("test", Broken).unwrap_err();
    assert_eq!((error.kind(), error.section(), error.offset()), (ErrorKind::Read, Some("header"), Some(0)));
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(cause.as_deref(), Some("a bad block"));
}
