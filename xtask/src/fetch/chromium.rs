//! Chromium, for tests of pages: the host's, else one unpacked into the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt::{self, Apt};
use super::archive;
use super::host_packages;
use crate::base::cache;
use crate::base::error::{Context, Error, Result};
use crate::base::host::Host;
use crate::base::verdict::Verdict;

/// The package: Chromium without windows.
const PACKAGE: &str = "chromium-headless-shell";
/// Usable programs of the host, the smallest first.
const PROGRAMS: [&str; 3] = [PACKAGE, "chromium", "google-chrome"];
/// The path of the program in its package; the script in its /usr/bin would start the host's program.
const PROGRAM: &str = "usr/lib/chromium/chromium-headless-shell";
/// The folders of its libraries.
const LIBRARIES: [&str; 3] =
    ["usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/pulseaudio", "lib/x86_64-linux-gnu"];
/// The oldest usable Chromium of the host; pages use features of this version.
const OLDEST: u32 = 120;
/// Raised when the form of the entry changes.
const FORMAT: u32 = 1;

/// Options of a browser without windows. Its sandbox needs user namespaces or a set-user-id program, which
/// containers and the cache do not have; it opens only our own pages.
const FLAGS: [&str; 7] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-breakpad",
];

/// A Chromium that runs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chromium {
    program: PathBuf,
    library_path: Option<String>,
    /// Its version line, such as `Chromium 156.0.8078.108`.
    pub version: String,
}

impl Chromium {
    /// A command that starts it without a window, with its files in `profile`.
    pub fn command(&self, profile: &Path) -> Command {
        let mut command = plain(&self.program, self.library_path.as_deref());
        command.args(FLAGS).arg(format!("--user-data-dir={}", profile.display()));
        command
    }
}

/// The host's Chromium, else that of Debian's packages.
///
/// # Errors
/// `unavailable`: none is installed and none can be fetched, or the fetched one does not run here.
pub fn get(host: &Host) -> Result<Chromium> {
    let of_host = PROGRAMS.iter().filter_map(|name| which::which(name).ok());
    if let Some(found) = of_host.filter_map(|program| proved(program, None).ok()).next() {
        return Ok(found);
    }
    unpacked(host).map_err(|error| {
        error.help(format!("or install it: apt-get install {PACKAGE}")).verdict(Verdict::Unavailable)
    })
}

fn unpacked(host: &Host) -> Result<Chromium> {
    let suite = apt::host_suite()?;
    let entry = host.cache.fill(&host.ui, "tools", &format!("chromium-{suite}-{FORMAT}"), |dir| {
        host.ui.say("Chromium is not installed: unpacking it into the cache");
        let apt = Apt::open(host, &suite, &host_packages::installed_without("chromium")?)?;
        for deb in apt.download_with_dependencies(host, PACKAGE)? {
            archive::unpack_deb(&deb, dir)?;
            cache::remove(&deb)?;
        }
        // Make an entry only of a Chromium that runs.
        of_entry(dir).map(|_| ())
    })?;
    of_entry(&entry)
}

fn of_entry(entry: &Path) -> Result<Chromium> {
    let libraries = LIBRARIES.map(|folder| entry.join(folder).display().to_string());
    proved(entry.join(PROGRAM), Some(libraries.join(":")))
}

fn plain(program: &Path, library_path: Option<&str>) -> Command {
    let mut command = Command::new(program);
    if let Some(path) = library_path {
        command.env("LD_LIBRARY_PATH", path);
    }
    command
}

fn proved(program: PathBuf, library_path: Option<String>) -> Result<Chromium> {
    let failed = || format!("cannot use {}", program.display());
    let output = plain(&program, library_path.as_deref()).arg("--version").output().context(failed)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match major(&text) {
        Some(version) if version >= OLDEST => {
            let version = text.lines().next().unwrap_or_default().trim().to_owned();
            Ok(Chromium { program, library_path, version })
        }
        Some(version) => {
            Err(Error::new(failed()).because(format!("version {version} is older than {OLDEST}")))
        }
        None => Err(Error::new(failed()).because(format!("{}, {}", output.status, said.trim()))),
    }
}

/// The first number of a version: `Chromium 156.0.8078.108 built on …` gives 156.
fn major(text: &str) -> Option<u32> {
    let versions = text.split_whitespace().filter(|word| word.contains('.'));
    versions.filter_map(|word| word.split('.').next()?.parse().ok()).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_off() {
        assert_eq!(major("Chromium 156.0.8078.108 built on Debian GNU/Linux 12 (bookworm)\n"), Some(156));
        assert_eq!(major("Google Chrome for Testing 131.0.6778.85\n"), Some(131));
        assert_eq!(major("no version. at all\n"), None);
    }
}
