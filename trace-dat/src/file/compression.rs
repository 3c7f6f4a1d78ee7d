//! The compressions of version 7.

use std::io::{self, Read, Write};

use flate2::write::ZlibEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::error::{Error, ErrorKind, Result};

/// The largest zstd window that is accepted: that of zstd's highest ordinary level.
const WINDOW: u64 = 8 << 20;

/// How the sections and CPU data of version 7 are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not compressed; CPU data are then page-aligned.
    None,
    /// zlib streams; some builds of trace-cmd, as Debian's, cannot read them.
    Zlib,
    /// Zstandard frames.
    Zstd,
}

impl Compression {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Zlib => "zlib",
            Compression::Zstd => "zstd",
        }
    }

    /// The compression with a name.
    pub(crate) fn named(name: &str) -> Result<Compression> {
        match name {
            "none" => Ok(Compression::None),
            "zlib" => Ok(Compression::Zlib),
            "zstd" => Ok(Compression::Zstd),
            _ => Err(Error::new(
                ErrorKind::UnsupportedCompression,
                format!("compression '{name}' is not known"),
            )),
        }
    }

    /// Compresses data; `None` for no compression.
    pub(crate) fn pack(self, data: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match self {
            Compression::None => Ok(None),
            Compression::Zlib => {
                // The fastest level: recording must not take the traced machine's time.
                let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(data)?;
                encoder.finish().map(Some)
            }
            Compression::Zstd => Ok(Some(compress_to_vec(data, CompressionLevel::Fastest))),
        }
    }

    /// Unpacks `data` into `out`, which then has `size` bytes.
    ///
    /// Fails when the data are damaged or have another size, and when `size` is larger than `most`. Memory
    /// grows with the bytes that are really unpacked, not with the announced size.
    pub(crate) fn unpack(self, data: &[u8], size: u64, most: usize, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        if size > most as u64 {
            return Err(Error::malformed(format!("{size} bytes are announced, more than {most}")));
        }
        let most = size + 1;
        let outcome = match self {
            Compression::None => {
                out.extend_from_slice(data);
                Ok(data.len())
            }
            Compression::Zlib => flate2::read::ZlibDecoder::new(data).take(most).read_to_end(out),
            Compression::Zstd => {
                let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(data, WINDOW);
                decoder.map_err(io::Error::other).and_then(|decoder| decoder.take(most).read_to_end(out))
            }
        };
        match outcome {
            Ok(_) if out.len() as u64 == size => Ok(()),
            Ok(_) => Err(Error::malformed(format!("not the {size} bytes announced came out"))),
            Err(cause) => Err(Error::malformed("the compressed data are damaged").because(cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_announced_size_is_accepted() {
        let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&[7; 1000]).unwrap();
        let packed = encoder.finish().unwrap();
        let mut out = Vec::new();
        Compression::Zlib.unpack(&packed, 1000, 2000, &mut out).unwrap();
        assert_eq!(out, [7; 1000]);
        for size in [999, 1001, 1 << 32] {
            assert!(Compression::Zlib.unpack(&packed, size, usize::MAX, &mut out).is_err(), "{size}");
        }
        assert!(Compression::Zstd.unpack(&packed, 1000, 2000, &mut out).is_err());
        assert!(Compression::named("lz4").unwrap_err().to_string().contains("lz4"));
    }
}
