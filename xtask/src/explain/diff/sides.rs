//! The two sides of a comparison: kernels run now, source trees, or earlier results.

use std::fs;
use std::path::{Path, PathBuf};

use super::compared::SideName;
use crate::base::error::{Context, Error, Result};
use crate::base::workspace::Workspace;
use crate::guest::cases::Case;
use crate::guest::folders;
use crate::guest::prepared::{Guest, GuestOptions, Tools};
use crate::kernel::{self, Request};
use crate::matrix::Record;
use crate::run::results::{self, Stored};
use crate::vm::{Accel, Exactness};

/// A side as the user named it.
#[derive(Clone, Debug)]
pub enum Asked {
    /// A kernel, which is run now.
    Kernel(Box<Record>),
    /// The results of a kernel, in a folder.
    Stored(PathBuf),
}

/// A side whose results exist or can be made.
pub enum Side {
    /// A guest to run, and its kernel's record.
    Guest(Box<Guest>, Box<Record>),
    /// Stored results, and their folder.
    Stored(Vec<Stored>, PathBuf),
}

/// Resolves an argument: first as the name of a kernel, then as stored results, then as a kernel of the
/// user's own, which may be a source tree.
///
/// # Errors
/// It is none of these, or the folder of a run with several kernels.
pub fn find(workspace: &Workspace, word: &str) -> Result<Asked> {
    let matrix = workspace.matrix()?;
    if let Some(record) = matrix.records().iter().find(|record| record.name == word) {
        return Ok(Asked::Kernel(Box::new(record.clone())));
    }
    let path = PathBuf::from(word);
    for folder in [folders::folder(&workspace.root).join(word), path.clone()] {
        if let Some(stored) = stored(&folder)? {
            return Ok(Asked::Stored(stored));
        }
    }
    if path.exists() || word == kernel::RUNNING || kernel::added(workspace, word)?.is_some() {
        return kernel::record_of(workspace, word).map(|record| Asked::Kernel(Box::new(record)));
    }
    let known: Vec<&str> = matrix.records().iter().map(|record| record.name.as_str()).collect();
    Err(Error::unknown("kernel, source tree or earlier result", word, &known)
        .help("a source tree is a folder with the kernel's Makefile, or a tarball of one")
        .help(
            "earlier results are in target/vm/RUN, or in target/vm/RUN/KERNEL if the run had several kernels",
        ))
}

/// The folder with one kernel's results: `folder` itself, or, if it is a run of one kernel, the folder in it.
fn stored(folder: &Path) -> Result<Option<PathBuf>> {
    let is_of_kernel = |folder: &Path| below(folder).iter().any(|case| case.join(results::FILE).is_file());
    if is_of_kernel(folder) {
        return Ok(Some(folder.to_path_buf()));
    }
    let mut kernels = below(folder);
    kernels.retain(|kernel| is_of_kernel(kernel));
    match kernels.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        several => {
            let names: Vec<String> = several.iter().map(|kernel| kernel.display().to_string()).collect();
            Err(Error::new(format!("cannot tell which results of {} are meant", folder.display()))
                .because("they are of several kernels")
                .help(format!("name one of {}", names.join(", ")))
                .usage())
        }
    }
}

/// The folders in a folder, sorted; none if it cannot be read.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// Prepares a side: obtains or builds its kernel, or loads stored results.
///
/// # Errors
/// The kernel cannot be obtained or cannot run bit-exactly, or a result cannot be read.
pub fn ready(workspace: &Workspace, tools: Option<&Tools>, asked: Asked) -> Result<Side> {
    let (record, kernel) = match asked {
        Asked::Stored(folder) => {
            let cases = below(&folder);
            let cases = cases.iter().filter(|case| case.join(results::FILE).is_file());
            let found = cases.map(|case| results::load_one(case)).collect::<Result<Vec<Stored>>>()?;
            refuse_kvm(&found, &folder)?;
            return Ok(Side::Stored(found, folder));
        }
        Asked::Kernel(record) => {
            let kernel = kernel::obtain(workspace, &record, &Request::default())?;
            (*record, kernel)
        }
    };
    let tools = tools.context(|| format!("cannot run {} without QEMU and programs for it", kernel.name))?;
    // Instructions can be counted only under TCG.
    let guest_options =
        GuestOptions { exact: Exactness::Demanded, accel: Some(Accel::Tcg), ..GuestOptions::default() };
    let guest = Guest::prepare(workspace, tools, &record, kernel, guest_options)?;
    Ok(Side::Guest(Box::new(guest), Box::new(record)))
}

/// Refuses results made under KVM: they depend on the host's clock, so a difference may not come from the
/// kernel.
fn refuse_kvm(stored: &[Stored], folder: &Path) -> Result<()> {
    match stored.iter().find(|stored| stored.fingerprint.is_under_kvm()) {
        None => Ok(()),
        Some(stored) => Err(Error::new(format!("cannot compare the results in {}", folder.display()))
            .because(format!("{} was run under KVM, where no run is exact", stored.case))
            .help("`cargo xtask test-vm` runs the cases under TCG")),
    }
}

impl Side {
    /// Its name and a description.
    ///
    /// # Errors
    /// The kernel's configuration cannot be read.
    pub fn name(&self) -> Result<SideName> {
        Ok(match self {
            Side::Guest(guest, _) => SideName { name: guest.kernel.name.clone(), about: guest.identity()? },
            Side::Stored(stored, folder) => match stored.first() {
                Some(first) => {
                    let run = folder.parent().and_then(Path::file_name).unwrap_or_default();
                    let about = format!("{}, run {}", first.identity, run.to_string_lossy());
                    SideName { name: first.kernel.clone(), about }
                }
                None => SideName { name: folder.display().to_string(), about: "no results".into() },
            },
        })
    }

    /// Why it cannot have a result of a case, as a sentence; `None` if it can.
    pub fn lacks(&self, case: &Case) -> Option<String> {
        match self {
            Side::Guest(guest, record) => {
                let name = &guest.kernel.name;
                if case.cpus.is_some_and(|cpus| cpus > 1) {
                    return Some(
                        "its machine has several CPUs, and two runs of it cannot be compared".into(),
                    );
                }
                (!case.is_for(record)).then(|| format!("it is not for {name}"))
            }
            Side::Stored(stored, folder) => {
                let has = stored.iter().any(|stored| stored.case == case.name);
                (!has).then(|| format!("there is no result of it in {}", folder.display()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_under_kvm_are_not_compared() {
        let made = |accel: &str| {
            let mut stored = crate::explain::diff::compared::tests::stored("function", "5.4", &[]);
            stored.fingerprint.options = format!("-machine q35 -accel {accel} -cpu host");
            refuse_kvm(&[stored], Path::new("target/vm/1"))
        };
        assert!(made("tcg").is_ok());
        let error = made("kvm").unwrap_err().to_string();
        assert!(error.contains("target/vm/1") && error.contains("function was run under KVM"), "{error}");
    }

    #[test]
    fn a_run_of_one_kernel_needs_no_more_words() {
        let run = tempfile::tempdir().unwrap();
        let result = |kernel: &str| {
            let case = run.path().join(kernel).join("function");
            fs::create_dir_all(&case).unwrap();
            fs::write(case.join(results::FILE), "{}").unwrap();
        };
        assert_eq!(stored(run.path()).unwrap(), None);
        result("5.4");
        assert_eq!(stored(run.path()).unwrap(), Some(run.path().join("5.4")));
        result("6.1-src");
        let error = stored(run.path()).unwrap_err().to_string();
        assert!(error.contains("of several kernels") && error.contains("6.1-src"), "{error}");
        assert_eq!(stored(&run.path().join("6.1-src")).unwrap(), Some(run.path().join("6.1-src")));
    }
}
