//! Kernels of one's own: images, builds and folders that are not in the matrix.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use libtest_mimic::Failed;
use xtask::base::cache::Cache;
use xtask::base::workspace::Workspace;
use xtask::kernel::{self, Kernel};

use crate::common::{demand, root};

/// A cached kernel's image is given as a file, as an object tree and as a vmlinux, gets a name, and is
/// compared with what it is.
pub fn however_given(name: &str) -> Result<(), Failed> {
    let workspace = Workspace::new(root(), Cache::open()?, false);
    let record = workspace.matrix()?.find(name)?.clone();
    let kernel = kernel::cached(&workspace, &record)?.ok_or("the kernel is gone")?;
    let folder = tempfile::tempdir()?;
    let own = Own { folder: folder.path(), kernel: &kernel };
    own.cache()?;

    let boot = format!("boot/vmlinuz-{}", kernel.release);
    own.put(&kernel.bzimage, &boot)?;
    own.put(&kernel.config, &format!("boot/config-{}", kernel.release))?;
    own.put_modules("boot/modules")?;
    own.runs(&boot)?;

    own.put(&kernel.bzimage, "objects/arch/x86/boot/bzImage")?;
    own.put(&kernel.config, "objects/.config")?;
    own.put_modules("objects/drivers")?;
    own.runs("objects")?;

    own.put(&kernel.vmlinux, "plain/vmlinux")?;
    own.put(&kernel.config, "plain/.config")?;
    own.put_modules("plain/lib")?;
    own.runs("plain/vmlinux")?;

    let added = own.xtask(0, &["kernel", "add", "mine", "objects"])?;
    demand(
        added.contains(&format!("mine: {} (your own: /", kernel.release)),
        "the name is not said",
        &added,
    )?;
    own.runs("mine")?;
    let list = own.xtask(0, &["kernel", "--list"])?;
    demand(
        list.contains("mine  ") && list.contains("objects/arch/x86/boot/bzImage"),
        "it is not listed",
        &list,
    )?;

    let config = own.folder.join("objects/.config");
    let text = fs::read_to_string(&config)?.replace("CONFIG_FUNCTION_TRACER=y", "");
    fs::remove_file(&config)?;
    fs::write(&config, text)?;
    let refused = own.xtask(214, &["run", "--kernel", "objects", "--", "true"])?;
    demand(
        refused.contains("CONFIG_FUNCTION_TRACER is not set: guests are there to be traced"),
        "what it lacks is not said",
        &refused,
    )?;

    own.xtask(0, &["kernel", "--clean", "mine"])?;
    let gone = own.xtask(2, &["run", "--kernel", "mine", "--", "true"])?;
    demand(gone.contains("there is no kernel mine"), "a name that was removed is not told", &gone)
}

/// A folder with a kernel in several shapes, and a cache of its own.
struct Own<'a> {
    folder: &'a Path,
    kernel: &'a Kernel,
}

impl Own<'_> {
    /// A cache that has the tools of the user's, and no kernel.
    fn cache(&self) -> Result<(), Failed> {
        let (mine, users) = (Cache::at(self.folder.join("cache")), Cache::open()?);
        mine.folder("names")?;
        for name in ["tools", "accelerators"] {
            if users.path().join(name).is_dir() {
                symlink(users.path().join(name), mine.path().join(name))?;
            }
        }
        Ok(())
    }

    fn put(&self, from: &Path, to: &str) -> Result<(), Failed> {
        let to = self.folder.join(to);
        fs::create_dir_all(to.parent().ok_or("no folder")?)?;
        fs::copy(from, to)?;
        Ok(())
    }

    fn put_modules(&self, to: &str) -> Result<(), Failed> {
        for module in fs::read_dir(&self.kernel.modules)? {
            let module = module?;
            self.put(&module.path(), &format!("{to}/{}", module.file_name().to_string_lossy()))?;
        }
        Ok(())
    }

    /// A command runs on it, and the guest is of that kernel.
    fn runs(&self, path: &str) -> Result<(), Failed> {
        let said = self.xtask(0, &["run", "--accel", "tcg", "--kernel", path, "--", "uname", "-r"])?;
        demand(said.contains(&self.kernel.release), "the guest is of another kernel", &said)
    }

    /// Runs the harness there, and returns both outputs.
    fn xtask(&self, status: i32, arguments: &[&str]) -> Result<String, Failed> {
        let Output { status: ended, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(arguments)
            .current_dir(self.folder)
            .env("SNAPTRACE_CACHE", self.folder.join("cache"))
            .output()?;
        let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        demand(ended.code() == Some(status), &format!("{arguments:?} ended with {ended}"), &said)?;
        Ok(said)
    }
}
