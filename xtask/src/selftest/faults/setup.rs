//! The setup of a fault: the command, its environment, and what is done to it while it runs.

use std::ffi::OsString;
use std::path::PathBuf;

use super::fixture::Fixture;
use crate::base::error::Result;

/// The command of a fault, and everything around it.
pub struct Setup {
    /// The arguments of the harness.
    pub arguments: Vec<String>,
    /// Variables beside those that every setup has.
    pub env: Vec<(&'static str, OsString)>,
    /// A file system of its own at a folder, while the command runs.
    pub mount: Option<Mount>,
    /// What is done to the command while it runs.
    pub meanwhile: Option<Meanwhile>,
    /// A command that is killed before, which this one has to cope with.
    pub killed: Option<Killed>,
    /// Whether the command is run twice at the same time; both have to end as expected.
    pub twice: bool,
    /// Words that the command has to say.
    pub says: Vec<String>,
    /// The case whose bundle is expected.
    pub bundle: Option<&'static str>,
    /// What else has to hold afterwards.
    pub after: Option<After>,
}

/// Looks at a fixture after the command, with what the command said.
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
    /// A small one, empty at first.
    Small {
        /// Where it is mounted.
        at: PathBuf,
        /// Its size in KiB.
        kib: u64,
    },
    /// What is there already, without writing.
    ReadOnly {
        /// Where it is mounted.
        at: PathBuf,
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

    /// Adds words that the command has to say.
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

    /// Adds what is done meanwhile.
    #[must_use]
    pub fn with_act(self, act: Act, when: impl Fn(&Fixture<'_>) -> bool + 'static) -> Setup {
        Setup { meanwhile: Some(Meanwhile { when: Box::new(when), act }), ..self }
    }

    /// Adds what has to hold afterwards.
    #[must_use]
    pub fn checked(self, after: impl Fn(&Fixture<'_>, &str) -> Result<()> + 'static) -> Setup {
        Setup { after: Some(Box::new(after)), ..self }
    }
}
