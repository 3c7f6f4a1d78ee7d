//! The host that commands run on: its cache, the user's consent to installing packages, messages.

use super::cache::Cache;
use super::ui::Ui;

/// Where things are kept, whether packages may be installed, and how to talk to the user.
#[derive(Debug)]
pub struct Host {
    /// Where kernels, tools and downloads are kept.
    pub cache: Cache,
    /// Missing host packages may be installed without asking.
    pub yes: bool,
    /// Messages and progress.
    pub ui: Ui,
}

impl Host {
    /// The host with a cache of one's choice.
    pub fn new(cache: Cache, yes: bool) -> Host {
        Host { cache, yes, ui: Ui::new() }
    }
}
