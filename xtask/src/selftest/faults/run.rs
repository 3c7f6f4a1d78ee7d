//! Causes faults one after another, and prints the table of results.

use std::time::Instant;

use super::fault::{Cause, Fault, On};
use super::fixture::{Fixture, Target};
use crate::base::error::{Error, Result};
use crate::base::ui::{outln, printable};
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::fetch::tools;
use crate::guest::prepared::{Guest, GuestOptions, Tools};
use crate::kernel;
use crate::selftest::faults::carry_out;
use crate::selftest::faults::causes::{around_guest, before_guest, in_guest};

/// What to cause.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Faults by name; all when empty.
    pub names: Vec<String>,
    /// Kernels by name; the cached references when empty.
    pub kernels: Vec<String>,
    /// All cached usual kernels, and not only the references.
    pub all_kernels: bool,
    /// Only those that take little time, on one kernel.
    pub quick: bool,
}

/// All faults, in the order in which they are caused.
pub fn all() -> Vec<Fault> {
    [in_guest::faults(), around_guest::faults(), before_guest::faults()].into_iter().flatten().collect()
}

/// Prints the list of faults, with the expected result of each.
pub fn list() {
    for fault in all() {
        let quick = if fault.quick { "quick" } else { "" };
        let (word, code) = (fault.expected.word(), fault.expected.code());
        outln!("{:22} {word:18} {code:3} {:4} s  {quick:5}  {}", fault.name, fault.deadline, fault.about);
    }
}

/// The number of faults by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Those that ended as expected.
    pub passed: usize,
    /// Those that did not end as expected.
    pub failed: usize,
    /// Those that could not be caused here.
    pub skipped: usize,
}

impl FaultCounts {
    /// The exit code: 0 if all ended as expected, 1 if one did not. That of `unavailable` if no fault was
    /// caused, or one that was named was skipped.
    pub fn exit_code(self, by_name: bool) -> u8 {
        match self {
            FaultCounts { failed: 1.., .. } => 1,
            FaultCounts { passed: 0, .. } => Verdict::Unavailable.exit_code(),
            FaultCounts { skipped: 1.., .. } if by_name => Verdict::Unavailable.exit_code(),
            _ => 0,
        }
    }
}

/// Causes the selected faults, one after another, and prints the table.
///
/// # Errors
/// A name is unknown, or QEMU or the guest's programs cannot be obtained.
pub fn run(workspace: &Workspace, options: &Options) -> Result<FaultCounts> {
    let faults = chosen(&options.names, options.quick)?;
    let kernels = kernels(workspace, options)?;
    let tools = Tools::get(workspace)?;
    ready(workspace, &tools, &kernels)?;
    let kernels = if options.quick { &kernels[..kernels.len().min(1)] } else { &kernels[..] };
    outln!(
        "{:22} {:12} {:18} {:18} {:>4} {:>8} {:>8}",
        "fault",
        "kernel",
        "expected",
        "given",
        "exit",
        "seconds",
        "deadline"
    );
    let mut counts = FaultCounts::default();
    for fault in &faults {
        for kernel in targets(fault.on, kernels) {
            cause(workspace, &tools, fault, kernel, &mut counts);
        }
    }
    outln!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    Ok(counts)
}

fn chosen(names: &[String], quick: bool) -> Result<Vec<Fault>> {
    let mut faults = all();
    for name in names {
        if !faults.iter().any(|fault| fault.name == *name) {
            let known: Vec<&str> = faults.iter().map(|fault| fault.name).collect();
            return Err(Error::unknown("fault", name, &known));
        }
    }
    faults.retain(|fault| names.is_empty() || names.iter().any(|name| name == fault.name));
    faults.retain(|fault| !quick || fault.quick);
    Ok(faults)
}

/// The kernels to cause faults on: the named ones, else the cached ones, ready-made ones first.
fn kernels(workspace: &Workspace, options: &Options) -> Result<Vec<Target>> {
    let matrix = workspace.matrix()?;
    let mut kernels = Vec::new();
    let named = !options.kernels.is_empty();
    for record in matrix.named_or_at_length(&options.kernels, options.all_kernels)? {
        match kernel::cached(workspace, record)? {
            Some(kernel) => kernels.push((record.clone(), kernel)),
            None if named => {
                kernels.push((record.clone(), kernel::obtain(workspace, record, &Default::default())?))
            }
            None => workspace
                .host
                .ui
                .say(format!("{}: unavailable: not cached, so no fault is caused on it", record.name)),
        }
    }
    kernels.sort_by_key(|(record, _)| !record.is_ready_made());
    Ok(kernels)
}

/// Prepares what all faults need, so that it does not count towards the time of the first.
fn ready(workspace: &Workspace, tools: &Tools, kernels: &[Target]) -> Result<()> {
    tools::busybox(&workspace.host)?;
    if let Some((record, kernel)) = kernels.first() {
        Guest::prepare(workspace, tools, record, kernel.clone(), GuestOptions::default())?;
    }
    Ok(())
}

/// The kernels that a fault is caused on, `None` for none.
fn targets(on: On, kernels: &[Target]) -> Vec<Option<&Target>> {
    match on {
        On::Every => kernels.iter().map(Some).collect(),
        On::One => kernels.first().map(Some).into_iter().collect(),
        On::None => vec![None],
    }
}

/// Causes one fault and prints its line.
fn cause(
    workspace: &Workspace,
    tools: &Tools,
    fault: &Fault,
    target: Option<&Target>,
    counts: &mut FaultCounts,
) {
    let name = target.map_or("-", |(record, _)| record.name.as_str());
    let before = Instant::now();
    let met = Fixture::new(workspace, tools, target).and_then(|fixture| {
        let setup = match &fault.cause {
            Cause::InGuest(in_guest) => in_guest.setup(&fixture, fault)?,
            Cause::Setup(make) => make(&fixture)?,
        };
        carry_out::carry_out(fixture, setup, fault)
    });
    let (given, code, seconds, complaints) = match met {
        Ok(met) => (met.given, met.code.to_string(), met.seconds, met.complaints),
        Err(error) if error.verdict_given() == Some(Verdict::Unavailable) => {
            counts.skipped += 1;
            outln!("{:22} {name:12} {:18} skipped: {error}", fault.name, fault.expected.word());
            return;
        }
        Err(error) => {
            ("not caused".to_owned(), "-".to_owned(), before.elapsed().as_secs_f64(), vec![error.to_string()])
        }
    };
    outln!(
        "{:22} {name:12} {:18} {given:18} {code:>4} {seconds:>8.1} {:>8}",
        fault.name,
        fault.expected.word(),
        fault.deadline
    );
    for complaint in &complaints {
        outln!("  {}", printable(complaint));
    }
    match complaints.is_empty() {
        true => counts.passed += 1,
        false => counts.failed += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_names_of_their_own_and_a_sentence_each() {
        let faults = all();
        let mut names: Vec<&str> = faults.iter().map(|fault| fault.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), faults.len());
        assert!(faults.len() >= 38, "{}", faults.len());
        for fault in &faults {
            assert!(fault.about.ends_with('.') && fault.deadline > 0, "{}", fault.name);
        }
        let quick = faults.iter().filter(|fault| fault.quick).count();
        assert!((10..=16).contains(&quick), "{quick}");
    }

    #[test]
    fn a_skipped_fault_is_no_pass() {
        let counts = |passed, failed, skipped| FaultCounts { passed, failed, skipped };
        assert_eq!(counts(3, 0, 0).exit_code(true), 0);
        assert_eq!(counts(3, 0, 1).exit_code(false), 0);
        assert_eq!(counts(3, 0, 1).exit_code(true), Verdict::Unavailable.exit_code());
        assert_eq!(counts(0, 0, 1).exit_code(false), Verdict::Unavailable.exit_code());
        assert_eq!(counts(3, 1, 1).exit_code(false), 1);
    }

    #[test]
    fn an_unknown_fault_names_the_nearest() {
        let error = chosen(&["panik".into()], false).err().unwrap().to_string();
        assert!(error.contains("did you mean panic?"), "{error}");
    }
}
