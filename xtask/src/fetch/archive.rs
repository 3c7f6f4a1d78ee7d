//! Archives: tar, packed in any of the usual ways, and the packages of Debian, which hold one.
//!
//! A `.deb` is an `ar` archive (deb(5)): `debian-binary` with the format's version, `control.tar.*`, and
//! `data.tar.*` with the files.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::base::cache;
use crate::base::error::{Context, Error, Result};

const DEB_VERSION: &[u8] = b"debian-binary";
const DEB_FILES: &[u8] = b"data.tar";

/// What unpacks a tar archive, by the bytes it begins with: gzip, xz, zstd or plain. `None` for
/// anything else.
///
/// # Errors
/// Reading fails.
pub fn decoder<'a>(archive: impl Read + 'a) -> io::Result<Option<Box<dyn Read + 'a>>> {
    let mut archive = BufReader::with_capacity(256 << 10, archive);
    let magic = archive.fill_buf()?;
    Ok(Some(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(archive)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(archive))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(archive)?),
        magic if magic.get(257..262) == Some(b"ustar") => Box::new(archive),
        _ => return Ok(None),
    }))
}

/// Unpacks a tar archive into a folder. Nothing is written outside of it.
///
/// `origin` is the file that it comes from.
///
/// # Errors
/// The archive is damaged, or the disk is full.
pub fn unpack(tar: impl Read, origin: &Path, into: &Path) -> Result<()> {
    let mut archive = tar::Archive::new(tar);
    archive.set_preserve_mtime(true);
    archive.unpack(into).map_err(|e| {
        // What the system said stands at the end of a chain of what was attempted.
        let mut cause: &dyn std::error::Error = &e;
        while let Some(next) = cause.source() {
            cause = next;
        }
        let said = cause.to_string();
        let error = cache::denied("cannot unpack", origin, &e);
        if e.to_string() == said { error } else { error.because(said) }
    })
}

/// Unpacks the files of a Debian package into a folder.
///
/// # Errors
/// It is no package or a damaged one, or the disk is full.
pub fn unpack_deb(deb: &Path, into: &Path) -> Result<()> {
    let failed = || format!("cannot unpack {}", deb.display());
    let no_package = |what: &str| Error::new(failed()).because(format!("it is no Debian package: {what}"));
    let file = File::open(deb).context(failed)?;
    let mut members = ar::Archive::new(BufReader::new(file));
    let mut is_first = true;
    while let Some(member) = members.next_entry() {
        let mut member = member.map_err(|cause| no_package(&cause.to_string()))?;
        let name = member.header().identifier().to_vec();
        if std::mem::take(&mut is_first) {
            let mut version = String::new();
            if name != DEB_VERSION {
                return Err(no_package("it does not begin with debian-binary"));
            }
            member.read_to_string(&mut version).context(failed)?;
            if !version.starts_with("2.") {
                return Err(no_package(&format!("its format is {}, not 2.x", version.trim())));
            }
        } else if name.starts_with(DEB_FILES) {
            let tar = decoder(member).context(failed)?;
            let tar = tar.ok_or_else(|| {
                let name = String::from_utf8_lossy(&name).into_owned();
                no_package(&format!("its {name} is packed in an unknown way"))
            })?;
            return unpack(tar, deb, into);
        }
    }
    Err(no_package("it has no data.tar"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A tar archive with one file.
    fn tar(path: &str, text: &str) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        // Written as it is: the library's own setter refuses what leaves the folder.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, text.as_bytes()).unwrap();
        builder.into_inner().unwrap()
    }

    fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = ar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        liblzma::read::XzEncoder::new(bytes, 6).read_to_end(&mut packed).unwrap();
        packed
    }

    /// Unpacks, and returns what went wrong.
    fn fails(folder: &Path, deb: &[u8]) -> String {
        let path = folder.join("p.deb");
        fs::write(&path, deb).unwrap();
        let error = unpack_deb(&path, &folder.join("files")).unwrap_err().to_string();
        assert!(error.starts_with("cannot unpack ") && error.contains("p.deb"), "{error}");
        error
    }

    #[test]
    fn a_package_is_unpacked_however_it_is_packed() {
        let plain = tar("./usr/bin/x", "program");
        let mut gzip = Vec::new();
        flate2::read::GzEncoder::new(&*plain, flate2::Compression::fast()).read_to_end(&mut gzip).unwrap();
        let zstd = zstd::encode_all(&*plain, 1).unwrap();
        for (name, data) in [
            ("data.tar", &plain),
            ("data.tar.gz", &gzip),
            ("data.tar.xz", &xz(&plain)),
            ("data.tar.zst", &zstd),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("p.deb");
            let members = [("debian-binary", b"2.0\n".as_slice()), ("control.tar.xz", b"?"), (name, data)];
            fs::write(&path, ar(&members)).unwrap();
            unpack_deb(&path, folder.path()).unwrap();
            assert_eq!(fs::read_to_string(folder.path().join("usr/bin/x")).unwrap(), "program", "{name}");
        }
    }

    #[test]
    fn what_is_no_package_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let first = ("debian-binary", b"2.0\n".as_slice());
        let cases: [(&str, Vec<u8>); 6] = [
            ("it is no Debian package", b"<html>".to_vec()),
            ("does not begin with debian-binary", ar(&[("x", b"2.0\n")])),
            ("its format is 3.0", ar(&[("debian-binary", b"3.0\n")])),
            ("it has no data.tar", ar(&[first])),
            ("data.tar.lz is packed in an unknown way", ar(&[first, ("data.tar.lz", b"LZIP")])),
            ("it is no Debian package", Vec::new()),
        ];
        for (what, deb) in cases {
            let error = fails(folder.path(), &deb);
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn a_package_that_is_cut_or_leaves_its_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = ("debian-binary", b"2.0\n".as_slice());
        let whole = ar(&[first, ("data.tar.xz", &xz(&tar("a", &"x".repeat(9999))))]);
        fails(folder.path(), &whole[..whole.len() - 40]);
        fails(folder.path(), &whole[..100]);

        let outside = ar(&[first, ("data.tar", &tar("../outside", "x"))]);
        fs::write(folder.path().join("o.deb"), outside).unwrap();
        let _ = unpack_deb(&folder.path().join("o.deb"), &folder.path().join("files"));
        assert!(!folder.path().join("outside").exists());
    }
}
