//! Runs cargo, from a program that cargo itself started.
//!
//! It uses `xshell`: a `Shell` has its own current folder, so that the folder of this process does not
//! change, and its errors and `to_string` show a command as a person would type it. Processes that are
//! watched or ended while they run are started with `duct`; see `child.rs`.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use xshell::{Cmd, Shell};

/// A cargo command, to which arguments are added.
pub fn cargo(sh: &Shell) -> Cmd<'_> {
    let mut command = sh.cmd(program()).quiet();
    for name in of_this_run() {
        command = command.env_remove(name);
    }
    if let (Some(given), Some(folder)) = (in_environment(), chosen()) {
        // A relative path would mean another folder for a cargo that runs elsewhere.
        command = command.env(given, folder);
    }
    command
}

/// The variables that name cargo's target folder; the first one takes precedence.
const TARGET_DIR: [&str; 2] = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"];

/// The folder for everything made from the workspace at `root`: cargo's target folder, so that the checkout
/// may be read-only.
pub fn target_dir(root: &Path) -> PathBuf {
    chosen().unwrap_or_else(|| root.join("target"))
}

fn in_environment() -> Option<&'static str> {
    TARGET_DIR.into_iter().find(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// The target folder that the environment names, else the one that this program was built into.
fn chosen() -> Option<PathBuf> {
    let given = in_environment().and_then(env::var_os).map(PathBuf::from);
    if let Some(given) = given.as_ref().filter(|given| given.is_absolute()) {
        return Some(given.clone());
    }
    // A relative path refers to the folder where cargo was started, which a test does not know.
    let built = env::current_exe().ok();
    let built = built.and_then(|program| of_program(&program).map(Path::to_path_buf));
    built.or_else(|| std::path::absolute(given?).ok())
}

/// The target folder that contains a program.
fn of_program(program: &Path) -> Option<&Path> {
    program.ancestors().skip(1).find(|folder| folder.join(".rustc_info.json").is_file())
}

/// The cargo that runs this program.
pub fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The variables that cargo sets for this program about its package. Build scripts may depend on them. If
/// they were passed on, cargo would rebuild those packages each time a cargo started here follows one started
/// by hand, or the reverse.
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

    #[test]
    fn products_lie_where_this_program_does() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("out/debug/deps/xtask");
        std::fs::create_dir_all(&program).unwrap();
        assert_eq!(of_program(&program), None);
        std::fs::write(folder.path().join("out/.rustc_info.json"), "{}").unwrap();
        assert_eq!(of_program(&program), Some(&*folder.path().join("out")));
        assert!(env::current_exe().unwrap().starts_with(target_dir(Path::new("/nowhere"))));
    }
}
