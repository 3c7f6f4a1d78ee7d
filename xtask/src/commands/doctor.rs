//! `cargo xtask doctor`: what this host has and lacks. Whether KVM works is tried anew.

use xshell::Shell;

use super::subcommand::{Global, Subcommand};
use crate::base::error::{Context, Result};
use crate::fetch::setup;
use crate::guest::initramfs::build;
use crate::guest::prepared::{Guest, Tools, Wish};
use crate::harness::Harness;
use crate::kernel;
use crate::vm::Qemu;
use crate::vm::accel::{self, Kvm};

/// Report what this host lacks
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: cargo xtask doctor")]
pub(super) struct Args {}

impl Subcommand for Args {
    const NAME: &'static str = "doctor";

    fn run(self, global: &Global) -> Result<u8> {
        doctor(&global.harness()?).map(|well| u8::from(!well))
    }
}

/// Prints what is there and what is missing, and whether a first run can work. Obtains nothing.
///
/// # Errors
/// The cache or the kernel matrix cannot be read.
fn doctor(h: &Harness) -> Result<bool> {
    setup::doctor(h, &|qemu| match kvm(h, qemu) {
        Ok(said) => said,
        Err(error) => format!("tcg; whether KVM works cannot be tried: {}", error.summary()),
    })
}

/// The accelerator of this host, in a sentence; a boot under KVM is tried, where it can be.
fn kvm(h: &Harness, qemu: Option<&Qemu>) -> Result<String> {
    let closed = match qemu {
        // The device is looked at first: where it does not open no QEMU is needed.
        Some(qemu) => accel::known(qemu, &h.cache)?,
        None => accel::device().map_or_else(Kvm::Closed, |()| Kvm::Untried),
    };
    if let Kvm::Closed(why) = closed {
        return Ok(format!("tcg; {why}"));
    }
    let untried = |lacks: &str| Ok(format!("tcg; /dev/kvm opens, and is tried once there is {lacks}"));
    let Some(qemu) = qemu else { return untried("a QEMU") };
    let Some(guest) = guest(h, qemu)? else {
        return untried("a kernel, such as `cargo xtask kernel debian-6.1` gets");
    };
    Ok(match guest.prove_kvm(h)? {
        (Kvm::Works, _) => {
            "kvm for `run` and `shell`, a guest booted; tcg for all that has to be exact".into()
        }
        (_, why) => format!("tcg; /dev/kvm opens, but no guest boots under KVM ({why})"),
    })
}

/// A guest of the first kernel at hand.
fn guest(h: &Harness, qemu: &Qemu) -> Result<Option<Guest>> {
    for record in h.matrix()?.usual() {
        let Some(kernel) = kernel::at_hand(h, record)? else { continue };
        let sh = Shell::new().context(|| "cannot start a shell".into())?;
        let tools = Tools { qemu: qemu.clone(), programs: build(&sh, &h.sources)? };
        return Guest::prepare(h, &tools, record, kernel, Wish::default()).map(Some);
    }
    Ok(None)
}
