//! `run`: exit statuses, channels, files, input, limits, accelerators, and what ends a guest.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::Failed;
use regex::Regex;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use xtask::base::cache::Cache;
use xtask::base::verdict::Verdict;
use xtask::base::workspace::Workspace;
use xtask::guest::prepared::{Guest, GuestOptions, Tools};
use xtask::kernel;
use xtask::vm::accel::{self, Kvm, Purpose};
use xtask::vm::{self, Accel, Boot, Exactness, Gdb};

use crate::common::{children, demand, expect, fed, root, start};

pub fn exit_status(kernel: &str) -> Result<(), Failed> {
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

pub fn output(kernel: &str) -> Result<(), Failed> {
    let command = ["run", "--kernel", kernel, "--", "sh", "-c", "echo out; echo err >&2"];
    let (stdout, stderr) = expect(0, &root(), &command)?;
    demand(stdout == "out\n", "another standard output", &stdout)?;
    demand(stderr.lines().any(|line| line == "err"), "another standard error", &stderr)
}

pub fn files(kernel: &str) -> Result<(), Failed> {
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

/// A folder at a place of its own, a file in /extra, and a variable.
pub fn into_guest(kernel: &str) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let top = folder.path().join("top");
    fs::create_dir_all(top.join("sub"))?;
    fs::write(top.join("sub/a"), "in a folder\n")?;
    fs::write(top.join("run"), "#!/bin/sh\necho executed\n")?;
    symlink("sub/a", top.join("link"))?;
    let script = "cat /put/x/link /extra/a; /put/x/run; echo $GREETING; readlink /put/x/link";
    let command = [
        &["run", "--kernel", kernel, "--put", "top:/put/x", "--put", "top/sub/a", "--env", "GREETING=a = b"]
            [..],
        &["--", "sh", "-c", script],
    ];
    let (stdout, _) = expect(0, folder.path(), &command.concat())?;
    demand(stdout == "in a folder\nin a folder\nexecuted\na = b\nsub/a\n", "not what was put in", &stdout)?;
    let hidden = ["run", "--kernel", kernel, "--put", "top:/proc/x", "--", "true"];
    let (_, stderr) = expect(2, folder.path(), &hidden)?;
    demand(stderr.contains("mounts another file system there"), "no word on the place", &stderr)
}

pub fn input(kernel: &str) -> Result<(), Failed> {
    let run = ["run", "--kernel", kernel, "-i", "--"];
    let (stdout, stderr, status) = fed(b"echo one\nexit 3\n", &[&run[..], &["sh", "-s"]].concat())?;
    demand(stdout == b"one\n" && status == Some(3), "not two commands", &format!("{status:?}{stderr}"))?;
    // Bytes of every kind, to programs that read by lines and to one that does not.
    let script = "read a; read b; echo \"$b $a\"; cat; readlink -f /dev/stdin";
    let (stdout, stderr, _) = fed(b"1\n2\n\0\xff\r\n\n", &[&run[..], &["sh", "-c", script]].concat())?;
    let expected = b"2 1\n\0\xff\r\n\n/stdin\n";
    demand(stdout == expected, "other bytes", &format!("{stdout:?}{stderr}"))?;
    // A message says that the run waits for an open pipe, which is read to its end.
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
    // A file; a copy is kept for the command that repeats the run.
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

pub fn unread_input(kernel: &str) -> Result<(), Failed> {
    // A pipe that never closes, with data in it.
    let run = ["run", "--kernel", kernel, "--", "sh", "-c", "cat; echo end"];
    let mut child = start(&run, Stdio::piped())?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    stdin.write_all(b"exit 1\n")?;
    let output = child.wait_with_output()?;
    drop(stdin);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    demand(output.stdout == b"end\n" && output.status.code() == Some(0), "it was read", &stderr)?;
    let word = "standard input is not passed on; `run -i` passes it on";
    demand(stderr.matches(word).count() == 1, "not one word on it", &stderr)?;
    let (_, stderr) = expect(0, &root(), &["run", "--kernel", kernel, "--", "true"])?;
    demand(!stderr.contains(word), "a word on nothing", &stderr)
}

/// Checks the surroundings of programs in a guest: names in /dev, users, shared memory, terminals, and the
/// loopback device if the kernel has IPv4.
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

pub fn home(kernel: &str) -> Result<(), Failed> {
    let (stdout, stderr) = expect(0, &root(), &["run", "--kernel", kernel, "--", "sh", "-c", HOME])?;
    let expected = "out\n2\nshared\nroot\n65534\nnogroup\n2\n1\n";
    demand(stdout == expected, "something is missing", &format!("{stdout}{stderr}"))?;
    demand(stderr.lines().any(|line| line == "err"), "nothing came through /dev/stderr", &stderr)
}

pub fn panic(kernel: &str) -> Result<(), Failed> {
    let script = "echo c > /proc/sysrq-trigger";
    let (_, stderr) = expect(204, &root(), &["run", "--kernel", kernel, "--", "sh", "-c", script])?;
    demand(stderr.contains("panic: "), "no verdict", &stderr)?;
    demand(stderr.contains("Kernel panic - not syncing: sysrq triggered crash"), "no cause", &stderr)?;
    demand(stderr.contains("  console: "), "no console lines", &stderr)
}

pub fn restart(kernel: &str) -> Result<(), Failed> {
    let script = "echo b > /proc/sysrq-trigger";
    let (_, stderr) = expect(210, &root(), &["run", "--kernel", kernel, "--", "sh", "-c", script])?;
    demand(stderr.contains("rebooted: the guest restarted by itself"), "no verdict", &stderr)
}

pub fn refusals(kernel: &str) -> Result<(), Failed> {
    let run = |flags: &[&str]| {
        expect(2, &root(), &[&["run", "--kernel", kernel, "--exact"], flags, &["--", "true"]].concat())
    };
    let (_, stderr) = run(&["--cpus", "2"])?;
    demand(stderr.contains("in which order several CPUs run"), "no reason", &stderr)?;
    let (_, stderr) = run(&["--accel", "kvm"])?;
    demand(stderr.contains("under KVM the guest's time is the host's"), "no reason", &stderr)
}

/// Stops the harness and its QEMU, like Ctrl-Z or a frozen container.
pub fn stopped(kernel: &str) -> Result<(), Failed> {
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

/// The guests that get KVM if it is known to work, and the messages if it is known to fail. Nothing boots
/// under KVM here.
pub fn kvm_for_work(kernel: &str) -> Result<(), Failed> {
    let real = Workspace::new(root(), Cache::open()?, false);
    let folder = TempDir::new()?;
    let cache = folder.path().join("cache");
    let h = Workspace::new(root(), Cache::at(&cache), false);
    h.host.cache.folder("locks")?;
    for part in
        ["kernels", "names", "tools"].map(|part| (real.host.cache.path().join(part), cache.join(part)))
    {
        if part.0.exists() {
            symlink(part.0, part.1)?;
        }
    }
    let tools = Tools::get(&h)?;
    let opens = accel::device().is_ok();
    let remember =
        |answer: &str| h.host.cache.store(accel::MEMORY, &format!("{} {answer}\n", accel::key(&tools.qemu)));
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
    // The form of an older harness.
    remember("kvm")?;
    let matrix = h.matrix()?;
    let record = matrix.find(kernel)?;
    let under = |wish: GuestOptions| -> Result<Accel, Failed> {
        let image = kernel::cached(&h, record)?.ok_or("the kernel is gone")?;
        Ok(Guest::prepare(&h, &tools, record, image, wish)?.accel)
    };
    let work = || GuestOptions { purpose: Purpose::Work, ..GuestOptions::default() };
    let wishes = [
        ("what judges", GuestOptions::default(), false),
        (
            "what judges and need not be exact",
            GuestOptions { exact: Exactness::Off, ..GuestOptions::default() },
            false,
        ),
        ("work", work(), true),
        ("exact work", GuestOptions { exact: Exactness::Demanded, ..work() }, false),
        ("work with a debugger", GuestOptions { gdb: Some(Gdb::Port(0)), ..work() }, false),
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
    // A result older than a day is tested again.
    remember(&format!("tcg {}", now - 25 * 60 * 60))?;
    demand(
        accel::known(&tools.qemu, &h.host.cache)? != Kvm::Fails,
        "a failure holds for more than a day",
        "",
    )?;
    let update = ["test-vm", "--kernel", kernel, "--accel", "kvm", "--update", "mount"];
    let (_, said) = expect(2, &root(), &update)?;
    demand(said.contains("cannot accept results as snapshots"), "results under KVM are accepted", &said)
}

pub fn limits(kernel: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let run = |status, flags: &[&str]| {
        expect(status, &root(), &[&["run", "--kernel", kernel], flags, &["--", "true"]].concat())
    };
    let h = Workspace::new(root(), Cache::open()?, false);
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
    let (_, stderr) = run(2, &["--put", &one, "--put", &other])?;
    demand(stderr.contains("something else is at /extra/x there"), "no word on the name", &stderr)?;
    let (_, stderr) = run(2, &["--extra-file", "/dev/zero"])?;
    demand(stderr.contains("it is a device"), "no word on the device", &stderr)?;

    let large = file("large", 80 << 20)?;
    let little = i32::from(Verdict::OutOfMemory.exit_code());
    let (_, stderr) = run(little, &["--memory", "160M", "--put", &large])?;
    let advice = stderr.lines().find_map(|line| line.split_once("give it more: --memory "));
    let Some((_, advice)) = advice else { return Err(format!("no advice: {stderr}").into()) };
    // The advised size is enough.
    run(0, &["--memory", advice.trim(), "--put", &large]).map(drop)
}
