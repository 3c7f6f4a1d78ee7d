//! Debian's ready-made kernels: fetched with apt or by their digests, unpacked, and checked for the symbols that we need.

use std::fs;
use std::path::{Path, PathBuf};

use super::entry::{self, KIND, Kernel, Manifest};
use super::key;
use crate::base::cache;
use crate::base::digest;
use crate::base::digest::Keyed;
use crate::base::error::{Context, Error, Result};
use crate::base::host::Host;
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::fetch::apt::{self, Apt, Package};
use crate::fetch::archive;
use crate::fetch::download::{self, Wanted};
use crate::kernel::{compiler, config, fragments, image, modules, names};
use crate::matrix::{PackageFile, Pinned, Record, Source};

/// How to find the packages of one release line, such as 6.1.
pub struct PackageLine<'a> {
    /// The suites that may have it. The first has the newest.
    suites: Vec<&'a str>,
    /// A regular expression that the whole name of the package with the image matches.
    pub pattern: &'a str,
    /// What the names of the packages with the rest begin with.
    with: &'a [String],
    /// The version to take while the archive has it; `None` for the newest.
    pub version: Option<&'a str>,
    pinned: &'a Pinned,
}

impl<'a> PackageLine<'a> {
    /// The line that a record's packages are of.
    ///
    /// # Errors
    /// Its kernel does not come from Debian.
    pub fn of(record: &'a Record) -> Result<PackageLine<'a>> {
        let (pattern, with, version, pinned) = match &record.source {
            Source::Debian { package, with, version, pinned, .. } => (package, &with[..], version, pinned),
            Source::DebianSource { package, version, pinned, .. } => (package, &[][..], version, pinned),
            Source::KernelOrg { .. } | Source::Own { .. } => {
                return Err(Error::new(format!("{} is no kernel of Debian's", record.name)));
            }
        };
        Ok(PackageLine { suites: record.source.suites(), pattern, with, version: Some(version), pinned })
    }
}

/// The packages of a kernel, and where their files come from.
pub struct Found {
    /// The first has the image, or the source.
    pub packages: Vec<Package>,
    /// The suite that has them.
    pub suite: String,
    /// What the user should know about them, a line each.
    pub notes: Vec<String>,
    /// `None` where the record's digests are what is relied on.
    apt: Option<Apt>,
    mirrors: Vec<String>,
}

impl Found {
    /// Downloads the file of one of the packages. Signature and digest are checked by apt, or the
    /// digest is the record's.
    ///
    /// # Errors
    /// The archive or the network fails, what comes has another digest, or the disk is full.
    pub fn download(&self, host: &Host, package: &Package) -> Result<PathBuf> {
        if let Some(apt) = &self.apt {
            return apt.download(host, package);
        }
        let wanted = Wanted { file: &package.path, sha256: &package.sha256, mirrors: &self.mirrors };
        download::fetch(host, wanted).map_err(|error| match error.verdict_given() {
            Some(Verdict::Unavailable) => {
                error.help(format!("set {MIRROR_VAR} to the address of a Debian mirror that has it"))
            }
            _ => error,
        })
    }
}

/// Base addresses of Debian's archive for hosts without Debian's apt, separated by white space.
const MIRROR_VAR: &str = "SNAPTRACE_DEBIAN_MIRROR";

/// Gets a ready-made kernel, from the cache if what the record asks for is there; the newest of its
/// line if that is asked for.
pub fn obtain(workspace: &Workspace, record: &Record, newest: bool) -> Result<Kernel> {
    let inputs = key::record_digest(workspace, record)?;
    let mut line = PackageLine::of(record)?;
    if newest {
        line.version = None;
        return fetch(workspace, record, &line, &inputs);
    }
    if let Some(kernel) = current(workspace, record, &inputs)? {
        return Ok(kernel);
    }
    let fetched = fetch(workspace, record, &line, &inputs);
    fetched.or_else(|error| match names::cached(workspace, record) {
        // An older kernel, with a note, is better than none.
        Ok(Some(mut kernel)) if error.verdict_given() == Some(Verdict::Unavailable) => {
            kernel.notes.push(format!("{} could not be renewed: {}", record.name, error.summary()));
            Ok(kernel)
        }
        _ => Err(error),
    })
}

fn current(workspace: &Workspace, record: &Record, inputs: &str) -> Result<Option<Kernel>> {
    let bound = names::bound(workspace, &record.name)?;
    let current = bound.filter(|(_, manifest)| manifest.record == inputs);
    Ok(current.map(|(dir, manifest)| Kernel::new(&record.name, dir, manifest)))
}

fn fetch(workspace: &Workspace, record: &Record, line: &PackageLine<'_>, inputs: &str) -> Result<Kernel> {
    let found = find(workspace, record, line)?;
    // Another command may have fetched it while this one waited for apt.
    if line.version.is_some()
        && let Some(kernel) = current(workspace, record, inputs)?
    {
        return Ok(kernel);
    }
    let mut key = Keyed::new();
    key.add("record", inputs);
    for package in &found.packages {
        key.add("package", format!("{} {} {}", package.name, package.version, package.sha256));
    }
    let key = key.finish();
    let [package, ..] = found.packages.as_slice() else {
        return Err(Error::new(format!("cannot find a kernel package for {}", record.name)));
    };
    let dir = workspace.host.cache.fill(&workspace.host.ui, KIND, &key, |dir| {
        let unpacked = dir.join("package");
        for package in &found.packages {
            let deb = found.download(&workspace.host, package)?;
            workspace.host.ui.say(format!("unpacking {} {}", package.name, package.version));
            archive::unpack_deb(&deb, &unpacked)?;
            cache::remove(&deb)?;
        }
        let image = arrange(workspace, record, package, &unpacked, dir)?;
        cache::remove(&unpacked)?;
        let manifest = Manifest {
            release: image.release,
            version: package.version.clone(),
            compiler: image.compiler,
            vmlinux_sha256: image.vmlinux_sha256,
            provenance: format!("Debian {} {} {}", found.suite, package.name, package.version),
            notes: found.notes.clone(),
            record: inputs.to_owned(),
            source: None,
            symbols: None,
            build_steps: None,
        };
        entry::write_manifest(dir, &manifest)
    })?;
    names::bind(workspace, &record.name, &key, dir, None)
}

/// The packages to take: on a Debian by its apt, which checks signatures; elsewhere those whose
/// digests the record has, and no others.
///
/// # Errors
/// No suite has one, or the record pins none (verdict `unavailable`), or apt fails.
pub fn find(workspace: &Workspace, record: &Record, line: &PackageLine<'_>) -> Result<Found> {
    if let Err(no_apt) = apt::is_debians() {
        return pinned(record, line, &no_apt);
    }
    let (apt, package, notes) = choose(record, line, |suite| {
        let apt = Apt::open(&workspace.host, suite, "")?;
        let packages = apt.packages(line.pattern)?;
        Ok((apt, packages))
    })?;
    let mut packages = vec![package];
    for prefix in line.with {
        packages.push(companion(&apt, &packages[0], prefix)?);
    }
    Ok(Found { packages, suite: apt.suite().to_owned(), notes, apt: Some(apt), mirrors: Vec::new() })
}

/// The newest packages of a line in a part of the archive, which begins their paths.
///
/// # Errors
/// No suite has one (verdict `unavailable`), this machine is no Debian, or apt fails.
pub fn newest_of_main(
    workspace: &Workspace,
    record: &Record,
    line: &PackageLine<'_>,
    part: &str,
) -> Result<Vec<Package>> {
    let failed =
        || Error::new(format!("cannot find the newest {}", record.name)).verdict(Verdict::Unavailable);
    apt::is_debians()
        .map_err(|why| failed().because(why).help("only Debian's apt can tell: do it on a Debian"))?;
    let line = PackageLine { suites: line.suites.clone(), version: None, ..*line };
    let (apt, package, _) = choose(record, &line, |suite| {
        let apt = Apt::open(&workspace.host, suite, "")?;
        let mut packages = apt.packages(line.pattern)?;
        packages.retain(|package| package.path.starts_with(part));
        Ok((apt, packages))
    })?;
    let mut packages = vec![package];
    for prefix in line.with {
        packages.push(companion(&apt, &packages[0], prefix)?);
    }
    Ok(packages)
}

/// The packages that the record pins.
fn pinned(record: &Record, line: &PackageLine<'_>, no_apt: &str) -> Result<Found> {
    let failed = || Error::new(format!("cannot fetch {}", record.name)).verdict(Verdict::Unavailable);
    if line.version.is_none() {
        return Err(failed()
            .because(format!("{no_apt}, and only apt can tell which version is the newest"))
            .help("without --newest the version that kernels.toml pins by its digest is taken"));
    }
    let packages: Vec<Package> = line
        .pinned
        .files
        .iter()
        .map(|file| {
            package_of(file).ok_or_else(|| {
                failed().because(format!("kernels.toml names a file that is no package: {}", file.path))
            })
        })
        .collect::<Result<_>>()?;
    if packages.is_empty() {
        return Err(failed()
            .because(format!("{no_apt}, and kernels.toml has no digest of its packages"))
            .help(format!("on a Debian `cargo xtask kernel --repin {}` adds them", record.name)));
    }
    let mirrors = std::env::var(MIRROR_VAR).unwrap_or_default();
    let mirrors: Vec<String> = mirrors.split_whitespace().map(str::to_owned).collect();
    if mirrors.is_empty() {
        return Err(failed()
            .because(format!("{no_apt}, and {MIRROR_VAR} names no mirror of Debian's archive"))
            .help(format!("set {MIRROR_VAR} to the address of one, up to and with /debian"))
            .help(format!(
                "Debian's snapshot archive keeps every version: there it ends in archive/debian/{}",
                line.pinned.snapshot
            )));
    }
    let suite = line.suites.first().copied().unwrap_or_default().to_owned();
    Ok(Found { packages, suite, notes: Vec::new(), apt: None, mirrors })
}

/// The package that a pinned file is, by its name: `NAME_VERSION_ARCHITECTURE.deb`.
fn package_of(file: &PackageFile) -> Option<Package> {
    let words = file.path.rsplit('/').next()?.strip_suffix(".deb")?;
    let [name, version, architecture] = words.split('_').collect::<Vec<_>>().try_into().ok()?;
    Some(Package {
        name: name.to_owned(),
        version: version.replace("%3a", ":"),
        architecture: architecture.to_owned(),
        size: 0,
        sha256: file.sha256.clone(),
        path: file.path.clone(),
    })
}

/// The package to take, and whatever `offers` gives for the suite that has it: the recorded
/// version from the first suite that has it, else the line's newest with a note.
/// Without a version the first suite that has any is taken.
///
/// # Errors
/// Those of `offers`; `unavailable` where no suite has the line.
fn choose<Suite>(
    record: &Record,
    line: &PackageLine<'_>,
    offers: impl Fn(&str) -> Result<(Suite, Vec<Package>)>,
) -> Result<(Suite, Package, Vec<String>)> {
    let mut newest = None;
    for suite in &line.suites {
        let (suite, packages) = offers(suite)?;
        if let Some(package) = packages.iter().find(|package| Some(&*package.version) == line.version) {
            return Ok((suite, package.clone(), Vec::new()));
        }
        newest = newest.or_else(|| packages.into_iter().next().map(|package| (suite, package)));
    }
    let suites = line.suites.join(" or ");
    let (suite, package) = newest.ok_or_else(|| {
        Error::new(format!("cannot find a kernel package for {}", record.name))
            .because(format!("Debian {suites} has none called {}", line.pattern))
            .verdict(Verdict::Unavailable)
    })?;
    let newest = format!("{} is the newest of its line, and snapshots may drift", package.version);
    let note = match line.version {
        Some(version) => format!("Debian {suites} no longer has version {version}; {newest}"),
        None => format!(
            "{newest}; after `cargo xtask kernel --clean {}` the recorded version is taken",
            record.name
        ),
    };
    Ok((suite, package, vec![note]))
}

/// The package with another part of the same build: `linux-modules-X` for `linux-binary-X`.
fn companion(apt: &Apt, package: &Package, prefix: &str) -> Result<Package> {
    let name = companion_name(&package.name, prefix);
    let packages = apt.packages(&regex::escape(&name))?;
    packages.into_iter().find(|found| found.version == package.version).ok_or_else(|| {
        Error::new(format!("cannot find a package that belongs to {}", package.name))
            .because(format!("Debian {} has no {name} {}", apt.suite(), package.version))
            .verdict(Verdict::Unavailable)
    })
}

fn companion_name(name: &str, prefix: &str) -> String {
    let rest = ["linux-image", "linux-binary"].iter().find_map(|first| name.strip_prefix(first));
    format!("{prefix}{}", rest.unwrap_or(name))
}

/// Facts about the kernel, read from a package's files.
struct Image {
    release: String,
    compiler: String,
    vmlinux_sha256: String,
}

/// Moves an unpacked package's files to their places in a cache entry.
fn arrange(
    workspace: &Workspace,
    record: &Record,
    package: &Package,
    unpacked: &Path,
    dir: &Path,
) -> Result<Image> {
    let files = files(unpacked).ok_or_else(|| {
        Error::new(format!("cannot find the kernel of {}", package.name))
            .because("the package has neither boot/vmlinuz-* nor usr/lib/modules/*/vmlinuz")
    })?;
    let bzimage = fs::read(&files.image).context(|| format!("cannot read {}", files.image.display()))?;
    let vmlinux = image::vmlinux(&bzimage)?;
    write(&dir.join("vmlinux"), &vmlinux)?;
    write(&dir.join("bzImage"), &bzimage)?;

    let path = files.config;
    let config = fs::read_to_string(&path).context(|| format!("cannot read {}", path.display()))?;
    write(&dir.join("config"), config.as_bytes())?;
    config::prove(&fragments::wanted_symbols(workspace, record)?, &config)?;
    let compiler = config::string(&config, "CC_VERSION_TEXT").map_or_else(
        || Err(Error::new(format!("{} does not name its compiler", path.display()))),
        |line| Ok(compiler::short_name(line)),
    )?;

    let available = modules::index(&files.modules)?;
    modules::collect(record, &available, &dir.join("modules"))?;
    Ok(Image { release: files.release, compiler, vmlinux_sha256: digest::sha256(&vmlinux) })
}

/// The paths of a kernel's files in its unpacked packages.
#[derive(Debug, PartialEq, Eq)]
pub struct Files {
    pub release: String,
    pub image: PathBuf,
    pub config: PathBuf,
    pub modules: PathBuf,
}

/// Debian 11 to 13 have image and configuration in `boot`, and modules in `lib/modules` or
/// `usr/lib/modules`; from 7.x on all files are in the modules folder.
pub fn files(unpacked: &Path) -> Option<Files> {
    let modules = ["lib/modules", "usr/lib/modules"].map(|place| unpacked.join(place));
    let modules = modules.iter().find(|place| place.is_dir()).unwrap_or(&modules[0]).clone();
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let boot = unpacked.join("boot");
    if let Some(release) = names(&boot).iter().find_map(|name| name.strip_prefix("vmlinuz-")) {
        let [image, config] = ["vmlinuz", "config"].map(|what| boot.join(format!("{what}-{release}")));
        return Some(Files { release: release.to_owned(), image, config, modules });
    }
    let release = names(&modules).into_iter().find(|name| modules.join(name).join("vmlinuz").is_file())?;
    let [image, config] = ["vmlinuz", "config"].map(|what| modules.join(&release).join(what));
    Some(Files { release, image, config, modules })
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|e| cache::denied("cannot write", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;

    #[test]
    fn the_recorded_version_is_taken_while_a_suite_has_it() {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-configs/kernels.toml");
        let matrix = Matrix::load(&configs).unwrap();
        let record = matrix.find("debian-7").unwrap();
        let mut line = PackageLine::of(record).unwrap();
        line.suites = vec!["sid", "forky"];
        line.version = Some("7.2.13-1");
        let package = |version: &str| {
            let (name, architecture, path) = ("p".into(), "amd64".into(), "p".into());
            Package { name, version: version.into(), architecture, size: 1, sha256: "f".into(), path }
        };
        let chosen = |sid: &[&str], forky: &[&str]| {
            choose(record, &line, |suite| {
                let versions = if suite == "sid" { sid } else { forky };
                Ok((suite.to_owned(), versions.iter().map(|version| package(version)).collect()))
            })
        };
        for (sid, forky, suite) in [
            (["7.2.14-1", "7.2.13-1"].as_slice(), ["7.2.12-1"].as_slice(), "sid"),
            (&["7.3.1-1"], &["7.2.13-1"], "forky"),
        ] {
            let (found, package, notes) = chosen(sid, forky).unwrap();
            assert_eq!((found.as_str(), package.version.as_str(), notes.len()), (suite, "7.2.13-1", 0));
        }
        let (found, package, notes) = chosen(&["7.3.1-1"], &["7.2.14-1"]).unwrap();
        assert_eq!((found.as_str(), package.version.as_str()), ("sid", "7.3.1-1"));
        assert!(notes[0].contains("sid or forky no longer has version 7.2.13-1"), "{notes:?}");

        let none = chosen(&[], &[]).unwrap_err();
        assert_eq!(none.verdict_given(), Some(Verdict::Unavailable));
    }

    #[test]
    fn every_layout_of_debians_packages_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str, places: &[&str]| {
            let unpacked = folder.path().join(name);
            for place in places {
                let path = unpacked.join(place);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            unpacked
        };
        let old = made("6.1", &["boot/vmlinuz-6.1-c", "boot/config-6.1-c", "lib/modules/6.1-c/kernel/a.ko"]);
        let found = files(&old).unwrap();
        assert_eq!((found.release.as_str(), &found.config), ("6.1-c", &old.join("boot/config-6.1-c")));
        assert_eq!(found.modules, old.join("lib/modules"));

        let new = made("7.2", &["usr/lib/modules/7.2-c/vmlinuz", "usr/lib/modules/7.2-c/config"]);
        let found = files(&new).unwrap();
        assert_eq!(
            (found.release.as_str(), &found.image),
            ("7.2-c", &new.join("usr/lib/modules/7.2-c/vmlinuz"))
        );
        assert_eq!(files(&made("none", &["usr/lib/modules/7.2-c/config"])), None);
    }

    #[test]
    fn companions_are_of_the_same_build() {
        assert_eq!(
            companion_name("linux-binary-7.2.13+deb14-cloud-amd64", "linux-modules"),
            "linux-modules-7.2.13+deb14-cloud-amd64"
        );
    }
}
