//! Cargo, called from a program that cargo itself runs.

use std::env;
use std::ffi::OsString;

use xshell::{Cmd, Shell};

/// A cargo command, to which arguments are added.
pub fn cargo(sh: &Shell) -> Cmd<'_> {
    let mut command = sh.cmd(program()).quiet();
    for name in of_this_run() {
        command = command.env_remove(name);
    }
    command
}

/// The cargo that runs this program.
pub fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The variables by which cargo tells this program about its own package. Build scripts may
/// depend on them; passed on, they would be run again, and what depends on them built again,
/// at each change between a cargo called by hand and one called from here.
pub fn of_this_run() -> Vec<OsString> {
    let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| told.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_tells_a_test_is_not_passed_on() {
        let names = of_this_run();
        assert!(names.iter().any(|name| name == "CARGO_MANIFEST_DIR"), "{names:?}");
        assert!(
            !names.iter().any(|name| name == "CARGO_HOME" || name == "CARGO_TARGET_DIR" || name == "CARGO")
        );
        let sh = Shell::new().unwrap();
        assert!(cargo(&sh).arg("--version").read().unwrap().starts_with("cargo "));
    }
}
