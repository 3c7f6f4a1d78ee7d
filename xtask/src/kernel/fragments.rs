//! The config fragments of a record, read from `kernel-configs/`.

use std::fs;

use super::config;
use crate::base::error::{Context, Result};
use crate::base::workspace::Workspace;
use crate::matrix::Record;

/// The fragments of a record, each with its file name.
pub fn of(workspace: &Workspace, record: &Record) -> Result<Vec<(String, String)>> {
    let read = |name: &String| {
        let path = workspace.configs().join(name);
        let text = fs::read_to_string(&path)
            .context(|| format!("cannot read the config fragment {}", path.display()))?;
        Ok((name.clone(), text))
    };
    record.fragments.iter().map(read).collect()
}

/// The symbols that a record's fragments ask for.
///
/// # Errors
/// A fragment cannot be read or understood.
pub fn wanted_symbols(workspace: &Workspace, record: &Record) -> Result<Vec<config::Wanted>> {
    let mut fragments = Vec::new();
    for (name, text) in of(workspace, record)? {
        fragments.push(config::parse_fragment(&name, &text)?);
    }
    Ok(config::merge(fragments))
}
