//! Compares a run's stored results with the snapshots.

use std::path::PathBuf;

use super::results::{Comparison, Stored};
use crate::base::error::Result;
use crate::base::ui::{out, outln, printable};
use crate::base::verdict::Verdict;
use crate::guest::cases::Case;
use crate::matrix::Record;
use crate::snapshots::compare::{CaseOutput, Compared, Mode, compare, compare_reviewed};
use crate::snapshots::names::Name;
use crate::snapshots::review::review;
use crate::snapshots::store::Store;

/// Compares results, and stores a comparison beside each. A result that did not pass already has its verdict
/// and is not compared. `otherwise` is the command to suggest if the review program is missing.
///
/// # Errors
/// When snapshots or comparisons cannot be read or written, or the review program is not installed.
pub fn run(
    store: &Store,
    results: &[(PathBuf, Stored)],
    mode: Mode,
    otherwise: &str,
) -> Result<Vec<Option<Compared>>> {
    let is_compared = |stored: &Stored| stored.verdict == Verdict::Pass;
    let said: Vec<CaseOutput<'_>> =
        results.iter().filter(|(_, stored)| is_compared(stored)).map(|(_, stored)| stored.said()).collect();
    let mut compared = compare(store, &said, mode)?;
    if mode == Mode::Review && compared.iter().any(|compared| compared.difference.is_some()) {
        show(&said, &compared);
        review(store.folder(), otherwise)?;
        compared = compare_reviewed(store, &said, &compared)?;
    }
    let mut compared = compared.into_iter();
    let mut all = Vec::new();
    for (folder, stored) in results {
        let compared = if is_compared(stored) { compared.next() } else { None };
        if let Some(compared) = &compared {
            let diff = if compared.verdict == Verdict::Pass { String::new() } else { compared.diff() };
            Comparison { verdict: compared.verdict, why: compared.why.clone(), diff }.save(folder)?;
        }
        all.push(compared);
    }
    Ok(all)
}

/// Shows all differences. The review program can show one only if its snapshot is for that kernel alone.
fn show(said: &[CaseOutput<'_>], compared: &[Compared]) {
    for (said, compared) in said.iter().zip(compared) {
        if compared.difference.is_some() {
            outln!("{} {}: {}", said.kernel, said.case, printable(&compared.why));
            out!("{}", compared.shown());
        }
    }
}

/// Snapshots without a case, or that name a kernel which their case is not for.
///
/// # Errors
/// When the folder of snapshots cannot be listed.
pub fn orphans(store: &Store, cases: &[Case], kernels: &[Record]) -> Result<Vec<PathBuf>> {
    let names = store.names()?;
    Ok(names.iter().filter(|name| !belongs(name, cases, kernels)).map(|name| store.path(name)).collect())
}

/// Whether a snapshot has a case that is for all kernels which the snapshot names.
fn belongs(name: &Name, cases: &[Case], kernels: &[Record]) -> bool {
    let case = cases.iter().find(|known| known.name == name.case);
    let is_for = |case: &Case, kernel: &str| {
        kernels.iter().find(|record| record.name == kernel).is_some_and(|record| case.is_for(record))
    };
    case.is_some_and(|case| name.kernels.iter().all(|kernel| is_for(case, kernel)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::matrix::Matrix;

    #[test]
    fn a_snapshot_belongs_to_a_case_and_kernels_of_it() {
        let text = "section = '1'\ntitle = 't'\nmodule = 'ext4'\n[[step]]\nrun = 'a'\nsay = 'b'";
        let cases = [Case { name: "ext4".into(), ..toml::from_str(text).unwrap() }];
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-configs");
        let matrix = Matrix::load(&configs.join("kernels.toml")).unwrap();
        let belongs = |file: &str| belongs(&Name::of_file(file).unwrap(), &cases, matrix.records());
        assert!(belongs("ext4.snap"));
        assert!(belongs("ext4@5.4.snap"));
        assert!(belongs("ext4@5.4+6.1-src.snap"));
        assert!(!belongs("ext4@5.4+debian-6.1.snap"));
        assert!(!belongs("ext4@nosuch.snap"));
        assert!(!belongs("ext3.snap"));
    }
}
