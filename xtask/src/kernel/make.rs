//! make, with all it says in a log.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use rustix::process::Signal;

use crate::cache;
use crate::child::{self, Own};
use crate::error::{Context, Error, Result};
use crate::ui::Bar;
use crate::verdict::Verdict;

/// Lines of a failed build that are shown; the log has them all.
const SHOWN_ERRORS: usize = 6;

/// Runs make with its output added to the log; returns the files it said it makes.
///
/// # Errors
/// `build-failed`, with the first errors of the log; `what` names what does not build.
pub fn run(what: &str, arguments: &[String], targets: &[&str], log: &Path, bar: Option<&Bar>) -> Result<u64> {
    let failed = || format!("cannot run make {}", targets.join(" "));
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(|e| cache::denied("cannot open", log, &e))?;
    let command = duct::cmd("make", arguments.iter().map(String::as_str).chain(targets.iter().copied()))
        .stderr_to_stdout()
        .stdin_null()
        .unchecked();
    // A build sees nothing of the environment but what it needs to run at all.
    let kept = ["PATH", "HOME", "TMPDIR"].map(|name| (name.to_owned(), std::env::var(name).ok()));
    let kept = kept.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let command = command.full_env(kept.chain([("LC_ALL".to_owned(), "C".to_owned())]));
    // Ended by SIGTERM, make ends the compilers first.
    let command = child::mortal(command, Signal::TERM, Own::Group);
    let (reader, _group) = child::in_group(|| command.reader(), |reader| reader.pids()).context(failed)?;
    let mut steps = 0;
    for line in BufReader::new(&reader).split(b'\n') {
        let mut line = line.context(failed)?;
        steps += u64::from(is_step(&line));
        line.push(b'\n');
        file.write_all(&line).map_err(|e| cache::denied("cannot write", log, &e))?;
        if let Some(bar) = bar {
            bar.set(steps);
        }
    }
    match reader.try_wait().context(failed)? {
        Some(output) if output.status.success() => Ok(steps),
        Some(output) => Err(failure(what, targets, log, &output.status.to_string())),
        None => Err(failure(what, targets, log, "it closed its output and still runs")),
    }
}

fn failure(what: &str, targets: &[&str], log: &Path, status: &str) -> Error {
    let said = fs::read(log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let shown = first_errors(&said);
    let error = Error::new(format!("{what} does not build (make {})", targets.join(" ")));
    let error = match shown.is_empty() {
        true => error.because(status),
        false => error.because(format!("\n    {}", shown.join("\n    "))),
    };
    let error = error.help(format!("the full log is {}", log.display())).verdict(Verdict::BuildFailed);
    match said.contains("No space left on device") {
        true => error.help("free some space, or set SNAPTRACE_CACHE to a folder on another disk"),
        false => error,
    }
}

/// Whether a line of kbuild's says that a file is made: `  CC      kernel/fork.o`, also with
/// `[M]` between.
fn is_step(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"  ") else { return false };
    let length = rest.iter().take_while(|byte| byte.is_ascii_uppercase() || b"_-".contains(byte)).count();
    length >= 2 && rest.get(length) == Some(&b' ')
}

/// The first lines of a build's output that tell what is wrong.
fn first_errors(log: &str) -> Vec<&str> {
    let telling = |line: &&str| {
        line.contains("error:")
            || line.contains("Error ")
            || line.contains("***")
            || line.contains("undefined reference")
            || line.contains("No space left")
            || line.contains("not found")
    };
    log.lines().filter(telling).take(SHOWN_ERRORS).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_kbuilds_lines() {
        let log = "make[1]: Entering directory\n  CC      kernel/fork.o\n  CC [M]  fs/ext4/acl.o\n  \
                   HOSTLD  scripts/kconfig/conf\n  a sentence\n  X y\nscripts/x.c: note\n";
        assert_eq!(log.lines().filter(|line| is_step(line.as_bytes())).count(), 3);
    }

    #[test]
    fn the_first_errors_are_shown() {
        let log = "  CC a.o\na.c:1: error: no\nmake[1]: *** [a.o] Error 1\nmake: note\n";
        assert_eq!(first_errors(log), ["a.c:1: error: no", "make[1]: *** [a.o] Error 1"]);
    }
}
