//! Chooses and obtains the kernels of a `test-vm` run.

use std::sync::Mutex;

use super::side_by_side;
use crate::base::error::{Error, Result};
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::kernel::{self, Kernel, Request};
use crate::matrix::Record;

/// The kernels to test, each with whether it was named. Without names: all except those that are used only if
/// named.
///
/// # Errors
/// When the matrix cannot be read, or has no kernel of a name.
pub fn chosen(workspace: &Workspace, names: &[String]) -> Result<Vec<(Record, bool)>> {
    if names.is_empty() {
        return Ok(workspace.matrix()?.usual().map(|record| (record.clone(), false)).collect());
    }
    let mut chosen: Vec<(Record, bool)> = Vec::new();
    for name in names {
        let record = kernel::record_of(workspace, name)?;
        if !chosen.iter().any(|(other, _)| other.name == record.name) {
            chosen.push((record, true));
        }
    }
    Ok(chosen)
}

/// Obtains kernels, in the order given; each is a kernel or the reason why it is unavailable. Cached kernels
/// and Debian's packages are always used; others are built if named, or if `all` is set.
///
/// Packages are fetched in parallel. Builds run one after another, since each uses all cores.
///
/// # Errors
/// An unavailable kernel is no error: its place in the list has the reason.
pub fn obtain(workspace: &Workspace, wanted: &[(Record, bool)], all: bool) -> Result<Vec<Result<Kernel>>> {
    let places = 0..wanted.len();
    let (ready_made, built): (Vec<usize>, Vec<usize>) = places.partition(|at| wanted[*at].0.is_ready_made());
    let mut tasks: Vec<Vec<usize>> = ready_made.into_iter().map(|at| vec![at]).collect();
    // First, since it takes longest.
    tasks.insert(0, built);
    let obtained: Vec<Mutex<Option<Result<Kernel>>>> = wanted.iter().map(|_| Mutex::new(None)).collect();
    side_by_side::each(&tasks, side_by_side::cores().max(2), |task| {
        for at in task {
            let (record, asked) = &wanted[*at];
            let kernel = one(workspace, record, *asked || all);
            *obtained[*at].lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(kernel);
        }
        Ok(())
    })?;
    let taken =
        obtained.into_iter().map(|place| place.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()));
    Ok(taken.flatten().collect())
}

fn one(workspace: &Workspace, record: &Record, build: bool) -> Result<Kernel> {
    if let Some(kernel) = kernel::cached(workspace, record)? {
        return Ok(kernel);
    }
    if build || record.is_ready_made() {
        return kernel::obtain(workspace, record, &Request::default());
    }
    Err(Error::new("it is not built")
        .help(format!("`cargo xtask kernel {}` builds it, `--source PATH` from a local tree", record.name))
        .verdict(Verdict::Unavailable))
}
