//! The inputs of a bisection, copied when it begins: this program, the guest's programs, the
//! configurations and the cases. So every commit is judged by the same inputs, even if files are edited or
//! built during the bisection.

use std::fs;
use std::path::{Path, PathBuf};

use xshell::Shell;

use crate::base::cache;
use crate::base::error::{Context, Result};
use crate::base::workspace::Workspace;
use crate::fetch::tools;
use crate::guest::initramfs::{self, Programs};
use crate::guest::prepared::Tools;

/// This program, even if its file was replaced after the start.
const SELF: &str = "/proc/self/exe";
/// The folders of a workspace that steps read.
const READ: [&str; 2] = ["kernel-configs", "tests/cases"];

/// Copies the inputs into a bisection's folder, and returns the workspace of the copy.
///
/// # Errors
/// When the guest's programs do not build, or a file cannot be copied.
pub fn freeze(workspace: &Workspace, folder: &Path) -> Result<Workspace> {
    let root = folder.join("frozen");
    cache::remove(&root)?;
    for name in READ {
        for file in cache::read_dir(&workspace.root.join(name))? {
            copy(&file, &root.join(name).join(file.file_name().unwrap_or_default()))?;
        }
    }
    let sh = Shell::new().context(|| "cannot start a shell".into())?;
    let built = initramfs::build(&sh, &workspace.sources)?;
    let kept = programs(&root);
    for (from, to) in built.files().into_iter().zip(kept.files()) {
        copy(from, to)?;
    }
    copy(Path::new(SELF), &program(&root))?;
    Ok(Workspace::new(root, workspace.host.cache.clone(), workspace.host.yes))
}

/// QEMU, and the copied programs of the guest.
///
/// # Errors
/// When there is no QEMU and none can be obtained.
pub fn tools(workspace: &Workspace) -> Result<Tools> {
    Ok(Tools { qemu: tools::qemu(&workspace.host)?, programs: programs(&workspace.root) })
}

/// The copy of this program.
pub fn program(root: &Path) -> PathBuf {
    root.join("xtask")
}

fn programs(root: &Path) -> Programs {
    Programs::in_folder(&root.join("programs"))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|e| cache::denied("cannot create", folder, &e))?;
    }
    fs::copy(from, to).map_err(|e| cache::denied("cannot create", to, &e))?;
    Ok(())
}
