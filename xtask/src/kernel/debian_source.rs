//! Debian's source packages: fetched with apt; the cache keeps the tarball in them.

use std::fs;
use std::path::{Path, PathBuf};

use super::debian::{self, PackageLine};
use super::source::Given;
use crate::base::cache;
use crate::base::digest::Keyed;
use crate::base::error::{Context, Error, Result};
use crate::base::workspace::Workspace;
use crate::fetch::archive;
use crate::fetch::download;
use crate::matrix::Record;

/// The kind of the cache entries with tarballs.
const KIND: &str = "sources";
/// Raised when the form of entries changes.
const FORMAT: &str = "1";
const TARBALL: &str = "linux.tar.xz";
/// The file of an entry that says where the tarball came from.
const PROVENANCE: &str = "provenance";

/// The tarball of a line's source package, from the cache if it is there.
///
/// # Errors
/// The package cannot be obtained (verdict `unavailable`), or holds no tarball.
pub fn fetch(workspace: &Workspace, record: &Record) -> Result<Given> {
    let line = PackageLine::of(record)?;
    let recorded = line.version.unwrap_or_default();
    if let Some(entry) = workspace.host.cache.entry(KIND, &key(line.pattern, recorded)) {
        // With a full cache no network is needed.
        return given(&entry, Vec::new());
    }
    let found = debian::find(workspace, record, &line)?;
    let [package, ..] = found.packages.as_slice() else {
        return Err(Error::new(format!("cannot find the source of {}", record.name)));
    };
    let entry =
        workspace.host.cache.fill(&workspace.host.ui, KIND, &key(line.pattern, &package.version), |dir| {
            let deb = found.download(&workspace.host, package)?;
            workspace.host.ui.say(format!("unpacking {} {}", package.name, package.version));
            let unpacked = dir.join("package");
            archive::unpack_deb(&deb, &unpacked)?;
            cache::remove(&deb)?;
            let (from, to) = (tarball(&package.name, &unpacked)?, dir.join(TARBALL));
            fs::rename(&from, &to).map_err(|e| cache::denied("cannot create", &to, &e))?;
            cache::remove(&unpacked)?;
            let path = dir.join(PROVENANCE);
            let provenance = format!("Debian {} {} {}", found.suite, package.name, package.version);
            fs::write(&path, provenance).map_err(|e| cache::denied("cannot write", &path, &e))
        })?;
    given(&entry, found.notes)
}

fn key(pattern: &str, version: &str) -> String {
    let mut key = Keyed::new();
    key.add("format", FORMAT);
    key.add("package", pattern);
    key.add("version", version);
    key.finish()
}

fn given(entry: &Path, notes: Vec<String>) -> Result<Given> {
    let (path, words) = (entry.join(TARBALL), entry.join(PROVENANCE));
    let provenance = fs::read_to_string(&words)
        .context(|| format!("cannot read {}", words.display()))
        .map_err(|error| error.help("empty the cache with `cargo xtask kernel --clean`"))?;
    Ok(Given { digest: download::digest(&path)?, path, provenance, local: false, notes })
}

/// The tarball in an unpacked package, which also has patches that we do not need.
fn tarball(package: &str, unpacked: &Path) -> Result<PathBuf> {
    let folder = unpacked.join("usr/src");
    let name = format!("{package}.tar.xz");
    let path = folder.join(&name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::new(format!("cannot find the source in {package}"))
        .because(format!("the package has no usr/src/{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_another_tarball() {
        assert_eq!(key("linux-source-6", "6.1-1"), key("linux-source-6", "6.1-1"));
        assert_ne!(key("linux-source-6", "6.1-1"), key("linux-source-6", "6.1-2"));
    }

    #[test]
    fn a_package_without_a_tarball_is_told() {
        let unpacked = tempfile::tempdir().unwrap();
        let none = tarball("linux-source-6.1", unpacked.path()).unwrap_err().to_string();
        assert!(none.contains("no usr/src/linux-source-6.1.tar.xz"), "{none}");
        let folder = unpacked.path().join("usr/src");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("linux-source-6.1.tar.xz"), "").unwrap();
        assert!(tarball("linux-source-6.1", unpacked.path()).is_ok());
    }
}
