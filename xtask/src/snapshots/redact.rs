//! Redaction: hides the parts of a transcript that must vary between runs, and nothing else; pure.
//!
//! Hidden are timestamps, durations of graphs with their overhead marks, process ids (numbered by first
//! appearance), code addresses, and the position and compressed size of data in a recording. Columns keep
//! their positions. An empty `f() { }` of a graph becomes the leaf `f();`: a timer tick, whose functions are
//! not traced, turns one form into the other.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::lines::{EVENT, FRAME, GRAPH, REPORTED, REPORTED_GRAPH, SWITCH, regex};

/// ` => 0xffffffffc0191061`, a caller without a name.
static TRAMPOLINE: LazyLock<Regex> = LazyLock::new(|| regex(r"^ => 0x[0-9a-f]+$"));
/// A line in the report of a graph, with time and process already hidden.
static HIDDEN_GRAPH: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?<head>.*? \*\.\*{6,9}: )(?<event>\w*graph\w*:) +(?<duration>  \*\.\*{3} us)? *\|(?<call>  .*)$",
    )
});
/// `calltime=0x1ef000`, a raw field of a graph.
static CLOCK_FIELD: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\b(?<name>calltime|rettime)=(?:0x)?[0-9a-f]+"));
/// `CPU0 data recorded at offset=0x1ef000`
static STORED: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^(?<head>CPU\d+ data recorded at offset=)0x[0-9a-f]+$"));
/// `    90 bytes in size (4096 uncompressed)`
static SIZE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^    \d+(?<rest> bytes in size \(\d+ uncompressed\))$"));
/// `    [   29.355965] event filter parse error: error: Field not found`, of the error_log
static LOGGED: LazyLock<Regex> = LazyLock::new(|| regex(r"^(?<indent> *\[) *\d+\.\d{6}(?<rest>\] .*)$"));

/// The replacement of a timestamp: as wide as the kernel's `%5lu.%06lu`.
const TIME: &str = "    *.******";
/// The replacement of a duration.
const DURATION: &str = "  *.*** us";
/// The width of the duration column in a report. A very long duration is wider, which must not show.
const REPORTED_WIDTH: usize = 13;

/// Redacts a transcript.
pub fn redacted(transcript: &str) -> String {
    let mut pids = Pids::default();
    let lines: Vec<String> = transcript.lines().map(|line| line_of(line, &mut pids)).collect();
    let mut out = String::with_capacity(transcript.len());
    for line in collapse(lines) {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn line_of(line: &str, pids: &mut Pids) -> String {
    if let Some(graph) = REPORTED_GRAPH.captures(line) {
        let pid = pids.name(&graph["pid"]);
        let width = graph["pid"].len() + graph["gap"].len();
        let nanoseconds = if graph.name("ns").is_some() { "***" } else { "" };
        let head = format!("{}{pid:<width$}{} {TIME}{nanoseconds}: ", &graph["task"], &graph["cpu"]);
        reported_graph(&head, &graph["event"], graph.name("duration").is_some(), &graph["call"])
    } else if let Some(event) = EVENT.captures(line) {
        let width = event["pid"].len() + event["gap"].len();
        let pid = pids.name(&event["pid"]);
        // After a change of the tracer, `trace` shows remaining lines of a graph after its own columns.
        let rest = graph_line(&event["rest"]).unwrap_or_else(|| event["rest"].to_owned());
        format!("{}{pid:<width$}{} {TIME}: {rest}", &event["task"], &event["cpu"])
    } else if let Some(graph) = graph_line(line) {
        graph
    } else if let Some(switch) = SWITCH.captures(line) {
        let from = centred(&task(&switch, "from", "from_pid", pids));
        let to = centred(&task(&switch, "to", "to_pid", pids));
        format!("{} {from} => {to}", &switch["cpu"])
    } else if let Some(event) = REPORTED.captures(line) {
        let width = event["pid"].len() + event["gap"].len();
        let pid = pids.name(&event["pid"]);
        let name = format!("{}:", &event["event"]);
        let text = match event["event"].contains("graph") {
            true => CLOCK_FIELD.replace_all(&event["text"], "$name=<time>"),
            false => event["text"].into(),
        };
        format!("{}{pid:<width$}{} {TIME}: {name:21} {text}", &event["task"], &event["cpu"])
    } else if let Some(frame) = FRAME.captures(line) {
        match frame.name("function") {
            Some(function) => format!("=> {} (<address>)", function.as_str()),
            None => "=> <trampoline>".into(),
        }
    } else if let Some(stored) = STORED.captures(line) {
        format!("{}<offset>", &stored["head"])
    } else if let Some(size) = SIZE.captures(line) {
        format!("    <size>{}", &size["rest"])
    } else if let Some(logged) = LOGGED.captures(line) {
        format!("{}{TIME}{}", &logged["indent"], &logged["rest"])
    } else if TRAMPOLINE.is_match(line) {
        " => <trampoline>".into()
    } else {
        line.into()
    }
}

/// A line of a graph as the kernel shows it, without its duration.
fn graph_line(line: &str) -> Option<String> {
    let graph = GRAPH.captures(line)?;
    let width = graph["duration"].len();
    let duration = if graph["duration"].contains(" us") { DURATION } else { "" };
    Some(format!("{}{duration:<width$}|{}", &graph["cpu"], &graph["call"]))
}

/// A redacted line in the report of a graph; it shows only whether there is a duration.
fn reported_graph(head: &str, event: &str, has_duration: bool, call: &str) -> String {
    let duration = if has_duration { DURATION } else { "" };
    format!("{head}{event:21} {duration:<REPORTED_WIDTH$}|{call}")
}

fn task(switch: &Captures<'_>, comm: &str, pid: &str, pids: &mut Pids) -> String {
    format!("{}-{}", &switch[comm], pids.name(&switch[pid]))
}

/// A task as in a switch banner: centred in 14 columns, with an odd space on the right.
fn centred(task: &str) -> String {
    let spaces = 14_usize.saturating_sub(task.len());
    let before = spaces / 2;
    format!("{:before$}{task}{:after$}", "", "", after = spaces - before)
}

/// Replaces process ids by P1, P2, … in the order of their first appearance.
#[derive(Default)]
struct Pids(Vec<String>);

impl Pids {
    fn name(&mut self, pid: &str) -> String {
        // 0 is the idle task on every machine.
        if pid == "0" {
            return "0".into();
        }
        let at = self.0.iter().position(|known| known == pid).unwrap_or_else(|| {
            self.0.push(pid.into());
            self.0.len() - 1
        });
        format!("P{}", at + 1)
    }
}

/// Joins `f() {` and a `}` directly after it to `f();`, repeatedly, since this can empty other calls.
fn collapse(lines: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(lines.len());
    for line in lines {
        let joined = out.last().and_then(|last| join(last, &line));
        match joined {
            Some(joined) => {
                out.pop();
                out.push(joined);
            }
            None => out.push(line),
        }
    }
    out
}

fn join(opening: &str, closing: &str) -> Option<String> {
    if let (Some(opening), Some(closing)) = (GRAPH.captures(opening), GRAPH.captures(closing)) {
        let call = joined(&opening["call"], &closing["call"])?;
        return Some(format!("{}{}|{call}", &opening["cpu"], &closing["duration"]));
    }
    let (opening, closing) = (HIDDEN_GRAPH.captures(opening)?, HIDDEN_GRAPH.captures(closing)?);
    if opening["head"] != closing["head"] {
        return None;
    }
    let call = joined(&opening["call"], &closing["call"])?;
    let has_duration = closing.name("duration").is_some();
    Some(reported_graph(&opening["head"], &opening["event"], has_duration, &call))
}

/// The leaf for a call without callees.
fn joined(opening: &str, closing: &str) -> Option<String> {
    let call = opening.strip_suffix("() {")?;
    let indent = call.len() - call.trim_start().len();
    let brace = closing.strip_prefix(&call[..indent])?;
    brace.starts_with('}').then(|| format!("{call}();"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_lose_time_and_pid_but_keep_their_columns() {
        let one = "              sh-97    [000] .N..  1025.700985: __kmalloc <-security_prepare_creds\n             cat-110   [000] ....  1025.706053: __kmalloc <-load_elf_phdrs\n";
        let other = "              sh-4     [000] .N..     0.000001: __kmalloc <-security_prepare_creds\n             cat-31337 [000] ....     9.999999: __kmalloc <-load_elf_phdrs\n";
        let expected = "              sh-P1    [000] .N..     *.******: __kmalloc <-security_prepare_creds\n             cat-P2    [000] ....     *.******: __kmalloc <-load_elf_phdrs\n";
        assert_eq!(redacted(one), expected);
        assert_eq!(redacted(other), expected);
    }

    #[test]
    fn what_need_not_vary_is_kept() {
        for line in [
            "# entries-in-buffer/entries-written: 14/14   #P:1\n",
            "dev_attr_store\n",
            "write*:mod:ext4\n",
            " => security_prepare_creds\n",
            "$ snaptrace start -p function -l __kmalloc\n",
        ] {
            assert_eq!(redacted(line), line);
        }
        let flags = "              sh-97    [001] dN.1     1.000000: f <-g\n";
        assert!(redacted(flags).contains("[001] dN.1 "), "{}", redacted(flags));
        assert!(redacted(flags).ends_with(": f <-g\n"));
    }

    #[test]
    fn graphs_lose_durations_and_marks() {
        let graph = " 0)               |  __kmalloc() {\n 0)   2.168 us    |    kmalloc_slab();\n 0) + 25.518 us   |  }\n 0) ! 125.518 us  |  }\n";
        let expected = " 0)               |  __kmalloc() {\n 0)   *.*** us    |    kmalloc_slab();\n 0)   *.*** us    |  }\n 0)   *.*** us    |  }\n";
        assert_eq!(redacted(graph), expected);
    }

    #[test]
    fn an_empty_call_is_a_leaf() {
        let ticked = " 0)               |  f() {\n 0)               |    g() {\n 0)   1.000 us    |    }\n 0)   2.000 us    |  }\n";
        let calm = " 0)               |  f() {\n 0)   0.100 us    |    g();\n 0)   2.000 us    |  }\n";
        assert_eq!(redacted(ticked), redacted(calm));
        let sibling = " 0)               |  f() {\n 0)   0.100 us    |    g();\n 0)   2.000 us    |  }\n 0)   1.000 us    |  }\n";
        assert_eq!(redacted(sibling).lines().count(), 4);
    }

    #[test]
    fn switches_are_centred_anew() {
        let short = " 0)     sh-97      =>    cat-124    \n";
        let long = " 0)    sh-12345    =>   cat-12346   \n";
        assert_eq!(redacted(short), " 0)      sh-P1      =>     cat-P2\n");
        assert_eq!(redacted(short), redacted(long));
    }

    #[test]
    fn trampolines_have_no_address() {
        assert_eq!(redacted(" => 0xffffffffc0191061\n => __kmalloc\n"), " => <trampoline>\n => __kmalloc\n");
    }

    const REPORT: &str = "cpus=1\n              sh-163   [000]   820.854628: function:             __kmalloc <-- security_prepare_creds\n              sh-163   [000]   820.854857: kernel_stack:         <stack trace>\n=> ffffffffc0021061\n=> __kmalloc (ffffffff849d7445)\n=> security_prepare_creds (ffffffff84b59cba)\n";

    #[test]
    fn reports_lose_times_pids_and_addresses() {
        let expected = "cpus=1\n              sh-P1    [000]     *.******: function:             __kmalloc <-- security_prepare_creds\n              sh-P1    [000]     *.******: kernel_stack:         <stack trace>\n=> <trampoline>\n=> __kmalloc (<address>)\n=> security_prepare_creds (<address>)\n";
        assert_eq!(redacted(REPORT), expected);
        let later = REPORT
            .replace("   820.85", " 12820.85")
            .replace("sh-163  ", "sh-16345")
            .replace("84b59", "99b00");
        assert_eq!(redacted(&later), expected);
        let recorded = "CPU0 data recorded at offset=0x1ef000\n    90 bytes in size (4096 uncompressed)\n";
        let expected =
            "CPU0 data recorded at offset=<offset>\n    <size> bytes in size (4096 uncompressed)\n";
        assert_eq!(redacted(recorded), expected);
    }

    /// Real lines of a graph's report, with each kind of mark and a call that took very long.
    const GRAPH_REPORT: &str = "cpus=1\n\
        \x20             sh-97    [000]  1025.700985: funcgraph_entry:                   |  vfs_read() {\n\
        \x20             sh-97    [000]  1025.700990: funcgraph_entry:        2.168 us   |    kmalloc_slab();\n\
        \x20             sh-97    [000]  1025.700995: funcgraph_entry:      + 17.527 us  |    rw_verify_area();\n\
        \x20             sh-97    [000]  1025.701001: funcgraph_entry:                   |    __vfs_read() {\n\
        \x20             sh-97    [000]  1025.701002: funcgraph_entry:      ! 165.688 us |      new_sync_read();\n\
        \x20             sh-97    [000]  1025.701180: funcgraph_exit:       # 1734.078 us |    }\n\
        \x20             sh-97    [000]  1027.702222: funcgraph_exit:       $ 2001235.66 us |  }\n";

    #[test]
    fn reports_of_graphs_lose_durations_and_marks_and_keep_their_columns() {
        let expected = "cpus=1\n\
            \x20             sh-P1    [000]     *.******: funcgraph_entry:                   |  vfs_read() {\n\
            \x20             sh-P1    [000]     *.******: funcgraph_entry:        *.*** us   |    kmalloc_slab();\n\
            \x20             sh-P1    [000]     *.******: funcgraph_entry:        *.*** us   |    rw_verify_area();\n\
            \x20             sh-P1    [000]     *.******: funcgraph_entry:                   |    __vfs_read() {\n\
            \x20             sh-P1    [000]     *.******: funcgraph_entry:        *.*** us   |      new_sync_read();\n\
            \x20             sh-P1    [000]     *.******: funcgraph_exit:         *.*** us   |    }\n\
            \x20             sh-P1    [000]     *.******: funcgraph_exit:         *.*** us   |  }\n";
        assert_eq!(redacted(GRAPH_REPORT), expected);
        let quick = GRAPH_REPORT.replace("# 1734.078 us |", "    0.078 us   |");
        let quick = quick.replace("$ 2001235.66 us", "@ 200123.6 us ").replace("1025.70", "   5.70");
        assert_eq!(redacted(&quick), expected);
        // `stream` prints the same lines without a head, `report -i` with the file before.
        for change in [("cpus=1\n", ""), ("              sh-97", "a.dat:              sh-97")] {
            let (text, wanted) = (GRAPH_REPORT.replace(change.0, change.1), change.1.replace("97", "P1"));
            assert_eq!(redacted(&text), expected.replace(&change.0.replace("97", "P1"), &wanted));
        }
        let precise = redacted(&GRAPH_REPORT.replace("1025.700985:", "1025.700985123:"));
        assert!(
            precise.contains("[000]     *.*********: funcgraph_entry:                   |  vfs_read() {")
        );
    }

    #[test]
    fn other_forms_of_a_graph_lose_durations_too() {
        let tail =
            "  sh-97    [000]  1025.700985: funcgraph_exit:       ! 125.168 us |    } /* vfs_read */ (1)\n";
        let hidden =
            "  sh-P1    [000]     *.******: funcgraph_exit:         *.*** us   |    } /* vfs_read */ (1)\n";
        assert_eq!(redacted(tail), hidden);
        let raw = "  sh-97 [000]  1.700985: funcgraph_exit:       func=0xffffffff81 calltime=0x1ef0 rettime=8123 depth=1\n";
        let hidden = "  sh-P1 [000]     *.******: funcgraph_exit:       func=0xffffffff81 calltime=<time> rettime=<time> depth=1\n";
        assert_eq!(redacted(raw), hidden);
        // trace-cmd's styles print flags before the time.
        let flags =
            "  sh-97    [000] d..1.  1025.700985: funcgraph_entry:      + 17.527 us  |  vfs_read();\n";
        let hidden =
            "  sh-P1    [000] d..1.     *.******: funcgraph_entry:        *.*** us   |  vfs_read();\n";
        assert_eq!(redacted(flags), hidden);
        // `report -l` prints them after the number of the CPU.
        let latency =
            "     cat-81      0...1.    18.998996: funcgraph_entry:      + 10.560 us  |  mntget();\n";
        let hidden =
            "     cat-P1      0...1.     *.******: funcgraph_entry:        *.*** us   |  mntget();\n";
        assert_eq!(redacted(latency), hidden);
        // A remaining line of a graph, shown by another tracer.
        let left = "  sh-97    [000] ....  1025.700985:  0) + 25.518 us   |  }\n";
        assert_eq!(redacted(left), "  sh-P1    [000] ....     *.******:  0)   *.*** us    |  }\n");
        // In other events only time and process are hidden.
        let event = "  sh-97    [000]  1.700985: print:                latency 2.168 us | calltime=12\n";
        assert!(redacted(event).ends_with(": print:                latency 2.168 us | calltime=12\n"));
    }

    #[test]
    fn an_empty_call_of_a_report_is_a_leaf() {
        let line = |event: &str, rest: &str| format!("  sh-97    [000]     1.000000: {event:21} {rest}\n");
        let ticked =
            line("funcgraph_entry:", "             |  f() {") + &line("funcgraph_exit:", "+ 12.000 us  |  }");
        let calm = line("funcgraph_entry:", "  0.100 us   |  f();");
        assert_eq!(redacted(&ticked), redacted(&calm));
        let another = ticked.replacen("[000]", "[001]", 1);
        assert_eq!(redacted(&another).lines().count(), 2);
    }

    #[test]
    fn no_duration_of_a_real_report_is_left() {
        for report in [
            include_str!("../../../tests/recordings/5.4-graph.txt"),
            include_str!("../../../tests/recordings/debian-6.1-graph.txt"),
        ] {
            let duration = regex(r"\d us\b");
            assert!(report.lines().filter(|line| duration.is_match(line)).count() > 50);
            let hidden = redacted(report);
            assert_eq!(hidden.lines().find(|line| duration.is_match(line)), None);
            let columns =
                |text: &str| -> Vec<Option<usize>> { text.lines().map(|line| line.find('|')).collect() };
            assert!(columns(&hidden).iter().flatten().all(|column| *column == columns(report)[1].unwrap()));
        }
    }

    #[test]
    fn the_time_of_an_error_log_is_hidden() {
        let line = "    [   29.355965] event filter parse error: error: Field not found\n";
        assert_eq!(redacted(line), "    [    *.******] event filter parse error: error: Field not found\n");
    }
}
