//! `cargo xtask`: the exit code only.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(xtask::commands::run())
}
