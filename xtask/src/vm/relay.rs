//! Connects a guest's console to this terminal. QEMU does not use the terminal itself: it uses a socket, and
//! this process passes the data on.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use initramfs::protocol::Frame;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::stdio::{stdin, stdout};
use signal_hook::consts::SIGCONT;

use super::console;
use super::input::{listen, with_short_names};
use super::machine::Machine;
use super::watch::{self, CONSOLE_LIMIT, Ended, Taken, Watch};
use crate::base::cache;
use crate::base::error::{Context, Error, Result};
use crate::base::qemu::Qemu;
use crate::base::terminal::Raw;
use crate::base::verdict::Verdict;

/// How often to check whether QEMU has ended.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Ctrl-A, the first key of an escape sequence.
const ESCAPE: u8 = 1;

/// How a guest on a terminal ended.
#[derive(Clone, Debug)]
pub enum TerminalEnd {
    /// By itself.
    Ended(Box<Ended>),
    /// By `Ctrl-A X`.
    Escaped,
}

/// Boots a machine whose console is this terminal, and waits until it has ended; then passes its frames to
/// `take`. The terminal is restored afterwards.
///
/// # Errors
/// When QEMU cannot be started, or the terminal is gone.
pub fn boot_interactive(
    machine: &Machine,
    qemu: &Qemu,
    take: &mut dyn FnMut(Frame) -> Taken,
) -> Result<TerminalEnd> {
    let started = Instant::now();
    let (machine, _folder) = with_short_names(machine)?;
    let listener = listen(&machine.console_socket())?;
    listener.set_nonblocking(true).context(|| "cannot wait for QEMU".into())?;
    let log = machine.console();
    let log = File::create(&log).map_err(|e| cache::denied("cannot write", &log, &e))?;
    let child = watch::command(&machine, qemu)
        .stdin_null()
        .stderr_to_stdout()
        .stdout_path(machine.qemu_log())
        .unchecked()
        .start()
        .map_err(|error| watch::cannot_start(qemu, error))?;
    let mut relay = Relay { console: None, log, logged: 0, escape: Escape::default(), unsent: Vec::new() };
    let raw = Raw::take()?;
    let resumed = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGCONT, resumed.clone()).context(|| "cannot wait for signals".into())?;
    let status = loop {
        if resumed.swap(false, Ordering::Relaxed) {
            raw.again()?;
        }
        if relay.console.is_none() {
            // QEMU connects soon; until then only its end is checked.
            relay.console = listener.accept().ok().map(|(console, _)| console);
        }
        let wants = relay.pass_on().context(|| "cannot pass on what the guest's console says".into())?;
        if wants == Wants::End {
            child.kill().context(|| "cannot end QEMU".into())?;
            return Ok(TerminalEnd::Escaped);
        }
        if let Some(output) = child.try_wait().context(|| "cannot wait for QEMU".into())? {
            relay.drain();
            break output.status.code();
        }
        if wants == Wants::Nothing {
            child.kill().context(|| "cannot end QEMU".into())?;
            return Err(Error::new("the terminal is gone").verdict(Verdict::LostChannel));
        }
    };
    drop(raw);
    let failed = || format!("cannot read {}", machine.results().display());
    let mut results = File::open(machine.results()).context(failed)?;
    let mut watch = Watch::default();
    watch.read(&mut results, take).context(failed)?;
    let said = std::fs::read(machine.console()).unwrap_or_default();
    let own_words = std::fs::read(machine.qemu_log()).unwrap_or_default();
    let mut ended = watch.ended();
    ended.qemu_status = status;
    ended.qemu_said = console::last_lines(&own_words, 1).pop();
    // A user's commands may print a kernel message to the console; it counts only if the guest did not end in
    // order.
    ended.sign = console::first_sign(&said).filter(|_| !ended.whole);
    ended.powered_off = console::powered_off(&said);
    ended.took = started.elapsed();
    Ok(TerminalEnd::Ended(Box::new(ended)))
}

/// What the user at the terminal wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    /// To continue.
    More,
    /// To end QEMU at once.
    End,
    /// Nothing: the terminal is closed.
    Nothing,
}

/// Passes console output to the terminal, and keys to the guest.
struct Relay {
    console: Option<UnixStream>,
    log: File,
    logged: u64,
    escape: Escape,
    /// Keys that the guest has not read yet; until it has, no more are read.
    unsent: Vec<u8>,
}

impl Relay {
    /// Waits a moment for data from either side, and passes it on.
    fn pass_on(&mut self) -> io::Result<Wants> {
        let (for_keys, for_console) = match self.unsent.is_empty() {
            true => (PollFlags::IN, PollFlags::IN),
            false => (PollFlags::empty(), PollFlags::IN | PollFlags::OUT),
        };
        let mut watched = vec![PollFd::from_borrowed_fd(stdin(), for_keys)];
        if let Some(console) = &self.console {
            watched.push(PollFd::new(console, for_console));
        }
        match poll(&mut watched, Some(&TICK)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Wants::More),
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<PollFlags> = watched.iter().map(PollFd::revents).collect();
        drop(watched);
        let of_console = ready.get(1).copied().unwrap_or(PollFlags::empty());
        if of_console.contains(PollFlags::OUT) {
            self.send();
        }
        if of_console.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) && !self.show()? {
            // QEMU is about to end.
            self.console = None;
            self.unsent.clear();
        }
        if ready[0].is_empty() { Ok(Wants::More) } else { self.read_keys() }
    }

    /// Shows the next part of the console's output; false at its end.
    fn show(&mut self) -> io::Result<bool> {
        let Some(console) = &mut self.console else { return Ok(false) };
        let mut buffer = [0; 16 << 10];
        let count = match console.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        let said = &buffer[..count];
        if self.logged < CONSOLE_LIMIT {
            self.logged += count as u64;
            self.log.write_all(said)?;
        }
        write_all(said)?;
        Ok(count > 0)
    }

    /// Shows what is left once QEMU has ended.
    fn drain(&mut self) {
        if let Some(console) = &self.console {
            let _ = console.set_read_timeout(Some(Duration::from_millis(100)));
        }
        while self.show().is_ok_and(|more| more) {}
    }

    /// Sends as many keys as the guest accepts.
    fn send(&mut self) {
        let Some(console) = &self.console else { return };
        match rustix::net::send(console, &self.unsent, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => drop(self.unsent.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // QEMU is about to end.
            Err(_) => self.unsent.clear(),
        }
    }

    /// Reads keys, for this program or for the guest.
    fn read_keys(&mut self) -> io::Result<Wants> {
        let mut buffer = [0; 1024];
        let count = match rustix::io::read(stdin(), &mut buffer[..]) {
            Ok(0) | Err(Errno::IO) => return Ok(Wants::Nothing),
            Ok(count) => count,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(Wants::More),
            Err(error) => return Err(error.into()),
        };
        let Some(keys) = self.escape.pass(&buffer[..count]) else { return Ok(Wants::End) };
        // Keys typed before QEMU has connected, or when it is about to end, are dropped.
        if self.console.is_some() {
            self.unsent = keys;
            self.send();
        }
        Ok(Wants::More)
    }
}

/// Writes to standard output; if its reader has stopped, the guest continues.
fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(stdout(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::IO) => return Ok(()),
            Err(Errno::AGAIN) => thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Finds escape sequences in keys: Ctrl-A begins a command to this program.
#[derive(Debug, Default)]
struct Escape {
    begun: bool,
}

impl Escape {
    /// The keys for the guest: `Ctrl-A Ctrl-A` becomes one Ctrl-A, and unknown sequences are passed on
    /// unchanged. `None` for `Ctrl-A X`.
    fn pass(&mut self, keys: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(keys.len());
        for &key in keys {
            match (std::mem::take(&mut self.begun), key) {
                (false, ESCAPE) => self.begun = true,
                (true, b'x' | b'X') => return None,
                (true, ESCAPE) => out.push(ESCAPE),
                (true, key) => out.extend([ESCAPE, key]),
                (false, key) => out.push(key),
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_is_for_this_program_and_other_keys_are_for_the_guest() {
        let mut escape = Escape::default();
        assert_eq!(escape.pass(b"ab\x03"), Some(b"ab\x03".to_vec()));
        assert_eq!(escape.pass(b"\x01"), Some(Vec::new()));
        assert_eq!(escape.pass(b"\x01l"), Some(b"\x01l".to_vec()));
        assert_eq!(escape.pass(b"\x01e\x01"), Some(b"\x01e".to_vec()));
        assert_eq!(escape.pass(b"X"), None);
    }
}
