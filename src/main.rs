//! The `snaptrace` command.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(snaptrace::commands::run())
}
