//! The kernel to use.

/// One kernel.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct KernelArgs {
    /// Kernel to use: a name, or the path of an image, an object or source
    /// tree or a linux-image package, an installed release, or `running`
    /// [default: the first cached one, else one of Debian's]
    #[arg(long, value_name = "NAME")]
    pub(in crate::commands) kernel: Option<String>,
}
