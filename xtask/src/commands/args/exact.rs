//! Whether a run has to be bit-exact.

use crate::vm::Exactness;

/// Exact, by the host's clock, or exact where that is possible.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct ExactArgs {
    /// Demand a bit-exact run: under TCG, with one CPU
    #[arg(long, conflicts_with = "no_exact")]
    exact: bool,
    /// Let the guest's time follow the host's clock; not bit-exact
    #[arg(long)]
    no_exact: bool,
}

impl ExactArgs {
    /// Whether the run is to be bit-exact.
    pub(in crate::commands) fn exactness(&self) -> Exactness {
        match (self.exact, self.no_exact) {
            (true, _) => Exactness::Demanded,
            (false, true) => Exactness::Off,
            (false, false) => Exactness::WherePossible,
        }
    }
}
