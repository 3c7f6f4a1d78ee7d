//! The guest of `run` and of `shell`.

use super::kernel::KernelArgs;
use super::setup::SetupArgs;
use crate::guest::prepared::GuestOptions;
use crate::vm::{Accel, MOST_CPUS};

/// A kernel, a machine, and what goes in.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct GuestArgs {
    #[command(flatten)]
    kernel: KernelArgs,
    /// CPUs; runs with more than one are not bit-exact
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MOST_CPUS.into()))]
    cpus: u32,
    /// CPU slots, at least N; those without a CPU stay free for hotplug
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(1..=MOST_CPUS.into()))]
    max_cpus: Option<u32>,
    /// Memory, such as 512M or 2G
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = memory)]
    memory: u32,
    #[command(flatten)]
    setup: SetupArgs,
    /// Seconds that init may take to start
    #[arg(long, value_name = "SECONDS")]
    boot_timeout: Option<u64>,
    /// Wait for a debugger on TCP port 1234
    #[arg(long)]
    gdb: bool,
    /// kvm or tcg; by default kvm if it works here, unless --exact or --gdb
    #[arg(long, value_name = "NAME")]
    accel: Option<Accel>,
}

impl GuestArgs {
    /// The kernel, where one is named, and the guest.
    pub(in crate::commands) fn split(self) -> (Option<String>, GuestOptions) {
        let guest_options = GuestOptions {
            append: self.setup.append,
            extra: self.setup.extra_file,
            cpus: self.cpus,
            max_cpus: self.max_cpus,
            memory: self.memory,
            gdb: self.gdb,
            accel: self.accel,
            boot_timeout: self.boot_timeout,
            ..GuestOptions::default()
        };
        (self.kernel.kernel, guest_options)
    }
}

/// A size with a unit, in MiB.
fn memory(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text} is not a size such as 512M or 2G");
    let (digits, factor) = match text.strip_suffix(['G', 'g']) {
        Some(digits) => (digits, 1024),
        None => (text.strip_suffix(['M', 'm']).unwrap_or(text), 1),
    };
    let size: u32 = digits.parse().map_err(|_| wrong())?;
    let size = size.checked_mul(factor).ok_or_else(wrong)?;
    if size < 64 { Err("a guest needs at least 64M".into()) } else { Ok(size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(memory("512M"), Ok(512));
        assert_eq!(memory("2G"), Ok(2048));
        assert!(memory("lots").is_err());
        assert!(memory("1M").is_err());
        assert!(memory("4194304G").is_err());
    }
}
