//! The harness' commands with real guests: exit codes, files, verdicts, stable snapshots.
//!
//! A trial whose outcome depends on the kernel runs on every reference kernel at hand, one that tries the
//! harness alone on the first of them; with `SNAPTRACE_ALL_KERNELS=1` all run on all usual kernels. Without
//! a kernel a trial is ignored, which is told and is not a pass.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test, whose output is read")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libtest_mimic::{Arguments, Failed, Trial};
use regex::Regex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use tempfile::TempDir;
use xtask::base::cache::Cache;
use xtask::base::verdict::Verdict;
use xtask::fetch::setup;
use xtask::guest::cases;
use xtask::guest::cases::CaseStep;
use xtask::guest::prepared::{Guest, Tools, Wish};
use xtask::harness::Harness;
use xtask::kernel;
use xtask::run::results::{self, Stored};
use xtask::run::summary::Summary;
use xtask::run::table::table;
use xtask::run::{repeat, test_vm};
use xtask::vm::accel::{self, Kvm, Purpose};
use xtask::vm::{self, Accel, Boot, Exactness, Noise};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let kernels = match kernels_at_hand() {
        Ok(kernels) => kernels,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    // The harness is the same on each kernel: where all of them are not asked for, one shows it.
    let first = kernels.iter().find(|(_, at_hand, _)| *at_hand).map(|(kernel, ..)| kernel.clone());
    let tries_harness =
        |kernel: &String| Harness::wants_all_kernels() || first.as_ref().is_none_or(|one| one == kernel);
    let mut trials = Vec::new();
    for (kernel, at_hand, all) in kernels {
        if !at_hand {
            eprintln!("{kernel}: unavailable: not cached, its guests are not tested");
        }
        let of_harness = OF_HARNESS.iter().filter(|_| all && tries_harness(&kernel));
        for &(name, test) in TESTS.iter().filter(|(name, _)| all || *name == CPUS).chain(of_harness) {
            let on = kernel.clone();
            let trial = Trial::test(format!("{kernel} {name}"), move || test(&on));
            trials.push(trial.with_ignored_flag(!at_hand));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// This trial runs on the newest kernel, too: kernels differ in what they think of CPUs.
const CPUS: &str = "CPUs that are not there, come and go";

type Test = fn(&str) -> Result<(), Failed>;

/// What a kernel may do otherwise than another one.
const TESTS: &[(&str, Test)] = &[
    ("a guest has what programs expect", home),
    ("run tells a panic", panic),
    ("run tells a restart", restart),
    ("however a recording ends, the kernel is put back", put_back),
    (CPUS, absent_cpus),
    ("what is not there is not polled", no_spinning),
    ("lockdown and pid namespaces are named as the cause", named_causes),
    ("a few cells of the restore table hold", few_cells),
    ("snapshots do not depend on other inputs", other_inputs),
    ("a tracer broken on purpose fails though drift is allowed", broken_tracer),
    ("equal runs of a case are proved equal", equal_runs),
    ("a recording made twice is the same file", same_recording),
];

/// What the harness does, whatever the kernel.
const OF_HARNESS: &[(&str, Test)] = &[
    ("run returns the command's exit status", exit_status),
    ("run returns the command's output on both channels", output),
    ("run brings files out", files),
    ("run passes standard input on where it is asked to", input),
    ("run without -i reads nothing and says so", unread_input),
    ("shell carries out what a pipe says", piped_shell),
    ("shell leaves the terminal as it was", terminal),
    ("an edited snapshot is a mismatch with a diff", edited_snapshot),
    ("a difference on a kernel nobody reviewed is drift", drift),
    ("a snapshot that is missing is drift only where nothing was reviewed", missing_snapshot),
    ("a run in two parts comes to what one run comes to", parts),
    ("standard output is for one format alone", formats),
    ("exactness that cannot be is refused with the reason", refusals),
    ("only run and shell take KVM, and say so", kvm_for_work),
    ("a run that was stopped for longer than it may take is no timeout", stopped),
    ("limits are said before the boot, and what is within them boots", limits),
    ("costs do not depend on other inputs", same_costs),
    ("noise let in on purpose is found and its source named", noise),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// The kernels by name, whether each is at hand, and whether all trials are for it.
fn kernels_at_hand() -> xtask::base::error::Result<Vec<(String, bool, bool)>> {
    let h = Harness::new(root(), Cache::open()?, false);
    let matrix = h.matrix()?;
    let mut kernels = Vec::new();
    for record in matrix.at_length(Harness::wants_all_kernels()) {
        kernels.push((record.name.clone(), kernel::at_hand(&h, record)?.is_some(), true));
    }
    if let Some(newest) = matrix.usual().last()
        && kernels.iter().all(|(name, ..)| *name != newest.name)
    {
        kernels.push((newest.name.clone(), kernel::at_hand(&h, newest)?.is_some(), false));
    }
    Ok(kernels)
}

fn xtask(folder: &Path, arguments: &[&str]) -> Result<Output, Failed> {
    let arguments = on_every_machine(arguments);
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).current_dir(folder).output();
    Ok(output.map_err(|error| format!("cannot start xtask: {error}"))?)
}

/// `run` takes KVM where it works; tests are to be the same on every machine.
fn on_every_machine<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    match arguments {
        ["run", rest @ ..] if !rest.contains(&"--accel") => [&["run", "--accel", "tcg"], rest].concat(),
        _ => arguments.to_vec(),
    }
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
        // What starts the tests may ignore signals, which programs inherit; a terminal's shell does not.
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
        .args(["test-vm", "function", "--snapshots"])
        .arg(snapshots)
        .args(arguments)
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
    demand(has('+', " <-load_elf_phdrs"), "no new line", &stdout)?;
    let accept = format!("cargo xtask test-vm --stored --snapshots {} --update", snapshots.path().display());
    demand(stdout.contains(&format!("  accept: {accept} function\n")), "no word on what to type", &stdout)?;
    let machinery = ["panicked", "assertion", "running 1 test", "insta", "RUST_BACKTRACE"];
    let word = machinery.iter().find(|word| stdout.contains(**word));
    demand(word.is_none(), "words of a test's machinery", &stdout)
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
    demand(stdout.lines().any(|line| line == "  $ snaptrace reset"), "the text is not shown", &stdout)?;
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

/// The children of a process.
fn children(of: u32) -> Result<Vec<i32>, Failed> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        if parent == Some(of) {
            found.push(entry.file_name().to_string_lossy().parse()?);
        }
    }
    Ok(found)
}

/// Stops the harness with its QEMU, as Ctrl-Z and a frozen container do.
fn stopped(kernel: &str) -> Result<(), Failed> {
    const SCRIPT: &str = "echo here; i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done; echo done";
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(["run", "--accel", "tcg", "--timeout", "6", "--kernel", kernel, "--", "sh", "-c", SCRIPT])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir(root());
    let mut run = command.spawn()?;
    let mut stdout = BufReader::new(run.stdout.take().ok_or("no standard output")?);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    let qemu = children(run.id())?;
    let all: Vec<i32> = qemu.into_iter().chain([run.id() as i32]).collect();
    let send = |signal| -> Result<(), Failed> {
        for pid in &all {
            kill_process(Pid::from_raw(*pid).ok_or("no process")?, signal)?;
        }
        Ok(())
    };
    send(Signal::STOP)?;
    thread::sleep(Duration::from_secs(8));
    send(Signal::CONT)?;
    stdout.read_to_string(&mut line)?;
    let output = run.wait_with_output()?;
    let seen = format!("{}: {line}{}", output.status, String::from_utf8_lossy(&output.stderr));
    demand(all.len() > 1, "there is no QEMU", &seen)?;
    demand(output.status.success() && line == "here\ndone\n", "the stop counts", &seen)
}

/// Who gets KVM where it is known to work, and what is said where it is known not to. Nothing has to
/// boot under it here.
fn kvm_for_work(kernel: &str) -> Result<(), Failed> {
    let real = Harness::new(root(), Cache::open()?, false);
    let folder = TempDir::new()?;
    let cache = folder.path().join("cache");
    let h = Harness::new(root(), Cache::at(&cache), false);
    h.cache.folder("locks")?;
    for part in ["kernels", "names", "tools"].map(|part| (real.cache.path().join(part), cache.join(part))) {
        if part.0.exists() {
            symlink(part.0, part.1)?;
        }
    }
    let tools = Tools::get(&h)?;
    let opens = accel::device().is_ok();
    let remember =
        |answer: &str| h.cache.store(accel::MEMORY, &format!("{} {answer}\n", accel::key(&tools.qemu)));
    let run = |arguments: &[&str]| -> Result<(Option<i32>, String), Failed> {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["run", "--kernel", kernel])
            .args(arguments)
            .args(["--", "true"])
            .env("SNAPTRACE_CACHE", &cache)
            .current_dir(root())
            .output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    // As an older harness noted it.
    remember("kvm")?;
    let matrix = h.matrix()?;
    let record = matrix.find(kernel)?;
    let under = |wish: Wish| -> Result<Accel, Failed> {
        let image = kernel::at_hand(&h, record)?.ok_or("the kernel is gone")?;
        Ok(Guest::prepare(&h, &tools, record, image, wish)?.accel)
    };
    let work = || Wish { purpose: Purpose::Work, ..Wish::default() };
    let wishes = [
        ("what judges", Wish::default(), false),
        ("what judges and need not be exact", Wish { exact: Exactness::Off, ..Wish::default() }, false),
        ("work", work(), true),
        ("exact work", Wish { exact: Exactness::Demanded, ..work() }, false),
        ("work with a debugger", Wish { gdb: true, ..work() }, false),
    ];
    for (what, wish, may) in wishes {
        let accel = under(wish)?;
        demand((accel == Accel::Kvm) == (may && opens), &format!("{what} under another"), accel.name())?;
    }
    let (_, said) = run(&["--boot-timeout", "1"])?;
    demand(said.contains(&format!("{kernel}: kvm, not exact")) == opens, "KVM is not told", &said)?;
    let (status, said) = run(&["--exact"])?;
    demand(status == Some(0) && !said.contains("kvm"), "an exact run is refused", &said)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    remember(&format!("tcg {now}"))?;
    let (status, said) = run(&["--accel", "kvm"])?;
    let why = if opens { "none reaches init under it" } else { "/dev/kvm" };
    demand(status == Some(1) && said.contains(why), "no reason why not", &said)?;
    // What was found out more than a day ago is tried again.
    remember(&format!("tcg {}", now - 25 * 60 * 60))?;
    demand(accel::known(&tools.qemu, &h.cache)? != Kvm::Fails, "a failure holds for more than a day", "")?;
    let update = ["test-vm", "--kernel", kernel, "--accel", "kvm", "--update", "mount"];
    let (_, said) = expect(2, &root(), &update)?;
    demand(said.contains("cannot accept results as snapshots"), "results under KVM are accepted", &said)
}

fn limits(kernel: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let run = |status, flags: &[&str]| {
        expect(status, &root(), &[&["run", "--kernel", kernel], flags, &["--", "true"]].concat())
    };
    let h = Harness::new(root(), Cache::open()?, false);
    let matrix = h.matrix()?;
    let usual = vm::command_line(Boot::Fast, &matrix.find(kernel)?.append, &[]).len();
    let longest = format!("x={}", "y".repeat(vm::COMMAND_LINE_LIMIT - usual - 3));
    run(0, &["--append", &longest])?;
    let (_, stderr) = run(2, &["--append", &format!("{longest}y")])?;
    demand(stderr.contains("2048 bytes") && stderr.contains("of --append"), "no length", &stderr)?;

    let file = |name: &str, size: u64| -> Result<String, Failed> {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        File::create(&path)?.set_len(size)?;
        Ok(path.display().to_string())
    };
    let (one, other) = (file("a/x", 1)?, file("b/x", 1)?);
    let (_, stderr) = run(2, &["--extra-file", &one, "--extra-file", &other])?;
    demand(stderr.contains("another --extra-file is called x, too"), "no word on the name", &stderr)?;
    let (_, stderr) = run(2, &["--extra-file", "/dev/zero"])?;
    demand(stderr.contains("it is a device"), "no word on the device", &stderr)?;

    let large = file("large", 80 << 20)?;
    let little = i32::from(Verdict::OutOfMemory.exit_code());
    let (_, stderr) = run(little, &["--memory", "160M", "--extra-file", &large])?;
    let advice = stderr.lines().find_map(|line| line.split_once("give it more: --memory "));
    let Some((_, advice)) = advice else { return Err(format!("no advice: {stderr}").into()) };
    // The advice is enough.
    run(0, &["--memory", advice.trim(), "--extra-file", &large]).map(drop)
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

/// On two CPUs, of which the kernel starts one: what is recorded where, by a recording's CPUs. A
/// message is printed for each thing that is not as it should be.
const COMES_AND_GOES: &str = r#"
cd /sys/kernel/tracing
# The CPUs that a recording has sched_switch of.
cpus() { snaptrace report -F sched_switch "$1" | sed -n 's/^[^[]* \[0*\([0-9][0-9]*\)\] .*$/\1/p' | sort -u | tr '\n' ' '; }
is() { [ "$2" = "$3" ] || echo "$1: '$2' and not '$3'"; }
record() {
    name=$1; wanted=$2; shift 2
    timeout 300 snaptrace record -q -o /tmp/out.dat "$@" > /tmp/said 2>&1 || { echo "$name: status $?"; cat /tmp/said; }
    [ -s /tmp/said ] && { echo "$name said:"; cat /tmp/said; }
    is "$name: CPUs" "$(cpus /tmp/out.dat)" "$wanted"
    is "$name: head" "$(snaptrace report /tmp/out.dat | head -1)" cpus=2
}
switch() { echo $1 > /sys/devices/system/cpu/cpu1/online; }
cat > /tmp/coming.sh <<'END'
sleep 1; echo 1 > /sys/devices/system/cpu/cpu1/online; taskset 2 true; sleep 1; taskset 2 true; taskset 2 true
END
cat > /tmp/going.sh <<'END'
taskset 2 true; sleep 1; echo 0 > /sys/devices/system/cpu/cpu1/online; sleep 1; true
END
event="-e sched:sched_switch"
is "CPUs online at first" "$(cat /sys/devices/system/cpu/online)" 0
is "slots" "$(cat /sys/devices/system/cpu/possible)" 0-1
mkdir instances/early
record "never online" "0 " $event true
record "never online, at the top" "0 " --top -s 0 $event true
is stat "$(snaptrace stat | grep -c '^ *1   no buffer: it was not online yet$')" 1
record "comes, in an instance" "0 1 " $event sh /tmp/coming.sh
record "goes, in an instance" "0 1 " $event sh /tmp/going.sh
record "offline before, in an instance" "0 " $event true
# The top buffer keeps a CPU that was online, and what it had recorded.
echo 1 > events/sched/sched_switch/enable
switch 1; taskset 2 true; switch 0
echo 0 > events/sched/sched_switch/enable
grep -q '^entries: [1-9]' per_cpu/cpu1/stats || echo "nothing was left at the top"
record "offline before, at the top" "0 " --top $event true
is "left at the top" "$(head -1 per_cpu/cpu1/stats)" "entries: 0"
record "comes, at the top" "0 1 " --top -s 0 $event sh /tmp/coming.sh
record "goes, at the top" "0 1 " --top $event sh /tmp/going.sh
streamed=$(timeout 300 snaptrace stream $event sh /tmp/coming.sh 2>/tmp/said | sed -n 's/^[^[]* \[0*\([0-9][0-9]*\)\] .*$/\1/p' | sort -u | tr '\n' ' ')
is "streamed" "$streamed" "0 1 "; cat /tmp/said
switch 0
# It was made before the CPU came, so it has its buffer; one made now has not.
mkdir instances/late
for instance in early late; do
    echo 1 > instances/$instance/events/sched/sched_switch/enable
    true; sleep 0.1
    snaptrace extract -q -B $instance -o /tmp/out.dat || echo "extract of $instance: status $?"
    is "extracted from $instance" "$(cpus /tmp/out.dat)" "0 "
    is "no buffer in $instance" "$(snaptrace stat -B $instance | grep -c 'no buffer: ')" $([ $instance = late ] && echo 1 || echo 0)
done
"#;

fn absent_cpus(kernel: &str) -> Result<(), Failed> {
    let run = ["run", "--kernel", kernel, "--cpus", "2", "--max-cpus", "2", "--append", "maxcpus=1", "--"];
    let (stdout, _) = expect(0, &root(), &[&run[..], &["sh", "-c", COMES_AND_GOES]].concat())?;
    demand(stdout.is_empty(), "not all is as it should be", &stdout)?;
    let refused = |status, flags: &[&str]| {
        expect(status, &root(), &[&["run", "--kernel", kernel], flags, &["--", "true"]].concat())
    };
    let (_, stderr) = refused(2, &["--cpus", "4", "--max-cpus", "2"])?;
    demand(stderr.contains("cannot have 4 CPUs in 2 slots"), "no reason", &stderr)?;
    refused(2, &["--max-cpus", "65"]).map(drop)
}

/// The clock ticks of processor time that a recording takes while nothing happens; in a bit-exact
/// guest they are the same in every run.
const IDLE: &str = r#"
snaptrace record -q -s 0 -p function -l __x64_sys_swapoff -o /tmp/out.dat > /tmp/said 2>&1 &
pid=$!
ticks() { set -- $(cat /proc/$pid/stat); echo $((${14} + ${15})); }
until [ "$(cat /sys/kernel/tracing/instances/*/tracing_on 2>/dev/null)" = 1 ]; do sleep 1; done
sleep 1; before=$(ticks); sleep 4; after=$(ticks)
kill -INT $pid; wait $pid || echo "status $?"
cat /tmp/said
[ $((after - before)) -lt 40 ] || echo "$((after - before)) ticks in 4 s"
snaptrace report /tmp/out.dat
"#;

fn no_spinning(kernel: &str) -> Result<(), Failed> {
    let run = ["run", "--exact", "--kernel", kernel, "--max-cpus", "4", "--", "sh", "-c", IDLE];
    let (stdout, _) = expect(0, &root(), &run)?;
    demand(stdout == "cpus=4\n", "the recording was not idle, or did not end", &stdout)
}

/// In a pid namespace, and then in a kernel that is locked down, where the kernel has these.
const CAUSES: &str = r#"
if [ -e /proc/self/ns/pid ]; then
    snaptrace record -q -F -e sched -o /tmp/out.dat true || echo "outside: status $?"
    unshare -p -f --mount-proc sh -c 'for command in start set "record -q" trace stream; do
        snaptrace $command -F -e sched true 2> /tmp/said; [ $? = 2 ] || echo "$command -F: status $?"
        grep -q -- "-F would choose the wrong process: this is a pid namespace" /tmp/said || cat /tmp/said
    done
    snaptrace record -q -P $$ -e sched -o /tmp/out.dat true 2> /tmp/said; [ $? = 2 ] || echo "-P: status $?"
    snaptrace record -q -e sched -o /tmp/out.dat true || echo "without -F: status $?"
    cat /sys/kernel/tracing/set_event'
    echo "namespaces"
fi
mount -t securityfs securityfs /sys/kernel/security
if [ -e /sys/kernel/security/lockdown ]; then
    echo confidentiality > /sys/kernel/security/lockdown
    for command in "list -t" "list -f" check stat "record -e sched true" "start -p function" "set -e sched" \
        "trace -p function true" "stream -e sched true" show stop restart clear reset filter extract \
        snapshot check-events; do
        snaptrace $command 2> /tmp/said; [ $? = 13 ] || echo "$command: status $?"
        grep -q 'the kernel is locked down (/sys/kernel/security/lockdown says confidentiality)' /tmp/said ||
            { echo "$command:"; cat /tmp/said; }
    done
    echo "lockdown"
fi
"#;

fn named_causes(kernel: &str) -> Result<(), Failed> {
    let (stdout, _) = expect(0, &root(), &["run", "--kernel", kernel, "--", "sh", "-c", CAUSES])?;
    let h = Harness::new(root(), Cache::open()?, false);
    let image = kernel::at_hand(&h, h.matrix()?.find(kernel)?)?.ok_or("the kernel is gone")?;
    let config = fs::read_to_string(image.config)?;
    let has = |symbol: &str| config.contains(&format!("CONFIG_{symbol}=y\n"));
    let (namespaces, lockdown) = (has("PID_NS"), has("SECURITY_LOCKDOWN_LSM"));
    let wanted = [(namespaces, "namespaces\n"), (lockdown, "lockdown\n")]
        .map(|(has, said)| if has { said } else { "" });
    demand(stdout == wanted.concat(), "a cause is not named", &stdout)?;
    if !lockdown {
        return Ok(());
    }
    // From the boot on there are no files at all, and securityfs is not mounted.
    let run =
        ["run", "--kernel", kernel, "--append", "lockdown=confidentiality", "--", "snaptrace", "list", "-t"];
    let (_, stderr) = expect(13, &root(), &run)?;
    demand(stderr.contains("it was booted with lockdown=confidentiality"), "the cause is not named", &stderr)
}

fn few_cells(kernel: &str) -> Result<(), Failed> {
    let (stdout, stderr) =
        expect(0, &root(), &["restore", "--quick", "--only", "snaptrace", "--kernel", kernel])?;
    let passed = stdout.lines().last().and_then(|line| line.strip_suffix(" passed, 0 failed"));
    let passed = passed.and_then(|count| count.parse().ok()).unwrap_or(0);
    demand(passed >= 15, "hardly any cell was run", &(stdout + &stderr))
}
