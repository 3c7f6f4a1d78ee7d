//! The surroundings of a fault: its own workspace, cache, programs and temporary files.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::base::cache::Cache;
use crate::base::error::{Context, Error, Result};
use crate::base::scratch::Scratch;
use crate::base::workspace::Workspace;
use crate::guest::folders;
use crate::guest::prepared::Tools;
use crate::kernel::{self, Kernel};
use crate::matrix::Record;

/// A kernel that faults are caused on, with its record.
pub type Target = (Record, Kernel);

/// A folder with everything a command of the harness reads and writes.
pub struct Fixture<'a> {
    /// The workspace of the harness that causes the fault; its cache is only read.
    pub workspace: &'a Workspace,
    /// QEMU and the guest's programs.
    pub tools: &'a Tools,
    target: Option<&'a Target>,
    folder: Scratch,
}

impl<'a> Fixture<'a> {
    /// An empty fixture.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(
        workspace: &'a Workspace,
        tools: &'a Tools,
        target: Option<&'a Target>,
    ) -> Result<Fixture<'a>> {
        let folder = Scratch::new(&Workspace::target_of(&workspace.root).join("faults"), "fixture-")?;
        let fixture = Fixture { workspace, tools, target, folder };
        for name in ["bin", "cache", "tmp", "work/tests/cases", "work/tests/snapshots", "work/target/vm"] {
            let path = fixture.path(name);
            fs::create_dir_all(&path).context(|| format!("cannot create {}", path.display()))?;
        }
        Ok(fixture)
    }

    /// A path in the fixture.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The kernel of the fault.
    ///
    /// # Errors
    /// When it has none.
    pub fn target(&self) -> Result<&'a Target> {
        self.target.context(|| "this fault has no kernel".to_owned())
    }

    /// The name of the fault's kernel.
    ///
    /// # Errors
    /// When it has none.
    pub fn kernel(&self) -> Result<&'a str> {
        Ok(&self.target()?.0.name)
    }

    /// The folder of the made-up workspace.
    pub fn root(&self) -> PathBuf {
        self.path("work")
    }

    /// The cache.
    pub fn cache(&self) -> Cache {
        Cache::at(self.path("cache"))
    }

    /// The folder of runs and bundles.
    pub fn results(&self) -> PathBuf {
        folders::folder(&self.root())
    }

    /// Whether a guest of any run has sent something yet.
    pub fn guest_has_greeted(&self) -> bool {
        let files = walkdir::WalkDir::new(self.results()).into_iter().flatten();
        let mut results = files.filter(|file| file.file_name() == "results.bin");
        results.any(|file| file.metadata().is_ok_and(|about| about.len() > 0))
    }

    /// Gives the fixture the real kernel configurations.
    ///
    /// # Errors
    /// When the link cannot be made.
    pub fn with_configs(&self) -> Result<()> {
        link(&self.workspace.configs(), &self.path("work/kernel-configs"))
    }

    /// Gives the fixture the kernels of the real cache, and the folders `parts` of it.
    ///
    /// # Errors
    /// When the cache cannot be filled.
    pub fn with_cache(&self, parts: &[&str]) -> Result<()> {
        self.with_configs()?;
        // The folder of locks marks it as a cache.
        self.cache().folder("locks")?;
        for part in parts {
            let from = self.workspace.host.cache.path().join(part);
            if from.exists() {
                link(&from, &self.path("cache").join(part))?;
            }
        }
        // A copy, since commands write to it.
        if let Some(remembered) = self.workspace.host.cache.load("accelerators")? {
            self.cache().store("accelerators", &remembered)?;
        }
        Ok(())
    }

    /// Gives the fixture everything that guests need.
    ///
    /// # Errors
    /// When the cache cannot be filled.
    pub fn with_guests(&self) -> Result<()> {
        self.with_cache(&["kernels", "names", "tools"])
    }

    /// Puts a shell script first in PATH, under a program's name; `$FAULT_QEMU` is the path of QEMU.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn with_program(&self, name: &str, script: &str) -> Result<()> {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n"))
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
            .context(|| format!("cannot write {}", path.display()))
    }

    /// The module of the faults that only the kernel can cause.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn module(&self) -> Result<PathBuf> {
        let (record, kernel) = self.target()?;
        kernel::module(
            self.workspace,
            record,
            kernel,
            &self.workspace.sources.join("tests/fault-module"),
            "fault",
        )
    }

    /// The environment variables of every command.
    pub fn env(&self) -> Vec<(&'static str, OsString)> {
        let qemu = &self.tools.qemu;
        let usual = std::env::var_os("PATH").unwrap_or_default();
        let mut path = self.path("bin").into_os_string();
        path.push(":");
        path.push(usual);
        let firmware: Vec<String> = qemu.firmware.iter().map(|folder| folder.display().to_string()).collect();
        vec![
            ("SNAPTRACE_CACHE", self.path("cache").into()),
            (crate::base::workspace::WORKSPACE_VAR, self.root().into()),
            ("TMPDIR", self.path("tmp").into()),
            ("PATH", path),
            ("FAULT_QEMU", qemu.program.clone().into()),
            ("FAULT_LIBRARIES", qemu.library_path.clone().unwrap_or_default().into()),
            ("FAULT_FIRMWARE", firmware.join(" ").into()),
        ]
    }

    /// Keeps the fixture for inspection.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

fn link(from: &Path, to: &Path) -> Result<()> {
    symlink(from, to).context(|| format!("cannot link {} to {}", to.display(), from.display()))
}

/// Checks a condition; the error says what does not hold.
///
/// # Errors
/// The condition does not hold.
pub fn demand(holds: bool, what: impl Into<String>) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::new(what)) }
}
