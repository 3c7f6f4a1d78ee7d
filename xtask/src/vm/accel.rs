//! Which accelerator works here: proved by a boot, never guessed.
//!
//! `/dev/kvm` may open, create a machine and a processor, and still run no ordinary kernel.
//! Only a guest that reaches init within a deadline proves KVM; the answer is remembered.

use std::fs::{self, OpenOptions};
use std::time::Duration;

use initramfs::protocol::Frame;
use sha2::{Digest, Sha256};

use super::{Accel, Deadlines, Machine, Taken, boot};
use crate::cache::Cache;
use crate::error::Result;
use crate::setup::Qemu;
use crate::ui::Ui;

/// The file of the cache that holds the answers.
const MEMORY: &str = "accelerators";
/// How long a guest under KVM may take to reach init; it takes well under a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// The accelerator that works on this machine.
///
/// `machine` is a bootable description whose accelerator is replaced. Answers are remembered
/// in the cache, one `key accelerator` line each.
///
/// # Errors
/// When QEMU cannot be started at all.
pub fn proved(machine: &Machine, qemu: &Qemu, cache: &Cache, ui: &Ui) -> Result<Accel> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    if opened.is_err() {
        return Ok(Accel::Tcg);
    }
    let key = key(qemu);
    let remembered = cache.load(MEMORY)?.unwrap_or_default();
    if let Some(accel) = recall(&remembered, &key) {
        return Ok(accel);
    }
    ui.say("/dev/kvm is there; proving by a boot that it works …");
    let machine = Machine { accel: Accel::Kvm, icount_shift: None, ..machine.clone() };
    let deadlines = Deadlines { boot: PATIENCE, job: Some(PATIENCE) };
    let ended = boot(&machine, qemu, deadlines, &mut |_: Frame| Taken::More)?;
    let (accel, why) = match ended.judge() {
        Ok(()) => (Accel::Kvm, "a guest booted".to_string()),
        Err((verdict, why)) => (Accel::Tcg, format!("{verdict}: {why}")),
    };
    ui.say(format!("accelerator: {} (tried KVM: {why})", accel.name()));
    let line = format!("{key} {}\n", accel.name());
    if let Err(error) = cache.store(MEMORY, &(remembered + &line)) {
        // A cache that cannot be written costs this proof again, not the run.
        ui.say(error.to_string());
    }
    Ok(accel)
}

/// What the answer depends on: machine, processor, host kernel, QEMU.
fn key(qemu: &Qemu) -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = cpuinfo
        .lines()
        .filter(|line| {
            ["vendor_id", "model name", "cpu family", "model\t", "flags"]
                .iter()
                .any(|key| line.starts_with(key))
        })
        .take(5);
    let mut hasher = Sha256::new();
    hasher.update(fs::read("/etc/machine-id").unwrap_or_default());
    for line in processor {
        hasher.update(line);
    }
    hasher.update(fs::read("/proc/sys/kernel/osrelease").unwrap_or_default());
    hasher.update(fs::read("/proc/sys/kernel/version").unwrap_or_default());
    hasher.update(&qemu.version);
    hasher.finalize()[..12].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn recall(remembered: &str, key: &str) -> Option<Accel> {
    let (_, name) =
        remembered.lines().filter_map(|line| line.split_once(' ')).find(|(known, _)| *known == key)?;
    [Accel::Kvm, Accel::Tcg].into_iter().find(|accel| accel.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_recalled_by_its_key_only() {
        let remembered = "aa tcg\nbb kvm\ncc nonsense\n";
        assert_eq!(recall(remembered, "aa"), Some(Accel::Tcg));
        assert_eq!(recall(remembered, "bb"), Some(Accel::Kvm));
        assert_eq!(recall(remembered, "cc"), None);
        assert_eq!(recall(remembered, "dd"), None);
    }
}
