//! What the harness needs of the host: QEMU, busybox and build tools, found or obtained.
//!
//! QEMU and busybox are unpacked privately into the cache where the host has none that
//! serves: no installed package is touched. Build tools are installed with apt on request,
//! never removing or downgrading anything.

use std::fmt;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt::{self, Apt};
use super::control::{self, Paragraph};
use super::trace_cmd;
use crate::base::cache;
use crate::base::error::{Context, Error, Result};
use crate::base::ui::{err, outln};
use crate::base::verdict::Verdict;
use crate::harness::Harness;
use crate::matrix::Record;
use crate::vm::Qemu;

/// The kind of cache entry that a privately unpacked tool is.
const KIND: &str = "tools";
/// Raised when entries change in form.
const FORMAT: u32 = 1;
const QEMU: &str = "qemu-system-x86_64";
/// The oldest QEMU taken from the host; what the harness asks of it was not tried on older ones.
const QEMU_OLDEST: (u32, u32) = (6, 0);

/// Commands (or files) that every kernel build needs, and the packages that bring them.
pub const BUILD_TOOLS: [(&str, &str); 4] =
    [("make", "make"), ("gcc", "gcc"), ("/usr/include/stdio.h", "libc6-dev"), ("ld", "binutils")];

/// Commands (or files) that building a record's kernel needs, with their packages; none for
/// a ready-made kernel.
pub fn build_tools(record: &Record) -> Vec<(&str, &str)> {
    let Some(building) = record.source.building() else { return Vec::new() };
    let own = building.tools.iter().map(|(command, package)| (command.as_str(), package.as_str()));
    BUILD_TOOLS.into_iter().chain(own).collect()
}

/// The host's QEMU, else one unpacked privately from Debian's packages.
///
/// # Errors
/// There is none and none can be fetched, or the fetched one does not run.
pub fn qemu(h: &Harness) -> Result<Qemu> {
    if let Some(qemu) = host_qemu() {
        return Ok(qemu);
    }
    let suite = apt::host_suite().map_err(no_qemu)?;
    let dir = h.cache.fill(&h.ui, KIND, &format!("qemu-{suite}-{FORMAT}"), |dir| {
        h.ui.say(format!("{QEMU} is not installed: unpacking one into the cache"));
        let apt = Apt::open(h, &suite, &installed_without("qemu-")?)?;
        for deb in apt.download_with_dependencies(h, "qemu-system-x86")? {
            apt::unpack(&deb, dir)?;
            cache::remove(&deb)?;
        }
        // An entry is made only of a QEMU that runs.
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

/// What dpkg says is installed, but for packages whose names begin in some way and all that depend
/// on them: those are to be fetched, or packages of another version conflict with them, and nothing
/// is installed anyway.
///
/// # Errors
/// The host has no dpkg status that can be read.
pub fn installed_without(prefix: &str) -> Result<String> {
    let path = Path::new("/var/lib/dpkg/status");
    let text = fs::read_to_string(path).context(|| format!("cannot read {}", path.display()))?;
    Ok(without(&text, |name| name.starts_with(prefix)))
}

/// A dpkg status without some packages and those that depend on them, directly or not.
fn without(status: &str, unwanted: impl Fn(&str) -> bool) -> String {
    let mut kept: Vec<Paragraph<'_>> = control::paragraphs(status).collect();
    let mut gone: Vec<&str> = Vec::new();
    loop {
        let (stay, go): (Vec<_>, Vec<_>) = kept.into_iter().partition(|paragraph| {
            let name = paragraph.field("Package").unwrap_or_default();
            !unwanted(name) && !depends_on(*paragraph, &gone)
        });
        kept = stay;
        if go.is_empty() {
            break;
        }
        gone.extend(go.iter().filter_map(|paragraph| paragraph.field("Package")));
    }
    kept.iter().map(|paragraph| format!("{}\n\n", paragraph.text())).collect()
}

fn depends_on(paragraph: Paragraph<'_>, gone: &[&str]) -> bool {
    let lists = ["Depends", "Pre-Depends"].map(|name| paragraph.field(name).unwrap_or_default());
    let mut names = lists.iter().flat_map(|list| list.split([',', '|'])).map(|one| {
        let name = one.trim().split([' ', '(']).next().unwrap_or_default();
        name.split(':').next().unwrap_or_default()
    });
    names.any(|name| gone.contains(&name))
}

/// A static busybox: the host's, else one from Debian's packages.
///
/// # Errors
/// There is none and none can be fetched.
pub fn busybox(h: &Harness) -> Result<PathBuf> {
    if let Ok(path) = which::which("busybox")
        && fs::read(&path).is_ok_and(|bytes| is_static(&bytes))
    {
        return Ok(path);
    }
    let advice = |error: Error| error.help(install_line(&["busybox-static"]));
    let suite = apt::host_suite().map_err(advice)?;
    let dir = h.cache.fill(&h.ui, KIND, &format!("busybox-{suite}-{FORMAT}"), |dir| {
        let apt = Apt::open(h, &suite, "")?;
        let packages = apt.packages("busybox-static")?;
        let package = packages.first().ok_or_else(|| {
            Error::new("cannot find a static busybox")
                .because(format!("Debian {suite} has no package busybox-static"))
        })?;
        let deb = apt.download(h, package)?;
        let unpacked = dir.join("package");
        apt::unpack(&deb, &unpacked)?;
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

/// Sees to it that commands are there, each given with the package that brings it; a name
/// that begins with `/` is a file.
///
/// Missing packages are installed if the user said `--yes` or agrees at the terminal.
///
/// # Errors
/// Something is missing and stays so: the error names it and the exact install line.
pub fn need_packages(h: &Harness, what: &str, packages: &[(&str, &str)]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let (things, names): (Vec<&str>, Vec<&str>) = missing.iter().copied().unzip();
    let error = |cause: String| {
        Error::new(format!("cannot continue with {what}: {} missing", things.join(", ")))
            .because(cause)
            .help(format!("install with: {}", install_line(&names)))
            .verdict(Verdict::Unavailable)
    };
    if !(h.yes || agreed(h, what, &names)) {
        let cause = format!("the packages {} are not installed", names.join(", "));
        return Err(error(cause).help("or let it be done for you with --yes"));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(error("only root may install packages".to_owned()));
    }
    install(h, &names).map_err(|cause| error(cause.to_string()))?;
    match self::missing(packages).first() {
        None => Ok(()),
        Some((thing, package)) => Err(error(format!("{thing} is missing although {package} was installed"))),
    }
}

fn missing<'a>(packages: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let absent = |thing: &str| match thing.starts_with('/') {
        true => !Path::new(thing).exists(),
        false => which::which(thing).is_err(),
    };
    packages.iter().copied().filter(|(thing, _)| absent(thing)).collect()
}

/// The line that installs packages, as the present user would type it.
fn install_line(packages: &[&str]) -> String {
    let sudo = if rustix::process::geteuid().is_root() { "" } else { "sudo " };
    format!("{sudo}apt-get install --no-remove {}", packages.join(" "))
}

fn agreed(h: &Harness, what: &str, packages: &[&str]) -> bool {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return false;
    }
    h.ui.say(format!("{what} needs the packages {}", packages.join(", ")));
    err!("install them now? [y/N] ");
    // A prompt that does not show is answered with no.
    let mut answer = String::new();
    std::io::stderr().flush().is_ok()
        && std::io::stdin().read_line(&mut answer).is_ok()
        && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Installs packages, if that removes and downgrades nothing.
fn install(h: &Harness, packages: &[&str]) -> Result<()> {
    let options = ["-q", "-y", "--no-remove", "--no-install-recommends", "install"];
    let args = |simulate: bool| {
        let simulate = simulate.then_some("-s");
        simulate.into_iter().chain(options).chain(packages.iter().copied()).map(str::to_owned)
    };
    if apt_get(args(true)).is_err() {
        // The index may never have been fetched, or be out of date.
        apt_get(["-q".to_owned(), "update".to_owned()].into_iter())?;
    }
    let plan = apt_get(args(true))?;
    if let Some(line) = plan.lines().find(|line| takes_away(line)) {
        return Err(Error::new("the installation would remove packages").because(line));
    }
    h.ui.say(format!("installing {}", packages.join(", ")));
    apt_get(args(false)).map(|_| ())
}

/// Whether a line of a simulation removes or downgrades a package.
fn takes_away(line: &str) -> bool {
    ["Remv ", "Purg "].iter().any(|word| line.starts_with(word)) || line.contains("DOWNGRADED")
}

fn apt_get(args: impl Iterator<Item = String>) -> Result<String> {
    let args: Vec<String> = args.collect();
    let output = Command::new("apt-get")
        .args(&args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .context(|| "cannot run apt-get".to_owned())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(8)..].join("\n");
    Err(Error::new(format!("apt-get {} failed", args.join(" "))).because(last))
}

/// A line of the doctor's table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    what: String,
    good: bool,
    /// Without it nothing boots; what is not required is obtained when needed.
    required: bool,
    state: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match (self.good, self.required) {
            (true, _) => "ok",
            (false, true) => "MISSING",
            (false, false) => "missing",
        };
        write!(f, "{mark:8}{:22}{}", self.what, self.state)
    }
}

/// Prints what is there and what is missing, and whether a first run can work. Obtains
/// nothing. `accelerator` says which one there is, for the QEMU at hand.
///
/// # Errors
/// The cache or the kernel matrix cannot be read.
pub fn doctor(h: &Harness, accelerator: &dyn Fn(Option<&Qemu>) -> String) -> Result<bool> {
    let findings = examine(h, accelerator)?;
    for finding in &findings {
        outln!("{finding}");
    }
    Ok(findings.iter().all(|finding| finding.good || !finding.required))
}

fn examine(h: &Harness, accelerator: &dyn Fn(Option<&Qemu>) -> String) -> Result<Vec<Finding>> {
    let apt = which::which("apt-get").is_ok();
    let suite = apt::host_suite();
    let fetched = match (apt, &suite) {
        (true, Ok(suite)) => Some(suite),
        _ => None,
    };
    let cached = |tool: &str| {
        let suite = fetched?;
        h.cache.entry(KIND, &format!("{tool}-{suite}-{FORMAT}"))
    };
    let mut findings = Vec::new();
    let mut add = |what: &str, required, good, state: String| {
        findings.push(Finding { what: what.to_owned(), good, required, state });
    };

    let present = host_qemu().or_else(|| private_qemu(&cached("qemu")?).ok());
    match &present {
        Some(qemu) => add(QEMU, true, true, format!("{} at {}", qemu.version, qemu.program.display())),
        None if fetched.is_some() => {
            add(QEMU, false, false, "will be unpacked into the cache when needed".to_owned());
        }
        None => add(QEMU, true, false, install_line(&["qemu-system-x86"])),
    }
    let host = which::which("busybox").ok().filter(|p| fs::read(p).is_ok_and(|b| is_static(&b)));
    match host.or_else(|| cached("busybox").map(|dir| dir.join("busybox"))) {
        Some(path) => add("busybox", false, true, path.display().to_string()),
        None if fetched.is_some() => {
            add("busybox", false, false, "will be unpacked into the cache when needed".to_owned());
        }
        None => add("busybox", false, false, install_line(&["busybox-static"])),
    }
    match trace_cmd::at_hand(h) {
        Some(found) => add("trace-cmd", false, true, found.program.display().to_string()),
        None if fetched.is_some() => {
            add(
                "trace-cmd",
                false,
                false,
                "will be unpacked into the cache for tests and benches".to_owned(),
            );
        }
        None => {
            add("trace-cmd", false, false, format!("{} is needed for tests and benches", trace_cmd::VERSION))
        }
    }
    let from_apt = match (&suite, apt) {
        (Ok(suite), true) => format!("Debian {suite}: ready-made kernels can be fetched"),
        (Err(error), true) => error.summary(),
        (_, false) => "there is no apt-get: ready-made kernels cannot be fetched".to_owned(),
    };
    add("apt", false, apt, from_apt);
    let matrix = h.matrix()?;
    for record in matrix.usual() {
        for (thing, package) in build_tools(record) {
            let absent = !missing(&[(thing, package)]).is_empty();
            let state = match absent {
                true => format!("to build {}: {}", record.name, install_line(&[package])),
                false => format!("to build {}", record.name),
            };
            add(thing, false, !absent, state);
        }
    }
    add("accelerator", false, true, accelerator(present.as_ref()));
    add("cache", true, true, h.cache.path().display().to_string());
    Ok(findings)
}

/// Obtains what is missing: QEMU, busybox and trace-cmd into the cache, build tools with apt.
///
/// # Errors
/// Something stays missing.
pub fn setup(h: &Harness) -> Result<()> {
    let qemu = qemu(h)?;
    h.ui.say(format!("QEMU {} at {}", qemu.version, qemu.program.display()));
    let busybox = busybox(h)?;
    h.ui.say(format!("busybox at {}", busybox.display()));
    let trace_cmd = trace_cmd::get(h)?;
    h.ui.say(format!("trace-cmd {} at {}", trace_cmd::VERSION, trace_cmd.program.display()));
    let with_zlib = trace_cmd::with_zlib(h)?;
    h.ui.say(format!("trace-cmd {} at {}", trace_cmd::VERSION_WITH_ZLIB, with_zlib.display()));
    for record in h.matrix()?.usual() {
        need_packages(h, &format!("building {}", record.name), &build_tools(record))?;
    }
    Ok(())
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
    fn a_status_loses_packages_with_all_that_depend_on_them() {
        let status = "Package: qemu-utils\nStatus: x\n\n\
            Package: libvirt\nDepends: libc6 (>= 2), qemu-utils (>= 1) | other\n\n\
            Package: virt-manager\nPre-Depends: libvirt:any\n\n\
            Package: libc6\nDepends: libgcc-s1\n\n";
        let left = without(status, |name| name.starts_with("qemu-"));
        assert_eq!(left, "Package: libc6\nDepends: libgcc-s1\n\n");
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

    #[test]
    fn what_takes_packages_away_is_seen() {
        assert!(takes_away("Remv qemu-utils [1:10]"));
        assert!(takes_away("The following packages will be DOWNGRADED:"));
        assert!(!takes_away("Inst flex (2.6.4-8.2 Debian:12.0/stable [amd64])"));
    }

    #[test]
    fn a_missing_package_is_named_with_its_install_line() {
        let folder = tempfile::tempdir().unwrap();
        let h = Harness::new(folder.path().into(), cache::Cache::at(folder.path()), false);
        need_packages(&h, "a test", &[("sh", "dash")]).unwrap();
        let error = need_packages(&h, "a test", &[("sh", "dash"), ("no-such-thing", "nothing")]);
        let text = error.unwrap_err().to_string();
        assert!(text.contains("no-such-thing missing"), "{text}");
        assert!(text.contains("apt-get install --no-remove nothing"), "{text}");
        assert!(text.contains("--yes"), "{text}");
    }
}
