//! The compressions of version 7.

use std::io::Read;

use crate::error::{Error, ErrorKind, Result};

/// The window of zstd that is accepted: that of its highest ordinary level.
const WINDOW: u64 = 8 << 20;

/// How sections and CPU data are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Zlib,
    Zstd,
}

impl Compression {
    pub fn named(name: &str) -> Result<Compression> {
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

    /// Unpacks `data` into `out`, which comes to have `size` bytes.
    ///
    /// Fails when the data are damaged, or have another size or one above `most`. Memory grows with
    /// what is really there, not with what is announced.
    pub fn unpack(self, data: &[u8], size: u64, most: usize, out: &mut Vec<u8>) -> Result<()> {
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
                decoder.map_err(std::io::Error::other).and_then(|decoder| decoder.take(most).read_to_end(out))
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
    use std::io::Write;

    use super::*;

    #[test]
    fn only_the_announced_size_is_accepted() {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
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
