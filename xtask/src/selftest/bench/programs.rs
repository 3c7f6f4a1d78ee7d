//! The measured programs: the tracer built for this host, and scripts in guests.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xshell::Shell;

use crate::base::cargo::{cargo, target_dir};
use crate::base::error::{Context, Error, Result};
use crate::base::workspace::Workspace;
use crate::fetch::trace_cmd::TraceCmd;

/// The tracer as users build it: optimised, for this host.
pub fn release_build(workspace: &Workspace) -> Result<PathBuf> {
    let sh = Shell::new().context(|| "cannot start a shell".into())?;
    sh.change_dir(&workspace.sources);
    let target = target_dir(&workspace.sources).join("bench");
    cargo(&sh)
        .args(["build", "--locked", "--release", "--package", "snaptrace", "--target-dir"])
        .arg(&target)
        .run()
        .context(|| "cannot build the tracer; the compiler's messages are above".into())?;
    Ok(target.join("release/snaptrace"))
}

/// Runs a shell script in a guest and copies files from its `/tmp` to `folder`. `$trace_cmd` is the path of
/// trace-cmd there.
pub fn in_guest(
    workspace: &Workspace,
    kernel: &str,
    cpus: u32,
    script: &str,
    reference: &TraceCmd,
    names: &[String],
    folder: &Path,
) -> Result<()> {
    let path = folder.join("script.sh");
    let name = reference.program.file_name().unwrap_or_default().to_string_lossy();
    let head = format!("trace_cmd='/extra/ld-linux-x86-64.so.2 --library-path /extra /extra/{name}'\n");
    std::fs::write(&path, head + script).context(|| format!("cannot write {}", path.display()))?;
    let mut arguments: Vec<OsString> =
        ["run", "--accel", "tcg", "--timeout", "1800", "--kernel", kernel, "--cpus", &cpus.to_string()]
            .map(OsString::from)
            .into();
    for file in reference.files()?.into_iter().chain([path]) {
        arguments.extend(["--put".into(), file.into_os_string()]);
    }
    for name in names {
        let to = folder.join(name);
        arguments.extend(["--get".into(), format!("/tmp/{name}:{}", to.display()).into()]);
    }
    arguments.extend(["--", "sh", "/extra/script.sh"].map(OsString::from));
    let program = env::current_exe().context(|| "cannot find this program".into())?;
    let status = Command::new(program)
        .args(arguments)
        .current_dir(&workspace.root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context(|| "cannot start `xtask run`".into())?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(format!("the guest's part of the bench ended with {status}"))
        .help("its own messages are above"))
}
