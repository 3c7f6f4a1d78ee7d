//! `shell`: at a terminal and from a pipe.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::common::{demand, fed, root, start};

pub fn piped_shell(kernel: &str) -> Result<(), Failed> {
    // A program that sends the next command after it has read the result of the first.
    let mut child = start(&["shell", "--kernel", kernel], Stdio::piped())?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    stdin.write_all(b"uname -s\n")?;
    let mut out = BufReader::new(child.stdout.take().ok_or("no standard output")?);
    let mut line = String::new();
    out.read_line(&mut line)?;
    demand(line == "Linux\n", "another line", &line)?;
    // Much more than a terminal accepts at once.
    let many = ":\n".repeat(20_000);
    stdin.write_all(format!("{many}echo still; (exit 3)\n").as_bytes())?;
    drop(stdin);
    let mut rest = String::new();
    out.read_to_string(&mut rest)?;
    let output = child.wait_with_output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    demand(rest == "still\n" && output.status.code() == Some(3), "not its end", &(rest + &stderr))?;
    let (stdout, stderr, status) = fed(b"", &["shell", "--kernel", kernel])?;
    demand(status == Some(0) && stdout.is_empty(), "an empty input has another end", &stderr)
}

/// A terminal of our own, and `shell` on it.
struct OnTerminal {
    master: File,
    terminal: OwnedFd,
    child: Child,
    said: String,
}

impl OnTerminal {
    fn start(kernel: &str) -> Result<OnTerminal, Failed> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let terminal = ioctl_tiocgptpeer(&master, flags)?;
        tcsetwinsize(&terminal, Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 })?;
        // The parent of the tests may ignore signals, which children inherit; a shell on a terminal would
        // not.
        let child = Command::new("env")
            .args(["--default-signal=HUP,INT,QUIT,TERM", env!("CARGO_BIN_EXE_xtask")])
            .args(["shell", "--kernel", kernel])
            .current_dir(root())
            .stdin(terminal.try_clone()?)
            .stdout(terminal.try_clone()?)
            .stderr(terminal.try_clone()?)
            .spawn()?;
        Ok(OnTerminal { master: File::from(master), terminal, child, said: String::new() })
    }

    fn settings(&self) -> Result<String, Failed> {
        Ok(format!("{:?}", tcgetattr(&self.terminal)?))
    }

    /// Reads output until it contains `words`, for at most two minutes.
    fn until(&mut self, words: &str) -> Result<(), Failed> {
        let begun = Instant::now();
        while !self.said.contains(words) {
            let mut watched = [PollFd::new(&self.master, PollFlags::IN)];
            poll(&mut watched, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }))?;
            if watched[0].revents().contains(PollFlags::IN) {
                let mut buffer = [0; 4096];
                let count = self.master.read(&mut buffer)?;
                self.said += &String::from_utf8_lossy(&buffer[..count]);
            }
            demand(begun.elapsed().as_secs() < 120, &format!("no {words:?}"), &self.said)?;
        }
        Ok(())
    }

    /// QEMU, which the harness has started or is about to.
    fn qemu(&self) -> Result<Pid, Failed> {
        let pid = self.child.id();
        let is_qemu = |pid: &&str| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("qemu"))
        };
        let begun = Instant::now();
        loop {
            // A thread may end meanwhile.
            let tasks = fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
            let children: String =
                tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok()).collect();
            if let Some(found) = children.split_whitespace().find(is_qemu) {
                return Ok(Pid::from_raw(found.parse()?).ok_or("QEMU has no pid")?);
            }
            demand(begun.elapsed().as_secs() < 60, "there is no QEMU", &children)?;
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The terminal's settings are restored, however the harness or QEMU ends.
pub fn terminal(kernel: &str) -> Result<(), Failed> {
    let pid = |on: &OnTerminal| Pid::from_raw(on.child.id() as i32).ok_or("no pid");
    type End<'a> = &'a dyn Fn(&mut OnTerminal) -> Result<(), Failed>;
    let by = |signal: Signal| move |on: &mut OnTerminal| Ok(kill_process(pid(on)?, signal)?);
    let ends: [(&str, End<'_>); 9] = [
        ("exit", &|on| {
            on.until("guest# ")?;
            on.master.write_all(b"stty size; exit 5\r")?;
            on.until("33 101")
        }),
        ("Ctrl-A X", &|on| Ok(on.master.write_all(b"\x01x")?)),
        ("TERM", &by(Signal::TERM)),
        ("HUP", &by(Signal::HUP)),
        ("INT", &by(Signal::INT)),
        ("QUIT", &by(Signal::QUIT)),
        ("KILL", &by(Signal::KILL)),
        ("TERM of QEMU", &|on| Ok(kill_process(on.qemu()?, Signal::TERM)?)),
        ("KILL of QEMU", &|on| Ok(kill_process(on.qemu()?, Signal::KILL)?)),
    ];
    for (name, end) in ends {
        let mut on = OnTerminal::start(kernel)?;
        let before = on.settings()?;
        on.until("Ctrl-A X ends QEMU at once")?;
        let begun = Instant::now();
        while on.settings()? == before {
            demand(begun.elapsed().as_secs() < 60, "the terminal was never taken", &on.said)?;
            thread::sleep(Duration::from_millis(10));
        }
        end(&mut on)?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = on.child.try_wait()? {
                break status;
            }
            demand(begun.elapsed().as_secs() < 60, &format!("{name}: it goes on"), &on.said)?;
            thread::sleep(Duration::from_millis(10));
        };
        // After SIGKILL the second process does it, a moment later.
        let begun = Instant::now();
        while on.settings()? != before {
            demand(begun.elapsed().as_secs() < 30, &format!("{name}: other settings"), &on.settings()?)?;
            thread::sleep(Duration::from_millis(10));
        }
        if name == "exit" {
            demand(status.code() == Some(5), "another exit status", &format!("{status}"))?;
        }
    }
    Ok(())
}
