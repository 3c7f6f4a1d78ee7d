//! A QEMU: the program with the libraries and firmware it needs. `fetch/tools` finds or fetches one.

use std::path::PathBuf;

/// A QEMU that runs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qemu {
    /// The program.
    pub program: PathBuf,
    /// `LD_LIBRARY_PATH` for it, where it was unpacked privately.
    pub library_path: Option<String>,
    /// Folders for `-L`, where it was unpacked privately.
    pub firmware: Vec<PathBuf>,
    /// Its version, such as `7.2.22`.
    pub version: String,
}
