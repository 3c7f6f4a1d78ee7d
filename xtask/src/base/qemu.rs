//! A QEMU: the program with the libraries and firmware it needs. `fetch/tools` finds or fetches one.

use std::path::PathBuf;

/// A QEMU that runs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qemu {
    /// The program.
    pub program: PathBuf,
    /// Its `LD_LIBRARY_PATH`, if it was unpacked into the cache.
    pub library_path: Option<String>,
    /// Its folders for `-L`, if it was unpacked into the cache.
    pub firmware: Vec<PathBuf>,
    /// Its version, such as `7.2.22`.
    pub version: String,
}
