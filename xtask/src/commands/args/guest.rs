//! The guest of `run` and of `shell`.

use super::kernel::KernelArgs;
use super::setup::SetupArgs;
use crate::base::error::Result;
use crate::guest::prepared::GuestOptions;
use crate::vm::{Accel, Gdb, MOST_CPUS};

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
    /// An environment variable of the command or shell (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Seconds that init may take to start
    #[arg(long, value_name = "SECONDS")]
    boot_timeout: Option<u64>,
    /// Wait for a debugger on TCP port 1234, or another one (0: a free one), or
    /// a socket
    #[arg(long, value_name = "PORT|unix:PATH", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    gdb: Option<Gdb>,
    /// kvm or tcg; by default kvm if it works here, unless --exact or --gdb
    #[arg(long, value_name = "NAME")]
    accel: Option<Accel>,
}

impl GuestArgs {
    /// The kernel, where one is named, and the guest.
    ///
    /// # Errors
    /// No port is free for a debugger.
    pub(in crate::commands) fn split(self) -> Result<(Option<String>, GuestOptions)> {
        let guest_options = GuestOptions {
            append: self.setup.append,
            put: self.setup.put,
            env: self.env,
            cpus: self.cpus,
            max_cpus: self.max_cpus,
            memory: self.memory,
            gdb: self.gdb.map(Gdb::with_free_port).transpose()?,
            accel: self.accel,
            boot_timeout: self.boot_timeout,
            ..GuestOptions::default()
        };
        Ok((self.kernel.kernel, guest_options))
    }
}

/// A name and a value.
fn variable(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text} is not NAME=VALUE")),
    }
}

/// A size with a unit, in MiB.
fn memory(text: &str) -> std::result::Result<u32, String> {
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
    fn a_variable_has_a_name_and_perhaps_a_value() {
        assert_eq!(variable("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(variable("A="), Ok(("A".into(), String::new())));
        assert!(variable("A").is_err() && variable("=b").is_err());
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(memory("512M"), Ok(512));
        assert_eq!(memory("2G"), Ok(2048));
        assert!(memory("lots").is_err());
        assert!(memory("1M").is_err());
        assert!(memory("4194304G").is_err());
    }
}
