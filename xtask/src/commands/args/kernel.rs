//! On which kernel something runs.

/// One kernel.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct KernelArgs {
    /// The kernel; by default the first cached one, else Debian's
    #[arg(long, value_name = "NAME")]
    pub(in crate::commands) kernel: Option<String>,
}
