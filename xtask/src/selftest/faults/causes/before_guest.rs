//! Faults before there is a guest: downloads, apt, configuration, build, disk and cache, with a stand-in for
//! Linux on a local server.

use std::fs;
use std::rc::Rc;
use std::time::Duration;

use crate::base::digest::sha256;
use crate::base::error::{Context, Result};
use crate::base::verdict::Verdict;
use crate::selftest::faults::fault::{Expected, Fault, On, by_setup};
use crate::selftest::faults::fixture::{Fixture, demand};
use crate::selftest::faults::server::{Reply, Seen, Server};
use crate::selftest::faults::setup::{Act, Killed, Mount, Setup};
use crate::selftest::faults::stand_in::{self, Flaw};

/// apt with a proxy that does not exist.
const APT_WITHOUT_NETWORK: &str = r#"
exec "$FAULT_APT" -o Acquire::http::Proxy=http://127.0.0.1:1 -o Acquire::https::Proxy=http://127.0.0.1:1 "$@"
"#;

/// The faults before there is a guest.
pub fn faults() -> Vec<Fault> {
    let fault = by_setup(On::None);
    let verdict = Expected::Verdict;
    let (interrupt, terminate) = (Expected::Signal("SIGINT", 2), Expected::Signal("SIGTERM", 15));
    vec![
        fault(
            "download-cut",
            "A mirror cuts the transfer half-way, and again.",
            verdict(Verdict::Unavailable),
            10,
            false,
            download_cut,
        ),
        fault(
            "download-corrupted",
            "A mirror sends a byte that is another.",
            verdict(Verdict::ChecksumMismatch),
            10,
            true,
            download_corrupted,
        ),
        fault(
            "download-404",
            "No mirror has the file.",
            verdict(Verdict::Unavailable),
            10,
            true,
            |fixture| Ok(tiny(fixture, Flaw::None, |_, _, _| Reply::not_found())?.saying(["404 Not Found"])),
        ),
        fault(
            "download-slow",
            "A mirror sends a byte a second, without end.",
            verdict(Verdict::Unavailable),
            25,
            false,
            download_slow,
        ),
        fault(
            "download-silent",
            "A mirror stops sending half-way, and keeps the connection open.",
            verdict(Verdict::Unavailable),
            25,
            false,
            download_silent,
        ),
        fault(
            "package-corrupted",
            "On Fedora a mirror of Debian's archive sends a package with another byte.",
            verdict(Verdict::ChecksumMismatch),
            10,
            true,
            |fixture| {
                let setup = package(fixture, |package| {
                    let mut other = package.to_vec();
                    other[package.len() / 2] ^= 1;
                    Reply::whole(&other)
                })?;
                Ok(setup.saying(["expected SHA-256", "set aside"]))
            },
        ),
        fault(
            "package-cut",
            "On Fedora a mirror of Debian's archive cuts a package half-way, and again.",
            verdict(Verdict::Unavailable),
            10,
            false,
            |fixture| {
                let setup = package(fixture, |package| Reply::cut(package, package.len() / 2))?;
                Ok(setup.saying(["cannot download tiny_1-1_amd64.deb", "SNAPTRACE_DEBIAN_MIRROR"]))
            },
        ),
        fault(
            "package-404",
            "On Fedora a mirror of Debian's archive does not have a package.",
            verdict(Verdict::Unavailable),
            10,
            false,
            |fixture| {
                let setup = package(fixture, |_| Reply::not_found())?;
                Ok(setup.saying(["404 Not Found", "SNAPTRACE_DEBIAN_MIRROR"]))
            },
        ),
        fault(
            "package-no-mirror",
            "On Fedora no mirror of Debian's archive is named.",
            verdict(Verdict::Unavailable),
            10,
            false,
            |fixture| {
                let setup = package(fixture, Reply::whole)?.with_env("SNAPTRACE_DEBIAN_MIRROR", "");
                Ok(setup.saying(["this machine is no Debian", "archive/debian/20200101T000000Z"]))
            },
        ),
        fault("apt-fails", "apt reaches no archive.", verdict(Verdict::Unavailable), 60, false, apt_fails),
        fault(
            "symbol-dropped",
            "Kconfig drops a symbol that is asked for.",
            verdict(Verdict::ConfigUnmet),
            10,
            true,
            |fixture| {
                Ok(tiny_from_server(fixture, Flaw::DropsPci)?.saying(["CONFIG_PCI=y", "depends on HAS_BUS"]))
            },
        ),
        fault(
            "compile-error",
            "A file of the kernel does not compile.",
            verdict(Verdict::BuildFailed),
            10,
            true,
            |fixture| {
                Ok(tiny_from_server(fixture, Flaw::Error)?
                    .saying(["a.c:1: error: no such thing", "the full log is"]))
            },
        ),
        fault(
            "full-disk-download",
            "The disk is full during a download.",
            Expected::Error,
            10,
            true,
            |fixture| on_small_disk(fixture, Flaw::None, 100),
        ),
        fault(
            "full-disk-unpack",
            "The disk is full when the tarball is unpacked.",
            Expected::Error,
            10,
            false,
            |fixture| on_small_disk(fixture, Flaw::None, 300),
        ),
        fault(
            "full-disk-build",
            "The disk is full during a build.",
            verdict(Verdict::BuildFailed),
            10,
            false,
            |fixture| on_small_disk(fixture, Flaw::Large, 2048),
        ),
        fault(
            "read-only-empty-cache",
            "The cache is empty and cannot be written.",
            Expected::Error,
            10,
            false,
            read_only_cache,
        ),
        fault(
            "two-at-once",
            "Two commands build the same kernel at the same time.",
            verdict(Verdict::Pass),
            20,
            true,
            two_at_once,
        ),
        fault("interrupted-download", "Ctrl-C during a download.", interrupt, 10, false, |fixture| {
            during_download(fixture, Act::Interrupt)
        }),
        fault("terminated-download", "SIGTERM during a download.", terminate, 10, false, |fixture| {
            during_download(fixture, Act::Terminate)
        }),
        fault(
            "killed-download",
            "SIGKILL during a download, and a usual run after it.",
            verdict(Verdict::Pass),
            10,
            false,
            killed_download,
        ),
        fault("interrupted-build", "Ctrl-C during a build.", interrupt, 10, false, |fixture| {
            during_build(fixture, Act::Interrupt)
        }),
        fault("terminated-build", "SIGTERM during a build.", terminate, 10, true, |fixture| {
            during_build(fixture, Act::Terminate)
        }),
        fault(
            "killed-build",
            "SIGKILL during a build, and a usual run after it.",
            verdict(Verdict::Pass),
            10,
            false,
            killed_build,
        ),
    ]
}

/// `kernel tiny`, with a server whose replies a function makes from the tarball.
fn tiny(
    fixture: &Fixture<'_>,
    flaw: Flaw,
    reply: impl Fn(usize, &Seen, &[u8]) -> Reply + Send + Sync + 'static,
) -> Result<Setup> {
    Ok(tiny_with_server(fixture, flaw, reply)?.0)
}

fn tiny_with_server(
    fixture: &Fixture<'_>,
    flaw: Flaw,
    reply: impl Fn(usize, &Seen, &[u8]) -> Reply + Send + Sync + 'static,
) -> Result<(Setup, Rc<Server>)> {
    let tree = fixture.path("tree");
    stand_in::tree(&tree, &fixture.path("builds"), flaw)?;
    let tarball = stand_in::tarball(&tree)?;
    let digest = sha256(&tarball);
    let server = Server::start(move |number, seen| reply(number, seen, &tarball))?;
    stand_in::matrix(&fixture.path("work/kernel-configs"), &digest, &[&server.address])?;
    Ok((Setup::of(["kernel", "tiny"]), Rc::new(server)))
}

/// `kernel tiny`, with a mirror that works.
fn tiny_from_server(fixture: &Fixture<'_>, flaw: Flaw) -> Result<Setup> {
    tiny(fixture, flaw, |_, _, tarball| Reply::whole(tarball))
}

/// `kernel tiny` on a Fedora, where it is a package of Debian's; the reply to each request for it is
/// made of the package's bytes.
fn package(fixture: &Fixture<'_>, reply: impl Fn(&[u8]) -> Reply + Send + Sync + 'static) -> Result<Setup> {
    let bytes = b"a package, or what is taken for one".repeat(5000);
    stand_in::package_matrix(&fixture.path("work/kernel-configs"), &sha256(&bytes))?;
    let server = Server::start(move |_, _| reply(&bytes))?;
    let file = fixture.path("os-release");
    fs::write(&file, "ID=fedora\n").context(|| format!("cannot write {}", file.display()))?;
    let setup = Setup::of(["kernel", "tiny"]).with_mount(Mount::OsRelease { file });
    Ok(setup.with_env("SNAPTRACE_DEBIAN_MIRROR", &server.address).checked(|fixture, _| {
        demand(
            !fixture.path("cache/downloads/tiny_1-1_amd64.deb").exists(),
            "a package that nobody verified got its name",
        )
    }))
}

fn builds(fixture: &Fixture<'_>) -> usize {
    fs::read_to_string(fixture.path("builds")).map_or(0, |text| text.lines().count())
}

/// Checks that nothing counts as downloaded, and nothing was built.
fn nothing_was_made(fixture: &Fixture<'_>, _: &str) -> Result<()> {
    demand(
        !fixture.path("cache/downloads/linux.tar.xz").exists(),
        "a file that nobody verified got its name",
    )?;
    demand(builds(fixture) == 0, "something was built of it")
}

fn download_cut(fixture: &Fixture<'_>) -> Result<Setup> {
    let setup = tiny(fixture, Flaw::None, |number, _, tarball| match number {
        0 => Reply::cut(tarball, tarball.len() / 2),
        _ => Reply::new("206 Partial Content", "", 0, b""),
    })?;
    Ok(setup.saying(["cannot download linux.tar.xz"]).checked(nothing_was_made))
}

fn download_corrupted(fixture: &Fixture<'_>) -> Result<Setup> {
    let setup = tiny(fixture, Flaw::None, |_, _, tarball| {
        let mut other = tarball.to_vec();
        other[tarball.len() / 2] ^= 1;
        Reply::whole(&other)
    })?;
    Ok(setup.saying(["expected SHA-256", "set aside"]).checked(nothing_was_made))
}

fn download_slow(fixture: &Fixture<'_>) -> Result<Setup> {
    let setup =
        tiny(fixture, Flaw::None, |_, _, tarball| Reply::whole(tarball).slowly(200, Duration::from_secs(1)))?;
    Ok(setup.saying(["it is too slow"]).checked(nothing_was_made))
}

fn download_silent(fixture: &Fixture<'_>) -> Result<Setup> {
    let setup = tiny(fixture, Flaw::None, |_, _, tarball| {
        Reply::whole(tarball).slowly(40_000, Duration::from_secs(3600))
    })?;
    Ok(setup.saying(["it is too slow"]).checked(nothing_was_made))
}

fn apt_fails(fixture: &Fixture<'_>) -> Result<Setup> {
    fixture.with_configs()?;
    let apt = which::which("apt-get").context(|| "there is no apt-get".into());
    let apt = apt.map_err(|error| error.verdict(Verdict::Unavailable))?;
    fixture.with_program("apt-get", APT_WITHOUT_NETWORK)?;
    let matrix = fixture.workspace.matrix()?;
    let record = matrix.records().iter().find(|record| record.is_ready_made());
    let record = record.context(|| "no kernel comes from apt".to_owned())?;
    let setup = Setup::of(["kernel", &record.name]).with_env("FAULT_APT", apt);
    Ok(setup.saying(["cannot fetch the package index", "/etc/apt"]))
}

fn on_small_disk(fixture: &Fixture<'_>, flaw: Flaw, kib: u64) -> Result<Setup> {
    let mount = Mount::Small { at: fixture.path("cache"), kib };
    Ok(tiny_from_server(fixture, flaw)?.with_mount(mount).saying(["No space left", "help: free some space"]))
}

fn read_only_cache(fixture: &Fixture<'_>) -> Result<Setup> {
    let mount = Mount::ReadOnly { at: fixture.path("cache") };
    Ok(tiny_from_server(fixture, Flaw::None)?
        .with_mount(mount)
        .saying(["Read-only file system", "SNAPTRACE_CACHE"]))
}

fn two_at_once(fixture: &Fixture<'_>) -> Result<Setup> {
    let (setup, server) = tiny_with_server(fixture, Flaw::None, |_, _, tarball| Reply::whole(tarball))?;
    let setup = Setup { twice: true, ..setup };
    Ok(setup.checked(move |fixture, _| {
        let (builds, requests) = (builds(fixture), server.seen().len());
        demand(builds == 1 && requests == 1, format!("{builds} builds and {requests} downloads"))
    }))
}

/// A mirror whose first reply stops half-way.
fn stops_first(number: usize, seen: &Seen, tarball: &[u8]) -> Reply {
    match (number, seen.from) {
        (0, _) => Reply::whole(tarball).slowly(100_000, Duration::from_secs(3600)),
        (_, Some(from)) => Reply::rest(tarball, from),
        (_, None) => Reply::whole(tarball),
    }
}

fn has_begun_to_download(fixture: &Fixture<'_>) -> bool {
    let partial = fixture.path("cache/downloads/linux.tar.xz.partial");
    fs::metadata(partial).is_ok_and(|about| about.len() > 0)
}

fn has_begun_to_build(fixture: &Fixture<'_>) -> bool {
    builds(fixture) > 0
}

fn during_download(fixture: &Fixture<'_>, act: Act) -> Result<Setup> {
    Ok(tiny(fixture, Flaw::None, stops_first)?.with_act(act, has_begun_to_download).checked(nothing_was_made))
}

fn during_build(fixture: &Fixture<'_>, act: Act) -> Result<Setup> {
    let setup = tiny_from_server(fixture, Flaw::Slow)?.with_act(act, has_begun_to_build);
    Ok(setup.checked(|fixture, _| {
        let entries = fixture.path("cache/names/tiny").exists();
        demand(!entries, "half a build was taken for a kernel")
    }))
}

fn killed_download(fixture: &Fixture<'_>) -> Result<Setup> {
    let (setup, server) = tiny_with_server(fixture, Flaw::None, stops_first)?;
    let killed = Killed { arguments: setup.arguments.clone(), when: Box::new(has_begun_to_download) };
    let setup = Setup { killed: Some(killed), ..setup };
    Ok(setup.checked(move |_, _| {
        let resumed = server.seen().last().is_some_and(|seen| seen.from.is_some());
        demand(resumed, "the transfer was not resumed where it was")
    }))
}

fn killed_build(fixture: &Fixture<'_>) -> Result<Setup> {
    let setup = tiny_from_server(fixture, Flaw::Slow)?;
    let killed = Killed { arguments: setup.arguments.clone(), when: Box::new(has_begun_to_build) };
    let setup = Setup { killed: Some(killed), ..setup };
    Ok(setup.checked(|fixture, _| {
        let left = crate::base::cache::read_dir(&fixture.path("cache/build"))?;
        demand(left.is_empty(), format!("left of the first build: {left:?}"))
    }))
}
