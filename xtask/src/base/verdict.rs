//! Verdicts: how a kernel, a boot or a case ended, and the exit code of each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a case, a boot or the obtaining of a kernel ended.
///
/// The order is the order of badness: the worst verdict decides a run of several.
/// Exit codes lie above those a shell gives to signals (128 + 64), so that
/// `cargo xtask run` can pass on the exit status of its command unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything was as expected.
    Pass,
    /// The kernel cannot be obtained on this machine.
    Unavailable,
    /// The snapshot differs, on a kernel that nobody has reviewed.
    Drift,
    /// The snapshot differs.
    Mismatch,
    /// The same inputs gave other results.
    NotRepeatable,
    /// The case itself failed: one of its commands ended with a failure.
    GuestFailed,
    /// The case did not end within its deadline.
    Timeout,
    /// The guest said a task was blocked for too long.
    HungTask,
    /// The guest ran out of memory.
    OutOfMemory,
    /// A CPU never left the kernel, or RCU stalled.
    Lockup,
    /// The kernel oopsed.
    Oops,
    /// PID 1 ended.
    InitDied,
    /// The kernel panicked for another reason.
    Panic,
    /// The guest restarted by itself.
    Rebooted,
    /// The guest powered off, but its results lack the end marker or are damaged.
    LostChannel,
    /// The guest never reached init.
    BootTimeout,
    /// QEMU did not start, or ended by itself.
    QemuFailed,
    /// A requested kernel symbol, module or tracer is not there.
    ConfigUnmet,
    /// The kernel or the initramfs did not build.
    BuildFailed,
    /// A download has another digest than the pinned one.
    ChecksumMismatch,
}

impl Verdict {
    /// Every verdict, mildest first.
    pub const ALL: [Verdict; 20] = [
        Verdict::Pass,
        Verdict::Unavailable,
        Verdict::Drift,
        Verdict::Mismatch,
        Verdict::NotRepeatable,
        Verdict::GuestFailed,
        Verdict::Timeout,
        Verdict::HungTask,
        Verdict::OutOfMemory,
        Verdict::Lockup,
        Verdict::Oops,
        Verdict::InitDied,
        Verdict::Panic,
        Verdict::Rebooted,
        Verdict::LostChannel,
        Verdict::BootTimeout,
        Verdict::QemuFailed,
        Verdict::ConfigUnmet,
        Verdict::BuildFailed,
        Verdict::ChecksumMismatch,
    ];

    /// The word shown to people and stored in results.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Unavailable => "unavailable",
            Verdict::Drift => "drift",
            Verdict::Mismatch => "mismatch",
            Verdict::NotRepeatable => "not-repeatable",
            Verdict::GuestFailed => "guest-failed",
            Verdict::Timeout => "timeout",
            Verdict::HungTask => "hung-task",
            Verdict::OutOfMemory => "out-of-memory",
            Verdict::Lockup => "lockup",
            Verdict::Oops => "oops",
            Verdict::InitDied => "init-died",
            Verdict::Panic => "panic",
            Verdict::Rebooted => "rebooted",
            Verdict::LostChannel => "lost-channel",
            Verdict::BootTimeout => "boot-timeout",
            Verdict::QemuFailed => "qemu-failed",
            Verdict::ConfigUnmet => "config-unmet",
            Verdict::BuildFailed => "build-failed",
            Verdict::ChecksumMismatch => "checksum-mismatch",
        }
    }

    /// The exit code of a command that ends with this verdict: 0 for a pass, else 200 to 218.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Pass => 0,
            Verdict::Mismatch => 200,
            Verdict::Drift => 201,
            Verdict::GuestFailed => 202,
            Verdict::Timeout => 203,
            Verdict::Panic => 204,
            Verdict::Oops => 205,
            Verdict::Lockup => 206,
            Verdict::HungTask => 207,
            Verdict::OutOfMemory => 208,
            Verdict::InitDied => 209,
            Verdict::Rebooted => 210,
            Verdict::LostChannel => 211,
            Verdict::BootTimeout => 212,
            Verdict::QemuFailed => 213,
            Verdict::ConfigUnmet => 214,
            Verdict::BuildFailed => 215,
            Verdict::ChecksumMismatch => 216,
            Verdict::Unavailable => 217,
            Verdict::NotRepeatable => 218,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_distinct_and_clear_of_signals() {
        let mut codes: Vec<u8> = Verdict::ALL.iter().map(|v| v.exit_code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Verdict::ALL.len());
        assert!(codes.iter().all(|&c| c == 0 || c >= 200));
    }

    #[test]
    fn names_are_those_that_are_stored() {
        for verdict in Verdict::ALL {
            let stored = serde_json::to_string(&verdict).unwrap();
            assert_eq!(stored, format!("\"{}\"", verdict.name()));
        }
    }
}
