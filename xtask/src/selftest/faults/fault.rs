//! Faults as records: what happens, what is expected, and how to cause each.

use super::fixture::Fixture;
use super::setup::Setup;
use crate::base::error::Result;
use crate::base::verdict::Verdict;

/// How much longer than its deadline a fault may take, in seconds.
pub const GRACE: f64 = 2.0;

/// What a command has to end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A verdict, with its exit code.
    Verdict(Verdict),
    /// A plain error: exit code 1.
    Error,
    /// The end by a signal, with the exit code that a shell gives: 128 plus its number.
    Signal(&'static str, i32),
}

impl Expected {
    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Expected::Verdict(verdict) => verdict.name(),
            Expected::Error => "error",
            Expected::Signal(name, _) => name,
        }
    }

    /// The exit code, as in a shell.
    pub fn code(self) -> i32 {
        match self {
            Expected::Verdict(verdict) => i32::from(verdict.exit_code()),
            Expected::Error => 1,
            Expected::Signal(_, number) => 128 + number,
        }
    }
}

/// A fault, and what the harness has to do about it.
pub struct Fault {
    /// Its name.
    pub name: &'static str,
    /// What happens, in one sentence.
    pub about: &'static str,
    /// What the command has to end with.
    pub expected: Expected,
    /// Seconds within which the command has to end.
    pub deadline: u64,
    /// Whether `cargo xtask test` causes it.
    pub quick: bool,
    /// Which kernels it is caused on.
    pub on: On,
    /// How it is caused.
    pub cause: Cause,
}

/// Which kernels a fault is caused on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Each of them: it happens in the guest.
    Every,
    /// One of them: it happens around the guest.
    One,
    /// None: it happens before there is a guest.
    None,
}

/// How a fault is caused.
pub enum Cause {
    /// By a command in the guest.
    InGuest(InGuest),
    /// By a setup made for it.
    Setup(MakeSetup),
}

/// Makes the setup of a fault in a fixture.
pub type MakeSetup = fn(&Fixture<'_>) -> Result<Setup>;

/// Returns a function that makes faults caused by a setup. Its arguments: name, sentence, expected result,
/// deadline, whether it is quick, and the function that makes the setup.
pub fn by_setup(on: On) -> impl Fn(&'static str, &'static str, Expected, u64, bool, MakeSetup) -> Fault {
    move |name, about, expected, deadline, quick, make| Fault {
        name,
        about,
        expected,
        deadline,
        quick,
        on,
        cause: Cause::Setup(make),
    }
}

/// A fault that a command in the guest causes.
pub struct InGuest {
    /// The command, or the kind of fault that the module causes.
    pub run: &'static str,
    /// Words for the kernel command line.
    pub append: &'static [&'static str],
    /// Whether the module is needed.
    pub module: bool,
    /// The first kernel on which it can be caused; any when `None`.
    pub since: Option<(u32, u32)>,
    /// Seconds that the case may take on real hardware.
    pub limit: u64,
    /// A shell script that replaces QEMU; `None` for QEMU itself.
    pub qemu: Option<&'static str>,
    /// Texts that the command has to print.
    pub says: &'static [&'static str],
}
