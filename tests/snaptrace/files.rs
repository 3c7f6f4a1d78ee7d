//! The commands over recordings, on a recording that is made up here.

use std::fs;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use trace_dat::write::{Compression, Version};

use crate::fixture::made_up::{graph_and_functions, on_disk};
use crate::fixture::{SNAPTRACE, printed, run};

#[test]
fn dump_sums_up_both_versions() {
    let (_folder, file) = on_disk(Version::V6, Compression::None);
    let path = file.display();
    assert_eq!(
        printed(&["dump"], &file),
        format!(
            "\n Tracing meta data in file {path}:\n\t[Initial format]\n\t\t6\t[Version]\n\
             \t\t0\t[Little endian]\n\t\t8\t[Bytes in a long]\n\t\t4096\t[Page size, bytes]\n\
             \t[Header page, 154 bytes]\n\t[Header event, 26 bytes]\n\t[Ftrace format, 3 events]\n\
             \t[Events format, 1 systems]\n\t[Kallsyms, 49 bytes]\n\t[Trace printk, 0 bytes]\n\
             \t[Saved command lines, 6 bytes]\n\t2 [CPUs with tracing data]\n\t[6 options]\n\
             \t[Flyrecord tracing data]\n\t[Tracing clock]\n\t\t[local]\n"
        )
    );
    let (_folder, file) = on_disk(Version::V7, Compression::Zstd);
    let text = printed(&["dump", "--summary", "--systems"], &file);
    assert!(text.contains("\t\tzstd\t[Compression algorithm]\n"), "{text}");
    assert!(text.contains("\t[buffer \"\", \"local\" clock, 4096 page size, 2 cpus, "), "{text}");
    assert!(text.contains("\t[Events format, 1 systems]\n\t\tdemo 1 [system, events]\n"), "{text}");
    let text = printed(&["dump", "--options", "--cmd-lines"], &file);
    assert!(text.contains("\t\t[Option UNAME, 24 bytes]\nLinux demo 5.4.0 x86_64\n"), "{text}");
    assert!(text.contains("\t\t[Option TRACEID, 8 bytes]\n0xAB\n"), "{text}");
    assert!(text.contains("\t[Saved command lines, 6 bytes]\n7 cat\n"), "{text}");
}

#[test]
fn dump_finds_what_is_missing() {
    let (_folder, file) = on_disk(Version::V7, Compression::None);
    assert!(printed(&["dump", "-v"], &file).ends_with("is a valid trace-cmd file\n"));
    let whole = fs::read(&file).unwrap();
    for size in [whole.len() - 1, whole.len() / 2, 20] {
        fs::write(&file, &whole[..size]).unwrap();
        let output = run(&["dump", "-v"], &file);
        assert_eq!(output.status.code(), Some(1), "{size} bytes");
        assert!(output.stdout.is_empty(), "{size} bytes");
    }
}

/// The lines of a report, without its head.
fn lines(file: &Path) -> Vec<String> {
    printed(&["report", "-t"], file).lines().skip(1).map(str::to_string).collect()
}

/// Standard output and the rest of a command that reads a recording from standard input: from the file
/// itself, or from a pipe.
fn from_input(arguments: &[&str], bytes: &[u8], as_pipe: bool) -> Output {
    let mut command = Command::new(SNAPTRACE);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    if !as_pipe {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        return command.stdin(file).output().unwrap();
    }
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    // Refused before it is read: nobody takes it then.
    let writer = std::thread::spawn(move || drop(input.write_all(&bytes)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[test]
fn every_command_over_recordings_reads_standard_input() {
    for (version, compression) in [(Version::V6, Compression::None), (Version::V7, Compression::Zstd)] {
        let (folder, file) = on_disk(version, compression);
        let bytes = fs::read(&file).unwrap();
        for command in ["report", "dump", "hist", "profile", "check-events"] {
            let expected = run(&[command], &file);
            let path = file.display().to_string();
            let expected = String::from_utf8(expected.stdout).unwrap().replace(&path, "standard input");
            assert!(!expected.is_empty(), "{command}");
            for arguments in [&[command, "-"][..], &[command, "-i", "-"]] {
                for as_pipe in [false, true] {
                    let seen = from_input(arguments, &bytes, as_pipe);
                    assert_eq!(String::from_utf8(seen.stdout).unwrap(), expected, "{arguments:?} {as_pipe}");
                    assert_eq!(seen.status.code(), Some(i32::from(command == "check-events")));
                }
            }
        }
        let base = folder.path().join("part").display().to_string();
        let split = from_input(&["split", "-i", "-", "-o", &base], &bytes, true);
        assert!(split.status.success(), "{}", String::from_utf8_lossy(&split.stderr));
        assert_eq!(lines(&folder.path().join("part.1")), lines(&file));
    }
}

#[test]
fn standard_input_is_refused_where_it_cannot_serve() {
    let bytes = graph_and_functions(Version::V6, Compression::None);
    let refused = |arguments: &[&str], bytes: &[u8], code: i32| {
        let output = from_input(arguments, bytes, true);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["split", "-i", "-"], &bytes, 2).contains("give it with -o"));
    assert!(
        refused(&["report", "-i", "-", "-i", "-"], &bytes, 2)
            .contains("standard input can be read only once")
    );
    assert!(refused(&["report", "-"], b"", 1).contains("standard input"));
}

#[test]
fn the_pieces_are_the_whole() {
    for (version, compression) in
        [(Version::V6, Compression::None), (Version::V7, Compression::None), (Version::V7, Compression::Zstd)]
    {
        for limit in [["-e", "5"], ["-u", "7"], ["-p", "1"], ["-s", "1"]] {
            let (folder, file) = on_disk(version, compression);
            // Lines depend on what stood before: fields do not.
            let fields = |file: &Path| {
                let text = printed(&["report", "-t", "-R"], file);
                text.lines().skip(1).map(str::to_string).collect::<Vec<_>>()
            };
            let mut arguments = vec!["split", "-r", "-o", "part"];
            arguments.extend(limit);
            let output = Command::new(SNAPTRACE)
                .args(&arguments)
                .arg("-i")
                .arg(&file)
                .current_dir(&folder)
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let names = String::from_utf8(output.stdout).unwrap();
            let pieces: Vec<Vec<String>> =
                names.lines().map(|name| fields(&folder.path().join(name))).collect();
            if limit[0] == "-e" {
                assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5, 2]);
            }
            assert_eq!(pieces.len() == 1, limit[0] == "-s" || limit[0] == "-p", "{limit:?}");
            assert_eq!(pieces.concat(), fields(&file), "{version:?} {limit:?}");
            let first = folder.path().join(names.lines().next().unwrap());
            let uname = printed(&["dump", "--options"], &first);
            assert!(uname.contains("Linux demo 5.4.0 x86_64"), "{uname}");
        }
    }
}

#[test]
fn split_takes_a_range_and_a_cpu() {
    let (folder, file) = on_disk(Version::V7, Compression::Zstd);
    let split = |arguments: &[&str]| {
        let path = file.display().to_string();
        let output = Command::new(SNAPTRACE)
            .args(["split", "-i", &path, "-o", "piece"])
            .args(arguments)
            .current_dir(&folder)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let piece = folder.path().join("piece.1");
    assert_eq!(split(&["1.000005", "1.000010"]), (Some(0), String::new()));
    let times: Vec<String> =
        lines(&piece).iter().map(|line| line.split_whitespace().nth(2).unwrap().to_string()).collect();
    assert_eq!(times, ["1.000005000:", "1.000005000:", "1.000006000:", "1.000010000:"]);
    assert_eq!(split(&["-C", "1"]), (Some(0), String::new()));
    assert_eq!(lines(&piece).len(), 2);
    assert!(lines(&piece).iter().all(|line| line.contains("[001]")));
    assert_eq!(split(&["-c", "-e", "1"]), (Some(0), String::new()));
    assert_eq!(lines(&piece).len(), 2);

    for (arguments, said) in [
        (&["-C", "2"][..], "no data of CPU 2"),
        (&["2.0"], "no records in this range"),
        (&["soon"], "'soon' is not a time"),
        (&["-B", "x"], "no instance 'x'"),
        (&["-r"], "-s"),
        (&["-e", "0"], "0 is not in"),
    ] {
        let (code, error) = split(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
}

#[test]
fn report_tells_about_the_recording() {
    let (_folder, file) = on_disk(Version::V7, Compression::Zstd);
    let told = |option: &str| printed(&["report", "--style", "trace-cmd-3.1", option], &file);
    assert_eq!(told("-e").split(" and ").next(), Some("file is little endian"));
    assert_eq!(told("-E"), "demo:odd\nftrace:funcgraph_entry\nftrace:funcgraph_exit\nftrace:function\n");
    assert!(told("-f").starts_with("0000000000001000 open\n0000000000001100 read\n"));
    assert_eq!(told("--uname"), "cpus=2\nLinux demo 5.4.0 x86_64\nmade-up\n");
    assert_eq!(told("--version"), "cpus=2\nmade-up\n");
    assert!(told("--events").starts_with("\nsystem: demo\nname: odd\n"));
    let path = file.display();
    assert_eq!(
        printed(&["report", "--first-event", "--last-event"], &file),
        format!(
            "List of CPUs in {path} with data:\n  0\tFirst event:    1.000000\tLast event:    1.000030\n  \
             1\tFirst event:    1.000005\tLast event:    1.000025\n"
        )
    );
    // trace-cmd has compressed data unpacked one behind the other.
    assert!(told("--stat").ends_with(
        "CPU: 1\nentries: 0\n\n\nCPU0 data recorded at offset=0x1000\n    8192 bytes in size\n\
         CPU1 data recorded at offset=0x3000\n    4096 bytes in size\n"
    ));
    assert!(printed(&["report", "--stat"], &file).ends_with(" (4096 uncompressed)\n"));
}

#[test]
fn profile_sums_up_a_graph() {
    let (_folder, file) = on_disk(Version::V7, Compression::Zstd);
    let rows = |arguments: &[&str]| {
        let text = printed(&[&["profile"], arguments].concat(), &file);
        let words = |line: &str| line.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        text.lines().skip(1).map(words).collect::<Vec<_>>()
    };
    assert_eq!(
        rows(&[]),
        [
            ["open", "1", "10.000", "6.000", "10.000", "10.000"],
            ["read", "2", "4.000", "4.000", "2.000", "3.000"],
            ["close", "1", "0.500", "0.500", "0.500", "0.500"],
        ]
    );
    let names = |arguments: &[&str]| rows(arguments).iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    assert_eq!(names(&["--sort", "calls"]), ["read", "close", "open"]);
    assert_eq!(names(&["--sort", "name", "-n", "2"]), ["close", "open"]);
    assert_eq!(names(&["--pid", "8"]), Vec::<String>::new());
    let output = run(&["profile", "--cpu", "1"], &file);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("holds no graph"));
}

#[test]
fn hist_counts_with_callers() {
    let (_folder, file) = on_disk(Version::V7, Compression::Zstd);
    let text = printed(&["hist", "-P", "--cpu", "1"], &file);
    assert_eq!(
        text,
        "  %100.00 <all pids>                          close #2\n         |\n         --- close\n            \
         |\n            |--%100.00-- open  # 2\n\n"
    );
    let text = printed(&["hist"], &file);
    // Three entries of the graph and a function each time.
    assert!(text.starts_with(&format!("  %37.50  (7) cat {:>30} #3\n", "close")), "{text}");
    assert!(text.contains("            |--%66.67-- open  # 2\n"), "{text}");
    assert!(text.contains(&format!("  %25.00  (7) cat {:>30} #2\n", "open")), "{text}");
}

#[test]
fn check_events_names_what_is_not_understood() {
    let (_folder, file) = on_disk(Version::V7, Compression::Zstd);
    let output = run(&["check-events"], &file);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "demo:odd: calls unknown_macro(), which only the kernel has\n4 events, 1 of them not understood\n"
    );
}

#[test]
fn several_recordings_are_one_report() {
    let (folder, first) = on_disk(Version::V6, Compression::None);
    let second = folder.path().join("later.dat");
    fs::copy(&first, &second).unwrap();
    let report = |arguments: &[&str]| {
        let (first, second) = (first.display().to_string(), second.display().to_string());
        let mut all =
            vec!["report", "-t", "-F", "function", "-i", &first, "--ts-offset", "-5000", "-i", &second];
        all.extend(arguments);
        Command::new(SNAPTRACE).args(all).output().unwrap()
    };
    let output = report(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("    a.dat: cpus=2\nlater.dat: cpus=2\n"), "{text}");
    let lines: Vec<Vec<&str>> = text.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
    let expected = [
        ("a.dat:", "1.000000000:"),
        ("later.dat:", "1.000005000:"),
        ("a.dat:", "1.000015000:"),
        ("a.dat:", "1.000020000:"),
        ("later.dat:", "1.000020000:"),
        ("later.dat:", "1.000025000:"),
        // The two of the first CPU's second sub-buffer.
        ("a.dat:", "1.000025000:"),
        ("later.dat:", "1.000030000:"),
    ];
    let mut found: Vec<(&str, &str)> = lines.iter().map(|words| (words[0], words[3])).collect();
    assert!(found.is_sorted_by_key(|(_, time)| *time), "{text}");
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);

    let output = report(&["--version"]);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "    a.dat: cpus=2\nmade-up\nlater.dat: cpus=2\nmade-up\n"
    );
    assert_eq!(report(&["-w"]).status.code(), Some(2));
}

#[test]
fn the_text_of_a_latency_tracer_is_printed_as_it_is() {
    let (_folder, file) = on_disk(Version::V6, Compression::None);
    let whole = fs::read(&file).unwrap();
    let table = whole.windows(10).position(|window| window == b"flyrecord\0").unwrap();
    let text = "# tracer: wakeup\n   <...>-12      0d... 1us : hello\n";
    fs::write(&file, [&whole[..table], b"latency  \0", text.as_bytes()].concat()).unwrap();
    assert_eq!(printed(&["report"], &file), format!("cpus=2\n{text}\n"));
    assert!(printed(&["dump"], &file).ends_with("\t[6 options]\n\t[Latency tracing data]\n"));
    assert_eq!(run(&["report", "-i"], &file).status.code(), Some(0));
    let output = Command::new(SNAPTRACE).args(["split", "-i"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));

    // Version 7 has such a text behind an option of its own, which is not read: that is told.
    let (_folder, file) = on_disk(Version::V7, Compression::None);
    let mut whole = fs::read(&file).unwrap();
    let option = whole.windows(6).rposition(|window| window == [3, 0, 63, 0, 0, 0]).unwrap();
    whole[option] = 22;
    fs::write(&file, whole).unwrap();
    let output = run(&["report"], &file);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("the text of a latency tracer") && output.stdout.is_empty(), "{error}");
}
