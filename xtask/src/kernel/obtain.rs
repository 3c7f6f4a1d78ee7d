//! Obtains the kernel of a record, and its source.

use std::path::{Path, PathBuf};

use super::build::{self, Request};
use super::entry::Kernel;
use crate::base::error::{Error, Result};
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::kernel::own::{self, Given};
use crate::kernel::{debian, names, source};
use crate::matrix::{Record, Source};

/// Obtains the kernel of a record: from the cache if it is there.
///
/// # Errors
/// The kernel cannot be obtained (verdict `unavailable`), has another digest than the pinned one,
/// does not build, or lacks a symbol or module that the record asks for.
pub fn obtain(workspace: &Workspace, record: &Record, request: &Request) -> Result<Kernel> {
    match &record.source {
        Source::Debian { .. } => {
            if request.source.is_some() || request.cc.is_some() {
                return Err(Error::new(format!("cannot build {}", record.name))
                    .because("it is a ready-made package of Debian")
                    .help("--source and --cc go with kernels that are built here, such as 5.4"));
            }
            debian::obtain(workspace, record, request.newest)
        }
        Source::Own { .. } => own::cached(workspace, record)?.ok_or_else(|| {
            Error::new(format!("cannot find the kernel {}", record.name))
                .because("it is no longer in the cache")
                .help(format!("add it again: cargo xtask kernel add {} PATH", record.name))
                .verdict(Verdict::Unavailable)
        }),
        Source::KernelOrg { .. } | Source::DebianSource { .. } if request.newest => {
            Err(Error::new(format!("cannot take the newest {}", record.name))
                .because("it is built here from a source that is pinned")
                .help("--newest goes with ready-made kernels, such as debian-6.1"))
        }
        Source::KernelOrg { .. } | Source::DebianSource { .. } => build::obtain(workspace, record, request),
    }
}

/// The record of the kernel that a word on the command line names: one of the matrix, one that was added, a
/// file or folder, an installed release, or `running`. A path is taken into the cache; a source tree is built.
///
/// # Errors
/// There is no such kernel, it cannot be read or built, or a guest cannot use it (verdict `config-unmet`).
pub fn record_of(workspace: &Workspace, word: &str) -> Result<Record> {
    let matrix = workspace.matrix()?;
    if let Some(record) = matrix.records().iter().find(|record| record.name == word) {
        return Ok(record.clone());
    }
    if let Some(record) = own::added(workspace, word)? {
        return Ok(record);
    }
    match own::find(word)? {
        Some(given) => take(workspace, given),
        None => {
            let added = own::all_added(workspace)?;
            let known = matrix.records().iter().chain(&added).map(|record| record.name.as_str());
            let error = Error::unknown("kernel", word, &known.collect::<Vec<_>>());
            Err(error.help("or the path of an image, an object or source tree, or a linux-image package"))
        }
    }
}

/// Takes a kernel of the user's own into the cache, and gives it a name.
///
/// # Errors
/// The name is taken or is no name, or as for [`record_of`].
pub fn add(workspace: &Workspace, name: &str, path: &str) -> Result<Kernel> {
    let failed = |why: &str| Error::new(format!("cannot add a kernel as {name}")).because(why).usage();
    if !own::is_name(name) {
        return Err(failed("a name begins with a letter or digit and has only these and `-`, `_`, `.`"));
    }
    if workspace.matrix()?.records().iter().any(|record| record.name == name) {
        return Err(failed("kernels.toml has a kernel of that name"));
    }
    let given = own::find(path)?.ok_or_else(|| failed(&format!("there is no file {path}")))?;
    let record = Record { name: name.to_owned(), ..take(workspace, given)? };
    own::keep(workspace, &record)?;
    obtain(workspace, &record, &Request::default())
}

fn take(workspace: &Workspace, given: Given) -> Result<Record> {
    match given {
        Given::Image(parts) => own::take_image(workspace, parts),
        Given::Packages(packages) => own::take_packages(workspace, &packages),
        Given::Source(path) => {
            let (record, kernel) = of_source(workspace, &path)?;
            let key = kernel.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let about = kernel.provenance;
            Ok(Record { name: kernel.name, about, source: Source::Own { key }, reference: false, ..record })
        }
    }
}

/// The cached kernel of a record, if there is one. Uses no network and writes nothing.
///
/// # Errors
/// The cache entry is damaged, or the config fragments cannot be read.
pub fn cached(workspace: &Workspace, record: &Record) -> Result<Option<Kernel>> {
    match &record.source {
        Source::Own { .. } => own::cached(workspace, record),
        _ => names::cached(workspace, record),
    }
}

/// Builds a local tree or tarball with the record of the matrix that fits its version. The kernel is named
/// after its source; names of the matrix keep their meaning.
///
/// Also returns that record.
///
/// # Errors
/// It is no kernel tree, its release line is not built here, or the build fails.
fn of_source(workspace: &Workspace, path: &Path) -> Result<(Record, Kernel)> {
    let version = source::version_of(workspace, path)?;
    let record = workspace.matrix()?.for_source(&version)?.clone();
    let kernel = build::apart(workspace, &record, path)?;
    Ok((record, kernel))
}

/// Fetches a record's own source, so that [`unpack`] finds it.
///
/// # Errors
/// It cannot be obtained (verdict `unavailable`), or the record has none.
pub fn fetch_source(workspace: &Workspace, record: &Record) -> Result<()> {
    build::given(workspace, record, &Request::default(), None).map(drop)
}

/// Unpacks a record's own source into a folder, and returns the tree's top.
///
/// # Errors
/// The source cannot be obtained (verdict `unavailable`), or is no kernel tree of the record's line.
pub fn unpack(workspace: &Workspace, record: &Record, into: &Path) -> Result<PathBuf> {
    let given = build::given(workspace, record, &Request::default(), None)?;
    Ok(source::tree(workspace, record, &given, into)?.path)
}
