//! Builds one commit after another in the same object tree, so that only changed files are compiled.
//!
//! make compares paths and dates, so the sources have to stay in one folder, and a source file has to be
//! older than its object. A note says which commit the objects were built from.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::build::{self, Expected, Job, ObjectTree, Toolchain};
use super::entry::Kernel;
use super::key;
use super::source::Given;
use crate::base::cache;
use crate::base::error::{Context, Result};
use crate::base::workspace::Workspace;
use crate::matrix::Record;

/// The note on the objects. It does not exist during a build, nor after a failed one.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Built {
    commit: String,
    compiler: String,
    linker: String,
}

/// A folder with an object tree, and the kernel that was last built in it.
pub struct Kept {
    folder: PathBuf,
    record: Record,
    tools: Toolchain,
}

impl Kept {
    /// Opens the folder, which may not exist yet; `cc` is the compiler, `gcc` when `None`.
    ///
    /// # Errors
    /// When something is missing that a build needs.
    pub fn open(workspace: &Workspace, record: &Record, folder: &Path, cc: Option<&str>) -> Result<Kept> {
        let tools = build::toolchain(workspace, record, cc)?;
        Ok(Kept { folder: folder.to_owned(), record: record.clone(), tools })
    }

    /// The commit that all objects were built from, if known and built by this compiler.
    pub fn commit(&self) -> Option<String> {
        // Ignore a note that cannot be parsed.
        let built: Built = serde_json::from_slice(&fs::read(self.note()).ok()?).ok()?;
        let same = self.built(&built.commit) == built && self.scratch().is_dir();
        same.then_some(built.commit)
    }

    /// Removes the objects.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn clear(&self) -> Result<()> {
        cache::remove(&self.note())?;
        cache::remove(&self.scratch())
    }

    /// Builds the sources at `source`, where `commit` is checked out.
    ///
    /// # Errors
    /// `build-failed` and `config-unmet`, or it is no kernel of the record's line.
    pub fn build(&self, workspace: &Workspace, source: &Path, commit: &str) -> Result<Kernel> {
        let given = Given {
            path: source.to_owned(),
            // The commit identifies the contents of its checkout, so no file has to be read.
            digest: commit.to_owned(),
            provenance: format!("commit {commit}"),
            local: false,
            notes: Vec::new(),
        };
        let (scratch, log) = (self.scratch(), self.folder.join("build.log"));
        let (record, tools) = (&self.record, &self.tools);
        let job = Job { record, given: &given, tools, scratch: &scratch, log: &log };
        // In a kept tree, the number of files to rebuild is unknown.
        let all = record.source.building().filter(|_| !scratch.is_dir());
        let expected = all.map(|building| Expected { files: building.steps, estimated: true });
        cache::remove(&self.note())?;
        let objects = ObjectTree::configured_again(workspace, &job)?;
        let objects = build::compile(workspace, &job, objects, expected)?;
        let dir = self.folder.join("kernel");
        cache::remove(&dir)?;
        fs::create_dir_all(&dir).map_err(|e| cache::denied("cannot create", &dir, &e))?;
        let manifest = objects.keep(&job, &key::record_digest(workspace, record)?, &dir)?;
        let note = serde_json::to_vec_pretty(&self.built(commit))
            .context(|| format!("cannot write {}", self.note().display()))?;
        fs::write(self.note(), note).map_err(|e| cache::denied("cannot write", &self.note(), &e))?;
        Ok(Kernel::new(&record.name, dir, manifest))
    }

    fn built(&self, commit: &str) -> Built {
        let (compiler, linker) = (self.tools.compiler.clone(), self.tools.linker.clone());
        Built { commit: commit.to_owned(), compiler, linker }
    }

    fn scratch(&self) -> PathBuf {
        self.folder.join("build")
    }

    fn note(&self) -> PathBuf {
        self.folder.join("built.json")
    }
}
