//! QEMU and busybox: the host's, else unpacked into the cache. No installed package is changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt::{self, Apt};
use super::archive;
use super::host_packages::{install_line, install_missing, installed_without};
use crate::base::cache;
use crate::base::error::{Context, Error, Result};
use crate::base::host::Host;
use crate::base::qemu::Qemu;
use crate::base::verdict::Verdict;

/// The kind of the cache entries with unpacked tools.
const KIND: &str = "tools";
/// Raised when the form of entries changes.
const FORMAT: u32 = 1;
/// QEMU's program.
pub const QEMU: &str = "qemu-system-x86_64";
/// The oldest usable QEMU of the host; the harness was not tested with older ones.
const QEMU_OLDEST: (u32, u32) = (6, 0);

/// The host's QEMU; else on a Debian one unpacked privately from its packages, and elsewhere the
/// distribution's, if the user agrees to its being installed.
///
/// # Errors
/// None is installed and none can be obtained, or the one obtained does not run.
pub fn qemu(host: &Host) -> Result<Qemu> {
    if let Some(qemu) = host_qemu() {
        return Ok(qemu);
    }
    if apt::is_debians().is_err() {
        install_missing(host, "guests", &[(QEMU, "qemu-system-x86")]).map_err(no_qemu)?;
        let old = || no_qemu(Error::new(format!("cannot use this machine's {QEMU}")));
        return host_qemu().ok_or_else(old);
    }
    let suite = apt::host_suite().map_err(no_qemu)?;
    let dir = host.cache.fill(&host.ui, KIND, &format!("qemu-{suite}-{FORMAT}"), |dir| {
        host.ui.say(format!("{QEMU} is not installed: unpacking one into the cache"));
        let apt = Apt::open(host, &suite, &installed_without("qemu-")?)?;
        for deb in apt.download_with_dependencies(host, "qemu-system-x86")? {
            archive::unpack_deb(&deb, dir)?;
            cache::remove(&deb)?;
        }
        // Make an entry only of a QEMU that runs.
        private_qemu(dir).map(|_| ())
    });
    private_qemu(&dir.map_err(no_qemu)?)
}

fn no_qemu(error: Error) -> Error {
    let hosts = which::which(QEMU).ok().and_then(|program| qemu_version(Command::new(program)).ok());
    let error = match hosts {
        Some(version) => error.help(format!("this machine's own QEMU {version} is too old")),
        None => error,
    };
    let (major, minor) = QEMU_OLDEST;
    let install = install_line(&["qemu-system-x86"]);
    error.help(format!("{QEMU} {major}.{minor} or newer is needed: {install}")).verdict(Verdict::QemuFailed)
}

/// The QEMU that [`qemu`] returns, if it need not fetch one.
pub fn cached_qemu(host: &Host) -> Option<Qemu> {
    host_qemu().or_else(|| private_qemu(&cached(host, "qemu")?).ok())
}

/// The entry of a tool in the cache, for this host's Debian.
fn cached(host: &Host, tool: &str) -> Option<PathBuf> {
    let suite = apt::host_suite().ok()?;
    host.cache.entry(KIND, &format!("{tool}-{suite}-{FORMAT}"))
}

fn host_qemu() -> Option<Qemu> {
    let program = which::which(QEMU).ok()?;
    let version = qemu_version(Command::new(&program)).ok()?;
    recent(&version).then_some(Qemu { program, library_path: None, firmware: Vec::new(), version })
}

fn private_qemu(dir: &Path) -> Result<Qemu> {
    let libraries: Vec<String> = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
        .map(|sub| dir.join(sub).display().to_string())
        .into();
    let library_path = libraries.join(":");
    let program = dir.join("usr/bin").join(QEMU);
    let mut command = Command::new(&program);
    command.env("LD_LIBRARY_PATH", &library_path);
    let version = qemu_version(command)?;
    if !recent(&version) {
        return Err(Error::new(format!("cannot use {}", program.display()))
            .because(format!("QEMU {version} is older than {}.{}", QEMU_OLDEST.0, QEMU_OLDEST.1)));
    }
    let firmware = ["usr/share/qemu", "usr/share/seabios"].map(|sub| dir.join(sub));
    Ok(Qemu { program, library_path: Some(library_path), firmware: firmware.into(), version })
}

fn qemu_version(mut command: Command) -> Result<String> {
    let failed = format!("cannot run {}", command.get_program().display());
    let output = command.arg("--version").output().context(|| failed.clone())?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    parse_qemu_version(&stdout).map(str::to_owned).ok_or_else(|| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        Error::new(failed).because(format!("{}, {}", output.status, stderr.trim()))
    })
}

/// `QEMU emulator version 7.2.22 (Debian …)` gives `7.2.22`.
fn parse_qemu_version(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("QEMU emulator version ")?;
    rest.split([' ', '\n', '(']).next().filter(|version| !version.is_empty())
}

fn recent(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= QEMU_OLDEST,
        _ => false,
    }
}

/// A static busybox: the host's; else on a Debian one from its packages, and elsewhere the distribution's,
/// if the user agrees to its being installed.
///
/// # Errors
/// None is installed and none can be obtained.
pub fn busybox(host: &Host) -> Result<PathBuf> {
    if let Some(path) = host_busybox() {
        return Ok(path);
    }
    if apt::is_debians().is_err() {
        install_missing(host, "a shell in guests", &[("a static busybox", "busybox-static")])?;
        return host_busybox().ok_or_else(|| {
            Error::new("cannot use this machine's busybox").because("it is not a static program")
        });
    }
    let advice = |error: Error| error.help(install_line(&["busybox-static"]));
    let suite = apt::host_suite().map_err(advice)?;
    let dir = host.cache.fill(&host.ui, KIND, &format!("busybox-{suite}-{FORMAT}"), |dir| {
        let apt = Apt::open(host, &suite, "")?;
        let packages = apt.packages("busybox-static")?;
        let package = packages.first().ok_or_else(|| {
            Error::new("cannot find a static busybox")
                .because(format!("Debian {suite} has no package busybox-static"))
        })?;
        let deb = apt.download(host, package)?;
        let unpacked = dir.join("package");
        archive::unpack_deb(&deb, &unpacked)?;
        cache::remove(&deb)?;
        // Merged-usr suites have it under usr/bin.
        let program = ["bin/busybox", "usr/bin/busybox"].map(|path| unpacked.join(path));
        let program = program
            .iter()
            .find(|path| path.is_file())
            .ok_or_else(|| Error::new("cannot find busybox in its package").because(package.name.clone()))?;
        let to = dir.join("busybox");
        fs::rename(program, &to).map_err(|e| cache::denied("cannot create", &to, &e))?;
        cache::remove(&unpacked)
    });
    Ok(dir.map_err(advice)?.join("busybox"))
}

/// The busybox that [`busybox`] returns, if it need not fetch one.
pub fn cached_busybox(host: &Host) -> Option<PathBuf> {
    host_busybox().or_else(|| Some(cached(host, "busybox")?.join("busybox")))
}

fn host_busybox() -> Option<PathBuf> {
    which::which("busybox").ok().filter(|path| fs::read(path).is_ok_and(|bytes| is_static(&bytes)))
}

/// Whether a 64-bit ELF program needs no dynamic loader: it has no PT_INTERP segment.
fn is_static(elf: &[u8]) -> bool {
    let number = |offset: usize, length: usize| -> Option<usize> {
        let bytes = elf.get(offset..offset.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| (value << 8) | usize::from(*byte)))
    };
    let interpreted = || -> Option<bool> {
        let (table, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
        const PT_INTERP: usize = 3;
        for index in 0..count {
            let entry = index.checked_mul(size)?.checked_add(table)?;
            if number(entry, 4)? == PT_INTERP {
                return Some(true);
            }
        }
        Some(false)
    };
    elf.starts_with(b"\x7fELF\x02\x01") && interpreted() == Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qemus_version_is_read_and_judged() {
        let text = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright\n";
        assert_eq!(parse_qemu_version(text), Some("7.2.22"));
        assert_eq!(parse_qemu_version("QEMU emulator version 10.0.2\n"), Some("10.0.2"));
        assert_eq!(parse_qemu_version("error"), None);
        assert!(recent("6.0.0") && recent("10.1") && !recent("5.2.0") && !recent("x"));
    }

    #[test]
    fn a_program_is_static_without_an_interpreter() {
        let mut elf = vec![0; 0x40 + 0x38];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[0x20] = 0x40;
        elf[0x36] = 0x38;
        elf[0x38] = 1;
        elf[0x40] = 1;
        assert!(is_static(&elf));
        elf[0x40] = 3;
        assert!(!is_static(&elf));
        assert!(!is_static(&elf[..0x41]));
        assert!(!is_static(b"#!/bin/sh\n"));
    }
}
