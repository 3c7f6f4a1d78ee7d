//! trace-cmd, the reference of `report` and `record`: the host's, else one unpacked into the cache.
//!
//! Its version is fixed, since the text of a report differs between versions. Debian's build of that version
//! cannot read zlib, so recordings with zlib use a later one. The latest version, whose text has its own
//! style, is compared while Debian's sid has it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt::Apt;
use super::archive;
use crate::base::cache;
use crate::base::error::{Context, Error, Result};
use crate::base::host::Host;
use crate::base::verdict::Verdict;

/// The version whose text `snaptrace report --style trace-cmd-3.1` prints.
pub const VERSION: &str = "3.1.6";
/// The release of Debian that has this version, whatever the host runs.
const SUITE: &str = "bookworm";
/// Its packages, without libraries that every Debian has.
const PACKAGES: [&str; 4] = ["trace-cmd", "libtracefs1", "libtraceevent1", "libtraceevent1-plugin"];
/// A version that reads zlib, and the release of Debian that has it.
pub const VERSION_WITH_ZLIB: &str = "3.3.1";
const SUITE_WITH_ZLIB: &str = "trixie";
/// The latest version whose text `snaptrace report` prints, and the release of Debian that has it.
pub const LATEST: &str = "3.4.0";
const SUITE_WITH_LATEST: &str = "sid";
/// Raised when the form of an entry changes.
const FORMAT: u32 = 1;
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// The folder where the libraries search for plug-ins by default.
const PLUGINS: &str = "/usr/lib/x86_64-linux-gnu/traceevent/plugins";

/// Starts the unpacked program with the libraries and plug-ins beside it.
const WRAPPER: &str = r#"#!/bin/sh
here=$(dirname "$(readlink -f "$0")")/package
LD_LIBRARY_PATH=$here/usr/lib/x86_64-linux-gnu
TRACEEVENT_PLUGIN_DIR=$LD_LIBRARY_PATH/traceevent/plugins
export LD_LIBRARY_PATH TRACEEVENT_PLUGIN_DIR
exec "$here/usr/bin/trace-cmd" "$@"
"#;

/// The same with the loader and the C library of a later Debian than the host's.
const WRAPPER_WITH_LOADER: &str = r#"#!/bin/sh
here=$(dirname "$(readlink -f "$0")")/package
libraries=$here/usr/lib/x86_64-linux-gnu
TRACEEVENT_PLUGIN_DIR=$libraries/traceevent/plugins
export TRACEEVENT_PLUGIN_DIR
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$here/usr/bin/trace-cmd" "$@"
"#;

/// A trace-cmd of [`VERSION`] that runs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceCmd {
    /// The program to start, named `trace-cmd`.
    pub program: PathBuf,
    /// The ELF program behind it, and the folder of its libraries, to copy both into a guest.
    elf: PathBuf,
    library_path: Option<PathBuf>,
}

impl TraceCmd {
    /// The program and all it loads, the dynamic loader included, to run it in a guest.
    ///
    /// # Errors
    /// `ldd` cannot be run or finds that a library is missing.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let failed = || format!("cannot find the libraries of {}", self.elf.display());
        let mut command = Command::new("ldd");
        command.arg(&self.elf);
        if let Some(path) = &self.library_path {
            command.env("LD_LIBRARY_PATH", path);
        }
        let output = command.output().context(failed)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() || text.contains("not found") {
            return Err(Error::new(failed()).because(text));
        }
        // `libc.so.6 => /lib/…/libc.so.6 (0x…)`, and the loader by its path alone.
        let paths =
            text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
        Ok([self.elf.clone()].into_iter().chain(paths.map(PathBuf::from)).collect())
    }
}

/// The host's trace-cmd if it is of [`VERSION`], else that of Debian's packages.
///
/// # Errors
/// None is installed and none can be fetched, or the fetched one does not run here.
pub fn get(host: &Host) -> Result<TraceCmd> {
    if let Some(found) = of_host() {
        return Ok(found);
    }
    let entry = host.cache.fill(&host.ui, "tools", &key(), |dir| {
        host.ui.say(format!("trace-cmd {VERSION} is not installed: unpacking it into the cache"));
        let apt = Apt::open(host, SUITE, "")?;
        for name in PACKAGES {
            let packages = apt.packages(name)?;
            let package = packages.first().ok_or_else(|| {
                Error::new(format!("cannot find the package {name}"))
                    .because(format!("Debian {SUITE} has none of this name"))
                    .verdict(Verdict::Unavailable)
            })?;
            let deb = apt.download(host, package)?;
            archive::unpack_deb(&deb, &dir.join("package"))?;
            cache::remove(&deb)?;
        }
        finish(dir, WRAPPER, VERSION)
    });
    let entry = entry.map_err(|error| {
        error.help(format!("trace-cmd {VERSION} is what recordings and reports are compared with"))
    })?;
    Ok(of_entry(&entry))
}

/// A trace-cmd of [`VERSION_WITH_ZLIB`] from Debian's packages: the program to start.
///
/// # Errors
/// It cannot be fetched, or does not run here.
pub fn with_zlib(host: &Host) -> Result<PathBuf> {
    with_loader(host, VERSION_WITH_ZLIB, SUITE_WITH_ZLIB)
}

/// A trace-cmd of [`LATEST`] from Debian's packages: the program to start.
///
/// # Errors
/// It cannot be fetched, for example because sid has another version, or does not run here.
pub fn latest(host: &Host) -> Result<PathBuf> {
    with_loader(host, LATEST, SUITE_WITH_LATEST).map_err(|error| error.verdict(Verdict::Unavailable))
}

/// A version from a later Debian than the host's, with everything it needs.
fn with_loader(host: &Host, version: &str, suite: &str) -> Result<PathBuf> {
    let key = format!("trace-cmd-{version}-{FORMAT}");
    let entry = host.cache.fill(&host.ui, "tools", &key, |dir| {
        host.ui.say(format!("unpacking trace-cmd {version} into the cache"));
        let apt = Apt::open(host, suite, "")?;
        for deb in apt.download_with_dependencies(host, "trace-cmd")? {
            archive::unpack_deb(&deb, &dir.join("package"))?;
            cache::remove(&deb)?;
        }
        finish(dir, WRAPPER_WITH_LOADER, version)
    })?;
    Ok(entry.join("trace-cmd"))
}

/// Adds the wrapper to an entry, and checks that the program runs.
fn finish(dir: &Path, wrapper: &str, version: &str) -> Result<()> {
    let program = dir.join("trace-cmd");
    fs::write(&program, wrapper)
        .and_then(|()| fs::set_permissions(&program, Permissions::from_mode(0o755)))
        .context(|| format!("cannot write {}", program.display()))?;
    proved(&program, version)
}

/// The installed or cached trace-cmd; fetches nothing.
pub fn cached(host: &Host) -> Option<TraceCmd> {
    of_host().or_else(|| host.cache.entry("tools", &key()).map(|entry| of_entry(&entry)))
}

fn key() -> String {
    format!("trace-cmd-{VERSION}-{FORMAT}")
}

fn of_entry(entry: &Path) -> TraceCmd {
    let package = entry.join("package");
    TraceCmd {
        program: entry.join("trace-cmd"),
        elf: package.join("usr/bin/trace-cmd"),
        library_path: Some(package.join(LIBRARIES)),
    }
}

fn of_host() -> Option<TraceCmd> {
    let program = which::which("trace-cmd").ok()?;
    // Without plug-ins its text differs.
    let complete = Path::new(PLUGINS).is_dir() && proved(&program, VERSION).is_ok();
    complete.then(|| TraceCmd { elf: program.clone(), program, library_path: None })
}

fn proved(program: &Path, version: &str) -> Result<()> {
    let failed = || format!("cannot use {}", program.display());
    let output = Command::new(program).arg("--version").output().context(failed)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if is_of(&text, version) {
        return Ok(());
    }
    let said = format!("{}{text}", String::from_utf8_lossy(&output.stderr));
    Err(Error::new(failed()).because(format!("its version is not {version}; it says: {}", said.trim())))
}

/// Whether the output of `trace-cmd --version` names a version.
fn is_of(text: &str, version: &str) -> bool {
    let said = text.lines().find_map(|line| line.trim().strip_prefix("trace-cmd version "));
    said.and_then(|rest| rest.split_whitespace().next()) == Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_version_is_the_reference() {
        assert!(is_of("\ntrace-cmd version 3.1.6 (not-a-git-repo)\n\nusage:\n", VERSION));
        assert!(!is_of("\ntrace-cmd version 3.1.60 (x)\n", VERSION));
        assert!(!is_of("\ntrace-cmd version 3.3.1\n", VERSION));
        assert!(!is_of("", VERSION));
    }
}
