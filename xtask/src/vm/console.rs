//! The guest's console: finds the kernel's messages on it, and their verdicts.

use crate::base::ui::printable;
use crate::base::verdict::Verdict;

/// The first sign of trouble on a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// The verdict that it means.
    pub verdict: Verdict,
    /// The line that has it.
    pub line: String,
}

/// Messages of kernels from 5.4 on, with their verdicts. Within a line the first entry that matches counts.
/// Of several lines the first one counts: an oops or a lock-up ends in a panic here (`oops=panic
/// softlockup_panic=1`), and the panic is not the cause.
const SIGNS: [(&str, Verdict); 23] = [
    // The initramfs is never damaged: unpacking fails for lack of memory, or because it overlaps the kernel.
    ("Initramfs unpacking failed", Verdict::OutOfMemory),
    ("Attempted to kill init!", Verdict::InitDied),
    ("Kernel panic - not syncing: Out of memory", Verdict::OutOfMemory),
    ("Kernel panic - not syncing: System is deadlocked on memory", Verdict::OutOfMemory),
    ("Kernel panic - not syncing: hung_task", Verdict::HungTask),
    ("Kernel panic - not syncing: softlockup", Verdict::Lockup),
    ("Kernel panic - not syncing: RCU Stall", Verdict::Lockup),
    ("Kernel panic - not syncing: Hard LOCKUP", Verdict::Lockup),
    ("Kernel panic - not syncing", Verdict::Panic),
    ("BUG: soft lockup", Verdict::Lockup),
    ("Watchdog detected hard LOCKUP", Verdict::Lockup),
    ("self-detected stall on CPU", Verdict::Lockup),
    ("detected stalls on CPUs", Verdict::Lockup),
    ("detected expedited stalls", Verdict::Lockup),
    ("blocked for more than", Verdict::HungTask),
    ("invoked oom-killer", Verdict::OutOfMemory),
    ("Out of memory: Kill", Verdict::OutOfMemory),
    ("BUG: unable to handle", Verdict::Oops),
    ("BUG: kernel NULL pointer dereference", Verdict::Oops),
    ("kernel BUG at", Verdict::Oops),
    ("general protection fault", Verdict::Oops),
    ("Oops: ", Verdict::Oops),
    ("divide error: ", Verdict::Oops),
];

/// The first line with a sign of trouble.
pub fn first_sign(console: &[u8]) -> Option<Sign> {
    console.split(|&byte| byte == b'\n').find_map(|line| {
        let line = String::from_utf8_lossy(line);
        let (_, verdict) = SIGNS.iter().find(|(words, _)| is_said_by_the_kernel(&line, words))?;
        Some(Sign { verdict: *verdict, line: line.trim_end().to_string() })
    })
}

/// Whether a line has the words as a message about the kernel itself. A fault of a user process (`traps:
/// cat[97] general protection fault`) does not count.
fn is_said_by_the_kernel(line: &str, words: &str) -> bool {
    line.contains(words) && !line.contains("traps: ")
}

/// Whether the kernel reported that it powers off, as it does when init ends in order.
pub fn powered_off(console: &[u8]) -> bool {
    let words = b"reboot: Power down";
    console.windows(words.len()).any(|window| window == words)
}

/// The last lines, at most `count`, made safe for a terminal: a guest must not be able to control it.
pub fn last_lines(console: &[u8], count: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(console);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| neutralise(line)).collect()
}

/// A line of guest output made safe for a terminal: control characters become `?`.
pub fn neutralise(line: &str) -> String {
    printable(line).replace('\n', "?")
}

/// Makes output of a guest safe for a terminal, part by part; a part may end within a character.
#[derive(Debug, Default)]
pub struct Neutraliser {
    /// The first bytes of an incomplete character.
    begun: Vec<u8>,
}

impl Neutraliser {
    /// Converts the next part; newlines and tabs are kept, and `\r\n` becomes a newline.
    pub fn pass(&mut self, part: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(part);
        if let Some(valid) = ends_within(&bytes) {
            self.begun = bytes.split_off(valid);
        }
        let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        text.split_inclusive('\n')
            .map(|line| match line.strip_suffix('\n') {
                Some(line) => neutralise(line) + "\n",
                None => neutralise(line),
            })
            .collect()
    }
}

/// The index at which an incomplete last character begins.
fn ends_within(bytes: &[u8]) -> Option<usize> {
    let chunk = bytes.utf8_chunks().last()?;
    let invalid = chunk.invalid();
    let alone = std::str::from_utf8(invalid).err().is_some_and(|error| error.error_len().is_none());
    (!invalid.is_empty() && alone).then(|| bytes.len() - invalid.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(console: &str) -> Option<Verdict> {
        first_sign(console.as_bytes()).map(|sign| sign.verdict)
    }

    #[test]
    fn the_first_sign_decides() {
        let oops = "[    1.0] BUG: kernel NULL pointer dereference, address: 0000000000000000\n\
                    [    1.0] Oops: 0002 [#1] SMP PTI\n\
                    [    1.0] Kernel panic - not syncing: Fatal exception\n";
        assert_eq!(verdict(oops), Some(Verdict::Oops));
        let lockup = "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [spin:97]\n\
                      Kernel panic - not syncing: softlockup: hung tasks\n";
        assert_eq!(verdict(lockup), Some(Verdict::Lockup));
        assert_eq!(
            verdict("sysrq: Trigger a crash\nKernel panic - not syncing: sysrq triggered crash\n"),
            Some(Verdict::Panic)
        );
        assert_eq!(
            verdict("Kernel panic - not syncing: Attempted to kill init! exitcode=0x9\n"),
            Some(Verdict::InitDied)
        );
        assert_eq!(
            verdict("INFO: task cat:97 blocked for more than 120 seconds.\n"),
            Some(Verdict::HungTask)
        );
        assert_eq!(verdict("rcu: INFO: rcu_sched self-detected stall on CPU\n"), Some(Verdict::Lockup));
        let memory = "Initramfs unpacking failed: write error\n\
                      Kernel panic - not syncing: No working init found.\n";
        assert_eq!(verdict(memory), Some(Verdict::OutOfMemory));
        let deadlocked = "Kernel panic - not syncing: System is deadlocked on memory\n";
        assert_eq!(verdict(deadlocked), Some(Verdict::OutOfMemory));
        assert_eq!(verdict("eater invoked oom-killer: gfp_mask=0x0\n"), Some(Verdict::OutOfMemory));
    }

    #[test]
    fn a_quiet_console_has_no_sign() {
        assert_eq!(verdict(""), None);
        assert_eq!(verdict("[    0.9] reboot: Power down\n"), None);
        assert_eq!(verdict("traps: cat[97] general protection fault ip:401000\n"), None);
        assert!(powered_off(b"\xff\xfe[    0.9] reboot: Power down\r\n"));
        assert!(!powered_off(b"reboot: Restarting system\n"));
    }

    #[test]
    fn output_is_neutralised_in_parts_of_any_size() {
        let sent = "a\x1b[2J\tü\u{9b}1m\r\n\u{7}é→\n".as_bytes();
        for size in 1..sent.len() {
            let mut neutraliser = Neutraliser::default();
            let shown: String = sent.chunks(size).map(|part| neutraliser.pass(part)).collect();
            // A carriage return at the end of a part is replaced like any other.
            assert_eq!(shown.replace("m?\n", "m\n"), "a?[2J\tü?1m\n?é→\n", "parts of {size}");
        }
        assert_eq!(Neutraliser::default().pass(b"\xff\xfeok\n"), "\u{fffd}\u{fffd}ok\n");
    }

    #[test]
    fn escapes_do_not_reach_the_terminal() {
        assert_eq!(last_lines(b"one\r\n\n\x1b[2Jtwo\nthree\n", 2), ["?[2Jtwo", "three"]);
    }
}
