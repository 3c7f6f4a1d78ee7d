//! The kernels for commands that take long on each.

/// Kernels by name, the references, or all.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct ReferencesArgs {
    /// A kernel (repeatable); without one, the cached references
    #[arg(long = "kernel", value_name = "NAME")]
    pub(in crate::commands) kernels: Vec<String>,
    /// All cached kernels but the -src ones, not only the references
    #[arg(long, conflicts_with = "kernels")]
    pub(in crate::commands) all_kernels: bool,
}
