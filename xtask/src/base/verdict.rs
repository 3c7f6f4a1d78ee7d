//! Verdicts: how a kernel, a boot or a case ended, and the exit code of each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Makes the enum, the list of all verdicts, their names and exit codes from one table, so that none is
/// missing.
macro_rules! verdicts {
    ($($(#[$doc:meta])* $verdict:ident = $name:literal, $code:literal;)*) => {
        /// How a case, a boot or the obtaining of a kernel ended.
        ///
        /// They are ordered from mildest to worst; the worst verdict decides the result of a run.
        /// Exit codes lie above those a shell gives to signals (128 + 64), so that
        /// `cargo xtask run` can pass on the exit status of its command unchanged.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Verdict {
            $($(#[$doc])* $verdict,)*
        }

        impl Verdict {
            /// Every verdict, mildest first.
            pub const ALL: [Verdict; [$($name),*].len()] = [$(Verdict::$verdict),*];

            /// The word shown to people and stored in results.
            pub fn name(self) -> &'static str {
                match self {
                    $(Verdict::$verdict => $name,)*
                }
            }

            /// The exit code of a command that ends with this verdict: 0 for a pass, else 200 or more.
            pub fn exit_code(self) -> u8 {
                match self {
                    $(Verdict::$verdict => $code,)*
                }
            }
        }
    };
}

// Mildest first: the name, and the exit code.
verdicts! {
    /// Everything was as expected.
    Pass = "pass", 0;
    /// The kernel cannot be obtained on this machine.
    Unavailable = "unavailable", 217;
    /// The snapshot differs, on a kernel that nobody has reviewed.
    Drift = "drift", 201;
    /// The snapshot differs.
    Mismatch = "mismatch", 200;
    /// The same inputs gave other results.
    NotRepeatable = "not-repeatable", 218;
    /// The case itself failed: one of its commands ended with a failure.
    GuestFailed = "guest-failed", 202;
    /// The case did not end within its deadline.
    Timeout = "timeout", 203;
    /// The guest said a task was blocked for too long.
    HungTask = "hung-task", 207;
    /// The guest ran out of memory.
    OutOfMemory = "out-of-memory", 208;
    /// A CPU never left the kernel, or RCU stalled.
    Lockup = "lockup", 206;
    /// The kernel oopsed.
    Oops = "oops", 205;
    /// PID 1 ended.
    InitDied = "init-died", 209;
    /// The kernel panicked for another reason.
    Panic = "panic", 204;
    /// The guest restarted by itself.
    Rebooted = "rebooted", 210;
    /// The guest powered off, but its results lack the end marker or are damaged.
    LostChannel = "lost-channel", 211;
    /// The guest never reached init.
    BootTimeout = "boot-timeout", 212;
    /// QEMU did not start, or ended by itself.
    QemuFailed = "qemu-failed", 213;
    /// A requested kernel symbol, module or tracer is not there.
    ConfigUnmet = "config-unmet", 214;
    /// The kernel or the initramfs did not build.
    BuildFailed = "build-failed", 215;
    /// A download has another digest than the pinned one.
    ChecksumMismatch = "checksum-mismatch", 216;
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
