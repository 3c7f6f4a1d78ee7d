//! The keys of cache entries: digests of everything that made a kernel.

use super::fragments;
use crate::base::digest::Keyed;
use crate::base::error::{Context, Result};
use crate::base::workspace::Workspace;
use crate::matrix::{Record, Source};

/// Part of every key: raised when the form of entries or the way they are made changes.
pub const FORMAT: u32 = 1;

/// The digest of everything in the repository that determines a kernel: the source, the fragments, the
/// modules and our format.
pub fn record_digest(workspace: &Workspace, record: &Record) -> Result<String> {
    let mut digest = Keyed::new();
    digest.add("format", FORMAT.to_string());
    digest.add("arch", "x86_64");
    digest.add("modules", format!("{:?} {:?}", record.boot_modules, record.case_modules));
    if let Source::Debian { .. } = &record.source {
        // A built kernel's source is part of its key instead: --source may replace it.
        let source = serde_json::to_string(&record.source)
            .context(|| format!("cannot describe the source of {}", record.name))?;
        digest.add("source", source);
    }
    for (name, text) in fragments::of(workspace, record)? {
        digest.add(&name, text);
    }
    Ok(digest.finish())
}
