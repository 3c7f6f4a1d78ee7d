//! Packages of the host: finds missing ones, and installs those that a command needs.
//!
//! They are installed by the host's package manager on request; with apt never removing or downgrading
//! anything.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::control::{self, Paragraph};
use super::package_manager::{self, PackageManager};
use crate::base::error::{Context, Error, Result};
use crate::base::host::Host;
use crate::base::ui::err;
use crate::base::verdict::Verdict;

/// Commands (or files) that every kernel build needs, and their packages.
pub const BUILD_TOOLS: [(&str, &str); 4] =
    [("make", "make"), ("gcc", "gcc"), ("/usr/include/stdio.h", "libc6-dev"), ("ld", "binutils")];

/// Makes sure that commands are installed, each given with its package; a name that begins
/// with `/` is a file.
///
/// Missing packages are installed if the user gave `--yes` or agrees at the terminal.
///
/// # Errors
/// Something is still missing: the error names it and the exact install line.
pub fn need_packages(host: &Host, what: &str, packages: &[(&str, &str)]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    install_missing(host, what, &missing)?;
    match self::missing(packages).first() {
        None => Ok(()),
        Some((thing, package)) => {
            let cause = format!("{thing} is missing although {package} was installed");
            Err(cannot_continue(what, &missing).because(cause))
        }
    }
}

/// Installs what is missing, each thing given with its package, if the user said `--yes` or agrees at the
/// terminal.
///
/// # Errors
/// It was not installed: the error names what is missing and the exact install line.
pub fn install_missing(host: &Host, what: &str, missing: &[(&str, &str)]) -> Result<()> {
    let names: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    let error = || cannot_continue(what, missing);
    if !(host.yes || agreed(host, what, &names)) {
        let cause = format!("the packages {} are not installed", names.join(", "));
        return Err(error().because(cause).help("or run the command again with --yes to install them"));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(error().because("only root may install packages"));
    }
    let installed = match PackageManager::of_host() {
        Some(PackageManager::Apt) => install_with_apt(host, &names),
        Some(manager) => {
            host.ui.say(format!("installing {}", names.join(", ")));
            run(&manager.install(&names, true)).map(|_| ())
        }
        None => Err(Error::new("this machine has no package manager that is known here")),
    };
    installed.map_err(|cause| error().because(cause.to_string()))
}

fn cannot_continue(what: &str, missing: &[(&str, &str)]) -> Error {
    let (things, names): (Vec<&str>, Vec<&str>) = missing.iter().copied().unzip();
    Error::new(format!("cannot continue with {what}: {} missing", things.join(", ")))
        .help(format!("install with: {}", install_line(&names)))
        .verdict(Verdict::Unavailable)
}

/// The commands and files of a list that are not installed.
pub fn missing<'a>(packages: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let absent = |thing: &str| match thing.starts_with('/') {
        true => !Path::new(thing).exists(),
        false => which::which(thing).is_err(),
    };
    packages.iter().copied().filter(|(thing, _)| absent(thing)).collect()
}

/// What installs packages, of which Debian's names are given, as the present user would type it.
pub fn install_line(packages: &[&str]) -> String {
    let root = rustix::process::geteuid().is_root();
    package_manager::install_line(PackageManager::of_host(), root, packages)
}

fn agreed(host: &Host, what: &str, packages: &[&str]) -> bool {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return false;
    }
    host.ui.say(format!("{what} needs the packages {}", packages.join(", ")));
    err!("install them now? [y/N] ");
    // If the prompt cannot be shown, the answer is no.
    let mut answer = String::new();
    std::io::stderr().flush().is_ok()
        && std::io::stdin().read_line(&mut answer).is_ok()
        && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Installs packages, if that removes and downgrades nothing.
fn install_with_apt(host: &Host, packages: &[&str]) -> Result<()> {
    let options = ["-q", "-y", "--no-remove", "--no-install-recommends", "install"];
    let args = |simulate: bool| {
        let simulate = simulate.then_some("-s");
        simulate.into_iter().chain(options).chain(packages.iter().copied()).map(str::to_owned)
    };
    if apt_get(args(true)).is_err() {
        // The package index may be missing or out of date.
        apt_get(["-q".to_owned(), "update".to_owned()].into_iter())?;
    }
    let plan = apt_get(args(true))?;
    if let Some(line) = plan.lines().find(|line| takes_away(line)) {
        return Err(Error::new("the installation would remove packages").because(line));
    }
    host.ui.say(format!("installing {}", packages.join(", ")));
    apt_get(args(false)).map(|_| ())
}

/// Whether a line of a simulation removes or downgrades a package.
fn takes_away(line: &str) -> bool {
    ["Remv ", "Purg "].iter().any(|word| line.starts_with(word)) || line.contains("DOWNGRADED")
}

fn apt_get(args: impl Iterator<Item = String>) -> Result<String> {
    run(&std::iter::once("apt-get".to_owned()).chain(args).collect::<Vec<_>>())
}

/// Runs a package manager; what it says is an error's cause.
fn run(command: &[String]) -> Result<String> {
    let (program, args) = command.split_first().ok_or_else(|| Error::new("there is no command"))?;
    let output = Command::new(program)
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .context(|| format!("cannot run {program}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(8)..].join("\n");
    Err(Error::new(format!("{} failed", command.join(" "))).because(last))
}

/// dpkg's status, without packages whose names have a prefix and all that depend on them. Those are to be
/// fetched, or would conflict with the version that is fetched; nothing is installed on the host.
///
/// # Errors
/// The host has no dpkg status that can be read.
pub fn installed_without(prefix: &str) -> Result<String> {
    let path = Path::new("/var/lib/dpkg/status");
    let text = fs::read_to_string(path).context(|| format!("cannot read {}", path.display()))?;
    Ok(without(&text, |name| name.starts_with(prefix)))
}

/// A dpkg status without some packages and those that depend on them, directly or indirectly.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::cache::Cache;

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
    fn what_takes_packages_away_is_seen() {
        assert!(takes_away("Remv qemu-utils [1:10]"));
        assert!(takes_away("The following packages will be DOWNGRADED:"));
        assert!(!takes_away("Inst flex (2.6.4-8.2 Debian:12.0/stable [amd64])"));
    }

    #[test]
    fn a_missing_package_is_named_with_its_install_line() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::new(Cache::at(folder.path()), false);
        need_packages(&host, "a test", &[("sh", "dash")]).unwrap();
        let error = need_packages(&host, "a test", &[("sh", "dash"), ("no-such-thing", "nothing")]);
        let text = error.unwrap_err().to_string();
        assert!(text.contains("no-such-thing missing"), "{text}");
        assert!(text.contains("apt-get install --no-remove nothing"), "{text}");
        assert!(text.contains("--yes"), "{text}");
    }
}
