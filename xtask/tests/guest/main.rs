//! The harness' commands with real guests: exit codes, files, verdicts, stable snapshots.
//!
//! A trial whose outcome depends on the kernel runs on every reference kernel at hand, one that tries the
//! harness alone on the first of them; with `SNAPTRACE_ALL_KERNELS=1` all run on all usual kernels. Without
//! a kernel a trial is ignored, which is told and is not a pass.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test, whose output is read")]

mod common;
mod exact;
mod running;
mod shell;
mod snapshots;
mod tracer;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use xtask::base::cache::Cache;
use xtask::harness::Harness;
use xtask::kernel;

use common::root;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let kernels = match kernels_at_hand() {
        Ok(kernels) => kernels,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    // The harness is the same on each kernel: where all of them are not asked for, one shows it.
    let first = kernels.iter().find(|(_, at_hand, _)| *at_hand).map(|(kernel, ..)| kernel.clone());
    let tries_harness =
        |kernel: &String| Harness::wants_all_kernels() || first.as_ref().is_none_or(|one| one == kernel);
    let mut trials = Vec::new();
    for (kernel, at_hand, all) in kernels {
        if !at_hand {
            eprintln!("{kernel}: unavailable: not cached, its guests are not tested");
        }
        let of_harness = OF_HARNESS.iter().filter(|_| all && tries_harness(&kernel));
        for &(name, test) in TESTS.iter().filter(|(name, _)| all || *name == CPUS).chain(of_harness) {
            let on = kernel.clone();
            let trial = Trial::test(format!("{kernel} {name}"), move || test(&on));
            trials.push(trial.with_ignored_flag(!at_hand));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// This trial runs on the newest kernel, too: kernels differ in what they think of CPUs.
const CPUS: &str = "CPUs that are not there, come and go";

type Test = fn(&str) -> Result<(), Failed>;

/// What a kernel may do otherwise than another one.
const TESTS: &[(&str, Test)] = &[
    ("a guest has what programs expect", running::home),
    ("run tells a panic", running::panic),
    ("run tells a restart", running::restart),
    ("however a recording ends, the kernel is put back", tracer::put_back),
    (CPUS, tracer::absent_cpus),
    ("what is not there is not polled", tracer::no_spinning),
    ("lockdown and pid namespaces are named as the cause", tracer::named_causes),
    ("a few cells of the restore table hold", tracer::few_cells),
    ("snapshots do not depend on other inputs", snapshots::other_inputs),
    ("a tracer broken on purpose fails though drift is allowed", snapshots::broken_tracer),
    ("equal runs of a case are proved equal", exact::equal_runs),
    ("a recording made twice is the same file", exact::same_recording),
];

/// What the harness does, whatever the kernel.
const OF_HARNESS: &[(&str, Test)] = &[
    ("run returns the command's exit status", running::exit_status),
    ("run returns the command's output on both channels", running::output),
    ("run brings files out", running::files),
    ("run passes standard input on where it is asked to", running::input),
    ("run without -i reads nothing and says so", running::unread_input),
    ("shell carries out what a pipe says", shell::piped_shell),
    ("shell leaves the terminal as it was", shell::terminal),
    ("an edited snapshot is a mismatch with a diff", snapshots::edited_snapshot),
    ("a difference on a kernel nobody reviewed is drift", snapshots::drift),
    ("a snapshot that is missing is drift only where nothing was reviewed", snapshots::missing_snapshot),
    ("a run in two parts comes to what one run comes to", snapshots::parts),
    ("standard output is for one format alone", snapshots::formats),
    ("exactness that cannot be is refused with the reason", running::refusals),
    ("only run and shell take KVM, and say so", running::kvm_for_work),
    ("a run that was stopped for longer than it may take is no timeout", running::stopped),
    ("limits are said before the boot, and what is within them boots", running::limits),
    ("costs do not depend on other inputs", exact::same_costs),
    ("noise let in on purpose is found and its source named", exact::noise),
];

/// The kernels by name, whether each is at hand, and whether all trials are for it.
fn kernels_at_hand() -> xtask::base::error::Result<Vec<(String, bool, bool)>> {
    let h = Harness::new(root(), Cache::open()?, false);
    let matrix = h.matrix()?;
    let mut kernels = Vec::new();
    for record in matrix.at_length(Harness::wants_all_kernels()) {
        kernels.push((record.name.clone(), kernel::at_hand(&h, record)?.is_some(), true));
    }
    if let Some(newest) = matrix.usual().last()
        && kernels.iter().all(|(name, ..)| *name != newest.name)
    {
        kernels.push((newest.name.clone(), kernel::at_hand(&h, newest)?.is_some(), false));
    }
    Ok(kernels)
}
