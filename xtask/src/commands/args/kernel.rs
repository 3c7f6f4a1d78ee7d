//! The kernel to use.

/// One kernel.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct KernelArgs {
    /// Kernel to use [default: the first cached one, else one of Debian's]
    #[arg(long, value_name = "NAME")]
    pub(in crate::commands) kernel: Option<String>,
}
