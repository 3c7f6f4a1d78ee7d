//! Kernels built here: configured from fragments, checked, and compiled reproducibly out of tree.

use std::fs;
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use super::entry::{self, KIND, Kernel, Manifest};
use super::key;
use super::names::Origin;
use super::source::{self, Given, Tree};
use crate::base::cache;
use crate::base::digest::Keyed;
use crate::base::error::{Context, Error, Result};
use crate::base::ui::Bar;
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::fetch::download::{self, Wanted};
use crate::fetch::host_packages;
use crate::kernel::{compiler, config, debian_source, fragments, make, modules, names};
use crate::matrix::{Record, Source};

/// How a kernel is to be obtained, beyond its record.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// A local source tree or tarball instead of the record's own.
    pub source: Option<PathBuf>,
    /// The C compiler of the build instead of `gcc`.
    pub cc: Option<String>,
    /// The newest version of the line that the archive has, not the recorded one.
    pub newest: bool,
}

/// The compiler and linker of a build.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The C compiler, as make's `CC`.
    cc: String,
    /// The first line of its `--version`.
    pub compiler: String,
    /// The first line of the linker's `--version`.
    pub linker: String,
}

/// Obtains a kernel that is built here: from the cache if the same inputs were built before.
pub fn obtain(workspace: &Workspace, record: &Record, request: &Request) -> Result<Kernel> {
    let inputs = key::record_digest(workspace, record)?;
    let bound = names::bound(workspace, &record.name)?;
    if let Some((dir, manifest)) = &bound
        && request.source.is_none()
        && request.cc.is_none()
        && manifest.record == inputs
    {
        // The name means the kernel that was last built under it.
        return Ok(Kernel::new(&record.name, dir.clone(), manifest.clone()));
    }
    let last = bound.map(|(_, manifest)| manifest);
    let given = given(workspace, record, request, last.as_ref())?;
    let (key, dir) = entry(workspace, record, &given, request.cc.as_deref(), last.as_ref())?;
    names::bind(workspace, &record.name, &key, dir, Some(&Origin::of(&given)))
}

/// Builds a local tree or tarball with a record's configuration. The new kernel is named after its source;
/// the record's name keeps its meaning.
pub fn apart(workspace: &Workspace, record: &Record, path: &Path) -> Result<Kernel> {
    make::takes(workspace.host.cache.path())?;
    let given = source::local(workspace, record, path)?;
    let (_, dir) = entry(workspace, record, &given, None, None)?;
    let manifest = Manifest { provenance: given.provenance.clone(), ..entry::read_manifest(&dir)? };
    let file = given.path.file_name().unwrap_or_default().to_string_lossy();
    let name = file.split(".tar").next().unwrap_or_default().trim_start_matches('.');
    Ok(Kernel::new(&format!("{name}@{}", &given.digest[..7]), dir, manifest))
}

/// The cache entry of a source's kernel, built if missing, and its key.
fn entry(
    workspace: &Workspace,
    record: &Record,
    given: &Given,
    cc: Option<&str>,
    last: Option<&Manifest>,
) -> Result<(String, PathBuf)> {
    let inputs = key::record_digest(workspace, record)?;
    let tools = toolchain(workspace, record, cc)?;
    let mut key = Keyed::new();
    key.add("record", &inputs);
    key.add("source", &given.digest);
    key.add("compiler", &tools.compiler);
    key.add("linker", &tools.linker);
    let key = key.finish();
    let dir = workspace.host.cache.fill(&workspace.host.ui, KIND, &key, |dir| {
        // One scratch folder and log per name: the next build removes what a failed one left.
        let name = format!("build-{}", record.name);
        let _lock = workspace.host.cache.lock(&workspace.host.ui, &name)?;
        let scratch = workspace.host.cache.folder("build")?.join(&record.name);
        let log = workspace.host.cache.folder("logs")?.join(format!("{name}.log"));
        let job = Job { record, given, tools: &tools, scratch: &scratch, log: &log };
        // The last build counted the files; before the first build there is only an estimate.
        let known = last.and_then(|manifest| manifest.build_steps);
        let guess = record.source.building().map(|building| building.steps);
        let expected = known.or(guess).map(|files| Expected { files, estimated: known.is_none() });
        let objects = compile(workspace, &job, ObjectTree::configured(workspace, &job)?, expected)?;
        let manifest = objects.keep(&job, &inputs, dir)?;
        given.check_unchanged()?;
        fs::copy(&log, dir.join("build.log")).map_err(|e| cache::denied("cannot copy", &log, &e))?;
        entry::write_manifest(dir, &manifest)?;
        cache::remove(&log)?;
        cache::remove(&scratch)
    })?;
    Ok((key, dir))
}

/// The source to build from: the one asked for, else the one last built from, else the
/// record's own tarball, kernel.org's or Debian's.
pub fn given(
    workspace: &Workspace,
    record: &Record,
    request: &Request,
    last: Option<&Manifest>,
) -> Result<Given> {
    // Said before anything is downloaded or read.
    make::takes(workspace.host.cache.path())?;
    if let Some(path) = &request.source {
        return source::local(workspace, record, path);
    }
    if let Some(path) = last.and_then(|manifest| manifest.source.as_ref()) {
        if path.exists() {
            return source::local(workspace, record, path);
        }
        // A different source must not be built silently under the same name.
        let name = &record.name;
        return Err(Error::new(format!("cannot build {name} again"))
            .because(format!("{}, which it was built from, is gone", path.display()))
            .help(format!("name its new folder, or another source: cargo xtask kernel {name} --source PATH"))
            .help(format!("after `cargo xtask kernel --clean {name}` it is built from {}", own(record)))
            .verdict(Verdict::Unavailable));
    }
    let (version, sha256, file, mirrors) = match &record.source {
        Source::KernelOrg { version, sha256, file, mirrors, .. } => (version, sha256, file, mirrors),
        Source::DebianSource { .. } => return debian_source::fetch(workspace, record),
        Source::Debian { .. } | Source::Own { .. } => {
            return Err(Error::new(format!("{} has no source to build from", record.name)));
        }
    };
    let mirrors = download::mirrors(mirrors);
    let path =
        download::fetch(&workspace.host, Wanted { file, sha256, mirrors: &mirrors }).map_err(|error| {
            error
                .help(format!(
                    "give a local tree or tarball: cargo xtask kernel {} --source PATH",
                    record.name
                ))
                .help("the kernel debian-6.1 needs no download from kernel.org")
        })?;
    let provenance = format!("kernel.org {version}");
    Ok(Given { path, digest: sha256.clone(), provenance, local: false, notes: Vec::new() })
}

/// A description of a record's own source.
fn own(record: &Record) -> String {
    match &record.source {
        Source::KernelOrg { version, .. } => format!("kernel.org's {version} again"),
        _ => "Debian's source again".to_owned(),
    }
}

/// The compiler and linker; first makes sure that everything a build needs is installed.
pub fn toolchain(workspace: &Workspace, record: &Record, cc: Option<&str>) -> Result<Toolchain> {
    let needed = build_tools(record);
    host_packages::need_packages(&workspace.host, &format!("building {}", record.name), &needed)?;
    let cc = cc.unwrap_or("gcc").to_owned();
    let sh = Shell::new().context(|| "cannot find the current folder".to_owned())?;
    let first_line = |program: &str| -> Result<String> {
        // `ccache gcc` is a compiler, too.
        let mut words = program.split_whitespace();
        let name = words.next().unwrap_or_default();
        let output = cmd!(sh, "{name} {words...} --version").quiet().read();
        let text = output.context(|| format!("cannot run the compiler or linker {program:?}"))?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    };
    let compiler = first_line(&cc)
        .map_err(|error| error.help("--cc takes the name of an installed compiler, such as gcc-12"))?;
    let tools = Toolchain { linker: first_line("ld")?, compiler, cc };
    if let Some(max) = record.source.building().and_then(|building| building.gcc_max) {
        check_gcc(record, &tools, max)?;
    }
    Ok(tools)
}

fn check_gcc(record: &Record, tools: &Toolchain, max: u32) -> Result<()> {
    let name = compiler::short_name(&tools.compiler);
    match gcc_major(&name) {
        Some(major) if major > max => Err(Error::new(format!("{name} cannot build Linux {}", record.line))
            .because(format!(
                "gcc {max} is the newest that can: later ones use a newer C standard by default"
            ))
            .help(format!("install an older gcc and name it: --cc gcc-{max} or --cc gcc-12"))
            .verdict(Verdict::BuildFailed)),
        _ => Ok(()),
    }
}

/// The major version of a gcc such as `gcc 12.2.0`; `None` for any other compiler.
pub(super) fn gcc_major(compiler: &str) -> Option<u32> {
    compiler.strip_prefix("gcc ")?.split('.').next()?.parse().ok()
}

/// The inputs and folders of a configuration or a build.
pub struct Job<'a> {
    /// The kernel's record.
    pub record: &'a Record,
    /// The source.
    pub given: &'a Given,
    /// Compiler and linker.
    pub tools: &'a Toolchain,
    /// A folder for the object tree and an unpacked tarball.
    pub scratch: &'a Path,
    /// The file that all output goes to.
    pub log: &'a Path,
}

/// A configured object tree of a kernel, built or not.
pub struct ObjectTree {
    tree: Tree,
    path: PathBuf,
    cc: String,
    log: PathBuf,
    steps: u64,
}

/// How many files a build will make.
pub struct Expected {
    /// The files.
    pub files: u64,
    /// Whether the number is an estimate.
    pub estimated: bool,
}

/// Compiles a configured kernel.
pub fn compile(
    workspace: &Workspace,
    job: &Job<'_>,
    mut objects: ObjectTree,
    expected: Option<Expected>,
) -> Result<ObjectTree> {
    let what = format!("building Linux {}", objects.tree.version);
    let jobs = std::thread::available_parallelism().map_or(1, |n| n.get());
    workspace.host.ui.say(format!("{what} with {}, -j{jobs}", compiler::short_name(&job.tools.compiler)));
    let estimated = expected.as_ref().is_some_and(|expected| expected.estimated);
    let what = if estimated { format!("{what} (total estimated)") } else { what };
    let bar = workspace.host.ui.bar(&what, expected.map(|expected| expected.files));
    let jobs = format!("-j{jobs}");
    objects.steps = objects.make(&[&jobs, "vmlinux", "bzImage", "modules"], Some(&bar))?;
    Ok(objects)
}

impl ObjectTree {
    /// Configures a source in a new object tree: the record's fragments over tinyconfig. Checks each
    /// symbol of the fragments.
    pub fn configured(workspace: &Workspace, job: &Job<'_>) -> Result<ObjectTree> {
        // Left over by a build that failed.
        cache::remove(job.scratch)?;
        ObjectTree::configured_again(workspace, job)
    }

    /// Like [`ObjectTree::configured`], but keeps the object tree of the last build, if there is one.
    pub fn configured_again(workspace: &Workspace, job: &Job<'_>) -> Result<ObjectTree> {
        let Job { record, given, tools, scratch, log } = *job;
        let path = scratch.join("objects");
        make::takes(&path)?;
        fs::create_dir_all(&path).map_err(|e| cache::denied("cannot create", &path, &e))?;
        cache::remove(log)?;
        let tree = source::tree(workspace, record, given, &scratch.join("source"))?;
        make::takes(&tree.path)?;
        let objects = ObjectTree { tree, path, cc: tools.cc.clone(), log: log.to_owned(), steps: 0 };
        objects.make(&["tinyconfig"], None)?;
        let wanted = fragments::wanted_symbols(workspace, record)?;
        let file = objects.path.join(".config");
        let text = config::apply(&objects.config()?, &wanted);
        fs::write(&file, text).map_err(|e| cache::denied("cannot write", &file, &e))?;
        objects.make(&["olddefconfig"], None)?;
        let text = objects.config()?;
        let unmet = config::unmet(&wanted, &text);
        if unmet.is_empty() {
            return Ok(objects);
        }
        let mut error = config::unmet_error(&unmet, &text);
        for wanted in &unmet {
            for line in config::explain(&objects.tree.path, &wanted.symbol, &text)? {
                error = error.help(line);
            }
        }
        Err(error)
    }

    /// The text of the configuration.
    pub fn config(&self) -> Result<String> {
        let path = self.config_file();
        fs::read_to_string(&path).context(|| format!("cannot read {}", path.display()))
    }

    /// The file with the configuration.
    pub fn config_file(&self) -> PathBuf {
        self.path.join(".config")
    }

    /// Prepares the tree for modules from outside, without building the kernel.
    pub fn prepared(&self) -> Result<()> {
        self.make(&["modules_prepare"], None).map(|_| ())
    }

    /// The arguments of make in this object tree, without a target.
    pub fn arguments(&self) -> Vec<String> {
        // Paths in the image must not depend on the folder of the build.
        let map = |path: &Path| format!("-ffile-prefix-map={}/=", path.display());
        let flags = format!("{} {}", map(&self.path), map(&self.tree.path));
        vec![
            "-C".to_owned(),
            self.tree.path.display().to_string(),
            format!("O={}", self.path.display()),
            "ARCH=x86_64".to_owned(),
            format!("CC={}", self.cc),
            "HOSTCC=gcc".to_owned(),
            format!("KCFLAGS={flags}"),
            // Set but empty: no `+` for a git tree with changes.
            "LOCALVERSION=".to_owned(),
            "KBUILD_BUILD_TIMESTAMP=1970-01-01 00:00:00 UTC".to_owned(),
            "KBUILD_BUILD_USER=snaptrace".to_owned(),
            "KBUILD_BUILD_HOST=snaptrace".to_owned(),
            "KBUILD_BUILD_VERSION=1".to_owned(),
        ]
    }

    fn make(&self, targets: &[&str], bar: Option<&Bar>) -> Result<u64> {
        make::run(&format!("Linux {}", self.tree.version), &self.arguments(), targets, &self.log, bar)
    }

    /// Copies the results of a build into a cache entry.
    pub fn keep(&self, job: &Job<'_>, inputs: &str, dir: &Path) -> Result<Manifest> {
        let files = [("vmlinux", "vmlinux"), ("arch/x86/boot/bzImage", "bzImage"), (".config", "config")];
        for (from, to) in files {
            let from = self.path.join(from);
            fs::copy(&from, dir.join(to)).map_err(|e| cache::denied("cannot copy", &from, &e))?;
        }
        modules::collect(job.record, &modules::index(&self.path)?, &dir.join("modules"))?;
        let path = self.path.join("include/config/kernel.release");
        let release = fs::read_to_string(&path)
            .context(|| format!("cannot read the kernel's release from {}", path.display()))?;
        Ok(Manifest {
            release: release.trim().to_owned(),
            version: self.tree.version.clone(),
            compiler: compiler::short_name(&job.tools.compiler),
            vmlinux_sha256: download::digest(&dir.join("vmlinux"))?,
            provenance: job.given.provenance.clone(),
            notes: job.given.notes.clone(),
            record: inputs.to_owned(),
            source: None,
            symbols: None,
            build_steps: Some(self.steps),
        })
    }
}

/// Commands or files that a build of the record's kernel needs, each with its package; none for a
/// ready-made kernel.
pub fn build_tools(record: &Record) -> Vec<(&str, &str)> {
    let Some(building) = record.source.building() else { return Vec::new() };
    let own = building.tools.iter().map(|(command, package)| (command.as_str(), package.as_str()));
    host_packages::BUILD_TOOLS.into_iter().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;

    #[test]
    fn a_compiler_too_new_is_named_with_what_to_do() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-configs/kernels.toml");
        let matrix = Matrix::load(&path).unwrap();
        let record = matrix.find("5.4").unwrap();
        let with = |compiler: &str| Toolchain {
            cc: "gcc".to_owned(),
            compiler: compiler.to_owned(),
            linker: String::new(),
        };
        check_gcc(record, &with("gcc (Debian 14.2.0-19) 14.2.0"), 14).unwrap();
        check_gcc(record, &with("Debian clang version 19.0.0"), 14).unwrap();
        let error = check_gcc(record, &with("gcc (Debian 15.2.0-4) 15.2.0"), 14).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("gcc 15.2.0 cannot build Linux 5.4"), "{text}");
        assert!(text.contains("--cc gcc-12"), "{text}");
    }
}
