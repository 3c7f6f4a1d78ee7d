//! `snaptrace report` on made-up recordings: what it prints, and what it says of damage.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use snaptrace::report::{Config, Style, report};
use trace_dat::Reader;

use crate::fixture::made_up::of_version_6;
use crate::fixture::{self, SNAPTRACE};

fn run(arguments: &[&str], file: &Path) -> Output {
    fixture::run(&[&["report"], arguments].concat(), file)
}

const EXPECTED: &str = "\
cpus=2
             cat-7     [000]     2.000000: function:             vfs_open
CPU:1 [EVENTS DROPPED]
             cat-7     [001]     2.000000: mark:                 hello   |A|B|0x4|seven|  14%
             cat-7     [000]     2.000001: funcgraph_entry:                   |  vfs_open() {
             cat-7     [000]     2.000002: funcgraph_entry:        1.500 us   |    vfs_open();
             cat-7     [000]     2.000004: funcgraph_exit:       # 123456.789 us |  }
             cat-7     [001]     2.000009: mark:                 hello   ||0x1|  -1%
";

/// What is printed of `data`, and whether that was all.
fn text(data: &[u8], config: &Config) -> (String, Result<(), String>) {
    let mut out = Vec::new();
    let outcome = Reader::new("made-up.dat", data.to_vec())
        .map_err(snaptrace::Error::from)
        .and_then(|reader| report(&reader, config, &mut out));
    (String::from_utf8_lossy(&out).into_owned(), outcome.map_err(|error| error.to_string()))
}

fn trace_cmd() -> Config {
    Config { style: Style::TraceCmd31, ..Config::default() }
}

#[test]
fn a_made_up_file_in_both_byte_orders() {
    for big_endian in [false, true] {
        let (text, outcome) = text(&of_version_6(big_endian), &trace_cmd());
        assert_eq!(text, EXPECTED);
        assert_eq!(outcome, Ok(()));
    }
}

#[test]
fn our_own_style_names_parents_and_long_durations() {
    let (text, _) = text(&of_version_6(false), &Config::default());
    assert!(text.contains("2.000000: function:             vfs_open <-- path_openat\n"), "{text}");
    assert!(text.contains("funcgraph_exit:       @ 123456.7 us |  }\n"), "{text}");
}

#[test]
fn options_choose_and_change_lines() {
    let file = of_version_6(false);
    let lines =
        |config: Config| text(&file, &config).0.lines().skip(1).map(str::to_string).collect::<Vec<_>>();
    let cpu = lines(Config { cpus: vec![1], ..trace_cmd() });
    assert_eq!(cpu.len(), 3);
    assert!(cpu[1].contains("[001]"));
    assert_eq!(lines(Config { pids: vec![8], ..trace_cmd() }), Vec::<String>::new());
    assert_eq!(lines(Config { comms: vec!["cat".into()], ..trace_cmd() }).len(), 7);
    let latency = lines(Config { latency: true, cpus: vec![0], ..trace_cmd() });
    assert_eq!(latency[0], "     cat-7       0d..2.     2.000000: function:             vfs_open");
    let raw = lines(Config { raw_fields: true, cpus: vec![0], ..trace_cmd() });
    assert!(raw[0].ends_with(": function:              ip=vfs_open parent_ip=path_openat"), "{}", raw[0]);
    let kernel = lines(Config { kernel_formats: true, cpus: vec![0], ..trace_cmd() });
    assert!(kernel[0].ends_with(": function:              vfs_open <-- path_openat"), "{}", kernel[0]);
    let nanoseconds =
        lines(Config { nanoseconds: true, time_difference: true, cpus: vec![1], ..trace_cmd() });
    assert!(nanoseconds[2].contains(" 2.000009000: (+9000)  mark:"), "{}", nanoseconds[2]);
}

#[test]
fn filters_choose_records() {
    let file = of_version_6(false);
    let marks = |include: &[&str], exclude: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect();
        let config = Config { include: owned(include), exclude: owned(exclude), ..trace_cmd() };
        let (text, outcome) = text(&file, &config);
        assert_eq!(outcome, Ok(()));
        let name = |line: &str| line.split(": ").nth(1).map(|name| name.trim().to_string());
        text.lines().skip(1).filter_map(name).collect::<Vec<_>>()
    };
    assert_eq!(marks(&["mark"], &[]), ["mark", "mark"]);
    assert_eq!(marks(&["MA.K: kind == 7 && flags & 4"], &[]), ["mark"]);
    assert_eq!(marks(&["demo: kind == 7 || flags == 7"], &["mark: kind > 1"]), Vec::<String>::new());
    assert_eq!(marks(&["demo/mark: name == \"hello\"", "function"], &[]), ["function", "mark", "mark"]);
    assert_eq!(marks(&["mark: name =~ \"^h.*O$\" && kind * 2 + 1 == 15"], &[]), ["mark"]);
    assert_eq!(marks(&["mark: name !~ \"l\""], &[]), Vec::<String>::new());
    assert_eq!(marks(&["function: ip == \"vfs_open\""], &[]), ["function"]);
    assert_eq!(marks(&[".*: CPU == 1 && COMM != \"sh\" && TIMESTAMP > 2000000000"], &[]), ["mark"]);
    assert_eq!(marks(&[], &["ftrace"]), ["mark", "mark"]);
    // A comparison is false where the event lacks the field, and true when that is turned round.
    assert_eq!(marks(&["mark,function: kind >= 0"], &[]), ["mark", "mark"]);
    assert_eq!(marks(&["mark,function: !(kind >= 0)"], &[]), ["function"]);
    // A division by zero is no value.
    assert_eq!(marks(&["mark: 1 / (kind - 7) != 5"], &[]), ["mark"]);
}

#[test]
fn and_and_or_group_as_the_style_says() {
    let file = of_version_6(false);
    let filter = vec!["mark: kind == 7 || kind == 1 && flags == 9".to_string()];
    let lines = |style| {
        let config = Config { include: filter.clone(), style, ..Config::default() };
        text(&file, &config).0.lines().filter(|line| line.contains(" mark: ")).count()
    };
    assert_eq!((lines(Style::Snaptrace), lines(Style::TraceCmd31)), (1, 0));
}

#[test]
fn records_made_in_interrupts_can_be_hidden() {
    // All records have the flag for "irqs off" alone, the first one is made to say more.
    let mut file = of_version_6(false);
    let flags = 4096 + 16 + 4 + 2;
    assert_eq!(file[flags], 1);
    for (flag, hardirq, softirq) in [(8, true, false), (16, false, true)] {
        file[flags] = 1 | flag;
        let count = |hide_hardirq, hide_softirq| {
            let config = Config { hide_hardirq, hide_softirq, ..trace_cmd() };
            text(&file, &config).0.lines().filter(|line| line.contains("function:")).count()
        };
        assert_eq!((count(false, false), count(hardirq, softirq), count(softirq, hardirq)), (1, 0, 1));
    }
}

#[test]
fn filters_that_do_not_fit_are_refused_before_anything_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.dat");
    fs::write(&file, of_version_6(false)).unwrap();
    for (filter, said) in [
        ("marc", "the nearest names: mark"),
        ("mark: kint == 1", "the nearest names: kind"),
        ("mark: kind = 1", "'==' is"),
        ("mark: name == 1", "the number 1 compared with the text 'name'"),
        ("mark: kind == \"x\"", "the number 'kind' compared with the text \"x\""),
        ("mark: name =~ \"[\"", "is not a regular expression"),
        ("mark: name > \"x\"", "texts are compared by"),
        ("ma[k", "is not a regular expression"),
    ] {
        let output = run(&["-F", filter], &file);
        assert_eq!(output.status.code(), Some(2), "{filter}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(said), "{filter}: {error}");
        assert!(output.stdout.is_empty(), "{filter}");
    }
}

#[test]
fn filters_behind_v_are_turned_round() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.dat");
    fs::write(&file, of_version_6(false)).unwrap();
    let count = |arguments: &[&str]| String::from_utf8(run(arguments, &file).stdout).unwrap().lines().count();
    assert_eq!(count(&["-F", "function"]), 2);
    assert_eq!(count(&["-v", "-F", "function"]), 7);
    assert_eq!(count(&["-F", "ftrace", "-v", "-F", "function"]), 4);
}

#[test]
fn a_file_cut_anywhere_is_an_error_and_never_a_panic() {
    for big_endian in [false, true] {
        let file = of_version_6(big_endian);
        // Every byte of what holds records and their description; of the padding behind, some.
        let is_dense = |length: &usize| length % 4096 < 256 || *length < 4096;
        for length in (0..file.len()).filter(|length| is_dense(length) || length % 31 == 0) {
            let (text, outcome) = text(&file[..length], &trace_cmd());
            assert!(outcome.is_err(), "the first {length} bytes pass for a whole file:\n{text}");
        }
        // All of the first CPU's records are still shown when the second's are gone.
        let (text, outcome) = text(&file[..8192], &trace_cmd());
        assert_eq!(text.lines().filter(|line| line.contains("[000]")).count(), 4, "{text}");
        assert!(outcome.unwrap_err().contains("CPU 1"));
    }
}

#[test]
fn changed_bytes_never_panic() {
    let file = of_version_6(false);
    let end = file[..4096].iter().rposition(|&byte| byte != 0).unwrap() + 16;
    for at in 0..end {
        // Both pages are changed: the second gets 0xff and 0x7f.
        for value in [0x00, 0x80] {
            let mut changed = file.clone();
            changed[at] = value;
            changed[4096 + at] = !value;
            // What comes out may be anything; that it comes out is the test.
            let (text, outcome) = text(&changed, &trace_cmd());
            assert!(outcome.is_err() || text.starts_with("cpus="), "byte {at} as {value:#x}");
        }
    }
}

#[test]
fn errors_name_file_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.dat");
    let output = run(&[], &missing);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("none.dat"));

    let other = folder.path().join("other.dat");
    fs::write(&other, "PERFILE2 and more").unwrap();
    let output = run(&[], &other);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("other.dat: header, byte 0 (0x0)"), "{error}");

    let cut = folder.path().join("cut.dat");
    fs::write(&cut, &of_version_6(false)[..9000]).unwrap();
    let output = run(&["--style", "trace-cmd-3.1"], &cut);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("CPU 1") && error.contains("offset 0x2000"), "{error}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("vfs_open() {"));
}

#[test]
fn options_that_do_not_exist_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.dat");
    fs::write(&file, of_version_6(false)).unwrap();
    for arguments in [["-O", "parents"], ["-O", "parent=2"], ["--cpu", "1-x"], ["--style", "trace-cmd-9"]] {
        let output = run(&arguments, &file);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(arguments[1].split('=').next().unwrap()));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn threads_do_not_change_what_is_printed() {
    let mut file = of_version_6(false);
    // The two events of CPU 1 over and over, for several batches of lines.
    let events = file[8192 + 16..8192 + 16 + 56].repeat(70);
    let mut page = file[8192..8192 + 8].to_vec();
    page.extend((events.len() as u64).to_le_bytes());
    page.extend(events);
    page.resize(4096, 0);
    let pages = 200;
    file.truncate(8192);
    file.extend(page.repeat(pages));
    let table = file.windows(10).position(|tag| tag == b"flyrecord\0").unwrap() + 10;
    file[table + 24..table + 32].copy_from_slice(&(4096 * pages as u64).to_le_bytes());
    let (alone, outcome) = text(&file, &trace_cmd());
    assert_eq!(outcome, Ok(()));
    assert_eq!(alone.lines().count(), 5 + 140 * pages);
    for threads in [2, 5] {
        let (together, outcome) = text(&file, &Config { threads, ..trace_cmd() });
        assert_eq!(outcome, Ok(()));
        assert!(together == alone, "{threads} threads print something else");
    }
}

#[test]
fn a_full_disk_under_the_report_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("made-up.dat");
    fs::write(&file, of_version_6(false)).unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(SNAPTRACE);
    let output = command.arg("report").arg(&file).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("No space left on device"), "{said}");
}
