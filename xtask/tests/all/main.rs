//! The tests of the harness, in one program: those that boot guests share the host's processors with all
//! others, and the longest begin first.
//!
//! `cargo test -p xtask --test all -- guest::` runs the trials of one module. A trial is named by its module,
//! then by its kernel or by its function. One that needs a kernel or a program that cannot be had is ignored;
//! that is printed and is not a pass.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test, whose output is read")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, where a panic is the report")]

/// Names the functions of a module that are trials: each panics where something does not hold. Those after
/// `ignored` run only when they are asked for.
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
    // A list of the trials is no reason to fetch anything, nor is another module's name.
    let fetches = !arguments.list && arguments.filter.as_ref().is_none_or(|name| name.contains("reference"));
    let reference = reference::trials(fetches)?;
    Ok([
        // A guest with two CPUs has the host for itself, so it does not wait for others to end.
        reference.on_two_cpus,
        layout::trials(),
        workflow::trials(),
        vm::trials()?,
        diff::trials(),
        kernel::trials(),
        bisect::trials(),
        guest::trials(reference.on_one_cpu)?,
        judge::trials()?,
        // Their recordings are there by now.
        reference.others,
    ]
    .into_iter()
    .flatten()
    .collect())
}
