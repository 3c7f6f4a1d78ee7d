//! The setup of a fault: the command, its environment, and an act while it runs.

use std::ffi::OsString;
use std::path::PathBuf;

use super::fixture::Fixture;
use crate::base::error::Result;

/// The command of a fault, and everything around it.
pub struct Setup {
    /// The arguments of the harness.
    pub arguments: Vec<String>,
    /// Further environment variables, in addition to those of every setup.
    pub env: Vec<(&'static str, OsString)>,
    /// A file system that is mounted while the command runs.
    pub mount: Option<Mount>,
    /// What is done to the command while it runs.
    pub meanwhile: Option<Meanwhile>,
    /// A command that is killed first; this one has to cope with its remains.
    pub killed: Option<Killed>,
    /// Whether the command is run twice at the same time; both have to end as expected.
    pub twice: bool,
    /// Texts that the command has to print.
    pub says: Vec<String>,
    /// The case whose bundle is expected.
    pub bundle: Option<&'static str>,
    /// A further check after the command.
    pub after: Option<After>,
}

/// Checks a fixture after the command; the text is the command's output.
pub type After = Box<dyn Fn(&Fixture<'_>, &str) -> Result<()>>;

/// Whether it is time to act.
pub type When = Box<dyn Fn(&Fixture<'_>) -> bool>;

/// A command that is started and killed with SIGKILL.
pub struct Killed {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// When it is killed.
    pub when: When,
}

/// What is done to a running command, and when.
pub struct Meanwhile {
    /// When it is done.
    pub when: When,
    /// What is done.
    pub act: Act,
}

/// What is done to a running command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Ctrl-C: SIGINT to it and all its children, as a terminal sends it.
    Interrupt,
    /// SIGTERM to it alone.
    Terminate,
    /// SIGKILL to its QEMU.
    KillQemu,
}

/// A file system that only the command sees.
pub enum Mount {
    /// A small, empty one.
    Small {
        /// Where it is mounted.
        at: PathBuf,
        /// Its size in KiB.
        kib: u64,
    },
    /// The existing files, read-only.
    ReadOnly {
        /// Where it is mounted.
        at: PathBuf,
    },
    /// Another file as `/etc/os-release`: the command takes the host for that distribution.
    OsRelease {
        /// The file.
        file: PathBuf,
    },
}

impl Setup {
    /// A setup that consists of a command alone.
    pub fn of<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Setup {
        Setup {
            arguments: arguments.into_iter().map(str::to_owned).collect(),
            env: Vec::new(),
            mount: None,
            meanwhile: None,
            killed: None,
            twice: false,
            says: Vec::new(),
            bundle: None,
            after: None,
        }
    }

    /// Adds texts that the command has to print.
    #[must_use]
    pub fn saying<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Setup {
        self.says.extend(words.into_iter().map(str::to_owned));
        self
    }

    /// Adds a file system.
    #[must_use]
    pub fn with_mount(self, mount: Mount) -> Setup {
        Setup { mount: Some(mount), ..self }
    }

    /// Adds a variable.
    #[must_use]
    pub fn with_env(mut self, name: &'static str, value: impl Into<OsString>) -> Setup {
        self.env.push((name, value.into()));
        self
    }

    /// Adds an act while the command runs.
    #[must_use]
    pub fn with_act(self, act: Act, when: impl Fn(&Fixture<'_>) -> bool + 'static) -> Setup {
        Setup { meanwhile: Some(Meanwhile { when: Box::new(when), act }), ..self }
    }

    /// Adds a check after the command.
    #[must_use]
    pub fn checked(self, after: impl Fn(&Fixture<'_>, &str) -> Result<()> + 'static) -> Setup {
        Setup { after: Some(Box::new(after)), ..self }
    }
}
