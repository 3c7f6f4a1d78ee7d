//! The tests of the harness, in one program, so that tests that boot guests share the host's processors with
//! the others. The longest begin first.
//!
//! `cargo test -p xtask --test all -- guest::` runs the trials of one module. The name of a trial is its
//! module, then its kernel or function. A trial whose kernel or program is unavailable is ignored; this is
//! printed and is no pass.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test, whose output is read")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, where a panic is the report")]

/// Lists the functions of a module that are trials; a trial fails if its function panics. Those after
/// `ignored` run only with `--ignored`.
macro_rules! trials {
    ($($name:ident,)* $(; ignored: $($ignored:ident,)*)?) => {
        pub fn trials() -> Vec<libtest_mimic::Trial> {
            let module = module_path!().trim_start_matches("all::");
            vec![
                $(libtest_mimic::Trial::test(format!("{module}::{}", stringify!($name)), || {
                    $name();
                    Ok(())
                }),)*
                $($(libtest_mimic::Trial::test(format!("{module}::{}", stringify!($ignored)), || {
                    $ignored();
                    Ok(())
                })
                .with_ignored_flag(true),)*)?
            ]
        }
    };
}

mod bisect;
mod common;
mod diff;
mod guest;
mod judge;
mod kernel;
mod layout;
mod reference;
mod vm;
mod workflow;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use xtask::base::error::Result;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match trials(&arguments) {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// All trials, in the order in which they begin.
fn trials(arguments: &Arguments) -> Result<Vec<Trial>> {
    // Do not fetch anything for a list of the trials, or for trials of another module.
    let fetches = !arguments.list && arguments.filter.as_ref().is_none_or(|name| name.contains("reference"));
    let reference = reference::trials(fetches)?;
    Ok([
        // First, since a guest with two CPUs needs the host for itself and would wait for others to end.
        reference.on_two_cpus,
        layout::trials(),
        workflow::trials(),
        vm::trials()?,
        diff::trials(),
        kernel::trials(),
        bisect::trials(),
        guest::trials(reference.on_one_cpu)?,
        judge::trials()?,
        // Their recordings exist by then.
        reference.others,
    ]
    .into_iter()
    .flatten()
    .collect())
}
