//! Obtains the kernel of a record, and its source.

use std::path::{Path, PathBuf};

use super::build::{self, Request};
use super::entry::Kernel;
use crate::base::error::{Error, Result};
use crate::base::workspace::Workspace;
use crate::kernel::{debian, source};
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
        Source::KernelOrg { .. } | Source::DebianSource { .. } if request.newest => {
            Err(Error::new(format!("cannot take the newest {}", record.name))
                .because("it is built here from a source that is pinned")
                .help("--newest goes with ready-made kernels, such as debian-6.1"))
        }
        Source::KernelOrg { .. } | Source::DebianSource { .. } => build::obtain(workspace, record, request),
    }
}

/// Builds a local tree or tarball with the record of the matrix that fits its version. The kernel is named
/// after its source; names of the matrix keep their meaning.
///
/// Also returns that record.
///
/// # Errors
/// It is no kernel tree, its release line is not built here, or the build fails.
pub fn of_source(workspace: &Workspace, path: &Path) -> Result<(Record, Kernel)> {
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
