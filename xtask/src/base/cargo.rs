//! Cargo, called from a program that cargo itself runs.
//!
//! By `xshell`: its `Shell` has the folder that commands run in, so that the process' own stays as it is, and
//! its errors and `to_string` show a command as a person would type it. What is watched or ended while it
//! runs is started by `duct`: see `child.rs`.

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
        // One that is relative would be another folder where this cargo is run.
        command = command.env(given, folder);
    }
    command
}

/// The variables that name the folder of cargo's products, the stronger one first.
const TARGET_DIR: [&str; 2] = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"];

/// The folder of all that is made from the workspace at `root`: where cargo puts its products, so that a
/// checkout need not be writable.
pub fn target_dir(root: &Path) -> PathBuf {
    chosen().unwrap_or_else(|| root.join("target"))
}

fn in_environment() -> Option<&'static str> {
    TARGET_DIR.into_iter().find(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// What the environment names, else the folder that this program was built into, whatever chose that.
fn chosen() -> Option<PathBuf> {
    let given = in_environment().and_then(env::var_os).map(PathBuf::from);
    if let Some(given) = given.as_ref().filter(|given| given.is_absolute()) {
        return Some(given.clone());
    }
    // A relative name is of where cargo was called, which a test no longer knows.
    let built = env::current_exe().ok();
    let built = built.and_then(|program| of_program(&program).map(Path::to_path_buf));
    built.or_else(|| std::path::absolute(given?).ok())
}

/// The folder of cargo's products that a program lies in.
fn of_program(program: &Path) -> Option<&Path> {
    program.ancestors().skip(1).find(|folder| folder.join(".rustc_info.json").is_file())
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
