//! The `snaptrace` command against a folder that looks like a tracing directory.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fixture::directory::Directory;
use crate::fixture::{self, SNAPTRACE};

#[test]
fn lists_speak_the_kernels_names() {
    let fake = Directory::booted();
    assert_eq!(fake.run(&["list", "-t"]).ok(), "blk function_graph function nop\n");
    assert_eq!(fake.run(&["list", "-C"]).ok(), "[local] global counter\n");
    assert_eq!(fake.run(&["list", "-B"]).ok(), "No buffer instances defined\n");
    assert_eq!(
        fake.run(&["list", "-o"]).ok(),
        "print-parent\nnosym-offset\nnofunction-fork\nnoevent-fork\nnofunc_stack_trace\n"
    );
    assert_eq!(fake.run(&["list", "-f", "^dev_attr"]).ok(), "dev_attr_store\ndev_attr_show\n");
    assert_eq!(fake.run(&["list", "-f", "write*"]).ok(), "write_end [fuse]\n");
    assert_eq!(fake.run(&["list", "-f", "nosuch"]).ok(), "");
    assert_eq!(fake.run(&["list", "-f"]).ok().lines().count(), 4);
    assert_eq!(fake.run(&["list", "-e", "^sched:sched_sw.*"]).ok(), "sched:sched_switch\n");
    fake.put("events/sched/sched_switch/format", "name: sched_switch\n\nprint fmt: \"\"\n");
    assert_eq!(fake.run(&["list", "-e", "sched_switch", "-F"]).ok(), "system: sched\nname: sched_switch\n\n");
    assert_eq!(fake.run(&["list", "-c"]).ok(), "none\nzlib\nzstd\n");
    fake.refuses(&["list", "-t", "-F"], 2, &["'-t' cannot be used with '-F'"]);
    assert_eq!(fake.run(&["list", "-e", "irq:*"]).ok(), "irq:irq_handler_entry\n");
}

#[test]
fn start_sets_everything_up_and_leaves_the_rest() {
    let fake = Directory::booted();
    fake.put("set_ftrace_notrace", "kept\n");
    let arguments = ["start", "-p", "function", "-l", "write*:mod:ext4", "-l", "dev_attr_*", "--func-stack"];
    assert_eq!(fake.run(&arguments).ok(), "");
    assert_eq!(fake.get("current_tracer"), "function\n");
    assert_eq!(fake.get("set_ftrace_filter"), "dev_attr_*\nwrite*:mod:ext4\n");
    assert_eq!(fake.get("options/func_stack_trace"), "1\n");
    assert_eq!(fake.get("set_ftrace_notrace"), "kept\n");
    assert_eq!(fake.get("set_ftrace_pid"), "no pid\n");
    assert_eq!(fake.get("tracing_on"), "1\n");

    fake.run(&[
        "start",
        "-p",
        "function_graph",
        "-g",
        "__kmalloc",
        "--max-graph-depth",
        "2",
        "-O",
        "nofunc_stack_trace",
    ])
    .ok();
    assert_eq!(fake.get("set_graph_function"), "__kmalloc\n");
    assert_eq!(fake.get("max_graph_depth"), "2\n");
    assert_eq!(fake.get("options/func_stack_trace"), "0\n");
    assert_eq!(fake.get("set_ftrace_filter"), "dev_attr_*\nwrite*:mod:ext4\n", "without -l the filter stays");
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let fake = Directory::booted();
    fake.refuses(
        &["start", "-p", "nosuch"],
        2,
        &["tracer 'nosuch' does not exist", "blk function_graph function nop"],
    );
    fake.refuses(&["start", "-p", "function", "-l", "nosuch*"], 2, &["no function matches 'nosuch*'"]);
    fake.refuses(
        &["start", "-p", "function", "-l", "__kmalloc", "-n", "dev_atr_show"],
        2,
        &["dev_attr_show"],
    );
    fake.refuses(&["start", "-p", "function_graph", "-g", "kmaloc"], 2, &["the nearest names: __kmalloc"]);
    fake.refuses(&["start", "-p", "function", "-l", "read*:mod:fuse"], 2, &["no function matches"]);
    fake.refuses(&["start", "-p", "function", "--func-stack"], 2, &["--func-stack without -l"]);
    fake.refuses(&["start", "-O", "print-parant"], 2, &["'print-parant' does not exist", "print-parent"]);
    fake.refuses(&["start", "-p", "function", "-F"], 2, &["-F needs a command"]);
    fake.refuses(&["start", "-P", "1073741824"], 2, &["process 1073741824 of -P does not exist"]);
    fake.refuses(&["start", "-p", "function", "-c", "true"], 2, &["-c needs a process"]);
    fake.refuses(
        &["start", "-p", "nop", "no-such-program-at-all"],
        127,
        &["cannot run 'no-such-program-at-all'"],
    );
    fake.refuses(&["start", "-p", "nosuch", "-B", "probe"], 1, &["available_tracers"]);
    fake.refuses(&["start", "-p", "nop", "-B", "../probe"], 2, &["cannot be the name of an instance"]);
    fake.refuses(&["start", "-p", "nop", "--nosuch"], 2, &["unexpected argument '--nosuch'"]);
    fake.refuses(&["filter", "--set", "dev_attr_*", "nosuch"], 2, &["no function matches 'nosuch'"]);
    fake.refuses(&["filter", "--remove", "__kmalloc"], 2, &["is not in set_ftrace_filter"]);
    fake.refuses(
        &["filter", "--graph", "--set", "a:mod:b"],
        2,
        &["set_graph_function does not accept 'a:mod:b'"],
    );
    fake.refuses(&["stop", "-B", "nosuch"], 2, &["instance 'nosuch' does not exist"]);
    fake.refuses(&["stopp"], 2, &["stop"]);
}

#[test]
fn the_command_runs_while_its_pid_is_the_filter() {
    let fake = Directory::booted();
    // The command sees the filter files as they are when it runs.
    let script = "echo pid $$; cat \"$0/set_ftrace_pid\" \"$0/set_event_pid\" \"$0/tracing_on\" \"$0/current_tracer\"; exit 7";
    let folder = fake.path();
    let folder = folder.to_str().unwrap();
    let ran =
        fake.run(&["start", "-p", "function", "-l", "__kmalloc", "-F", "-c", "sh", "-c", script, folder]);
    assert_eq!(ran.output.status.code(), Some(7), "{}", ran.shown());
    let out = ran.stdout();
    let pid = out.lines().next().unwrap().strip_prefix("pid ").unwrap();
    assert_eq!(out, format!("pid {pid}\n{pid}\n{pid}\n1\nfunction\n"));
    assert_eq!(fake.get("options/function-fork"), "1\n");
    assert_eq!(fake.get("options/event-fork"), "1\n");
    assert_eq!(fake.get("tracing_on"), "1\n", "tracing stays on");
}

#[test]
fn the_commands_end_is_passed_on() {
    let fake = Directory::booted();
    let code = |arguments: &[&str]| fake.run(arguments).output.status.code();
    assert_eq!(code(&["start", "true"]), Some(0));
    assert_eq!(code(&["start", "sh", "-c", "kill -9 $$"]), Some(137));
    assert_eq!(code(&["start", "--", "sh", "-c", "exit 3"]), Some(3));
    assert_eq!(
        fake.run(&["start", "sh", "-c", "echo $0"]).ok(),
        "sh\n",
        "the command gets its name as it was given"
    );
    let script = fake.path().join("script");
    fake.put("text", "#!/no/such/interpreter\n");
    fixture::copy(&fake.path().join("text"), &script);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(code(&["start", script.to_str().unwrap()]), Some(127));
    // Options after the command are the command's own.
    assert_eq!(fake.run(&["start", "echo", "-p", "nosuch"]).ok(), "-p nosuch\n");
}

#[test]
fn a_command_is_killed_when_the_kernel_refuses() {
    let fake = Directory::booted();
    // A folder in place of a control file: it exists, and every write to it fails.
    fs::remove_file(fake.path().join("set_ftrace_notrace")).unwrap();
    fs::create_dir(fake.path().join("set_ftrace_notrace")).unwrap();
    let mark = fake.path().join("ran");
    let ran = fake.run(&["start", "-p", "function", "-n", "__kmalloc", "touch", mark.to_str().unwrap()]);
    assert_eq!(ran.output.status.code(), Some(1), "{}", ran.shown());
    assert!(ran.stderr().contains("set_ftrace_notrace: Is a directory"), "{}", ran.shown());
    assert!(ran.stderr().contains("tracing is left off"), "{}", ran.shown());
    assert!(!mark.exists(), "the command must not have run");
    assert_eq!(fake.get("tracing_on"), "0\n");
    assert_eq!(fake.get("current_tracer"), "nop\n");
}

#[test]
fn filter_shows_and_changes() {
    let fake = Directory::booted();
    assert_eq!(fake.run(&["filter"]).ok(), "#### all functions enabled ####\n");
    assert_eq!(fake.run(&["filter", "--set", "dev_attr_show"]).ok(), "dev_attr_show\n");
    assert_eq!(
        fake.run(&["filter", "--add", "write*:mod:ext4", "__kmalloc"]).ok(),
        "dev_attr_show\n__kmalloc\nwrite*:mod:ext4\n"
    );
    let removed = fake.run(&["filter", "--remove", "__kmalloc"]).ok();
    assert!(
        removed.ends_with("write*:mod:ext4\n!__kmalloc\n"),
        "the kernel gets the pattern with '!': {removed}"
    );
    assert_eq!(fake.run(&["filter", "--notrace"]).ok(), "#### no functions disabled ####\n");
    assert_eq!(fake.run(&["filter", "--graph", "--set", "__kmalloc"]).ok(), "__kmalloc\n");
    assert_eq!(fake.run(&["filter", "--clear"]).ok(), "");
}

#[test]
fn stop_restart_show_and_clear() {
    let fake = Directory::booted();
    fake.run(&["stop"]).ok();
    assert_eq!(fake.get("tracing_on"), "0\n");
    fake.run(&["restart"]).ok();
    assert_eq!(fake.get("tracing_on"), "1\n");
    assert_eq!(fake.run(&["show"]).ok(), "# tracer: nop\n#\n");
    fake.run(&["clear"]).ok();
    assert_eq!(fake.get("trace"), "");
}

#[test]
fn reset_brings_the_defaults_back() {
    let fake = Directory::booted();
    fake.run(&[
        "start",
        "-p",
        "function",
        "-l",
        "__kmalloc",
        "--func-stack",
        "--max-graph-depth",
        "3",
        "-P",
        "1",
        "-c",
    ])
    .ok();
    fake.put("options/print-parent", "0\n");
    fake.put("trace_options", "noprint-parent\nnosym-offset\nfunction-fork\nevent-fork\n");
    fake.put("events/sched/sched_switch/filter", "prev_pid > 3\n");
    fake.put("events/sched/sched_switch/trigger", "hist:keys=prev_pid:size=2048 [active]\n");
    fake.run(&["reset"]).ok();
    for (file, content) in [
        ("current_tracer", "nop\n"),
        ("set_ftrace_filter", ""),
        ("set_ftrace_pid", ""),
        ("options/func_stack_trace", "0\n"),
        ("options/function-fork", "0\n"),
        ("options/event-fork", "0\n"),
        ("options/print-parent", "1\n"),
        ("max_graph_depth", "0\n"),
        ("trace_clock", "local\n"),
        ("events/sched/sched_switch/filter", "0\n"),
        (
            "events/sched/sched_switch/trigger",
            "hist:keys=prev_pid:size=2048 [active]\n!hist:keys=prev_pid:size=2048\n",
        ),
        ("trace", ""),
        ("tracing_on", "1\n"),
    ] {
        assert_eq!(fake.get(file), content, "{file}");
    }
}

#[test]
fn stat_tells_what_is_in_effect() {
    let fake = Directory::booted();
    fake.run(&["start", "-p", "function", "-l", "__kmalloc", "--func-stack", "-P", "1"]).ok();
    assert_eq!(
        fake.run(&["stat"]).ok(),
        "\
tracing:           on
tracer:            function
clock:             local
functions:         __kmalloc
graph functions:   all functions enabled
traced pids:       1
event pids:        1
changed options:   func_stack_trace
buffer size (KiB): 1408 per CPU

 CPU     entries     overrun  commit overrun     dropped
   0           3           0               0           0
   1           3           0               0           0
"
    );
}

#[test]
fn check_names_the_symbol_that_is_missing() {
    let fake = Directory::booted();
    let text = fake.run(&["check"]).ok();
    assert!(text.contains("  ok       function tracer         function\n"), "{text}");
    assert!(text.contains("  missing  kprobe events           CONFIG_KPROBE_EVENTS\n"), "{text}");
    assert!(text.ends_with("This kernel can trace functions and their graphs, with filters.\n"), "{text}");

    fake.put("available_tracers", "function nop\n");
    fs::remove_file(fake.path().join("set_ftrace_filter")).unwrap();
    let ran = fake.run(&["check"]);
    assert_eq!(ran.output.status.code(), Some(1), "{}", ran.shown());
    let text = ran.stdout();
    assert!(text.contains("  missing  function_graph tracer   CONFIG_FUNCTION_GRAPH_TRACER\n"), "{text}");
    assert!(text.contains("  missing  function filters (-l)   CONFIG_DYNAMIC_FTRACE\n"), "{text}");
    assert!(
        text.ends_with("This kernel cannot trace functions: 2 needed features are missing, see above.\n"),
        "{text}"
    );
}

#[test]
fn a_folder_without_tracing_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let output =
        Command::new(SNAPTRACE).args(["list", "-t", "--tracing-dir"]).arg(empty.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not a tracing directory"));
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let fake = Directory::booted();
    // Far more than a pipe holds, so that writing goes on after the reader is gone.
    fake.put("trace", &"a line of the trace\n".repeat(200_000));
    let mut child = fake.command(&["show"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(first, "a line of the trace\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn help_fits_79_columns_and_has_examples() {
    fn walk(command: &mut clap::Command, path: &str) {
        for (kind, text) in [("-h", command.render_help()), ("--help", command.render_long_help())] {
            let text = text.to_string();
            for line in text.lines() {
                assert!(
                    line.chars().count() <= 79,
                    "{path} {kind} has a line of {} columns: {line}",
                    line.chars().count()
                );
            }
            assert!(
                command.is_hide_set() || text.contains("Example:\n  snaptrace "),
                "{path} {kind} has no example"
            );
        }
        assert!(command.get_about().is_some(), "{path} says nothing about itself");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{path}: {} has no help", argument.get_id());
        }
        for inner in command.get_subcommands_mut() {
            let path = format!("{path} {}", inner.get_name());
            walk(inner, &path);
        }
    }
    let mut definition = snaptrace::commands::definition();
    definition.build();
    walk(&mut definition, "snaptrace");
}

#[test]
fn somebody_without_the_permission_is_told_so() {
    let fake = Directory::booted();
    fs::set_permissions(fake.path(), fs::Permissions::from_mode(0o700)).unwrap();
    // Run by root it is run as nobody, who cannot look into every target folder: so it is copied.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = folder.path().join("snaptrace");
    fixture::copy(Path::new(SNAPTRACE), &binary);
    let mut command = Command::new(&binary);
    command.args(["list", "-t", "--tracing-dir"]).arg(fake.path());
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    } else {
        fs::set_permissions(fake.path(), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let output = command.output().unwrap();
    fs::set_permissions(fake.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(output.status.code(), Some(13), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("Permission denied"), "{said}");
    assert!(said.contains(&fake.path().display().to_string()), "{said}");
}

#[test]
fn no_command_panics_where_nobody_reads() {
    let fake = Directory::booted();
    let unread = |arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = fake.command(arguments);
        command.stdout(writer.try_clone().unwrap()).stderr(writer).status().unwrap().code()
    };
    for command in snaptrace::commands::definition().get_subcommands() {
        let name = command.get_name();
        assert_eq!(unread(&[name, "--help"]), Some(0), "{name}");
    }
    for line in ["list", "list -f", "stat", "show", "check", "options"] {
        let code = unread(&line.split(' ').collect::<Vec<_>>());
        assert!(code.is_some_and(|code| code != 101), "{line}: {code:?}");
    }
    assert_eq!(unread(&["report", "nosuch.dat"]), fake.run(&["report", "nosuch.dat"]).output.status.code());
}
