//! Runs make, with all its output in a log.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use rustix::process::Signal;

use super::failure;
use crate::base::cache;
use crate::base::child::{self, Own};
use crate::base::error::{Context, Error, Result};
use crate::base::ui::{Bar, printable};
use crate::base::verdict::Verdict;

/// Characters in paths that make, or the shell that it starts for each file, does not take literally.
const NOT_IN_PATHS: &str = ":#$%\\'\"`;&|<>()[]*?";

/// Checks that make and the shell take a path literally.
///
/// # Errors
/// They do not; the error names the character.
pub fn takes(path: &Path) -> Result<()> {
    let real = path.ancestors().find_map(|part| fs::canonicalize(part).ok());
    for path in [Some(path), real.as_deref()].into_iter().flatten() {
        let refused = |cause: String| {
            Err(Error::new(format!("cannot build in {}", printable(&format!("{path:?}"))))
                .because(cause)
                .help("move the source, or set SNAPTRACE_CACHE, to a folder with a plain name"))
        };
        let Some(text) = path.to_str() else {
            return refused("its name is not UTF-8".to_owned());
        };
        let wrong = |c: &char| c.is_whitespace() || c.is_control() || NOT_IN_PATHS.contains(*c);
        match text.chars().find(wrong) {
            None => {}
            Some(' ') => return refused("make takes no space in a path".to_owned()),
            Some(c) if c.is_whitespace() || c.is_control() => {
                return refused(format!("make takes no {} in a path", c.escape_default()));
            }
            Some(c) => return refused(format!("make and the shell take no `{c}` in a path as it is")),
        }
    }
    Ok(())
}

/// Runs make and appends its output to the log; returns the number of files that it reported to make.
///
/// # Errors
/// `build-failed`, with the first errors of the log; `what` names what does not build.
pub fn run(what: &str, arguments: &[String], targets: &[&str], log: &Path, bar: Option<&Bar>) -> Result<u64> {
    let failed = || format!("cannot run make {}", targets.join(" "));
    // What other targets said before is not why this one fails.
    let before = fs::metadata(log).map_or(0, |about| about.len());
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(|e| cache::denied("cannot open", log, &e))?;
    let command = duct::cmd("make", arguments.iter().map(String::as_str).chain(targets.iter().copied()))
        .stderr_to_stdout()
        .stdin_null()
        .unchecked();
    // A build gets only the environment variables that it cannot run without.
    let kept = ["PATH", "HOME", "TMPDIR"].map(|name| (name.to_owned(), std::env::var(name).ok()));
    let kept = kept.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let command = command.full_env(kept.chain([("LC_ALL".to_owned(), "C".to_owned())]));
    // On SIGTERM, make ends the compilers first.
    let command = child::mortal(command, Signal::TERM, Own::Group);
    let (reader, _group) = child::in_group(|| command.reader(), |reader| reader.pids()).context(failed)?;
    let mut steps = 0;
    for line in BufReader::new(&reader).split(b'\n') {
        let mut line = line.context(failed)?;
        steps += u64::from(failure::is_step(&line));
        line.push(b'\n');
        file.write_all(&line).map_err(|e| cache::denied("cannot write", log, &e))?;
        if let Some(bar) = bar {
            bar.set(steps);
        }
    }
    match reader.try_wait().context(failed)? {
        Some(output) if output.status.success() => Ok(steps),
        Some(output) => Err(failure(what, targets, log, before, &output.status.to_string())),
        None => Err(failure(what, targets, log, before, "it closed its output and still runs")),
    }
}

fn failure(what: &str, targets: &[&str], log: &Path, before: u64, status: &str) -> Error {
    let said = fs::read(log).unwrap_or_default();
    let said = said.get(usize::try_from(before).unwrap_or(usize::MAX)..).unwrap_or_default();
    let causes = failure::causes(&String::from_utf8_lossy(said));
    let error = Error::new(format!("{what} does not build (make {})", targets.join(" ")));
    let error = match causes.is_empty() {
        true => error.because(status),
        false => error.because(causes.join("\n    ")),
    };
    let error = match failure::is_disk_full(&causes) {
        true => error.disk_full(),
        false => error,
    };
    let error = match failure::help(&causes) {
        Some(help) => error.help(help),
        None => error,
    };
    error.help(format!("the full log is {}", log.display())).verdict(Verdict::BuildFailed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_kbuilds_lines() {
        let log = "make[1]: Entering directory\n  CC      kernel/fork.o\n  CC [M]  fs/ext4/acl.o\n  \
                   HOSTLD  scripts/kconfig/conf\n  a sentence\n  X y\nscripts/x.c: note\n";
        assert_eq!(log.lines().filter(|line| failure::is_step(line.as_bytes())).count(), 3);
    }

    #[test]
    fn paths_that_make_or_the_shell_read_otherwise_are_refused() {
        for path in ["/src/linux-5.4_x+y@z,1={a}~!^", "/häuser/linux"] {
            takes(Path::new(path)).unwrap();
        }
        for (path, why) in [
            ("/my linux", "no space"),
            ("/a\tb", "no \\t"),
            ("/a\nb", "no \\n"),
            ("/a:b", "`:`"),
            ("/a#b", "`#`"),
            ("/a$b", "`$`"),
            ("/a'b", "`'`"),
            ("/a\"b", "`\"`"),
            ("/a;b", "`;`"),
            ("/a&b", "`&`"),
            ("/a%b", "`%`"),
            ("/a(b", "`(`"),
            ("/a*b", "`*`"),
            ("/a\\b", "`\\`"),
            ("/a`b", "```"),
        ] {
            let error = takes(Path::new(path)).unwrap_err().to_string();
            assert!(error.contains(why) && error.lines().count() == 2, "{path}: {error}");
        }
        let bytes = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"/a\xffb");
        assert!(takes(Path::new(bytes)).unwrap_err().to_string().contains("not UTF-8"));
        // A link with a plain name does not help: make asks where it really is.
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("my linux"), folder.path().join("linux"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(takes(&link.join("not/yet")).is_err());
    }
}
