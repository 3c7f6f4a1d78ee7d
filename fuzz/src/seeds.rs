//! Writes the seeds that fuzzing starts from: small and sound inputs of each target.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --features harness` writes them anew; those in
//! `seeds/*/found-*` are inputs that were answered wrongly once, and are kept.

use std::error::Error;
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use initramfs::protocol::{Frame, Hello, Sender, Status, VERSION};
use trace_dat::bytes::ByteOrder;
use trace_dat::ring_buffer::Missed;
use trace_dat::ring_buffer::SubBuffers;
use trace_dat::write::{Compression, CpuData, Metadata, System, Version, write};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const SWITCH: &str = include_str!("../formats/switch.txt");
const MARK: &str = include_str!("../formats/mark.txt");
const KALLSYMS: &str = "1000 T open\n1100 t read\t[demo]\n1100 T again\n1200 A absolute\n1300 T last\n";
/// Small, so that the seeds are.
const PAGE: usize = 256;

fn main() -> Outcome {
    for (version, compression, name) in [
        (Version::V6, Compression::None, "version-6"),
        (Version::V7, Compression::None, "version-7"),
        (Version::V7, Compression::Zlib, "zlib"),
        (Version::V7, Compression::Zstd, "zstd"),
    ] {
        seed("recording", name, &recording(version, compression, false)?)?;
    }
    seed("recording", "big-endian", &recording(Version::V6, Compression::None, true)?)?;
    for (name, format) in [("switch", SWITCH), ("mark", MARK)] {
        seed("event_format", name, &[format.as_bytes(), &[0], &record(51)].concat())?;
    }
    for (name, text) in [
        ("name", "switch"),
        ("number", "demo/.*: pid > 3 && !(state & 0xff) || CPU == 1"),
        ("text", "switch,mark: comm =~ \"c.t\" && name != 'x' || COMM == \"cat\""),
        ("arithmetic", "mark: (flags << 2) + kind * -3 % 7 >= TIMESTAMP / 2 ^ 1"),
    ] {
        seed("event_filter", name, &[text.as_bytes(), &[0], &record(51)].concat())?;
    }
    for (choice, order, long_size, name) in [
        (0, ByteOrder::Little, 8, "little-8"),
        (1, ByteOrder::Big, 8, "big-8"),
        (2, ByteOrder::Little, 4, "little-4"),
        (3, ByteOrder::Big, 4, "big-4"),
    ] {
        seed("sub_buffer", name, &[&[choice][..], &sub_buffers(order, long_size)].concat())?;
    }
    let page = sub_buffers(ByteOrder::Little, 8);
    let header = header_page();
    seed("sub_buffer", "header", &[&[4][..], &header, &page[..header.len()]].concat())?;
    seed("kallsyms", "modules", KALLSYMS.as_bytes())?;
    seed("kallsyms", "long", b"ffffffffffffffff T $skipped\nffffffff81000000 T _text\n0 a percpu\n")?;
    seed("protocol", "raw", &[&[0][..], &sent()?].concat())?;
    seed("protocol", "sealed", &[&[1][..], &unsealed()?].concat())?;
    seed(
        "apt_index",
        "two",
        b"Package: a\nVersion: 1:2~3-4\nSize: 7\nSHA256: ff\n\nPackage: b\nSize: x\n\n",
    )?;
    kernel_images()
}

fn seed(target: &str, name: &str, bytes: &[u8]) -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), bytes)?)
}

/// A record of `switch`, and long enough for one of `mark`.
fn record(id: u16) -> Vec<u8> {
    let head = [&id.to_le_bytes()[..], &[1, 2], &7_u32.to_le_bytes()].concat();
    let body = [&b"cat\0............"[..], &7_u32.to_le_bytes(), &[0; 4], &0x102_u64.to_le_bytes()].concat();
    // Where the text is, and how long: 8 bytes into what follows, and 4.
    [head, body, (44_u32 | 4 << 16).to_le_bytes().to_vec(), b"abc\0".to_vec()].concat()
}

fn header_page() -> Vec<u8> {
    b"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
      \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
      \tfield: char data;\toffset:16;\tsize:240;\tsigned:1;\n"
        .to_vec()
}

fn sub_buffers(order: ByteOrder, long_size: usize) -> Vec<u8> {
    let mut buffers = SubBuffers::new(order, long_size, PAGE);
    let function = [&1_u16.to_le_bytes()[..], &[0, 0], &7_u32.to_le_bytes(), &0x1004_u64.to_le_bytes()];
    let function = [&function.concat()[..], &0x1104_u64.to_le_bytes()].concat();
    buffers.add(1000, Missed::Count(3), &function);
    buffers.add(1000 + (1 << 30), Missed::No, &record(51));
    buffers.add(1009 + (1 << 30), Missed::No, &record(50));
    buffers.add(1010 + (1 << 30), Missed::No, &[]);
    buffers.finish()
}

fn recording(version: Version, compression: Compression, big_endian: bool) -> Outcome<Vec<u8>> {
    let function = SWITCH.split("\tfield:char comm").next().unwrap_or_default();
    let function = function.replace("name: switch\nID: 51", "name: function\nID: 1")
        + "\tfield:unsigned long ip;\toffset:8;\tsize:8;\tsigned:0;\n\
           \tfield:unsigned long parent_ip;\toffset:16;\tsize:8;\tsigned:0;\n\n\
           print fmt: \" %ps <-- %ps\", (void *)REC->ip, (void *)REC->parent_ip\n";
    let formats = vec![SWITCH.as_bytes().to_vec(), MARK.as_bytes().to_vec()];
    let metadata = Metadata {
        big_endian,
        long_size: 8,
        page_size: PAGE as u32,
        sub_buffer_size: PAGE as u32,
        header_page: header_page(),
        header_event: b"# compressed entry header\n".to_vec(),
        ftrace_formats: vec![function.into_bytes()],
        systems: vec![System { name: "demo".to_owned(), formats }],
        kallsyms: KALLSYMS.as_bytes().to_vec(),
        printk_formats: b"0x1000 : \"a %d\"\n".to_vec(),
        cmdlines: b"7 cat\n".to_vec(),
        trace_clock: "[local] mono\n".to_owned(),
        clock: "local".to_owned(),
        uname: "Linux".to_owned(),
        program: "seeds".to_owned(),
        trace_id: 7,
        cpu_stats: vec!["CPU: 0\nentries: 4\n".to_owned()],
        cpu_count: 2,
        date: Some(1000),
        ..Metadata::default()
    };
    let order = if big_endian { ByteOrder::Big } else { ByteOrder::Little };
    let data = sub_buffers(order, 8);
    let size = data.len() as u64;
    let mut cpus = [
        CpuData { cpu: 0, data: &mut data.as_slice(), size },
        CpuData { cpu: 1, data: &mut data.as_slice(), size },
    ];
    let mut file = Cursor::new(Vec::new());
    write(&mut file, version, compression, &metadata, &mut cpus)?;
    Ok(file.into_inner())
}

fn hello() -> Hello {
    Hello { version: VERSION, release: "6.1".to_owned(), tracing_dir: "/t".to_owned(), tracers: Vec::new() }
}

/// A whole stream, as a guest sends it.
fn sent() -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut sender = Sender::new(&mut bytes);
    for frame in [
        Frame::Hello(hello()),
        Frame::Config(vec![1, 2]),
        Frame::StepStart(0),
        Frame::Stdout(b"out".to_vec()),
        Frame::Stderr(b"err".to_vec()),
        Frame::StepEnd(Status::Exited(3)),
        Frame::FileStart("/tmp/a".to_owned()),
        Frame::FileData(b"data".to_vec()),
        Frame::FileError("gone".to_owned()),
        Frame::Fatal("no port".to_owned()),
        Frame::End,
    ] {
        sender.send(&frame)?;
    }
    Ok(bytes)
}

/// Frames by kind, length and payload; the target seals them.
fn unsealed() -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    for (kind, payload) in [
        (1, serde_json::to_vec(&hello())?),
        (3, vec![0; 4]),
        (4, b"out".to_vec()),
        (6, serde_json::to_vec(&Status::Signaled(9))?),
        (7, b"/tmp/a".to_vec()),
        (11, Vec::new()),
    ] {
        bytes.extend([kind, payload.len() as u8]);
        bytes.extend(payload);
    }
    Ok(bytes)
}

/// Payloads of each compression, one within an image, and modules.
fn kernel_images() -> Outcome {
    let kernel = [&b"\x7fELF"[..], &[0; 60]].concat();
    let size = (kernel.len() as u32).to_le_bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&kernel)?;
    let gzip = gzip.finish()?;
    let zstd = zstd::encode_all(kernel.as_slice(), 1)?;
    // One literal run and no match: the token, a length beyond 15, and the bytes.
    let block = [&[0xf0, kernel.len() as u8 - 15][..], &kernel].concat();
    let lz4 = [&[0x02, 0x21, 0x4c, 0x18][..], &(block.len() as u32).to_le_bytes(), &block].concat();
    seed("kernel_image", "payload-gzip", &[&[1][..], &gzip].concat())?;
    seed("kernel_image", "payload-zstd", &[&[1][..], &zstd, &size].concat())?;
    seed("kernel_image", "payload-lz4", &[&[1][..], &lz4, &size].concat())?;
    // The signature of xz is enough to begin with: its streams have check sums everywhere.
    seed("kernel_image", "payload-xz", &[&[1][..], b"\xfd7zXZ\0\0\x04", &size].concat())?;
    seed("kernel_image", "module-gzip", &[&[2][..], &gzip].concat())?;
    seed("kernel_image", "module-zstd", &[&[4][..], &zstd].concat())?;
    let mut image = vec![0; 1024];
    image[0x1f1] = 1;
    image[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
    image[0x24c..0x250].copy_from_slice(&(gzip.len() as u32).to_le_bytes());
    seed("kernel_image", "image", &[&[0][..], &image, &gzip].concat())
}
