//! Finds things that a command must not leave behind.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::fixture::Fixture;
use crate::base::clock::Running;
use crate::base::scratch::Scratch;

/// How long processes may take to end after the command.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often to check for them.
const TICK: Duration = Duration::from_millis(20);

/// A process of a session.
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its name, as far as the kernel stores it.
    pub name: String,
}

impl Process {
    /// Ends it by force.
    pub fn kill(&self) {
        // It may have ended meanwhile.
        let _ = Pid::from_raw(self.pid).map(|pid| kill_process(pid, Signal::KILL));
    }
}

/// The processes of a session that are not dead yet.
pub fn session(sid: i32) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (name, state, its_session) = parse_stat(&stat)?;
        (its_session == sid && !matches!(state, 'Z' | 'X')).then(|| Process { pid, name: name.to_owned() })
    })
    .collect()
}

/// Name, state and session of a process; the name, in parentheses, may hold anything.
fn parse_stat(stat: &str) -> Option<(&str, char, i32)> {
    let (front, rest) = stat.rsplit_once(") ")?;
    let (_, name) = front.split_once('(')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((name, state, fields.nth(2)?.parse().ok()?))
}

/// Leftovers of the commands of the given sessions, in a fixture, as text.
pub fn found(fixture: &Fixture<'_>, sessions: &[i32]) -> Vec<String> {
    let mut found = Vec::new();
    for &sid in sessions {
        let mut since = Running::start();
        let mut left = session(sid);
        while !left.is_empty() && since.counted() < PATIENCE {
            thread::sleep(TICK);
            since.look(TICK);
            left = session(sid);
        }
        for process in left {
            found.push(format!("left: the process {} {}", process.pid, process.name));
            process.kill();
        }
    }
    found.extend(names(&fixture.path("tmp")).iter().map(|name| format!("left: the temporary file {name}")));
    if let Err(error) = fixture.cache().lock_all() {
        found.push(format!("left: a lock: {error}"));
    }
    for item in walkdir::WalkDir::new(fixture.path("cache")).max_depth(2).into_iter().flatten() {
        if item.file_name().to_string_lossy().starts_with(".partial-") {
            found.push(format!("left: {}", item.path().display()));
        }
    }
    for name in names(&fixture.results()) {
        if Scratch::is_in_use(&fixture.results().join(&name)) {
            found.push(format!("left: the scratch folder {name}"));
        }
    }
    found
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_any_name_is_understood() {
        assert_eq!(parse_stat("7 (a) b (c)) S 1 41 42 0 -1"), Some(("a) b (c)", 'S', 42)));
        assert_eq!(parse_stat("7 (a) S 1"), None);
    }

    #[test]
    fn the_own_session_has_this_process() {
        // From /proc: in a container the leader of the session may be outside, and then its number is 0.
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let (_, _, own) = parse_stat(&stat).unwrap();
        let pid = std::process::id() as i32;
        assert!(session(own).iter().any(|process| process.pid == pid));
    }
}
