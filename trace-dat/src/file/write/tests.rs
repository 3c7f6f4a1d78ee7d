//! Files of both versions, taken apart byte by byte.

use std::io::Cursor;

use flate2::read::ZlibDecoder;

use super::*;

const PAGE: usize = 4096;

/// The metadata of a small recording of three CPUs.
pub(crate) fn metadata() -> Metadata {
    Metadata {
        long_size: 8,
        page_size: PAGE as u32,
        sub_buffer_size: PAGE as u32,
        header_page: b"PAGE".to_vec(),
        header_event: b"EVENT".to_vec(),
        ftrace_formats: vec![b"function".to_vec()],
        systems: vec![System { name: "sched".into(), formats: vec![b"switch".to_vec(), b"waking".to_vec()] }],
        kallsyms: b"0 T f\n".to_vec(),
        printk_formats: b"0 : p\n".to_vec(),
        cmdlines: b"1 init\n".to_vec(),
        trace_clock: "[local] mono\n".into(),
        clock: "local".into(),
        uname: "Linux".into(),
        program: "snaptrace".into(),
        trace_id: 0x0102_0304_0506_0708,
        cpu_stats: vec!["CPU: 0\n".into()],
        cpu_count: 3,
        ..Metadata::default()
    }
}

/// CPU 0 has 12 pages, CPU 1 none, CPU 2 one.
fn written(version: Version, compression: Compression, metadata: &Metadata) -> (Vec<u8>, Vec<Stored>) {
    let data = pages();
    let (mut first, mut none, mut last) = (&data[0][..], &data[1][..], &data[2][..]);
    let mut file = Cursor::new(Vec::new());
    let mut cpus = [
        CpuData { cpu: 0, size: first.len() as u64, data: &mut first },
        CpuData { cpu: 1, size: 0, data: &mut none },
        CpuData { cpu: 2, size: last.len() as u64, data: &mut last },
    ];
    let stored = write(&mut file, version, compression, metadata, &mut cpus).unwrap();
    (file.into_inner(), stored)
}

fn pages() -> [Vec<u8>; 3] {
    let first = (0..12 * PAGE).map(|at| (at / 64) as u8).collect();
    [first, Vec::new(), vec![7; PAGE]]
}

fn number(file: &[u8], at: usize, size: usize) -> usize {
    file[at..at + size].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// The options of a version 7 file, with its sections' bodies in place of their offsets.
fn options(file: &[u8], at: usize, inflate: fn(&[u8]) -> Vec<u8>) -> Vec<(u16, Vec<u8>)> {
    let section = number(file, at, 8);
    assert_eq!((number(file, section, 2), number(file, section + 2, 2)), (0, 0), "plain options");
    let end = section + 16 + number(file, section + 8, 8);
    let mut at = section + 16;
    let mut options = Vec::new();
    while at < end {
        let (id, size) = (number(file, at, 2) as u16, number(file, at + 2, 4));
        let data = &file[at + 6..at + 6 + size];
        at += 6 + size;
        options.push((
            id,
            match id {
                id::HEADER_INFO..=id::CMDLINES => body(file, number(data, 0, 8), id, inflate),
                _ => data.to_vec(),
            },
        ));
    }
    assert_eq!(at, end);
    options
}

fn body(file: &[u8], section: usize, id: u16, inflate: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    assert_eq!(number(file, section, 2), usize::from(id));
    let body = &file[section + 16..section + 16 + number(file, section + 8, 8)];
    match number(file, section + 2, 2) {
        0 => body.to_vec(),
        _ => {
            assert_eq!(number(body, 0, 4) + 8, body.len());
            let plain = inflate(&body[8..]);
            assert_eq!(plain.len(), number(body, 4, 4));
            plain
        }
    }
}

fn plain(_: &[u8]) -> Vec<u8> {
    panic!("nothing is compressed")
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    ZlibDecoder::new(data).read_to_end(&mut plain).unwrap();
    plain
}

fn zstd(data: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(data).unwrap().read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn version_7_points_at_all_its_sections() {
    let metadata = metadata();
    for (compression, name, inflate) in [
        (Compression::None, &b"none\0\0"[..], plain as fn(&[u8]) -> Vec<u8>),
        (Compression::Zlib, b"zlib\x001\0", zlib),
        (Compression::Zstd, b"zstd\x001\0", zstd),
    ] {
        let (file, stored) = written(Version::V7, compression, &metadata);
        let prefix = b"\x17\x08\x44tracing7\0\x00\x08\x00\x10\x00\x00";
        assert!(file.starts_with(&[prefix, name].concat()));
        let options = options(&file, prefix.len() + name.len(), inflate);
        let get = |id: u16| &options.iter().find(|option| option.0 == id).unwrap().1;
        assert_eq!(
            get(id::HEADER_INFO),
            b"header_page\0\x04\0\0\0\0\0\0\0PAGEheader_event\0\x05\0\0\0\0\0\0\0EVENT"
        );
        assert_eq!(get(id::FTRACE_FORMATS), b"\x01\0\0\0\x08\0\0\0\0\0\0\0function");
        assert_eq!(get(id::KALLSYMS), b"\x06\0\0\x000 T f\n");
        assert_eq!(get(id::CMDLINES), b"\x07\0\0\0\0\0\0\x001 init\n");
        assert_eq!(get(id::TRACECLOCK), b"[local] mono\n\0");
        assert_eq!(get(id::TRACEID), &[8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(get(id::CPUCOUNT), &[3, 0, 0, 0]);
        assert_eq!(options.last().unwrap(), &(id::DONE, vec![0; 8]));

        let buffer = get(id::BUFFER);
        assert_eq!(number(&file, number(buffer, 0, 8), 2), usize::from(id::BUFFER));
        assert_eq!(&buffer[8..15], b"\0local\0");
        assert_eq!((number(buffer, 15, 4), number(buffer, 19, 4)), (PAGE, 2), "only CPUs with data");
        assert_eq!((number(buffer, 23, 4), number(buffer, 43, 4)), (0, 2));
        assert_eq!(number(buffer, 27, 8) as u64, stored[0].offset);
        assert_eq!(number(buffer, 55, 8) as u64, stored[2].size);
    }
}

#[test]
fn the_data_of_version_7_are_page_aligned_and_whole() {
    let metadata = metadata();
    for (compression, inflate) in [
        (Compression::None, plain as fn(&[u8]) -> Vec<u8>),
        (Compression::Zlib, zlib),
        (Compression::Zstd, zstd),
    ] {
        let (file, stored) = written(Version::V7, compression, &metadata);
        for (stored, pages) in stored.iter().zip(pages()) {
            assert_eq!(stored.offset % PAGE as u64, 0);
            assert_eq!(stored.uncompressed, pages.len() as u64);
            let data = &file[stored.offset as usize..(stored.offset + stored.size) as usize];
            let mut all = Vec::new();
            if compression == Compression::None {
                all.extend_from_slice(data);
            } else if !data.is_empty() {
                let mut at = 4;
                for _ in 0..number(data, 0, 4) {
                    let size = number(data, at, 4);
                    let chunk = inflate(&data[at + 8..at + 8 + size]);
                    assert_eq!(chunk.len(), number(data, at + 4, 4));
                    assert!(chunk.len() <= PAGES_PER_CHUNK * PAGE);
                    all.extend(chunk);
                    at += 8 + size;
                }
                assert_eq!(at, data.len());
            }
            assert!(all == pages, "the data of CPU {}", stored.cpu);
        }
    }
}

#[test]
fn version_6_is_in_one_order_with_a_table_for_every_cpu() {
    let (file, stored) = written(Version::V6, Compression::None, &metadata());
    let place = |wanted: &[u8]| file.windows(wanted.len()).position(|bytes| bytes == wanted).unwrap();
    let order = [
        &b"header_page\0"[..],
        b"header_event\0",
        b"function",
        b"sched\0",
        b"0 T f",
        b"0 : p",
        b"1 init",
        b"options  \0",
        b"flyrecord\0",
        b"\x08\0\0\0\0\0\0\0[local]\0",
    ];
    let places: Vec<usize> = order.iter().map(|part| place(part)).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(&file[places[7] - 4..places[7]], &[3, 0, 0, 0], "the CPU count precedes the options");
    assert_eq!(&file[places[8] - 2..places[8]], &[0, 0], "a zero id ends the options");
    assert_eq!(places[9], places[8] + 10 + 3 * 16, "the clock follows the table");
    for (number_of, (stored, pages)) in stored.iter().zip(pages()).enumerate() {
        let entry = places[8] + 10 + 16 * number_of;
        assert_eq!(number(&file, entry, 8) as u64, stored.offset);
        assert_eq!(number(&file, entry + 8, 8), pages.len());
        assert_eq!(stored.offset % PAGE as u64, 0);
        let at = stored.offset as usize;
        assert!(file[at..at + pages.len()] == pages);
    }
}

#[test]
fn numbers_are_in_the_recorded_machine_s_order() {
    let metadata = Metadata { big_endian: true, ..metadata() };
    for version in [Version::V6, Version::V7] {
        let (file, _) = written(version, Compression::None, &metadata);
        assert_eq!(&file[12..18], &[1, 8, 0, 0, 0x10, 0]);
        let at = file.windows(12).position(|bytes| bytes == b"header_page\0").unwrap();
        assert_eq!(&file[at + 12..at + 20], &[0, 0, 0, 0, 0, 0, 0, 4]);
    }
}

#[test]
fn a_cpu_with_fewer_data_than_it_says_is_an_error() {
    for compression in [Compression::None, Compression::Zlib, Compression::Zstd] {
        let mut cpus = [CpuData { cpu: 0, data: &mut [0; 100].as_slice(), size: 4096 }];
        let file = &mut Cursor::new(Vec::new());
        let error = write(file, Version::V7, compression, &metadata(), &mut cpus).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
