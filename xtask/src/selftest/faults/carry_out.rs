//! Runs a setup and compares the result with what is expected.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::fault::{Expected, Fault, GRACE};
use super::fixture::Fixture;
use super::leftovers;
use super::setup::{Act, Mount, Setup, When};
use crate::base::child::{self, Own};
use crate::base::clock;
use crate::base::error::{Context, Error, Result};
use crate::base::verdict::Verdict;
use crate::guest::prepared::COMMAND;
use crate::run::bundle;

/// How often a running command is checked.
const TICK: Duration = Duration::from_millis(20);
/// How long after its deadline a command is killed.
const FORCE: Duration = Duration::from_secs(10);
/// How long a command may take to reach the point where it is killed.
const KILLED_BY: Duration = Duration::from_secs(60);
/// The most lines of a command's output that are shown when it did not end as expected.
const SHOWN: usize = 12;

/// The script that mounts a file system in a mount namespace and then runs the command. Arguments: kind,
/// mount point, size, command.
const IN_NAMESPACE: &str = r#"
case $1 in
small) mount -t tmpfs -o "size=$3k,mode=755" none "$2" ;;
read-only) mount --bind "$2" "$2" && mount -o remount,bind,ro "$2" ;;
os-release) mount --bind "$2" /etc/os-release ;;
esac || exit 99
shift 3
exec "$@"
"#;

/// The result of a fault.
pub struct FaultResult {
    /// The verdict of the command, as a word.
    pub given: String,
    /// The exit code, as a shell gives it.
    pub code: i32,
    /// How long it took.
    pub seconds: f64,
    /// What was not as expected; empty if everything was.
    pub complaints: Vec<String>,
}

/// Runs a setup.
///
/// # Errors
/// The fault could not be caused.
pub fn carry_out(fixture: Fixture<'_>, setup: Setup, fault: &Fault) -> Result<FaultResult> {
    let mut sessions = Vec::new();
    if let Some(killed) = &setup.killed {
        sessions.push(kill_midway(&fixture, &setup, &killed.arguments, &killed.when)?);
    }
    let mut commands = vec![Running::start(&fixture, &setup, &setup.arguments, "out")?];
    if setup.twice {
        commands.push(Running::start(&fixture, &setup, &setup.arguments, "other")?);
    }
    let limit = Duration::from_secs(fault.deadline) + FORCE;
    let (acted, took) = watch(&fixture, &setup, &mut commands, limit)?;
    let seconds = took.as_secs_f64();
    let mut met = FaultResult { given: String::new(), code: 0, seconds, complaints: Vec::new() };
    let mut said = String::new();
    for command in &mut commands {
        sessions.push(command.child.id() as i32);
        let status = command.child.wait().context(|| "cannot wait for the command".into())?;
        let words = command.said(&fixture);
        (met.given, met.code) = (given(status, &words), code(status));
        if met.given != fault.expected.word() || met.code != fault.expected.code() {
            met.complaints.push(format!("expected exit code {}, saw {}", fault.expected.code(), met.code));
            met.complaints.extend(last_lines(&words).map(|line| format!("| {line}")));
        }
        said += &words;
    }
    if !acted {
        met.complaints.push("the command ended before the point where it was to be disturbed".to_owned());
    }
    if seconds > fault.deadline as f64 + GRACE {
        met.complaints.push(format!("it took {seconds:.1} s, its deadline is {} s", fault.deadline));
    }
    met.complaints.extend(amiss(&fixture, &setup, fault, &said));
    met.complaints.extend(leftovers::found(&fixture, &sessions));
    if !met.complaints.is_empty() {
        met.complaints.push(format!("the fixture is kept in {}", fixture.keep().display()));
    }
    Ok(met)
}

/// What was not as expected, apart from the exit code, the time and leftovers.
fn amiss(fixture: &Fixture<'_>, setup: &Setup, fault: &Fault, said: &str) -> Vec<String> {
    let mut amiss = Vec::new();
    for words in setup.says.iter().filter(|words| !said.contains(words.as_str())) {
        amiss.push(format!("it does not say {words:?}"));
        amiss.extend(last_lines(said).map(|line| format!("| {line}")));
    }
    for sign in ["panicked at", "RUST_BACKTRACE"] {
        if said.contains(sign) {
            amiss.push(format!("the harness itself failed: it says {sign:?}"));
        }
    }
    if let Some(c) = said.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        amiss.push(format!("it passes the control character {c:?} on"));
    }
    if let Some(case) = setup.bundle {
        amiss.extend(bundle_lacks(fixture, fault, case, said));
    }
    if let Some(after) = &setup.after
        && let Err(error) = after(fixture, said)
    {
        amiss.push(error.to_string());
    }
    amiss
}

/// What a failure bundle lacks.
fn bundle_lacks(fixture: &Fixture<'_>, fault: &Fault, case: &str, said: &str) -> Vec<String> {
    let Ok((_, kernel)) = fixture.target() else { return vec!["a bundle without a kernel".to_owned()] };
    let Some((_, place)) = said.split_once("everything is in ") else {
        return vec!["it does not say where everything is".to_owned()];
    };
    let place = fixture.root().join(place.lines().next().unwrap_or_default());
    let mut lacks = Vec::new();
    if !place.ends_with(Path::new(&kernel.name).join(case)) {
        lacks.push(format!("the bundle is in {}", place.display()));
    }
    let mut demand = |name: &str, words: &[&str]| {
        let text = fs::read(place.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        match text {
            Err(error) => lacks.push(format!("the bundle has no {name}: {error}")),
            Ok(text) => lacks.extend(
                words
                    .iter()
                    .filter(|words| !text.contains(**words))
                    .map(|words| format!("the bundle's {name} lacks {words:?}")),
            ),
        }
    };
    let again = format!("cargo xtask {}", if case == "run" { "run" } else { "test-vm" });
    let (verdict, release, digest) = (fault.expected.word(), &kernel.release, &kernel.vmlinux_sha256);
    demand(bundle::PAGE, &[verdict, release, digest, &again, &kernel.name]);
    demand(COMMAND, &["-kernel", "console.log", "results.bin"]);
    for name in ["console.log", "results.bin", "qemu.log", bundle::SENT, "initrd"] {
        demand(name, &[]);
    }
    if !said.contains(&format!("again: {again}")) {
        lacks.push("it does not say how to repeat it".to_owned());
    }
    lacks
}

/// A command of the harness in its own session.
struct Running {
    child: Child,
    name: &'static str,
}

impl Running {
    fn start(
        fixture: &Fixture<'_>,
        setup: &Setup,
        arguments: &[String],
        name: &'static str,
    ) -> Result<Running> {
        let program = this_program()?;
        let mut command = match &setup.mount {
            None => Command::new(&program),
            Some(mount) => {
                let (kind, at, kib) = match mount {
                    Mount::Small { at, kib } => ("small", at, *kib),
                    Mount::ReadOnly { at } => ("read-only", at, 0),
                    Mount::OsRelease { file } => ("os-release", file, 0),
                };
                let mut command = Command::new("unshare");
                command.arg("--mount");
                if !rustix::process::geteuid().is_root() {
                    command.arg("--map-root-user");
                }
                command.args(["sh", "-c", IN_NAMESPACE, "sh", kind]).arg(at).arg(kib.to_string());
                command.arg(&program);
                command
            }
        };
        child::make_mortal(&mut command, Signal::TERM, Own::Session);
        let file = |ending: &str| {
            let path = fixture.path(&format!("{name}{ending}"));
            fs::File::create(&path).context(|| format!("cannot create {}", path.display()))
        };
        command
            .args(arguments)
            .envs(fixture.env())
            .envs(setup.env.iter().cloned())
            .current_dir(fixture.root())
            .stdin(Stdio::null())
            .stdout(file(".stdout")?)
            .stderr(file(".stderr")?);
        let child = command.spawn().context(|| format!("cannot start {}", program.display()))?;
        Ok(Running { child, name })
    }

    fn said(&self, fixture: &Fixture<'_>) -> String {
        let read = |ending: &str| {
            let bytes = fs::read(fixture.path(&format!("{}{ending}", self.name))).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        read(".stdout") + &read(".stderr")
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(self.child.id() as i32).context(|| "the command has no process number".into())
    }

    fn ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context(|| "cannot wait for the command".into())?.is_some())
    }

    /// Ends it and all its children.
    fn force(&self) {
        for process in leftovers::session(self.child.id() as i32) {
            process.kill();
        }
    }
}

/// This program, even if cargo has replaced its file.
fn this_program() -> Result<std::path::PathBuf> {
    let path = std::env::current_exe().context(|| "cannot find this program".into())?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or(path.clone(), std::path::PathBuf::from))
}

/// Waits until all commands have ended, and acts on the first one when it is time. Returns whether it did,
/// and how long all commands took.
fn watch(
    fixture: &Fixture<'_>,
    setup: &Setup,
    commands: &mut [Running],
    limit: Duration,
) -> Result<(bool, Duration)> {
    let mut clock = clock::Running::start();
    let mut waiting = setup.meanwhile.as_ref();
    loop {
        let mut all = true;
        for command in commands.iter_mut() {
            all &= command.ended()?;
        }
        if all {
            return Ok((waiting.is_none(), clock.counted()));
        }
        if let Some(meanwhile) = waiting.take_if(|meanwhile| (meanwhile.when)(fixture)) {
            act(&commands[0], meanwhile.act)?;
        }
        if clock.counted() > limit {
            for command in commands.iter() {
                command.force();
            }
        }
        thread::sleep(TICK);
        clock.look(TICK);
    }
}

fn act(command: &Running, act: Act) -> Result<()> {
    let done = match act {
        Act::Interrupt => kill_process_group(command.pid()?, Signal::INT),
        Act::Terminate => kill_process(command.pid()?, Signal::TERM),
        Act::KillQemu => {
            let session = leftovers::session(command.child.id() as i32);
            let qemu = session.iter().find(|process| process.name.starts_with("qemu-system"));
            let pid = qemu.and_then(|process| Pid::from_raw(process.pid));
            kill_process(pid.context(|| "the command runs no QEMU".into())?, Signal::KILL)
        }
    };
    done.context(|| format!("cannot do {act:?} to the command"))
}

/// Starts a command, kills it when it is time, and returns its session.
fn kill_midway(fixture: &Fixture<'_>, setup: &Setup, arguments: &[String], when: &When) -> Result<i32> {
    let mut command = Running::start(fixture, setup, arguments, "killed")?;
    let mut clock = clock::Running::start();
    while !when(fixture) {
        if command.ended()? || clock.counted() > KILLED_BY {
            command.force();
            return Err(Error::new("the command ended before the point where it was to be killed")
                .because(command.said(fixture).trim()));
        }
        thread::sleep(TICK);
        clock.look(TICK);
    }
    kill_process(command.pid()?, Signal::KILL).context(|| "cannot kill the command".into())?;
    command.child.wait().context(|| "cannot wait for the command".into())?;
    Ok(command.child.id() as i32)
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// The result of a command as a word: the verdict that it printed, or the signal that ended it.
fn given(status: ExitStatus, said: &str) -> String {
    if let Some(signal) = status.signal() {
        let known = [Expected::Signal("SIGINT", 2), Expected::Signal("SIGTERM", 15)];
        let known = known.into_iter().find(|known| known.code() == 128 + signal);
        return known.map_or(format!("signal {signal}"), |known| known.word().to_owned());
    }
    if status.success() {
        return Verdict::Pass.name().to_owned();
    }
    let named = said.lines().find_map(|line| {
        line.split(": ").take(3).find_map(|word| Verdict::ALL.iter().find(|verdict| verdict.name() == word))
    });
    named.map_or("error", |verdict| verdict.name()).to_owned()
}

fn last_lines(said: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = said.lines().collect();
    let from = lines.len().saturating_sub(SHOWN);
    lines.into_iter().skip(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_given_is_what_the_command_said() {
        let failed = ExitStatus::from_raw(204 << 8);
        assert_eq!(given(failed, "cases: 1 of 1\ndebian-6.1 panic: panic: Kernel panic: oops: x\n"), "panic");
        assert_eq!(given(failed, "error: unavailable: no kernel\n"), "unavailable");
        assert_eq!(given(failed, "error: cannot write a\n"), "error");
        // A verdict's name later in the line comes from the guest, and does not count.
        assert_eq!(given(failed, "a: b: c: panic: d\n"), "error");
        assert_eq!(given(ExitStatus::from_raw(0), "panic: x\n"), "pass");
        assert_eq!(given(ExitStatus::from_raw(15), ""), "SIGTERM");
        assert_eq!(code(ExitStatus::from_raw(15)), 143);
    }
}
