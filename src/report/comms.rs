//! Commands by pid: those stored in the recording, and those learned from its records or, in live
//! output, from the kernel.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::config::Style;

/// The commands of a recording. The first pass adds names from records while other threads print
/// lines, so each name carries the number of the line that introduced it: earlier lines must not use it.
pub(super) struct Comms<'r> {
    known: &'r HashMap<i32, Vec<u8>>,
    trace_cmd: bool,
    learned: RwLock<Learned>,
    /// The number of the last line that introduced a name.
    last_learned: AtomicU64,
}

#[derive(Default)]
struct Learned {
    /// Names from the running kernel, for processes that the recording does not know.
    by_kernel: HashMap<i32, Vec<u8>>,
    /// By pid: the line's number, and the command.
    by_pid: HashMap<i32, (u64, Vec<u8>)>,
    /// Names learned before the first lookup. At that time trace-cmd does not check whether a process
    /// already has a name, so a process can have two.
    early: Vec<(i32, Vec<u8>)>,
}

impl<'r> Comms<'r> {
    /// `known` are the recording's own.
    pub fn new(known: &'r HashMap<i32, Vec<u8>>, style: Style) -> Comms<'r> {
        Comms {
            known,
            trace_cmd: style != Style::Snaptrace,
            learned: RwLock::default(),
            last_learned: AtomicU64::new(0),
        }
    }

    /// Adds the name that line `number` introduces; `early` when no earlier line has looked one up.
    pub fn learn(&self, pid: i32, comm: &[u8], number: u64, early: bool) {
        let early = early && self.trace_cmd;
        if !early && self.known.contains_key(&pid) {
            return;
        }
        let mut learned = self.learned.write().unwrap_or_else(PoisonError::into_inner);
        if !early && learned.by_kernel.contains_key(&pid) {
            return;
        }
        if early {
            learned.early.push((pid, comm.to_vec()));
        } else if learned.early.iter().all(|(other, _)| *other != pid)
            && let Entry::Vacant(place) = learned.by_pid.entry(pid)
        {
            place.insert((number, comm.to_vec()));
        } else {
            return;
        }
        self.last_learned.store(number, Ordering::Relaxed);
    }

    /// Adds the kernel's names; lines from `number` on use them.
    pub fn update(&self, commands: HashMap<i32, Vec<u8>>, number: u64) {
        let mut learned = self.learned.write().unwrap_or_else(PoisonError::into_inner);
        learned.by_kernel.extend(commands);
        self.last_learned.store(number.saturating_sub(1), Ordering::Relaxed);
    }

    /// Whether no name was learned since line `number`.
    pub fn are_as_at(&self, number: u64) -> bool {
        self.last_learned.load(Ordering::Relaxed) < number
    }

    /// Appends a process's command as far as it is known at line `number`.
    pub fn find(&self, pid: i32, number: u64, out: &mut Vec<u8>) {
        if pid == 0 {
            out.extend_from_slice(b"<idle>");
            return;
        }
        let known = self.known.get(&pid);
        if !self.trace_cmd
            && let Some(comm) = known
        {
            out.extend_from_slice(comm);
            return;
        }
        let learned = self.learned.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.or_else(|| learned.by_kernel.get(&pid));
        let comm = match learned.early.iter().any(|(other, _)| *other == pid) {
            true => self.among_all(&learned, pid, number),
            false => known.or_else(|| {
                let learned = learned.by_pid.get(&pid).filter(|(since, _)| *since < number);
                learned.map(|(_, comm)| comm)
            }),
        };
        out.extend_from_slice(comm.map_or(b"<...>", Vec::as_slice));
    }

    /// The command of a process that has several: the one that a binary search like glibc's finds
    /// first.
    fn among_all<'t>(&'t self, learned: &'t Learned, pid: i32, number: u64) -> Option<&'t Vec<u8>> {
        let mut all: Vec<(i32, &Vec<u8>)> =
            learned.early.iter().rev().map(|(pid, comm)| (*pid, comm)).collect();
        let newer = learned.by_kernel.iter().filter(|(pid, _)| !self.known.contains_key(pid));
        all.extend(self.known.iter().chain(newer).map(|(pid, comm)| (*pid, comm)));
        let later = learned.by_pid.iter().filter(|(_, (since, _))| *since < number);
        all.extend(later.map(|(pid, (_, comm))| (*pid, comm)));
        all.sort_by_key(|(pid, _)| *pid);
        let (mut low, mut high) = (0, all.len());
        while low < high {
            let middle = (low + high) / 2;
            match pid.cmp(&all[middle].0) {
                std::cmp::Ordering::Less => high = middle,
                std::cmp::Ordering::Greater => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(all[middle].1),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of pid 7 if `early` is added first and `pids` are the recording's.
    fn found(early: &[&str], pids: &[i32], style: Style) -> String {
        let known = pids.iter().map(|pid| (*pid, b"known".to_vec())).collect();
        let comms = Comms::new(&known, style);
        for (number, comm) in (0..).zip(early) {
            comms.learn(7, comm.as_bytes(), number, true);
        }
        let mut out = Vec::new();
        comms.find(7, 10, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_place_in_the_list_decides_between_two_commands() {
        let trace_cmd = Style::TraceCmd31;
        // Sorted: 7 from a record, 7 from the recording, 9. The search begins in the middle.
        assert_eq!(found(&["learned"], &[7, 9], trace_cmd), "known");
        assert_eq!(found(&["learned"], &[5, 7], trace_cmd), "learned");
        assert_eq!(found(&["learned"], &[], trace_cmd), "learned");
        assert_eq!(found(&["one", "two"], &[3], trace_cmd), "two");
        assert_eq!(found(&["learned"], &[5, 7], Style::Snaptrace), "known");
    }

    #[test]
    fn lines_before_do_not_know() {
        let known = HashMap::new();
        let comms = Comms::new(&known, Style::Snaptrace);
        comms.learn(7, b"sh", 5, false);
        comms.learn(7, b"cat", 6, false);
        let at = |number| {
            let mut out = Vec::new();
            comms.find(7, number, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!([at(5), at(6), at(7)], ["<...>", "sh", "sh"]);
        assert!(!comms.are_as_at(5));
        assert!(comms.are_as_at(6));
    }
}
