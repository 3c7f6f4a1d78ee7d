//! Names of kernels: the cache entry that each means, and the source it was built from.
//!
//! The first line of `names/<name>` is the entry's key. For a kernel that was built here, a second line names
//! the source: trees with equal contents share an entry, but each name remembers its own tree.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::entry::{KIND, Kernel, Manifest, read_manifest};
use super::key;
use super::source::Given;
use crate::base::cache;
use crate::base::error::{Context, Result};
use crate::base::workspace::Workspace;
use crate::matrix::Record;

/// The source that a name was built from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// The user's tree or tarball; `None` for the record's own source.
    source: Option<PathBuf>,
    /// Where it came from, as text.
    provenance: String,
}

impl Origin {
    /// The origin of a kernel that was built from `given`.
    pub fn of(given: &Given) -> Origin {
        let source = given.local.then(|| given.path.clone());
        Origin { source, provenance: given.provenance.clone() }
    }
}

fn file(name: &str) -> String {
    format!("names/{name}")
}

/// The key of the entry that a name means, and the name's source.
fn load(workspace: &Workspace, name: &str) -> Result<Option<(String, Option<Origin>)>> {
    let Some(text) = workspace.host.cache.load(&file(name))? else { return Ok(None) };
    let key = key_of(&text).to_owned();
    let origin = text.lines().nth(1).map(serde_json::from_str).transpose();
    let origin =
        origin.context(|| format!("cannot read {}", workspace.host.cache.path().join(file(name)).display()));
    Ok(Some((key, origin.map_err(|error| error.help("remove it with `cargo xtask kernel --clean`"))?)))
}

/// The entry that a name means. The source in the manifest is replaced by the name's own; a note says if that
/// no longer exists.
pub fn bound(workspace: &Workspace, name: &str) -> Result<Option<(PathBuf, Manifest)>> {
    let Some((key, origin)) = load(workspace, name)? else { return Ok(None) };
    let Some(dir) = workspace.host.cache.entry(KIND, &key) else { return Ok(None) };
    let mut manifest = read_manifest(&dir)?;
    if let Some(origin) = origin {
        manifest.source = origin.source;
        manifest.provenance = origin.provenance;
    }
    if let Some(source) = manifest.source.as_ref().filter(|source| !source.exists()) {
        manifest.notes.push(format!("{}, which it was built from, is gone", source.display()));
    }
    Ok(Some((dir, manifest)))
}

/// Binds a name to an entry, and returns the kernel.
pub fn bind(
    workspace: &Workspace,
    name: &str,
    key: &str,
    dir: PathBuf,
    origin: Option<&Origin>,
) -> Result<Kernel> {
    let mut text = format!("{key}\n");
    let mut manifest = read_manifest(&dir)?;
    if let Some(origin) = origin {
        let line = serde_json::to_string(origin);
        text += &(line.context(|| format!("cannot note what {name} was built from"))? + "\n");
        manifest.provenance.clone_from(&origin.provenance);
    }
    // Write only on a change: a cache with all entries may be read-only.
    if workspace.host.cache.load(&file(name))?.is_none_or(|bound| bound != text) {
        workspace.host.cache.store(&file(name), &text)?;
    }
    Ok(Kernel::new(name, dir, manifest))
}

/// Removes a name, and its entry if no other name means it.
pub fn forget(workspace: &Workspace, name: &str) -> Result<()> {
    let Some(text) = workspace.host.cache.load(&file(name))? else { return Ok(()) };
    workspace.host.cache.forget(&file(name))?;
    let key = key_of(&text);
    for path in cache::read_dir(&workspace.host.cache.path().join("names"))? {
        if key_of(&read(&path)?) == key {
            return Ok(());
        }
    }
    workspace.host.cache.forget(&format!("{KIND}/{key}"))
}

/// Whether a name means the entry of a key.
pub fn is_bound(workspace: &Workspace, key: &str) -> Result<bool> {
    let folder = workspace.host.cache.path().join("names");
    if !folder.is_dir() {
        return Ok(false);
    }
    for path in cache::read_dir(&folder)? {
        if key_of(&read(&path)?) == key {
            return Ok(true);
        }
    }
    Ok(false)
}

fn key_of(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).context(|| format!("cannot read {}", path.display()))
}

/// The cached kernel of a record, if there is one. Uses no network and writes nothing.
///
/// # Errors
/// The cache entry is damaged, or the config fragments cannot be read.
pub fn cached(workspace: &Workspace, record: &Record) -> Result<Option<Kernel>> {
    let Some((dir, manifest)) = bound(workspace, &record.name)? else { return Ok(None) };
    let current = manifest.record == key::record_digest(workspace, record)?;
    let mut kernel = Kernel::new(&record.name, dir, manifest);
    if !current {
        kernel.notes.push(format!(
            "{name} was made with other settings than kernel-configs/ has now; \
             `cargo xtask kernel {name}` renews it",
            name = record.name
        ));
    }
    Ok(Some(kernel))
}
