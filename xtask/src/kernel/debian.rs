//! Debian's ready-made kernels: fetched with apt, unpacked, proved against our needs.

use std::fs;
use std::path::Path;

use crate::apt::{self, Apt, Package};
use crate::cache;
use crate::error::{Context, Error, Result};
use crate::harness::Harness;
use crate::kernel::{self, KIND, Kernel, Keyed, Manifest, config, image, modules};
use crate::matrix::Record;
use crate::verdict::Verdict;

/// A line of kernel packages in a suite.
pub struct Line<'a> {
    /// The suite.
    pub suite: &'a str,
    /// A regular expression that the package's whole name matches.
    pub pattern: &'a str,
    /// The version to take while the archive has it.
    pub version: &'a str,
}

/// Gets a ready-made kernel, from the cache if what the record asks for is there.
pub fn obtain(h: &Harness, record: &Record, line: &Line<'_>) -> Result<Kernel> {
    let inputs = kernel::record_digest(h, record)?;
    if let Some(kernel) = current(h, record, &inputs)? {
        return Ok(kernel);
    }
    let fetched = fetch(h, record, line, &inputs);
    fetched.or_else(|error| match kernel::at_hand(h, record) {
        // Better an older kernel that says so than none at all.
        Ok(Some(mut kernel)) if error.verdict_given() == Some(Verdict::Unavailable) => {
            kernel.notes.push(format!("{} could not be renewed: {}", record.name, error.summary()));
            Ok(kernel)
        }
        _ => Err(error),
    })
}

fn current(h: &Harness, record: &Record, inputs: &str) -> Result<Option<Kernel>> {
    let bound = kernel::bound(h, &record.name)?;
    let current = bound.filter(|(_, manifest)| manifest.record == inputs);
    Ok(current.map(|(dir, manifest)| Kernel::new(&record.name, dir, manifest)))
}

fn fetch(h: &Harness, record: &Record, line: &Line<'_>, inputs: &str) -> Result<Kernel> {
    let apt = Apt::open(h, line.suite, "")?;
    // Another command may have been first while this one waited for apt.
    if let Some(kernel) = current(h, record, inputs)? {
        return Ok(kernel);
    }
    let packages = apt.packages(line.pattern)?;
    let (package, notes) = choose(record, line, &packages)?;
    let mut key = Keyed::new();
    key.add("record", inputs);
    key.add("package", format!("{} {} {}", package.name, package.version, package.sha256));
    let key = key.finish();
    let dir = h.cache.fill(&h.ui, KIND, &key, |dir| {
        let deb = apt.download(h, package)?;
        h.ui.say(format!("unpacking {} {}", package.name, package.version));
        let unpacked = dir.join("package");
        apt::unpack(&deb, &unpacked)?;
        cache::remove(&deb)?;
        let image = arrange(h, record, package, &unpacked, dir)?;
        cache::remove(&unpacked)?;
        let manifest = Manifest {
            release: image.release,
            version: package.version.clone(),
            compiler: image.compiler,
            vmlinux_sha256: image.vmlinux_sha256,
            provenance: format!("Debian {} {} {}", line.suite, package.name, package.version),
            notes,
            record: inputs.to_owned(),
            source: None,
            build_steps: None,
        };
        kernel::write_manifest(dir, &manifest)
    })?;
    kernel::bind(h, &record.name, &key, dir)
}

/// The package of the recorded version, else the line's newest with a note.
fn choose<'a>(
    record: &Record,
    line: &Line<'_>,
    packages: &'a [Package],
) -> Result<(&'a Package, Vec<String>)> {
    if let Some(package) = packages.iter().find(|package| package.version == line.version) {
        return Ok((package, Vec::new()));
    }
    let newest = packages.first().ok_or_else(|| {
        Error::new(format!("cannot find a kernel package for {}", record.name))
            .because(format!("Debian {} has none called {}", line.suite, line.pattern))
            .verdict(Verdict::Unavailable)
    })?;
    let note = format!(
        "Debian {} no longer has version {}; {} is the newest of its line, and snapshots \
         may drift",
        line.suite, line.version, newest.version
    );
    Ok((newest, vec![note]))
}

/// What a package's files say of the kernel in it.
struct Image {
    release: String,
    compiler: String,
    vmlinux_sha256: String,
}

/// Puts an unpacked package's files where an entry has them.
fn arrange(h: &Harness, record: &Record, package: &Package, unpacked: &Path, dir: &Path) -> Result<Image> {
    let boot = unpacked.join("boot");
    let mut image = None;
    for path in cache::read_dir(&boot)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(release) = name.strip_prefix("vmlinuz-") {
            image = Some((path, release.to_owned()));
        }
    }
    let (image, release) = image.ok_or_else(|| {
        Error::new(format!("cannot find the kernel of {}", package.name))
            .because("the package has no boot/vmlinuz-*")
    })?;
    let bzimage = fs::read(&image).context(|| format!("cannot read {}", image.display()))?;
    let vmlinux = image::vmlinux(&bzimage)?;
    write(&dir.join("vmlinux"), &vmlinux)?;
    write(&dir.join("bzImage"), &bzimage)?;

    let path = boot.join(format!("config-{release}"));
    let config = fs::read_to_string(&path).context(|| format!("cannot read {}", path.display()))?;
    write(&dir.join("config"), config.as_bytes())?;
    config::prove(&kernel::wanted_symbols(h, record)?, &config)?;
    let compiler = config::string(&config, "CC_VERSION_TEXT").map_or_else(
        || Err(Error::new(format!("{} does not name its compiler", path.display()))),
        |line| Ok(kernel::compiler(line)),
    )?;

    let available = modules::index(&unpacked.join("lib/modules"))?;
    modules::collect(record, &available, &dir.join("modules"))?;
    Ok(Image { release, compiler, vmlinux_sha256: kernel::sha256(&vmlinux) })
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|e| cache::denied("cannot write", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;

    fn package(version: &str) -> Package {
        Package { name: "p".into(), version: version.into(), size: 1, sha256: "f".into() }
    }

    #[test]
    fn the_recorded_version_is_taken_while_the_archive_has_it() {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-configs/kernels.toml");
        let matrix = Matrix::load(&configs).unwrap();
        let record = matrix.find("debian-6.1").unwrap();
        let line = Line { suite: "bookworm", pattern: "p", version: "6.1.176-1" };
        let packages = [package("6.1.192-2"), package("6.1.176-1"), package("6.1.170-1")];
        let (chosen, notes) = choose(record, &line, &packages).unwrap();
        assert_eq!((chosen.version.as_str(), notes.len()), ("6.1.176-1", 0));

        let (chosen, notes) = choose(record, &line, &packages[..1]).unwrap();
        assert_eq!(chosen.version, "6.1.192-2");
        assert!(notes[0].contains("no longer has version 6.1.176-1"), "{notes:?}");

        let none = choose(record, &line, &[]).unwrap_err();
        assert_eq!(none.verdict_given(), Some(Verdict::Unavailable));
    }
}
