//! The harness' commands with real guests: exit codes, files, verdicts, stable snapshots.
//!
//! A trial whose result depends on the kernel runs on every cached reference kernel; a trial of the harness
//! alone runs on the first of them. With `SNAPTRACE_ALL_KERNELS=1` all trials run on all usual kernels.
//! Without a kernel a trial is ignored; this is printed and is no pass.

mod exact;
mod own_kernels;
mod running;
mod shell;
mod snapshots;
mod tracer;

use libtest_mimic::{Failed, Trial};
use xtask::base::cache::Cache;
use xtask::base::workspace::Workspace;
use xtask::kernel;

use crate::common::{host_shared, root};

/// The trials; `others` begin together with the longest.
pub fn trials(others: Vec<Trial>) -> xtask::base::error::Result<Vec<Trial>> {
    let kernels = kernels_by_trials()?;
    for (kernel, ..) in kernels.iter().filter(|(_, available, _)| !available) {
        eprintln!("{kernel}: unavailable: not cached, its guests are not tested");
    }
    // The harness is the same on each kernel, so one is enough unless all were asked for.
    let first = kernels.iter().find(|(_, available, _)| *available).map(|(kernel, ..)| kernel.clone());
    let tries_harness =
        |kernel: &String| Workspace::wants_all_kernels() || first.as_ref().is_none_or(|one| one == kernel);
    let trials_of = |tests: &[(&str, Test)], is_tried: &dyn Fn(&str, &String, bool) -> bool| {
        let mut trials = Vec::new();
        for &(name, test) in tests {
            for (kernel, available, all) in &kernels {
                if is_tried(name, kernel, *all) {
                    let on = kernel.clone();
                    let run = move || {
                        let _guests = host_shared();
                        test(&on)
                    };
                    let trial = Trial::test(format!("guest::{kernel} {name}"), run);
                    trials.push(trial.with_ignored_flag(!available));
                }
            }
        }
        trials
    };
    let mut trials = trials_of(LONGEST, &|_, _, all| all);
    trials.extend(others);
    trials.extend(trials_of(OF_HARNESS, &|_, kernel, all| all && tries_harness(kernel)));
    trials.extend(trials_of(TESTS, &|name, _, all| all || name == CPUS));
    Ok(trials)
}

/// This trial also runs on the newest kernel, since kernels handle CPUs differently.
const CPUS: &str = "CPUs that are not there, come and go";

type Test = fn(&str) -> Result<(), Failed>;

/// The longest trials, on each kernel.
const LONGEST: &[(&str, Test)] = &[
    ("a few cells of the restore table hold", tracer::few_cells),
    ("snapshots do not depend on other inputs", snapshots::other_inputs),
];

/// Trials whose result may depend on the kernel.
const TESTS: &[(&str, Test)] = &[
    ("a guest has what programs expect", running::home),
    ("run tells a panic", running::panic),
    ("run tells a restart", running::restart),
    ("however a recording ends, the settings are restored", tracer::restored),
    (CPUS, tracer::absent_cpus),
    ("what is not there is not polled", tracer::no_spinning),
    ("lockdown and pid namespaces are named as the cause", tracer::named_causes),
    ("a tracer broken on purpose fails though drift is allowed", snapshots::broken_tracer),
    ("equal runs of a case are proved equal", exact::equal_runs),
    ("a recording made twice is the same file", exact::same_recording),
];

/// Trials of the harness, independent of the kernel.
const OF_HARNESS: &[(&str, Test)] = &[
    ("noise let in on purpose is found and its source named", exact::noise),
    ("costs do not depend on other inputs", exact::same_costs),
    ("a kernel of one's own runs however it is given", own_kernels::however_given),
    ("run returns the command's exit status", running::exit_status),
    ("run returns the command's output on both channels", running::output),
    ("run brings files out", running::files),
    ("run puts files and variables in", running::into_guest),
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
];

/// The kernels by name, whether each is available, and whether all trials are for it.
fn kernels_by_trials() -> xtask::base::error::Result<Vec<(String, bool, bool)>> {
    let h = Workspace::new(root(), Cache::open()?, false);
    let matrix = h.matrix()?;
    let mut kernels = Vec::new();
    for record in matrix.at_length(Workspace::wants_all_kernels()) {
        kernels.push((record.name.clone(), kernel::cached(&h, record)?.is_some(), true));
    }
    if let Some(newest) = matrix.usual().last()
        && kernels.iter().all(|(name, ..)| *name != newest.name)
    {
        kernels.push((newest.name.clone(), kernel::cached(&h, newest)?.is_some(), false));
    }
    Ok(kernels)
}
