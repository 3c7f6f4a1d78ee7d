//! New pins: the newest packages of a record's line, with their digests, written into the kernel matrix.

use std::fs;

use toml_edit::{Array, DocumentMut, InlineTable, Table, Value, value};
use xshell::{Shell, cmd};

use super::debian::{self, PackageLine};
use crate::base::cache;
use crate::base::error::{Context, Error, Result};
use crate::base::workspace::Workspace;
use crate::fetch::apt::Package;
use crate::matrix::Record;

/// The part of the archive whose packages stay until the next point release, and that the snapshot
/// archive keeps under `debian`.
const MAIN: &str = "pool/main/";

/// Records the newest version of a kernel's line that Debian's main archive has, and returns what was
/// done, as text for people. Everything else in the matrix stays as it is, comments too.
///
/// # Errors
/// The kernel does not come from Debian, this host has no Debian's apt, or the matrix cannot be written.
pub fn repin(workspace: &Workspace, record: &Record) -> Result<String> {
    let line = PackageLine::of(record)?;
    let packages = debian::newest_of_main(workspace, record, &line, MAIN)?;
    let path = workspace.configs().join("kernels.toml");
    let failed = || format!("cannot write new pins into {}", path.display());
    let text = fs::read_to_string(&path).context(failed)?;
    let sh = Shell::new().context(failed)?;
    let now = cmd!(sh, "date -u +%Y%m%dT%H%M%SZ").quiet().read().context(failed)?;
    let new =
        pinned(&text, &record.name, &packages, &now).map_err(|cause| Error::new(failed()).because(cause))?;
    fs::write(&path, new).map_err(|e| cache::denied("cannot write", &path, &e))?;
    let version = packages.first().map_or("", |package| &package.version);
    Ok(match line.version {
        Some(before) if before != version => format!("{}: {version}, before {before}", record.name),
        _ => format!("{}: {version}, as before", record.name),
    })
}

/// The matrix with new pins of one kernel.
fn pinned(text: &str, name: &str, packages: &[Package], now: &str) -> std::result::Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    let kernels = document.get_mut("kernel").and_then(|item| item.as_array_of_tables_mut());
    let kernel = kernels.and_then(|kernels| {
        kernels.iter_mut().find(|kernel| kernel.get("name").and_then(|item| item.as_str()) == Some(name))
    });
    let source = kernel.and_then(|kernel| kernel.get_mut("source")).and_then(|item| item.as_table_mut());
    let source = source.ok_or_else(|| format!("it has no source of {name}"))?;
    let version = packages.first().ok_or("there is no package")?.version.as_str();
    // The version's own comment stays before it.
    if let Some(item) = source.get_mut("version") {
        let decor = item.as_value().map(|value| value.decor().clone()).unwrap_or_default();
        let mut new = Value::from(version);
        *new.decor_mut() = decor;
        *item = new.into();
    }
    let mut pinned = Table::new();
    pinned.insert("snapshot", value(now));
    let mut files = Array::new();
    for package in packages {
        let mut file = InlineTable::new();
        file.insert("path", package.path.as_str().into());
        file.insert("sha256", package.sha256.as_str().into());
        let mut file = Value::from(file);
        file.decor_mut().set_prefix("\n    ");
        files.push_formatted(file);
    }
    files.set_trailing_comma(true);
    files.set_trailing("\n");
    pinned.insert("files", value(files));
    source.insert("pinned", pinned.into());
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_pins_leave_the_rest_as_it_is() {
        let text = "# The kernels.\n\n[[kernel]]\nname = \"a\" # first\n\n[kernel.source]\nkind = \"debian\"\n\
            # Why this one.\nversion = \"1-1\"\n\n# Another.\n[[kernel]]\nname = \"b\"\n\n[kernel.source]\n\
            version = \"1-1\"\n";
        let package = |name: &str, sha256: &str| Package {
            name: name.into(),
            version: "1-2".into(),
            architecture: "amd64".into(),
            size: 1,
            sha256: sha256.into(),
            path: format!("pool/main/l/{name}_1-2_amd64.deb"),
        };
        let packages = [package("image", "aa"), package("modules", "bb")];
        let once = pinned(text, "a", &packages, "20261128T000000Z").unwrap();
        let pins = "\n[kernel.source.pinned]\nsnapshot = \"20261128T000000Z\"\nfiles = [\n    \
            { path = \"pool/main/l/image_1-2_amd64.deb\", sha256 = \"aa\" },\n    \
            { path = \"pool/main/l/modules_1-2_amd64.deb\", sha256 = \"bb\" },\n]\n";
        let wanted = text.replacen("version = \"1-1\"\n", &format!("version = \"1-2\"\n{pins}"), 1);
        assert_eq!(once, wanted);
        assert_eq!(pinned(&once, "a", &packages, "20261128T000000Z").unwrap(), once);
        assert!(pinned(text, "c", &packages, "x").unwrap_err().contains("no source of c"));
    }
}
