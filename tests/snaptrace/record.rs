//! `record` and the live commands against a folder that looks like a tracing directory.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output};

use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::directory::Directory;

fn record(fake: &Directory, arguments: &[&str]) -> Command {
    fake.command(&[&["record"], arguments].concat())
}

fn run(fake: &Directory, arguments: &[&str]) -> Output {
    record(fake, arguments).output().unwrap()
}

/// Starts a recording of a function and waits until signals end it in order.
fn started(fake: &Directory, command: &[&str]) -> Child {
    let arguments = [&["-p", "function", "-l", "__kmalloc"], command].concat();
    let mut child = record(fake, &arguments).spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::with_capacity(1, child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "  plugin 'function'\n");
    child.stdout = Some(out.into_inner());
    child
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn is_recording(path: &Path) -> bool {
    fs::read(path).unwrap().starts_with(b"\x17\x08\x44tracing")
}

#[test]
fn a_recording_leaves_the_file_and_nothing_else() {
    let fake = Directory::in_use();
    let before = fake.state();
    let output = run(
        &fake,
        &[
            "-p",
            "function",
            "-l",
            "__kmalloc",
            "--func-stack",
            "-e",
            "sched",
            "-b",
            "64",
            "-C",
            "global",
            "-O",
            "noevent-fork",
            "-F",
            "-o",
            "out.dat",
            "sh",
            "-c",
            "cat tracing/set_ftrace_filter tracing/current_tracer tracing/set_event tracing/buffer_size_kb; exit 3",
        ],
    );
    let told = text(&output.stderr);
    // Who is not root may not see the addresses of the kernel that this test runs on.
    let told: Vec<&str> = told.lines().filter(|line| !line.starts_with("/proc/kallsyms hides")).collect();
    assert_eq!(told, Vec::<&str>::new());
    assert_eq!(output.status.code(), Some(3), "the command's status is passed on");
    let out = text(&output.stdout);
    let (head, rest) = out.split_once("CPU0 data recorded at offset=0x").unwrap();
    assert_eq!(head, "  plugin 'function'\n__kmalloc\nfunction\nsched:sched_switch\n64\n");
    assert!(rest.contains("(4096 uncompressed)\nCPU1 data recorded at offset=0x"), "{out}");
    assert_eq!(fake.outputs(), ["out.dat"]);
    assert!(is_recording(&fake.beside("out.dat")));
    let clock = fake.beside("tracing/trace_clock");
    assert_eq!(fs::read_to_string(&clock).unwrap(), "local\n");
    fs::write(clock, "[local] global counter\n").unwrap();
    assert_eq!(fake.state(), before);
}

#[test]
fn a_reader_that_stops_does_not_stop_a_recording() {
    let fake = Directory::in_use();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = record(&fake, &["-p", "function", "-l", "__kmalloc", "-o", "out.dat", "true"]);
    let status = command.stdout(writer.try_clone().unwrap()).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(is_recording(&fake.beside("out.dat")));
}

#[test]
fn what_cannot_be_recorded_changes_nothing() {
    let fake = Directory::in_use();
    let before = fake.state();
    for (arguments, code, words) in [
        (&["true"][..], 2, "nothing to record"),
        (&["-l", "__kmalloc", "true"], 2, "-l needs a tracer"),
        (&["-p", "nosuch", "true"], 2, "tracer 'nosuch' does not exist"),
        (&["-p", "function", "-l", "__kmaloc", "true"], 2, "the nearest names: __kmalloc"),
        (&["-p", "function", "--func-stack", "true"], 2, "--func-stack without -l"),
        (&["-e", "sched:sched_swich", "true"], 2, "the nearest names: sched_switch"),
        (&["-e", "sched", "-C", "nosuch", "true"], 2, "clock 'nosuch' does not exist"),
        (&["-e", "sched", "-o", "/dev/null", "true"], 2, "-o /dev/null is not a regular file"),
        (&["-e", "sched", "-o", "missing/out.dat", "true"], 1, "missing"),
        (&["-e", "sched", "no-such-program-at-all"], 127, "cannot run 'no-such-program-at-all'"),
        (
            &["-e", "sched", "-f", "prev_pid == 1", "-v", "-e", "irq", "-f", "irq == 1", "true"],
            2,
            "-v leaves out",
        ),
        (&["-f", "prev_pid == 1", "-e", "sched", "true"], 2, "no -e before it"),
        (&["-e", "sched", "-v", "-e", "sched", "true"], 2, "no event is left"),
        (&["-e", "sched", "-m", "0", "true"], 2, "-m 0"),
        (&["-e", "sched", "--date", "-C", "counter", "true"], 2, "does not count time"),
        (&["-e", "sched", "--file-version", "6", "--compression", "zlib", "true"], 2, "cannot be compressed"),
    ] {
        let output = run(&fake, arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(words), "{arguments:?}: {error}");
        assert_eq!(fake.state(), before, "{arguments:?} changed something");
        assert_eq!(fake.outputs(), Vec::<String>::new(), "{arguments:?}");
    }
}

#[test]
fn what_the_kernel_refuses_is_taken_back() {
    let fake = Directory::in_use();
    // A file that is there to be read, but cannot be written: a folder takes no bytes.
    fs::remove_file(fake.beside("tracing/trace")).unwrap();
    fs::create_dir(fake.beside("tracing/trace")).unwrap();
    let before = fake.state();
    let output = run(&fake, &["-p", "function", "-l", "__kmalloc", "true"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("trace: Is a directory"), "{}", text(&output.stderr));
    assert_eq!(fake.state(), before);
    assert_eq!(fake.outputs(), Vec::<String>::new());
}

#[test]
fn signals_end_a_recording_in_order() {
    for (signal, code, command) in [
        (Signal::INT, 0, &[][..]),
        (Signal::TERM, 143, &["sleep", "1000"]),
        (Signal::HUP, 129, &["sleep", "1000"]),
        (Signal::QUIT, 131, &["sleep", "1000"]),
    ] {
        let fake = Directory::in_use();
        let before = fake.state();
        let mut child = started(&fake, command);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let mut rest = String::new();
        child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        assert!(rest.contains("CPU0 data recorded at offset"), "{rest}");
        assert!(is_recording(&fake.beside("trace.dat")));
        assert_eq!(fake.state(), before);
    }
}

#[test]
fn filters_and_triggers_are_set_and_taken_back() {
    let fake = Directory::in_use();
    let before = fake.state();
    let show = "for file in filter trigger; do cat tracing/events/sched/sched_switch/$file; done; \
                cat tracing/set_event tracing/options/stacktrace";
    let arguments = [
        "-q",
        "-T",
        "-e",
        "sched",
        "-f",
        "prev_pid == 1",
        "-f",
        "next_pid == 2",
        "-R",
        "traceoff:1",
        "-e",
        "nosuch:event",
        "-i",
        "-s",
        "100",
        "-m",
        "64",
        "sh",
        "-c",
        show,
    ];
    let output = run(&fake, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout),
        "(prev_pid == 1)&&(next_pid == 2)\n# Available triggers:\ntraceoff:1\nsched:sched_switch\n1\n"
    );
    let filter = fake.beside("tracing/events/sched/sched_switch/filter");
    assert_eq!(fs::read_to_string(&filter).unwrap(), "0\n", "what takes a filter away");
    fs::write(filter, "none\n").unwrap();
    let trigger = fake.beside("tracing/events/sched/sched_switch/trigger");
    assert_eq!(fs::read_to_string(&trigger).unwrap(), "# Available triggers:\ntraceoff:1\n!traceoff:1\n");
    fs::write(trigger, "# Available triggers:\n").unwrap();
    assert_eq!(fake.state(), before);
}

#[test]
fn the_next_call_puts_back_what_a_killed_recording_had_changed() {
    let fake = Directory::in_use();
    let before = fake.state();
    let mut child = started(&fake, &["-e", "sched", "sleep", "1000"]);
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    assert!(fake.state() != before, "the recording was killed before it changed anything");
    let mut command = fake.command(&["list", "-t"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stderr),
        format!(
            "a recording of process {} was killed; the settings that it changed are restored\n",
            child.id()
        )
    );
    assert_eq!(fake.state(), before);
    assert_eq!(fake.outputs(), Vec::<String>::new());
    assert_eq!(fs::read_dir(fake.beside("runtime")).unwrap().count(), 0, "the journal is gone");
    let again = command.output().unwrap();
    assert_eq!(text(&again.stderr), "", "what is put back is not put back again");
}

#[test]
fn a_running_recording_is_not_taken_for_a_killed_one() {
    let fake = Directory::in_use();
    let mut child = started(&fake, &[]);
    // Said once nothing changes any more.
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "Hit Ctrl^C to stop recording\n");
    let during = fake.state();
    let mut command = fake.command(&["list", "-t"]);
    let output = command.output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert!(fake.state() == during, "something was changed");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_second_recording_is_refused_while_the_first_runs() {
    let fake = Directory::in_use();
    let mut first = started(&fake, &[]);
    let output = run(&fake, &["-e", "sched", "-o", "second.dat", "true"]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains(&format!("process {}", first.id())), "{error}");
    assert_eq!(fake.outputs(), Vec::<String>::new());
    kill_process(Pid::from_child(&first), Signal::INT).unwrap();
    assert!(first.wait().unwrap().success());
    assert_eq!(run(&fake, &["-e", "sched", "-o", "second.dat", "true"]).status.code(), Some(0));
}

#[test]
fn an_instance_that_was_missing_is_not_kept_after_a_refusal() {
    let fake = Directory::in_use();
    let output = run(&fake, &["-B", "mine", "-p", "function", "true"]);
    assert_ne!(output.status.code(), Some(0));
    assert!(!fake.beside("tracing/instances/mine").exists());
}

#[test]
fn a_live_trace_passes_lines_on_and_leaves_nothing() {
    let fake = Directory::in_use();
    let lines = "  sh-9  [000] ....  1.000001: __kmalloc <-load\n";
    fs::write(fake.beside("tracing/trace_pipe"), lines).unwrap();
    let before = fake.state();
    let show =
        "cat tracing/set_ftrace_filter tracing/current_tracer; grep -c . tracing/set_ftrace_pid; exit 4";
    let arguments = ["trace", "-p", "function", "-l", "__kmalloc", "sh", "-c", show];
    let output = fake.command(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    assert!(out.contains(lines), "without colours where it is no terminal: {out:?}");
    assert!(out.contains("__kmalloc\nfunction\n1\n"), "{out}");
    assert_eq!(fake.state(), before);
    assert_eq!(fake.outputs(), Vec::<String>::new());
    let refused = fake.command(&["trace", "-p", "function", "-l", "__kmaloc", "true"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(fake.state(), before);
}

#[test]
fn a_stream_has_the_lines_of_a_report() {
    let fake = Directory::in_use();
    let format = "name: function\nID: 1\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
        \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:unsigned long ip;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned long parent_ip;\toffset:16;\tsize:8;\tsigned:0;\n\n\
        print fmt: \" %ps <-- %ps\", (void *)REC->ip, (void *)REC->parent_ip\n";
    fs::write(fake.beside("tracing/events/ftrace/function/format"), format).unwrap();
    // A sub-buffer: its time, its 28 bytes of data, and one record of 24 bytes.
    let mut page = [5_000_000_000_u64.to_le_bytes(), 28_u64.to_le_bytes()].concat();
    page.extend(6_u32.to_le_bytes());
    page.extend([1, 0, 0, 0, 1, 0, 0, 0]);
    page.extend([0; 16]);
    page.resize(4096, 0);
    fs::write(fake.beside("tracing/per_cpu/cpu0/trace_pipe_raw"), page).unwrap();
    let before = fake.state();
    let output = fake.command(&["stream", "-p", "function", "-l", "__kmalloc", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert_eq!(lines[0], "cpus=2");
    assert!(lines[1].starts_with("            init-1     [000]     5.000000: function:  "), "{out}");
    assert_eq!(fake.state(), before);
}

#[test]
fn the_buffer_and_the_snapshot_are_extracted() {
    let fake = Directory::in_use();
    let refused = fake.command(&["extract", "-s"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("CONFIG_TRACER_SNAPSHOT"), "{}", text(&refused.stderr));
    for (file, content) in
        [("snapshot", ""), ("per_cpu/cpu0/snapshot_raw", ""), ("per_cpu/cpu1/snapshot_raw", "")]
    {
        fs::write(fake.beside("tracing").join(file), content).unwrap();
    }
    let before = fake.state();
    let output = fake.command(&["extract", "-o", "now.dat"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    assert!(out.starts_with("CPU0 data recorded at offset=0x"), "{out}");
    assert!(out.ends_with("To read it: snaptrace report -i now.dat\n"), "{out}");
    let output = fake.command(&["extract", "-q", "-s", "-o", "then.dat"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let told = text(&output.stderr);
    assert!(told.contains("the snapshot of the top instance is empty"), "{told}");
    assert!(is_recording(&fake.beside("now.dat")) && is_recording(&fake.beside("then.dat")));
    assert_eq!(fake.state(), before);
}

#[test]
fn a_snapshot_is_taken_shown_emptied_and_freed() {
    let fake = Directory::in_use();
    let refused = fake.command(&["snapshot", "-s"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    let file = fake.beside("tracing/snapshot");
    fs::write(&file, "# tracer: nop\n").unwrap();
    assert_eq!(text(&fake.command(&["snapshot"]).output().unwrap().stdout), "# tracer: nop\n");
    for (option, value) in [("-s", "1\n"), ("-r", "2\n"), ("-f", "0\n")] {
        assert!(fake.command(&["snapshot", option]).status().unwrap().success());
        assert_eq!(fs::read_to_string(&file).unwrap(), value, "{option}");
    }
    assert_eq!(fake.command(&["snapshot", "--cpu", "0"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn set_changes_what_is_given_and_nothing_else() {
    let fake = Directory::in_use();
    let before = fake.state();
    let refused = fake.command(&["set"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert_eq!(fake.state(), before);
    fs::write(fake.beside("tracing/options/func_stack_trace"), "0\n").unwrap();
    let arguments = ["set", "-l", "__kmalloc", "-e", "sched:sched_switch", "-f", "prev_pid == 1", "-b", "64"];
    let output = fake.command(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let changed: Vec<(String, String)> = fake
        .state()
        .into_iter()
        .filter(|file| !before.contains(file))
        .map(|(path, content)| {
            (path.strip_prefix(fake.beside("tracing")).unwrap().display().to_string(), content)
        })
        .collect();
    let expected = [
        ("buffer_size_kb", "64\n"),
        ("events/sched/sched_switch/filter", "prev_pid == 1\n"),
        ("options/func_stack_trace", "0\n"),
        ("set_event", "irq:irq_handler_entry\nsched:sched_switch\n"),
        ("set_ftrace_filter", "__kmalloc\n"),
    ];
    assert_eq!(changed, expected.map(|(file, content)| (file.to_string(), content.to_string())));
}
