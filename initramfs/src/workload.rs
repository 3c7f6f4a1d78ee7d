//! The test workloads: one program whose name selects what it does.
//!
//! They make the same system calls on every run and depend on nothing but the kernel, so a
//! trace of them differs only where kernels differ. The names are those of the tutorial:
//! `sh` forks and runs `cat`, and the trace shows both.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode};

use initramfs::job::{MODULE_DIR, WORKLOADS};
use initramfs::spawn;
use rustix::io::Errno;
use rustix::system::finit_module;

type WorkloadResult = Result<u8, String>;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let name = Path::new(&program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    let outcome = match named(name) {
        Some(workload) => workload(&arguments),
        None => Err(format!("call it as one of {}", WORKLOADS.join(", "))),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(io::stderr(), "{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The function for a workload's name; each of [`WORKLOADS`] has one.
fn named(name: &str) -> Option<fn(&[String]) -> WorkloadResult> {
    Some(match name {
        "sh" => sh,
        "cat" => cat,
        "ls" => ls,
        "insmod" => insmod,
        "repeat" => repeat,
        _ => return None,
    })
}

/// `sh COMMAND…`: runs each argument, a command with its words, as a separate process.
fn sh(commands: &[String]) -> WorkloadResult {
    let mut last = 0;
    for command in commands {
        let mut words = command.split_whitespace();
        let program = words.next().ok_or("an empty command")?;
        last = run(Command::new(program).args(words))?;
    }
    Ok(last)
}

/// Forks, runs a command to its end, and returns its exit status.
fn run(command: &mut Command) -> WorkloadResult {
    spawn::fork_not_spawn(command);
    let status = command
        .status()
        .map_err(|error| format!("cannot run {}: {error}", command.get_program().display()))?;
    Ok(status.code().map_or(255, |code| code as u8))
}

/// `repeat COUNT PROGRAM…`: runs a program with its arguments COUNT times; stops when it fails.
fn repeat(arguments: &[String]) -> WorkloadResult {
    let [count, program, words @ ..] = arguments else { return Err("give it COUNT PROGRAM…".into()) };
    let count: u32 = count.parse().map_err(|_| format!("{count} is no count"))?;
    for _ in 0..count {
        let status = run(Command::new(program).args(words))?;
        if status != 0 {
            return Ok(status);
        }
    }
    Ok(0)
}

/// `cat FILE…`
fn cat(files: &[String]) -> WorkloadResult {
    let mut buffer = [0; 4096];
    for file in files {
        let failed = |error| format!("cannot read {file}: {error}");
        let mut input = File::open(file).map_err(failed)?;
        loop {
            let count = input.read(&mut buffer).map_err(failed)?;
            if count == 0 {
                break;
            }
            io::stdout().write_all(&buffer[..count]).map_err(|error| format!("cannot write: {error}"))?;
        }
    }
    io::stdout().flush().map_err(|error| format!("cannot write: {error}"))?;
    Ok(0)
}

/// `ls DIRECTORY…`: prints the names, sorted, one per line.
fn ls(directories: &[String]) -> WorkloadResult {
    for directory in directories {
        let failed = |error| format!("cannot list {directory}: {error}");
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort();
        for name in names {
            writeln!(io::stdout(), "{}", name.display()).map_err(|error| format!("cannot write: {error}"))?;
        }
    }
    Ok(0)
}

/// `insmod MODULE…`: loads modules by name, in this order.
fn insmod(modules: &[String]) -> WorkloadResult {
    for module in modules {
        let path = format!("{MODULE_DIR}/{module}.ko");
        let file = File::open(&path).map_err(|error| format!("cannot open {path}: {error}"))?;
        match finit_module(&file, &CString::default(), 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(format!("cannot load {path}: {error}")),
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_workload() {
        for name in WORKLOADS {
            assert!(named(name).is_some(), "{name}");
        }
        assert!(named("workload").is_none());
    }
}
