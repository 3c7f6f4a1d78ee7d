//! A made-up tracing directory for unit tests: ordinary files in a temporary folder.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

use std::fs;

use tempfile::TempDir;

use super::directory::Tracefs;

/// A tracing directory with these files; the tracer is `nop` unless they say otherwise.
pub(crate) fn tracing_directory(files: &[(&str, &str)]) -> (TempDir, Tracefs) {
    let folder = tempfile::tempdir().unwrap();
    for (file, content) in [("current_tracer", "nop\n")].iter().chain(files) {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let tracefs = Tracefs::at(folder.path()).unwrap();
    (folder, tracefs)
}
