//! The harness' commands with real guests: exit codes, files, verdicts, stable snapshots.
//!
//! Each trial runs on every reference kernel at hand, on all usual ones with `SNAPTRACE_ALL_KERNELS=1`;
//! without one it is ignored, which is told and is not a pass.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test, whose output is read")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use regex::Regex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use tempfile::TempDir;
use xtask::cache::Cache;
use xtask::harness::Harness;
use xtask::kernel;
use xtask::setup;
use xtask::suite::cases::CaseStep;
use xtask::suite::guest::{Guest, Tools, Wish};
use xtask::suite::results::{self, Stored};
use xtask::suite::summary::Summary;
use xtask::suite::table::table;
use xtask::suite::{cases, repeat, test_vm};
use xtask::verdict::Verdict;
use xtask::vm::{Exactness, Noise};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let kernels = match kernels_at_hand() {
        Ok(kernels) => kernels,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    for (kernel, at_hand) in kernels {
        if !at_hand {
            eprintln!("{kernel}: unavailable: not at hand, its guests are not tested");
        }
        for &(name, test) in TESTS {
            let on = kernel.clone();
            let trial = Trial::test(format!("{kernel} {name}"), move || test(&on));
            trials.push(trial.with_ignored_flag(!at_hand));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

type Test = fn(&str) -> Result<(), Failed>;

const TESTS: &[(&str, Test)] = &[
    ("run returns the command's exit status", exit_status),
    ("run returns the command's output on both channels", output),
    ("run brings files out", files),
    ("run passes standard input on where it is asked to", input),
    ("run without -i reads nothing and says so", unread_input),
    ("a guest has what programs expect", home),
    ("shell carries out what a pipe says", piped_shell),
    ("shell leaves the terminal as it was", terminal),
    ("run tells a panic", panic),
    ("run tells a restart", restart),
    ("however a recording ends, the kernel is put back", put_back),
    ("a few cells of the put-back table hold", few_cells),
    ("snapshots do not depend on other inputs", other_inputs),
    ("an edited snapshot is a mismatch with a diff", edited_snapshot),
    ("a difference on a kernel nobody reviewed is drift", drift),
    ("a tracer broken on purpose fails though drift is allowed", broken_tracer),
    ("a snapshot that is missing is drift only where nothing was reviewed", missing_snapshot),
    ("a run in two parts comes to what one run comes to", parts),
    ("standard output is for one format alone", formats),
    ("exactness that cannot be is refused with the reason", refusals),
    ("equal runs of a case are proved equal", equal_runs),
    ("a recording made twice is the same file", same_recording),
    ("costs do not depend on other inputs", same_costs),
    ("noise let in on purpose is found and its source named", noise),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
}

fn kernels_at_hand() -> xtask::error::Result<Vec<(String, bool)>> {
    let h = Harness::new(root(), Cache::open()?, false);
    let matrix = h.matrix()?;
    let mut kernels = Vec::new();
    for record in matrix.at_length(Harness::wants_all_kernels()) {
        kernels.push((record.name.clone(), kernel::at_hand(&h, record)?.is_some()));
    }
    Ok(kernels)
}

fn xtask(folder: &Path, arguments: &[&str]) -> Result<Output, Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).current_dir(folder).output();
    Ok(output.map_err(|error| format!("cannot start xtask: {error}"))?)
}

/// Runs a command line and demands an exit status; gives both channels back.
fn expect(status: i32, folder: &Path, arguments: &[&str]) -> Result<(String, String), Failed> {
    let output = xtask(folder, arguments)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() != Some(status) {
        let line = arguments.join(" ");
        return Err(format!(
            "xtask {line}\nended with {} instead of {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
            output.status
        )
        .into());
    }
    Ok((stdout, stderr))
}

fn demand(holds: bool, what: &str, seen: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(format!("{what}; seen:\n{seen}").into()) }
}

fn exit_status(kernel: &str) -> Result<(), Failed> {
    let run = |status, command: &[&str]| {
        expect(status, &root(), &[&["run", "--kernel", kernel, "--"], command].concat())
    };
    run(0, &["true"])?;
    run(1, &["false"])?;
    run(7, &["sh", "-c", "exit 7"])?;
    run(137, &["sh", "-c", "kill -9 $$"])?;
    let (_, stderr) = run(127, &["nosuch"])?;
    demand(stderr.contains("cannot start nosuch in the guest"), "no word on the missing program", &stderr)
}

fn output(kernel: &str) -> Result<(), Failed> {
    let command = ["run", "--kernel", kernel, "--", "sh", "-c", "echo out; echo err >&2"];
    let (stdout, stderr) = expect(0, &root(), &command)?;
    demand(stdout == "out\n", "another standard output", &stdout)?;
    demand(stderr.lines().any(|line| line == "err"), "another standard error", &stderr)
}

fn files(kernel: &str) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let script = "head -c 3000000 /dev/zero > /tmp/zeros; echo hi > /greeting";
    let command = |get: &'static str| {
        ["run", "--kernel", kernel, "--get", "/tmp/zeros", "--get", get, "--", "sh", "-c", script]
    };
    expect(0, folder.path(), &command("/greeting:hello.txt"))?;
    demand(fs::read(folder.path().join("zeros"))? == vec![0; 3_000_000], "the large file differs", "zeros")?;
    demand(fs::read(folder.path().join("hello.txt"))? == b"hi\n", "the small file differs", "hello.txt")?;
    let usual = folder.path().join("usual");
    fs::write(&usual, "")?;
    let mode = |path: &Path| fs::metadata(path).map(|about| format!("{:o}", about.permissions().mode()));
    let got = mode(&folder.path().join("hello.txt"))?;
    demand(got == mode(&usual)?, "not the permissions of the user's other files", &got)?;
    let (_, stderr) = expect(1, folder.path(), &command("/nosuch"))?;
    demand(stderr.contains("/nosuch: No such file"), "no word on the missing file", &stderr)?;
    let failing = ["run", "--kernel", kernel, "--get", "/nosuch", "--", "sh", "-c", "exit 7"];
    let (_, stderr) = expect(7, folder.path(), &failing)?;
    demand(stderr.contains("/nosuch: No such file"), "no word on the missing file", &stderr)?;
    let nowhere = ["run", "--kernel", kernel, "--get", "/greeting:nosuch/x", "--", "true"];
    let (_, stderr) = expect(2, folder.path(), &nowhere)?;
    demand(stderr.contains("cannot write nosuch/x"), "no word on the missing folder", &stderr)?;
    demand(!stderr.contains("accelerator"), "a missing folder is found after the beginning", &stderr)
}

/// Starts the harness with something to read and both channels captured.
fn start(arguments: &[&str], stdin: Stdio) -> Result<Child, Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments).current_dir(root()).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

/// Runs a command line that reads these bytes; gives both channels and the status back.
fn fed(bytes: &[u8], arguments: &[&str]) -> Result<(Vec<u8>, String, Option<i32>), Failed> {
    let mut child = start(arguments, Stdio::piped())?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let bytes = bytes.to_vec();
    // A command that does not read has ended by then.
    let feeder = thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output()?;
    let _ = feeder.join();
    Ok((output.stdout, String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code()))
}

fn input(kernel: &str) -> Result<(), Failed> {
    let run = ["run", "--kernel", kernel, "-i", "--"];
    let (stdout, stderr, status) = fed(b"echo one\nexit 3\n", &[&run[..], &["sh", "-s"]].concat())?;
    demand(stdout == b"one\n" && status == Some(3), "not two commands", &format!("{status:?}{stderr}"))?;
    // Bytes of every kind, to programs that read by lines and to one that does not.
    let script = "read a; read b; echo \"$b $a\"; cat; readlink -f /dev/stdin";
    let (stdout, stderr, _) = fed(b"1\n2\n\0\xff\r\n\n", &[&run[..], &["sh", "-c", script]].concat())?;
    let expected = b"2 1\n\0\xff\r\n\n/stdin\n";
    demand(stdout == expected, "other bytes", &format!("{stdout:?}{stderr}"))?;
    // A pipe that stays open is said to be waited for, and is read to its end.
    let mut child = start(&[&run[..], &["cat"]].concat(), Stdio::piped())?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    stdin.write_all(b"half")?;
    let mut said = BufReader::new(child.stderr.take().ok_or("no standard error")?);
    let mut line = String::new();
    said.read_line(&mut line)?;
    demand(line.starts_with("waiting for the end of standard input"), "no word on the wait", &line)?;
    drop(stdin);
    let output = child.wait_with_output()?;
    demand(output.stdout == b"half", "not what was written", &format!("{output:?}"))?;
    // A file, kept for the line that repeats the run.
    let folder = TempDir::new()?;
    let file = folder.path().join("script");
    fs::write(&file, "echo c > /proc/sysrq-trigger\n")?;
    let stdin = format!("--stdin={}", file.display());
    let (_, stderr) = expect(204, &root(), &["run", "--kernel", kernel, &stdin, "--", "sh", "-s"])?;
    let kept = Regex::new(r"again: cargo xtask run .*--stdin=(\S+/stdin) ")?;
    let kept = kept.captures(&stderr).ok_or_else(|| format!("no line that repeats it: {stderr}"))?;
    demand(fs::read(&kept[1])? == fs::read(&file)?, "another input is kept", &stderr)?;
    let page = fs::read_to_string(Path::new(&kept[1]).with_file_name("failure.txt"))?;
    demand(page.contains("what was passed as standard input, SHA-256 "), "the page has no digest", &page)
}

fn unread_input(kernel: &str) -> Result<(), Failed> {
    // A pipe that never closes, with something in it.
    let run = ["run", "--kernel", kernel, "--", "sh", "-c", "cat; echo end"];
    let mut child = start(&run, Stdio::piped())?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    stdin.write_all(b"exit 1\n")?;
    let output = child.wait_with_output()?;
    drop(stdin);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    demand(output.stdout == b"end\n" && output.status.code() == Some(0), "it was read", &stderr)?;
    let word = "standard input is not passed on; `run -i` does";
    demand(stderr.matches(word).count() == 1, "not one word on it", &stderr)?;
    let (_, stderr) = expect(0, &root(), &["run", "--kernel", kernel, "--", "true"])?;
    demand(!stderr.contains(word), "a word on nothing", &stderr)
}

/// What a program finds in a guest: the names in /dev, users, memory to share, terminals, the loopback
/// device where there is IPv4.
const HOME: &str = r#"
echo out > /dev/stdout
echo err > /dev/stderr
cat /dev/stdin
exec 3< /etc/passwd; grep -c . /dev/fd/3
echo shared > /dev/shm/x && cat /dev/shm/x
id -un; id -u nobody; id -gn nobody
grep -c -E ' /dev/(shm tmpfs|pts devpts) ' /proc/mounts
exec 4<> /dev/ptmx; ls /dev/pts | grep -c '^0$'
[ -d /proc/sys/net/ipv4 ] && { ping -c 1 127.0.0.1 > /dev/null || echo 'no answer'; }
exit 0
"#;

fn home(kernel: &str) -> Result<(), Failed> {
    let (stdout, stderr) = expect(0, &root(), &["run", "--kernel", kernel, "--", "sh", "-c", HOME])?;
    let expected = "out\n2\nshared\nroot\n65534\nnogroup\n2\n1\n";
    demand(stdout == expected, "something is missing", &format!("{stdout}{stderr}"))?;
    demand(stderr.lines().any(|line| line == "err"), "nothing came through /dev/stderr", &stderr)
}

fn piped_shell(kernel: &str) -> Result<(), Failed> {
    // A program that says the next thing once it has seen what the first came to.
    let mut child = start(&["shell", "--kernel", kernel], Stdio::piped())?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    stdin.write_all(b"uname -s\n")?;
    let mut out = BufReader::new(child.stdout.take().ok_or("no standard output")?);
    let mut line = String::new();
    out.read_line(&mut line)?;
    demand(line == "Linux\n", "another line", &line)?;
    // Much more than a terminal would take at once.
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
        let child = Command::new(env!("CARGO_BIN_EXE_xtask"))
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

    /// Reads what is said until this is, or for two minutes.
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

    /// QEMU, which the harness has started.
    fn qemu(&self) -> Result<Pid, Failed> {
        let pid = self.child.id();
        let mut children = String::new();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            children += &fs::read_to_string(task?.path().join("children"))?;
        }
        let is_qemu = |pid: &&str| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("qemu"))
        };
        let found = children.split_whitespace().find(is_qemu).ok_or("there is no QEMU")?;
        Ok(Pid::from_raw(found.parse()?).ok_or("QEMU has no pid")?)
    }
}

/// However the harness or QEMU ends, the terminal has its settings again.
fn terminal(kernel: &str) -> Result<(), Failed> {
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
        // After SIGKILL somebody else does it, a moment later.
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

fn panic(kernel: &str) -> Result<(), Failed> {
    let script = "echo c > /proc/sysrq-trigger";
    let (_, stderr) = expect(204, &root(), &["run", "--kernel", kernel, "--", "sh", "-c", script])?;
    demand(stderr.contains("panic: "), "no verdict", &stderr)?;
    demand(stderr.contains("Kernel panic - not syncing: sysrq triggered crash"), "no cause", &stderr)?;
    demand(stderr.contains("  console: "), "no console lines", &stderr)
}

fn restart(kernel: &str) -> Result<(), Failed> {
    let script = "echo b > /proc/sysrq-trigger";
    let (_, stderr) = expect(210, &root(), &["run", "--kernel", kernel, "--", "sh", "-c", script])?;
    demand(stderr.contains("rebooted: the guest restarted by itself"), "no verdict", &stderr)
}

/// An unused file and an unused word move every timer tick; the snapshots must not notice.
fn other_inputs(kernel: &str) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let unused = folder.path().join("unused");
    fs::write(&unused, vec![b'x'; 123_457])?;
    let unused = unused.to_string_lossy().into_owned();
    let drift = ["test-vm", "--allow-drift", "--kernel", kernel];
    expect(0, &root(), &[&drift[..], &["--extra-file", &unused]].concat())?;
    expect(0, &root(), &[&drift[..], &["--append", "snaptrace.unused=1"]].concat())?;
    Ok(())
}

fn same_recording(kernel: &str) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let record =
        ["snaptrace", "record", "-p", "function_graph", "-g", "__kmalloc*", "-o", "out.dat", "ls", "/"];
    for host in ["out.dat:one.dat", "out.dat:other.dat"] {
        let run = ["run", "--exact", "--kernel", kernel, "--get", host, "--"];
        expect(0, folder.path(), &[&run[..], &record].concat())?;
    }
    let (one, other) = (fs::read(folder.path().join("one.dat"))?, fs::read(folder.path().join("other.dat"))?);
    demand(one.len() > 10_000 && one == other, "the recordings differ", &format!("{} bytes", one.len()))
}

/// The table of function-graph, with an unused file, an unused word, and another case before it.
fn same_costs(kernel: &str) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let unused = folder.path().join("unused");
    fs::write(&unused, vec![b'x'; 123_457])?;
    let unused = unused.to_string_lossy().into_owned();
    let table = |arguments: &[&str]| -> Result<String, Failed> {
        let (stdout, _) = expect(0, &root(), &[&["cost", "--kernel", kernel], arguments].concat())?;
        let of_case = stdout.lines().skip_while(|line| !line.starts_with("function-graph on "));
        let table: Vec<&str> = of_case.take_while(|line| !line.starts_with("graph-depth on ")).collect();
        Ok(table.join("\n"))
    };
    let file = table(&["function-graph", "--extra-file", &unused])?;
    demand(file.lines().any(|line| line.starts_with("__kmalloc")), "no __kmalloc in the table", &file)?;
    let word = table(&["function-graph", "--append", "snaptrace.unused=1"])?;
    demand(word == file, "a word on the command line changes the table", &format!("{file}{word}"))?;
    let selection = table(&["graph-depth", "function-graph"])?;
    demand(selection == file, "another selection changes the table", &format!("{file}{selection}"))
}

/// A copy of the snapshots in which one line of the case `function` is another.
fn edited_copy() -> Result<TempDir, Failed> {
    let folder = TempDir::new()?;
    for entry in fs::read_dir(root().join("tests/snapshots"))? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path())?;
        let text = text.replace(" <-load_elf_phdrs", " <-somebody_else");
        fs::write(folder.path().join(entry.file_name()), text)?;
    }
    Ok(folder)
}

/// Runs the case `function` against other snapshots than the tree's; gives standard output back.
fn against(status: i32, snapshots: &Path, arguments: &[&str]) -> Result<String, Failed> {
    against_with(status, snapshots, arguments, &[])
}

/// The same with variables set.
fn against_with(
    status: i32,
    snapshots: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<String, Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["test-vm", "function"])
        .args(arguments)
        .env("SNAPTRACE_SNAPSHOTS", snapshots)
        .envs(variables.iter().copied())
        .current_dir(root())
        .output()?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let ended = format!("ended with {} instead of {status}", output.status);
    demand(output.status.code() == Some(status), &ended, &stdout)?;
    Ok(stdout)
}

fn edited_snapshot(kernel: &str) -> Result<(), Failed> {
    let snapshots = edited_copy()?;
    // Without the list of reviewed kernels every difference is a mismatch, on any kernel.
    fs::remove_file(snapshots.path().join("reviewed.toml"))?;
    let stdout = against(200, snapshots.path(), &["--kernel", kernel])?;
    demand(stdout.contains("function: mismatch: "), "no verdict", &stdout)?;
    let has =
        |sign: char, words: &str| stdout.lines().any(|line| line.contains(sign) && line.contains(words));
    demand(has('-', " <-somebody_else"), "no old line", &stdout)?;
    demand(has('+', " <-load_elf_phdrs"), "no new line", &stdout)
}

/// The same difference on a kernel that nobody reviewed is drift, and passes only when allowed.
fn drift(kernel: &str) -> Result<(), Failed> {
    let snapshots = edited_copy()?;
    let reviewed = snapshots.path().join("reviewed.toml");
    fs::write(&reviewed, fs::read_to_string(&reviewed)?.replace(", gcc ", ", gcc 0"))?;
    let stdout = against(201, snapshots.path(), &["--kernel", kernel])?;
    demand(stdout.contains("function: drift: "), "no verdict", &stdout)?;
    let stdout = against(0, snapshots.path(), &["--kernel", kernel, "--allow-drift"])?;
    demand(stdout.contains("function: drift, allowed: "), "drift is not told", &stdout)
}

/// A tracer that traces another function than the one it was told to.
const ASTRAY: &str = r#"#!/extra/busybox sh
for word; do
    shift
    case "$word" in __kmalloc*) word=kfree;; esac
    set -- "$@" "$word"
done
exec /extra/snaptrace "$@"
"#;

/// Where nobody reviewed anything a broken tracer is no drift, and fails though drift is allowed.
fn broken_tracer(kernel: &str) -> Result<(), Failed> {
    let h = Harness::new(root(), Cache::open()?, false);
    let folder = TempDir::new()?;
    let astray = folder.path().join("astray");
    fs::write(&astray, ASTRAY)?;
    let snapshots = edited_copy()?;
    let reviewed = snapshots.path().join("reviewed.toml");
    fs::write(&reviewed, fs::read_to_string(&reviewed)?.replace(", gcc ", ", gcc 0"))?;
    let real = Tools::get(&h)?.programs.snaptrace.display().to_string();
    let busybox = setup::busybox(&h)?.display().to_string();
    let extra = ["--kernel", kernel, "--allow-drift", "--extra-file", &real, "--extra-file", &busybox];
    let sound = against(0, snapshots.path(), &extra)?;
    demand(sound.contains("function: drift, allowed: "), "a sound tracer does not drift", &sound)?;
    let tracer = astray.display().to_string();
    let broken = against_with(200, snapshots.path(), &extra, &[("SNAPTRACE_TRACER", &tracer)])?;
    demand(broken.contains("function: mismatch: "), "no verdict", &broken)?;
    demand(broken.contains(", and kfree is not within the filter"), "no invariant is named", &broken)
}

/// On a kernel of which nothing was reviewed a case without a snapshot is drift; where other cases
/// were, somebody forgot it.
fn missing_snapshot(kernel: &str) -> Result<(), Failed> {
    let snapshots = edited_copy()?;
    for entry in fs::read_dir(snapshots.path())? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("function") {
            fs::remove_file(entry.path())?;
        }
    }
    let reviewed = snapshots.path().join("reviewed.toml");
    let all = fs::read_to_string(&reviewed)?;
    let forgotten = all.replace("[function]", "[forgotten]");
    fs::write(&reviewed, forgotten)?;
    let stdout = against(200, snapshots.path(), &["--kernel", kernel, "--allow-drift"])?;
    demand(stdout.contains("function: mismatch: there is no snapshot function@"), "no verdict", &stdout)?;
    // TOML quotes a key that has a dot in it.
    let own = [format!("\n{kernel:?} ="), format!("\n{kernel} =")];
    fs::write(&reviewed, own.iter().fold(all, |all, key| all.replace(key, "\nanother =")))?;
    let stdout = against(201, snapshots.path(), &["--kernel", kernel])?;
    demand(stdout.contains(&format!("; nobody reviewed {kernel}, ")), "no reason", &stdout)?;
    against(0, snapshots.path(), &["--kernel", kernel, "--allow-drift"]).map(drop)
}

/// Runs three cases, of which `function` has another snapshot than its transcript; gives the events
/// back.
fn three_cases(status: i32, kernel: &str, arguments: &[&str]) -> Result<Vec<serde_json::Value>, Failed> {
    let snapshots = edited_copy()?;
    fs::remove_file(snapshots.path().join("reviewed.toml"))?;
    let json = ["--kernel", kernel, "check", "mount", "--message-format", "json"];
    let stdout = against(status, snapshots.path(), &[&json[..], arguments].concat())?;
    let events = stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    events.map_err(|error| format!("{error} in a line of:\n{stdout}").into())
}

/// Where a run's results are, by its events.
fn folder(events: &[serde_json::Value]) -> Result<String, Failed> {
    let last = events.last().ok_or("there are no events")?;
    let folder = last["folder"].as_str().ok_or("the last event names no folder")?;
    Ok(root().join(folder).to_string_lossy().into_owned())
}

fn parts(kernel: &str) -> Result<(), Failed> {
    let files = TempDir::new()?;
    let file = |name: &str| files.path().join(name).to_string_lossy().into_owned();
    let whole = folder(&three_cases(200, kernel, &["--junit", &file("whole.xml")])?)?;
    let first = folder(&three_cases(0, kernel, &["--shard", "1/2"])?)?;
    let second = folder(&three_cases(200, kernel, &["--shard", "2/2"])?)?;
    let (stdout, _) =
        expect(200, &root(), &["merge-results", "--junit", &file("parts.xml"), &second, &first])?;
    // Seconds are those of the boots, and stand in columns of a fixed width.
    let seconds = Regex::new(r#" +\d+\.\d s|time="[^"]*"|vm/[\d.]+"#)?;
    let text = |text: &str| seconds.replace_all(text, "").into_owned();
    let table = text(&table(&Summary::load(Path::new(&whole))?));
    demand(table.lines().count() == 4 && table.contains("mismatch"), "not the table of three cases", &table)?;
    let merged = text(&stdout);
    demand(
        merged.contains(&table),
        "the parts have another table than one run",
        &format!("{table}{merged}"),
    )?;
    demand(stdout.ends_with("2 passed, 1 failed, 0 skipped\n"), "another sum", &stdout)?;
    let [xml, merged] = ["whole.xml", "parts.xml"].map(|name| fs::read_to_string(files.path().join(name)));
    let (xml, merged) = (text(&xml?), text(&merged?));
    demand(xml == merged, "the parts have another JUnit file than one run", &format!("{xml}{merged}"))?;
    demand(xml.contains("\n-") && xml.contains(" &lt;-somebody_else"), "no diff", &xml)?;
    let (_, stderr) = expect(1, &root(), &["merge-results", &second])?;
    demand(stderr.contains("part 1/2 is missing"), "the missing part is not named", &stderr)
}

fn formats(kernel: &str) -> Result<(), Failed> {
    let events = three_cases(200, kernel, &[])?;
    let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    let count = |name: &str| names.iter().filter(|known| **known == name).count();
    let seen = format!("{events:#?}");
    demand(
        names.first() == Some(&"run-started") && names.last() == Some(&"run-finished"),
        "no frame",
        &seen,
    )?;
    for (event, times) in [("kernel-ready", 1), ("case-started", 3), ("case-ran", 3), ("case-finished", 3)] {
        demand(count(event) == times, &format!("not {times} of {event}"), &seen)?;
    }
    let failed = events.iter().find(|event| event["failed"] == true).ok_or("nothing failed")?;
    demand(failed["case"] == "function" && failed["verdict"] == "mismatch", "another failure", &seen)?;
    let run = folder(&events)?;
    let (stdout, _) = expect(200, &root(), &["merge-results", "--message-format", "ktap", &run])?;
    let line = Regex::new(r"^( *((not )?ok \d+ .*|KTAP version 1|1\.\.\d+|#.*))$")?;
    demand(stdout.starts_with("KTAP version 1\n1..1\n"), "no KTAP", &stdout)?;
    demand(stdout.lines().all(|text| line.is_match(text)), "a line that is not KTAP", &stdout)
}

fn refusals(kernel: &str) -> Result<(), Failed> {
    let run = |flags: &[&str]| {
        expect(2, &root(), &[&["run", "--kernel", kernel, "--exact"], flags, &["--", "true"]].concat())
    };
    let (_, stderr) = run(&["--cpus", "2"])?;
    demand(stderr.contains("in which order several CPUs run"), "no reason", &stderr)?;
    let (_, stderr) = run(&["--accel", "kvm"])?;
    demand(stderr.contains("under KVM the guest's time is the host's"), "no reason", &stderr)
}

/// Runs a case some times on an exact machine with a source of noise; gives the result and the
/// report on a difference back.
fn repeated(kernel: &str, noise: Option<Noise>, times: u32) -> Result<(Stored, String), Failed> {
    let h = Harness::new(root(), Cache::open()?, false);
    let matrix = h.matrix()?;
    let record = matrix.find(kernel)?;
    let image = kernel::at_hand(&h, record)?.ok_or("the kernel is gone")?;
    let wish = Wish { exact: Exactness::WherePossible, noise, ..Wish::default() };
    let guest = Guest::prepare(&h, &Tools::get(&h)?, record, image, wish)?;
    let mut case = cases::select(cases::load(&h.root)?, &["function".into()])?.remove(0);
    // More than a socket takes at once: whoever reads it holds the guest up.
    let step = |run: &str| CaseStep { run: run.into(), say: String::new(), expect: 0 };
    case.steps.insert(0, step("cat /bin/snaptrace"));
    // Long enough that the reader has all before the guest powers off.
    case.steps.push(step("repeat 300 cat /proc/sys/kernel/ostype"));
    let folder = TempDir::new()?;
    test_vm::run_case(&h, &guest, &case, folder.path(), times)?;
    Ok((results::load_one(folder.path())?, repeat::report(folder.path())))
}

fn equal_runs(kernel: &str) -> Result<(), Failed> {
    let (stored, report) = repeated(kernel, None, 3)?;
    demand(stored.verdict == Verdict::Pass && stored.runs == 3, &stored.why, &report)
}

/// Whether a kernel asks the processor for random numbers; old ones can be built not to.
fn uses_rdrand(kernel: &str) -> Result<bool, Failed> {
    let h = Harness::new(root(), Cache::open()?, false);
    let image = kernel::at_hand(&h, h.matrix()?.find(kernel)?)?.ok_or("the kernel is gone")?;
    Ok(!fs::read_to_string(image.config)?.contains("# CONFIG_ARCH_RANDOM is not set"))
}

fn noise(kernel: &str) -> Result<(), Failed> {
    for (noise, named) in [
        (Noise::Socket, "likely source: -chardev socket,id=results"),
        (Noise::HostTime, "likely source: the inputs are not the same: the command line (`noise="),
        (Noise::Rdrand, "likely source: -cpu qemu64,+rdrand: RDRAND"),
        (Noise::Ioeventfd, "likely source: -device virtio-serial-pci: without ioeventfd=off"),
    ] {
        let (stored, report) = repeated(kernel, Some(noise), 12)?;
        if noise == Noise::Rdrand && !uses_rdrand(kernel)? {
            demand(stored.verdict == Verdict::Pass, "noise that no one asked for", &report)?;
            continue;
        }
        let what = format!("{noise:?} was not found: {} {}", stored.verdict, stored.why);
        demand(stored.verdict == Verdict::NotRepeatable, &what, &report)?;
        demand(report.contains(named), &format!("{noise:?} is not named"), &report)?;
        demand(report.matches("likely source: ").count() == 1, "more than one source is named", &report)?;
        eprintln!("{kernel}: {noise:?}: {}\n{report}", stored.why);
    }
    Ok(())
}

/// Ends recordings by signals, and compares all control files before and after.
const ENDINGS: &str = r#"
cd /sys/kernel/tracing
state() {
    for file in current_tracer tracing_on tracing_cpumask trace_clock trace_options set_* \
        max_graph_depth buffer_size_kb options/* events/sched/*/filter events/sched/*/trigger; do
        echo "== $file"; cat "$file"
    done
    ls instances
}
snaptrace start -p function -l vfs_open -n vfs_fsync -C global -b 100 --max-graph-depth 3 || exit 1
snaptrace set -e sched:sched_wakeup -f 'pid > 5' -R 'traceon if pid == 1' || exit 1
state > /tmp/before
ended() {
    signal=$1; wanted=$2; shift 2
    snaptrace record -o /tmp/out.dat "$@" > /tmp/out 2>&1 &
    pid=$!
    until grep -q Hit /tmp/out; do sleep 1; done
    kill -$signal $pid
    wait $pid
    status=$?
    [ $status = $wanted ] || echo "$signal $*: status $status"
    [ $signal != KILL ] || snaptrace list -t > /tmp/list 2>&1 || cat /tmp/list
    [ $signal != KILL ] || grep -q "process $pid was killed" /tmp/list || echo "nothing was said: $(cat /tmp/list)"
    state > /tmp/after
    diff /tmp/before /tmp/after || echo "$signal $*: not put back"
}
ended KILL 137 -p function -l '__kmalloc*'
ended KILL 137 -p function -l '__kmalloc*' --func-stack -e sched:sched_switch -f 'prev_pid > 0' -C local -b 50
ended KILL 137 --top -e sched:sched_wakeup -f 'pid > 9' -R stacktrace
ended QUIT 131 --top -e sched:sched_wakeup -f 'pid > 9' -R stacktrace
ended TERM 143 -p function_graph -g vfs_read --max-graph-depth 1
ended INT 0 -p function -l '__kmalloc*'
ls /run
"#;

fn put_back(kernel: &str) -> Result<(), Failed> {
    let (stdout, _) = expect(0, &root(), &["run", "--kernel", kernel, "--", "sh", "-c", ENDINGS])?;
    demand(stdout.is_empty(), "something is not as it was, or was left behind", &stdout)
}

fn few_cells(kernel: &str) -> Result<(), Failed> {
    let (stdout, stderr) =
        expect(0, &root(), &["put-back", "--quick", "--only", "snaptrace", "--kernel", kernel])?;
    let passed = stdout.lines().last().and_then(|line| line.strip_suffix(" passed, 0 failed"));
    let passed = passed.and_then(|count| count.parse().ok()).unwrap_or(0);
    demand(passed >= 15, "hardly any cell was run", &(stdout + &stderr))
}
