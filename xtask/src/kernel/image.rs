//! The vmlinux inside a bzImage, unpacked on the host.
//!
//! A bzImage has a real-mode and a protected-mode part. The setup header in the first says where in the
//! second the compressed kernel lies (boot protocol 2.08 and later, see the kernel's
//! `Documentation/x86/boot`). All multi-byte fields are little endian. Except with gzip, the build
//! appends the uncompressed size as four bytes.

use std::io::Read;

use crate::base::error::{Context, Error, Result};

const SETUP_SECTS: usize = 0x1f1;
const HEADER_MAGIC: usize = 0x202;
const PROTOCOL: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// The largest block of lz4's legacy frame format.
const LZ4_BLOCK: usize = 8 << 20;

/// The largest accepted size; no kernel is larger, so the image is damaged.
const MAX_SIZE: u64 = 1 << 30;

/// Unpacks the vmlinux of a bzImage (Debian calls it vmlinuz).
///
/// # Errors
/// The image is damaged, older than protocol 2.08, or compressed in a way that is not
/// gzip, xz, lz4 or zstd.
pub fn vmlinux(image: &[u8]) -> Result<Vec<u8>> {
    let failed = |cause: String| Error::new("cannot unpack the kernel image").because(cause);
    let payload = payload(image).map_err(failed)?;
    let vmlinux = decompress(payload).map_err(failed)?;
    if !vmlinux.starts_with(b"\x7fELF") {
        return Err(failed("what it holds is no ELF file".to_owned()));
    }
    Ok(vmlinux)
}

fn payload(image: &[u8]) -> Result<&[u8], String> {
    if bytes(image, HEADER_MAGIC, 4)? != b"HdrS" {
        return Err("it has no setup header".to_owned());
    }
    let protocol = u16::from_le_bytes(array(image, PROTOCOL)?);
    if protocol < 0x208 {
        return Err(format!("boot protocol {}.{:02} is too old", protocol >> 8, protocol & 0xff));
    }
    let sectors = match bytes(image, SETUP_SECTS, 1)?[0] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let offset = u32::from_le_bytes(array(image, PAYLOAD_OFFSET)?) as usize;
    let length = u32::from_le_bytes(array(image, PAYLOAD_LENGTH)?) as usize;
    bytes(image, (sectors + 1) * 512 + offset, length)
}

fn decompress(payload: &[u8]) -> Result<Vec<u8>, String> {
    match payload {
        [0x1f, 0x8b, ..] => limited(flate2::read::GzDecoder::new(payload), None),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let (data, size) = sized(payload)?;
            limited(liblzma::read::XzDecoder::new(data), Some(size))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let (data, size) = sized(payload)?;
            let decoder = zstd::stream::read::Decoder::new(data).map_err(|e| e.to_string())?;
            limited(decoder.single_frame(), Some(size))
        }
        [0x02, 0x21, 0x4c, 0x18, data @ ..] => {
            let (data, size) = sized(data)?;
            lz4_legacy(data, size)
        }
        [b'B', b'Z', b'h', ..] => Err("its payload is bzip2, which is not known here".to_owned()),
        [0x5d, 0, 0, ..] => Err("its payload is lzma, which is not known here".to_owned()),
        [0x89, b'L', b'Z', b'O', ..] => Err("its payload is lzo, which is not known here".to_owned()),
        _ => Err("its payload has an unknown compression".to_owned()),
    }
}

/// Splits the uncompressed size off the end.
fn sized(payload: &[u8]) -> Result<(&[u8], u64), String> {
    let end = payload.len().checked_sub(4).ok_or("its payload is cut short")?;
    let size = u64::from(u32::from_le_bytes(array(payload, end)?));
    if size > MAX_SIZE {
        return Err(format!("its payload claims {size} bytes"));
    }
    Ok((&payload[..end], size))
}

fn limited(decoder: impl Read, size: Option<u64>) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    let limit = size.unwrap_or(MAX_SIZE);
    let read = decoder.take(limit + 1).read_to_end(&mut all).map_err(|e| e.to_string())? as u64;
    expect(read, limit, size)?;
    Ok(all)
}

fn lz4_legacy(mut data: &[u8], size: u64) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    let mut block = vec![0; LZ4_BLOCK];
    while !data.is_empty() {
        let length = u32::from_le_bytes(array(data, 0)?) as usize;
        let packed = bytes(data, 4, length)?;
        let unpacked = lz4_flex::block::decompress_into(packed, &mut block)
            .map_err(|e| format!("its lz4 payload is damaged: {e}"))?;
        all.extend_from_slice(&block[..unpacked]);
        expect(all.len() as u64, size, None)?;
        data = &data[4 + length..];
    }
    expect(all.len() as u64, size, Some(size))?;
    Ok(all)
}

fn expect(read: u64, limit: u64, size: Option<u64>) -> Result<(), String> {
    match size {
        Some(size) if read != size => {
            Err(format!("its payload unpacks to {read} bytes or more where {size} are due"))
        }
        _ if read > limit => Err(format!("its payload unpacks to more than {limit} bytes")),
        _ => Ok(()),
    }
}

fn bytes(data: &[u8], offset: usize, length: usize) -> Result<&[u8], String> {
    let cut = || format!("{length} bytes at offset {offset:#x} lie beyond its end");
    data.get(offset..offset.checked_add(length).ok_or_else(cut)?).ok_or_else(cut)
}

fn array<const N: usize>(data: &[u8], offset: usize) -> Result<[u8; N], String> {
    bytes(data, offset, N)?.try_into().map_err(|_| "its header is cut short".to_owned())
}

/// Unpacks a module according to the ending of its name: `.ko`, `.ko.gz`, `.ko.xz` or `.ko.zst`.
///
/// # Errors
/// The file is damaged, or has another ending.
pub fn module(name: &str, data: &[u8]) -> Result<Vec<u8>> {
    let unpacked = if name.ends_with(".ko") {
        Ok(data.to_vec())
    } else if name.ends_with(".ko.gz") {
        limited(flate2::read::GzDecoder::new(data), None)
    } else if name.ends_with(".ko.xz") {
        limited(liblzma::read::XzDecoder::new(data), None)
    } else if name.ends_with(".ko.zst") {
        zstd::stream::read::Decoder::new(data)
            .map_err(|e| e.to_string())
            .and_then(|decoder| limited(decoder, None))
    } else {
        Err("it has no ending of a module".to_owned())
    };
    unpacked.context(|| format!("cannot unpack the module {name}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// An image of one setup sector around a payload that begins 16 bytes into the rest.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024 + 16];
        image[SETUP_SECTS] = 1;
        image[HEADER_MAGIC..][..4].copy_from_slice(b"HdrS");
        image[PROTOCOL..][..2].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[PAYLOAD_OFFSET..][..4].copy_from_slice(&16_u32.to_le_bytes());
        image[PAYLOAD_LENGTH..][..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend_from_slice(payload);
        image.extend_from_slice(b"and more");
        image
    }

    fn kernel() -> Vec<u8> {
        let mut kernel = b"\x7fELF".to_vec();
        kernel.extend((0..300_000_u32).flat_map(u32::to_le_bytes));
        kernel
    }

    fn with_size(mut packed: Vec<u8>) -> Vec<u8> {
        packed.extend_from_slice(&(kernel().len() as u32).to_le_bytes());
        packed
    }

    fn gzip() -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&kernel()).unwrap();
        encoder.finish().unwrap()
    }

    fn xz() -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
        encoder.write_all(&kernel()).unwrap();
        with_size(encoder.finish().unwrap())
    }

    fn zst() -> Vec<u8> {
        with_size(zstd::encode_all(kernel().as_slice(), 1).unwrap())
    }

    fn lz4(block: usize) -> Vec<u8> {
        let mut packed = 0x184c_2102_u32.to_le_bytes().to_vec();
        for part in kernel().chunks(block) {
            let part = lz4_flex::block::compress(part);
            packed.extend_from_slice(&(part.len() as u32).to_le_bytes());
            packed.extend_from_slice(&part);
        }
        with_size(packed)
    }

    #[test]
    fn every_compression_is_unpacked() {
        for (name, packed) in [("gzip", gzip()), ("xz", xz()), ("zstd", zst()), ("lz4", lz4(LZ4_BLOCK))] {
            assert!(vmlinux(&image(&packed)).unwrap() == kernel(), "{name}");
        }
        assert!(vmlinux(&image(&lz4(1 << 20))).unwrap() == kernel(), "several blocks");
    }

    #[test]
    fn a_cut_payload_is_an_error() {
        for packed in [gzip(), xz(), zst(), lz4(LZ4_BLOCK)] {
            let whole = image(&packed);
            for cut in [0, 100, 0x24e, 1024, 1040, whole.len() / 2] {
                assert!(vmlinux(&whole[..cut]).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn damage_is_an_error_where_the_format_has_a_check_sum() {
        for packed in [gzip(), xz()] {
            let mut damaged = image(&packed);
            let middle = damaged.len() / 2;
            damaged[middle..middle + 64].fill(0xa5);
            assert!(vmlinux(&damaged).is_err());
        }
    }

    #[test]
    fn a_size_that_does_not_fit_is_an_error() {
        for mut packed in [xz(), zst(), lz4(LZ4_BLOCK)] {
            let end = packed.len() - 4;
            packed[end..].copy_from_slice(&5_u32.to_le_bytes());
            assert!(vmlinux(&image(&packed)).unwrap_err().to_string().contains("payload"));
            packed[end..].copy_from_slice(&u32::MAX.to_le_bytes());
            assert!(vmlinux(&image(&packed)).unwrap_err().to_string().contains("claims"));
        }
    }

    #[test]
    fn what_is_not_an_image_says_so() {
        let text = |image: &[u8]| vmlinux(image).unwrap_err().to_string();
        assert!(text(&[0; 2048]).contains("no setup header"));
        assert!(text(&image(b"what is this")).contains("unknown compression"));
        let mut old = image(&gzip());
        old[PROTOCOL..][..2].copy_from_slice(&0x207_u16.to_le_bytes());
        assert!(text(&old).contains("2.07 is too old"));
        let not_elf = zstd::encode_all(&b"hello"[..], 1).unwrap();
        let sized = [not_elf.as_slice(), &5_u32.to_le_bytes()].concat();
        assert!(text(&image(&sized)).contains("no ELF"));
    }

    #[test]
    fn modules_are_unpacked_by_their_ending() {
        assert_eq!(module("a.ko", b"x").unwrap(), b"x");
        assert_eq!(module("a.ko.gz", &gzip()).unwrap(), kernel());
        assert_eq!(module("a.ko.zst", &zstd::encode_all(&b"x"[..], 1).unwrap()).unwrap(), b"x");
        assert!(module("a.ko.lz", b"x").unwrap_err().to_string().contains("a.ko.lz"));
    }
}
