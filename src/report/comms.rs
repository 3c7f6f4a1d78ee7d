//! Commands by pid: those that the recording brings along, and those that its records tell.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::Style;
use crate::trace_dat::Reader;

/// The commands of a recording. The first pass adds what records tell while lines are printed
/// beside it, so what is told comes with the number of its line: lines before do not know.
pub(super) struct Comms<'r> {
    known: &'r HashMap<i32, Vec<u8>>,
    trace_cmd: bool,
    told: RwLock<Told>,
    /// The number of the last line that told one.
    last_told: AtomicU64,
}

#[derive(Default)]
struct Told {
    /// By pid: the line's number, and the command.
    by_pid: HashMap<i32, (u64, Vec<u8>)>,
    /// What was told before any command was looked up. trace-cmd does not check then whether a
    /// process has one already, so that it has two.
    early: Vec<(i32, Vec<u8>)>,
}

impl<'r> Comms<'r> {
    pub fn new(reader: &'r Reader, style: Style) -> Comms<'r> {
        Comms {
            known: reader.cmdlines(),
            trace_cmd: style != Style::Snaptrace,
            told: RwLock::default(),
            last_told: AtomicU64::new(0),
        }
    }

    /// Remembers what line `number` tells; `early` when no line before it has looked one up.
    pub fn learn(&self, pid: i32, comm: &[u8], number: u64, early: bool) {
        let early = early && self.trace_cmd;
        if !early && self.known.contains_key(&pid) {
            return;
        }
        let mut told = self.told.write().unwrap_or_else(PoisonError::into_inner);
        if early {
            told.early.push((pid, comm.to_vec()));
        } else if told.early.iter().all(|(other, _)| *other != pid)
            && let Entry::Vacant(place) = told.by_pid.entry(pid)
        {
            place.insert((number, comm.to_vec()));
        } else {
            return;
        }
        self.last_told.store(number, Ordering::Relaxed);
    }

    /// Whether all commands are as they were at line `number`.
    pub fn are_as_at(&self, number: u64) -> bool {
        self.last_told.load(Ordering::Relaxed) < number
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
        let told = self.told.read().unwrap_or_else(PoisonError::into_inner);
        let comm = match told.early.iter().any(|(other, _)| *other == pid) {
            true => self.among_all(&told, pid, number),
            false => known.or_else(|| {
                let told = told.by_pid.get(&pid).filter(|(since, _)| *since < number);
                told.map(|(_, comm)| comm)
            }),
        };
        out.extend_from_slice(comm.map_or(b"<...>", Vec::as_slice));
    }

    /// The command of a process that has several: the one that a binary search in all of them, as
    /// glibc's, meets first.
    fn among_all<'t>(&'t self, told: &'t Told, pid: i32, number: u64) -> Option<&'t Vec<u8>> {
        let mut all: Vec<(i32, &Vec<u8>)> = told.early.iter().rev().map(|(pid, comm)| (*pid, comm)).collect();
        all.extend(self.known.iter().map(|(pid, comm)| (*pid, comm)));
        let later = told.by_pid.iter().filter(|(_, (since, _))| *since < number);
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
