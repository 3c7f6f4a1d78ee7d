//! Out-of-tree modules, built for a kernel in the cache.

use std::fs;
use std::path::{Path, PathBuf};

use super::build::Request;
use super::build::{self, Job, ObjectTree};
use super::entry::Kernel;
use super::names::bound;
use crate::base::cache;
use crate::base::digest::Keyed;
use crate::base::error::{Context, Error, Result};
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::fetch::apt::{Apt, Package};
use crate::fetch::archive;
use crate::fetch::download;
use crate::fetch::host_packages;
use crate::kernel::{compiler, make};
use crate::matrix::{Record, Source};

/// The kind of the cache entries with built modules.
const KIND: &str = "modules";
/// Raised when the form of entries or the way they are made changes.
const FORMAT: u32 = 1;

/// Builds a module for a kernel, or takes it from the cache. The sources in `folder` are `<name>.c` and a
/// `Makefile` for kbuild.
///
/// # Errors
/// The headers or sources for the build cannot be obtained (verdict `unavailable`), or the build fails.
pub fn module(
    workspace: &Workspace,
    record: &Record,
    kernel: &Kernel,
    folder: &Path,
    name: &str,
) -> Result<PathBuf> {
    make::takes(workspace.host.cache.path())?;
    let mut key = Keyed::new();
    key.add("format", FORMAT.to_string());
    key.add("kernel", &kernel.vmlinux_sha256);
    let mut files = Vec::new();
    for file in [format!("{name}.c"), "Makefile".to_owned()] {
        let path = folder.join(&file);
        let text = fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
        key.add(&file, &text);
        files.push((file, text));
    }
    let file = format!("{name}.ko");
    let entry = workspace.host.cache.fill(&workspace.host.ui, KIND, &key.finish(), |dir| {
        workspace.host.ui.say(format!("building the module {name} for {}", kernel.name));
        let work = dir.join("work");
        let sources = work.join("module");
        fs::create_dir_all(&sources).map_err(|e| cache::denied("cannot create", &sources, &e))?;
        for (file, text) in &files {
            let path = sources.join(file);
            fs::write(&path, text).map_err(|e| cache::denied("cannot write", &path, &e))?;
        }
        // Not in the folder of the build, which is removed when the build fails.
        let log = workspace.host.cache.folder("logs")?.join(format!("module-{name}-{}.log", kernel.name));
        cache::remove(&log)?;
        match &record.source {
            Source::Debian { .. } => by_headers(workspace, record, kernel, &work, &sources, &log)?,
            Source::KernelOrg { .. } | Source::DebianSource { .. } => {
                by_tree(workspace, record, kernel, &work, &sources, &log)?
            }
            Source::Own { .. } => {
                return Err(Error::new(format!("cannot build modules for {}", kernel.name))
                    .because("what it was built with is not known")
                    .verdict(Verdict::Unavailable));
            }
        }
        cache::remove(&log)?;
        let (from, to) = (sources.join(&file), dir.join(&file));
        fs::rename(&from, &to).map_err(|e| cache::denied("cannot create", &to, &e))?;
        cache::remove(&work)
    })?;
    Ok(entry.join(file))
}

/// Builds against Debian's packages of the kernel's version: the headers, the headers shared by all
/// flavours, and kbuild's programs.
fn by_headers(
    workspace: &Workspace,
    record: &Record,
    kernel: &Kernel,
    work: &Path,
    sources: &Path,
    log: &Path,
) -> Result<()> {
    host_packages::need_packages(&workspace.host, "building a module", &host_packages::BUILD_TOOLS)?;
    let tools = build::toolchain(workspace, record, None)?;
    check_host(kernel, &compiler::short_name(&tools.compiler))?;
    let names = header_packages(&kernel.release)?;
    let (apt, packages) = headers_of(workspace, kernel, &record.source.suites(), &names)?;
    let unpacked = work.join("headers");
    for package in &packages {
        let deb = apt.download(&workspace.host, package)?;
        archive::unpack_deb(&deb, &unpacked)?;
        cache::remove(&deb)?;
    }
    drop(apt);
    let headers = unpacked.join("usr/src").join(&names[0]);
    // It includes the Makefile of the shared headers by its path on an ordinary host.
    let makefile = headers.join("Makefile");
    let text = fs::read_to_string(&makefile).context(|| format!("cannot read {}", makefile.display()))?;
    let text = text.replace("/usr/src/", &format!("{}/usr/src/", unpacked.display()));
    fs::write(&makefile, text).map_err(|e| cache::denied("cannot write", &makefile, &e))?;
    let arguments = ["-C".to_owned(), headers.display().to_string(), "CC=gcc".to_owned()];
    modules(&arguments, sources, log)
}

/// Checks that this host can use Debian's packages for modules: the headers need options of the kernel's
/// compiler, and objtool and modpost need the C library of the same Debian release.
fn check_host(kernel: &Kernel, compiler: &str) -> Result<()> {
    match (build::gcc_major(&kernel.compiler), build::gcc_major(compiler)) {
        (Some(needed), Some(had)) if had < needed => {
            Err(Error::new(format!("cannot build modules for {}", kernel.name))
                .because(format!("{} built it, and this host has {compiler}", kernel.compiler))
                .help("use a machine with that kernel's Debian release or a later one")
                .verdict(Verdict::Unavailable))
        }
        _ => Ok(()),
    }
}

/// The names of the packages that modules for a Debian kernel release are built against.
fn header_packages(release: &str) -> Result<[String; 3]> {
    let flavour = "-cloud-amd64";
    let abi = release.strip_suffix(flavour).ok_or_else(|| {
        Error::new(format!("cannot build modules for {release}"))
            .because(format!("its release does not end in {flavour}"))
            .verdict(Verdict::Unavailable)
    })?;
    // Up to 6.1 all builds of a line share a package of kbuild's programs; later each build has its own.
    let kbuild = match abi.split_once('+') {
        Some(_) => abi.to_owned(),
        None => abi.splitn(3, '.').take(2).collect::<Vec<_>>().join("."),
    };
    Ok([
        format!("linux-headers-{release}"),
        format!("linux-headers-{abi}-common"),
        format!("linux-kbuild-{kbuild}"),
    ])
}

/// The packages of the kernel's version, and apt for the suite that has them.
fn headers_of(
    workspace: &Workspace,
    kernel: &Kernel,
    suites: &[&str],
    names: &[String],
) -> Result<(Apt, Vec<Package>)> {
    let mut lacking = String::new();
    for suite in suites {
        let apt = Apt::open(&workspace.host, suite, "")?;
        let mut found = Vec::new();
        for name in names {
            match of_version(&apt.packages(&regex::escape(name))?, &kernel.version) {
                Some(package) => found.push(package.clone()),
                None => lacking = format!("Debian {suite} has no {name} {}", kernel.version),
            }
        }
        if found.len() == names.len() {
            return Ok((apt, found));
        }
    }
    Err(Error::new(format!("cannot build modules for {}", kernel.name))
        .because(lacking)
        .verdict(Verdict::Unavailable))
}

fn modules(arguments: &[String], sources: &Path, log: &Path) -> Result<()> {
    let folder = format!("M={}", sources.display());
    make::run("the module", &[arguments, &[folder]].concat(), &["modules"], log, None).map(|_| ())
}

fn of_version<'a>(packages: &'a [Package], version: &str) -> Option<&'a Package> {
    packages.iter().find(|package| package.version == version)
}

/// Builds against an object tree that is prepared again from the kernel's source and configuration. The cache
/// keeps no object trees, since they are fifty times the size of a kernel.
fn by_tree(
    workspace: &Workspace,
    record: &Record,
    kernel: &Kernel,
    work: &Path,
    sources: &Path,
    log: &Path,
) -> Result<()> {
    let last = bound(workspace, &record.name)?.map(|(_, manifest)| manifest);
    let given = build::given(workspace, record, &Request::default(), last.as_ref())?;
    let tools = build::toolchain(workspace, record, None)?;
    let scratch = work.join("tree");
    let job = Job { record, given: &given, tools: &tools, scratch: &scratch, log };
    let objects = ObjectTree::configured(workspace, &job)?;
    if download::digest(&objects.config_file())? != download::digest(&kernel.config)? {
        return Err(Error::new(format!("cannot build modules for {}", kernel.name))
            .because("its source or configuration has changed since it was built")
            .help(format!("`cargo xtask kernel {}` renews it", kernel.name))
            .verdict(Verdict::Unavailable));
    }
    let mut arguments = objects.arguments();
    // Without a full build there is no list of the kernel's symbols; the guest's kernel checks them when it
    // loads the module.
    arguments.push("KBUILD_MODPOST_WARN=1".to_owned());
    objects.prepared()?;
    modules(&arguments, sources, log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_named_after_the_build() {
        let names = |release| header_packages(release).unwrap();
        assert_eq!(
            names("6.1.0-50-cloud-amd64"),
            ["linux-headers-6.1.0-50-cloud-amd64", "linux-headers-6.1.0-50-common", "linux-kbuild-6.1"]
        );
        assert_eq!(names("6.12.117+deb13-cloud-amd64")[2], "linux-kbuild-6.12.117+deb13");
        assert!(header_packages("5.4.286").is_err());
    }

    #[test]
    fn an_older_host_than_the_kernels_builds_no_modules() {
        let kernel = Kernel {
            name: "debian-6.12".into(),
            release: "6.12.117+deb13-cloud-amd64".into(),
            version: "6.12.117-1".into(),
            compiler: "gcc 14.2.0".into(),
            dir: PathBuf::new(),
            vmlinux: PathBuf::new(),
            bzimage: PathBuf::new(),
            config: PathBuf::new(),
            modules: PathBuf::new(),
            vmlinux_sha256: String::new(),
            built: None,
            provenance: String::new(),
            notes: Vec::new(),
        };
        let error = check_host(&kernel, "gcc 12.2.0").unwrap_err();
        assert_eq!(error.verdict_given(), Some(Verdict::Unavailable));
        assert!(error.to_string().contains("gcc 14.2.0 built it, and this host has gcc 12.2.0"), "{error}");
        check_host(&kernel, "gcc 14.1.0").unwrap();
        check_host(&kernel, "gcc 15.2.0").unwrap();
        check_host(&kernel, "clang 19.0.0").unwrap();
    }

    #[test]
    fn only_packages_of_the_kernels_own_version_serve() {
        let package = |version: &str| Package {
            name: "p".into(),
            version: version.into(),
            architecture: "all".into(),
            size: 1,
            sha256: "f".into(),
            path: "p".into(),
        };
        let packages = [package("6.1.192-2"), package("6.1.176-1")];
        assert_eq!(of_version(&packages, "6.1.176-1"), Some(&packages[1]));
        assert_eq!(of_version(&packages, "6.1.170-1"), None);
    }
}
