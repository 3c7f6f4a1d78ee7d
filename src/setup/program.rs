//! The program of a command, found as a shell does.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::error::{Error, Result};

pub(crate) const NOT_FOUND: u8 = 127;
pub(crate) const NOT_EXECUTABLE: u8 = 126;

/// Finds a program as a shell does: by its path if it has a slash, else in `PATH`.
///
/// # Errors
/// The program does not exist (exit code 127) or cannot be executed (126).
pub fn find(program: &OsStr) -> Result<PathBuf> {
    let name = Path::new(program);
    let candidates: Vec<PathBuf> =
        if name.components().count() > 1 || program.as_encoded_bytes().contains(&b'/') {
            vec![name.to_path_buf()]
        } else {
            let path = env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
            env::split_paths(&path).map(|folder| folder.join(name)).collect()
        };
    let files: Vec<&PathBuf> =
        candidates.iter().filter(|path| fs::metadata(path).is_ok_and(|meta| meta.is_file())).collect();
    if let Some(path) = files.iter().find(|path| access(path.as_path(), Access::EXEC_OK).is_ok()) {
        return Ok(path.to_path_buf());
    }
    let shown = name.display();
    Err(match files.first() {
        Some(path) => Error::with_code(
            NOT_EXECUTABLE,
            format!("cannot run '{shown}': {} is not executable", path.display()),
        )
        .help("make it executable (chmod +x), or name its interpreter first"),
        None => Error::with_code(NOT_FOUND, format!("cannot run '{shown}': no such program"))
            .help("check its spelling and PATH, or give its whole path"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_does() {
        assert!(find(OsStr::new("sh")).unwrap().is_absolute());
        assert_eq!(find(OsStr::new("no-such-program-at-all")).unwrap_err().exit_code(), 127);
        assert_eq!(find(OsStr::new("/no/such/program")).unwrap_err().exit_code(), 127);
        assert_eq!(find(OsStr::new("/etc/passwd")).unwrap_err().exit_code(), 126);
    }
}
