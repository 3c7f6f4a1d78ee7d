//! The host that commands run on: its cache, the user's consent to installing packages, messages.

use super::cache::Cache;
use super::ui::Ui;

/// The cache, the user's consent to installing packages, and messages to the user.
#[derive(Debug)]
pub struct Host {
    /// Holds kernels, tools and downloads.
    pub cache: Cache,
    /// Missing host packages may be installed without asking.
    pub yes: bool,
    /// Messages and progress.
    pub ui: Ui,
}

impl Host {
    /// The host with the given cache.
    pub fn new(cache: Cache, yes: bool) -> Host {
        Host { cache, yes, ui: Ui::new() }
    }
}
