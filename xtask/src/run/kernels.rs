//! The kernels of a run of `test-vm`: which, and how they are obtained.

use std::sync::Mutex;

use super::side_by_side;
use crate::base::error::{Error, Result};
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::kernel::{self, Kernel, Request};
use crate::matrix::Record;

/// The kernels to test, each with whether it was asked for by name. Without a name these are
/// all but those that are taken by name only.
///
/// # Errors
/// When the matrix cannot be read, or has no kernel of a name.
pub fn chosen(workspace: &Workspace, names: &[String]) -> Result<Vec<(Record, bool)>> {
    let matrix = workspace.matrix()?;
    let records = matrix.named_or_usual(names)?.into_iter();
    Ok(records.map(|record| (record.clone(), !names.is_empty())).collect())
}

/// The kernels, or why each cannot be obtained, in the order given: what is cached, Debian's
/// packages, and builds of those that were asked for, or of all.
///
/// Packages are fetched side by side. Builds take every core: they come one after another.
///
/// # Errors
/// None for a kernel that cannot be obtained: its place tells.
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
