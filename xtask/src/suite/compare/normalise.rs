//! Transcripts made comparable: what must vary between runs is hidden, and nothing else.
//!
//! Hidden are timestamps, durations of traces and reports of graphs with their overhead marks,
//! process ids (numbered by first appearance), addresses of code, and where and how well compressed
//! a recording's data lies in its file. Columns stay where they are. An empty `f() { }` of a graph
//! is the leaf `f();`: a timer tick, whose functions are not traced, makes the one of the other.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A regular expression of this room; a broken one fails every test here.
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

/// `  sh-97    [000] .N..  1025.700985: __kmalloc <-security_prepare_creds`
static EVENT: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?<task> *\S.*?-)(?<pid>\d+)(?<gap> +)(?<cpu>\[\d{3}\] \S{4,5}) +(?<time>\d+\.\d{6}): (?<rest>.*)$",
    )
});
/// ` 0)   2.168 us    |    kmalloc_slab();`
static GRAPH: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^(?<cpu> *\d+\) )(?<duration>[^|]*)\|(?<call>  .*)$"));
/// ` 0)     sh-97      =>    cat-124    `
static SWITCH: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"^(?<cpu> *\d+\) )  *(?<from>\S.*?)-(?<from_pid>\d+) +=>  *(?<to>\S.*?)-(?<to_pid>\d+) *$")
});
/// ` => 0xffffffffc0191061`, a caller without a name.
static TRAMPOLINE: LazyLock<Regex> = LazyLock::new(|| regex(r"^ => 0x[0-9a-f]+$"));

/// `             cat-248   [000]   731.895426: function:             __kmalloc <-- load_elf_phdrs`,
/// a line of a report.
static REPORTED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?<task> *\S.*?-)(?<pid>\d+)(?<gap> +)(?<cpu>\[\d{3}\]) +(?<time>\d+\.\d{6}): (?<event>\w+): +(?<text>\S.*)$",
    )
});
/// `              sh-97    [000]  1025.700985: funcgraph_entry:        2.168 us   |    kmalloc_slab();`, a
/// line of a report of a graph: its duration stands in a column of its own, after a mark where it is long.
static REPORTED_GRAPH: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?<task> *\S.*?-)(?<pid>\d+)(?<gap> +)(?<cpu>\[\d{3}\](?: \S{4,6})?|\d{1,3}[^\s\d]\S{3,5}) +(?<time>\d+\.\d{6}(?<ns>\d{3})?): (?<event>\w*graph\w*:) +(?<duration>[-+!#*@$ ]*\d[\d.]* us)? *\|(?<call>  .*)$",
    )
});
/// The same without what must vary.
static HIDDEN_GRAPH: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?<head>.*? \*\.\*{6,9}: )(?<event>\w*graph\w*:) +(?<duration>  \*\.\*{3} us)? *\|(?<call>  .*)$",
    )
});
/// `calltime=0x1ef000`, of a graph's raw fields.
static CLOCK_FIELD: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\b(?<name>calltime|rettime)=(?:0x)?[0-9a-f]+"));
/// `=> __kmalloc (ffffffff849d7445)`, or the address alone where no function has it: a frame of
/// a report.
static FRAME: LazyLock<Regex> = LazyLock::new(|| regex(r"^=> (?:(?<function>\S+) \([0-9a-f]+\)|[0-9a-f]+)$"));
/// `CPU0 data recorded at offset=0x1ef000`
static STORED: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^(?<head>CPU\d+ data recorded at offset=)0x[0-9a-f]+$"));
/// `    90 bytes in size (4096 uncompressed)`
static SIZE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^    \d+(?<rest> bytes in size \(\d+ uncompressed\))$"));
/// `    [   29.355965] event filter parse error: error: Field not found`, of the error_log
static LOGGED: LazyLock<Regex> = LazyLock::new(|| regex(r"^(?<indent> *\[) *\d+\.\d{6}(?<rest>\] .*)$"));

/// What stands for a timestamp: as wide as the kernel's `%5lu.%06lu`.
const TIME: &str = "    *.******";
/// What stands for a duration.
const DURATION: &str = "  *.*** us";
/// The column of durations in a report; a very long one is wider, which must not show.
const REPORTED_WIDTH: usize = 13;

/// A transcript without what must vary.
pub fn normalise(transcript: &str) -> String {
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
        // Another tracer's `trace` shows what is left of a graph behind its own columns.
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

/// A line of a report's graph; only whether it has a duration is told.
fn reported_graph(head: &str, event: &str, has_duration: bool, call: &str) -> String {
    let duration = if has_duration { DURATION } else { "" };
    format!("{head}{event:21} {duration:<REPORTED_WIDTH$}|{call}")
}

fn task(switch: &Captures<'_>, comm: &str, pid: &str, pids: &mut Pids) -> String {
    format!("{}-{}", &switch[comm], pids.name(&switch[pid]))
}

/// A task as a switch banner has it: in the middle of 14 columns, the odd one to the right.
fn centred(task: &str) -> String {
    let spaces = 14_usize.saturating_sub(task.len());
    let before = spaces / 2;
    format!("{:before$}{task}{:after$}", "", "", after = spaces - before)
}

/// Process ids in the order of their first appearance: P1, P2, …
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

/// Joins `f() {` with a `}` right behind it to `f();`, again and again as this empties more.
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

/// The leaf that a call without calls amounts to.
fn joined(opening: &str, closing: &str) -> Option<String> {
    let call = opening.strip_suffix("() {")?;
    let indent = call.len() - call.trim_start().len();
    let brace = closing.strip_prefix(&call[..indent])?;
    brace.starts_with('}').then(|| format!("{call}();"))
}

/// Whether a command's output is a trace or a report, of which [`violations`] can be asked.
pub fn is_trace(output: &str) -> bool {
    output.starts_with("# tracer: function") || output.starts_with("cpus=")
}

/// What a trace or a report must fulfil on any kernel, reviewed or not: every line is of a known
/// form, every traced function within the filter, every call of a graph returned from, every
/// stack one of a traced function.
///
/// `filters` are the globs of `-l` or `-g`; the result names each violation.
pub fn violations(trace: &str, filters: &[String]) -> Vec<String> {
    let filter = Filter::new(filters);
    if trace.starts_with("cpus=") {
        return violations_of_report(trace, &filter);
    }
    let mut found = Vec::new();
    let mut lines = trace.lines();
    let tracer = lines.next().and_then(|line| line.strip_prefix("# tracer: ")).unwrap_or_default();
    let mut open = Open::default();
    for line in lines.filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        if let Some(event) = EVENT.captures(line) {
            let function = event["rest"].split(" <-").next().unwrap_or_default().trim();
            if function != "<stack trace>" && !filter.takes(function) {
                found.push(format!("{function} is not within the filter"));
            }
        } else if let Some(graph) = GRAPH.captures(line) {
            found.extend(open.violated("", &graph["call"], &filter, line));
        } else if !(SWITCH.is_match(line)
            || line.starts_with(" => ")
            || line.trim().chars().all(|c| c == '-'))
        {
            found.push(format!("a line of the {tracer} tracer that is of no known form: {line}"));
        }
    }
    found.extend(open.left());
    found
}

/// The calls of a graph that have not returned yet.
#[derive(Default)]
struct Open(Vec<OpenCall>);

struct OpenCall {
    /// Who calls.
    task: String,
    /// How far the line is indented.
    indent: usize,
    function: String,
}

impl Open {
    /// What a line's call or return violates.
    fn violated(&mut self, task: &str, text: &str, filter: &Filter, line: &str) -> Option<String> {
        let call = text.trim_start();
        let indent = text.len() - call.len();
        if call.starts_with('}') {
            match self.0.iter().rposition(|open| open.task == task && open.indent == indent) {
                Some(at) => drop(self.0.remove(at)),
                None => return Some(format!("a return without a call: {line}")),
            }
            return None;
        }
        let (function, rest) = call.split_once('(')?;
        if rest.ends_with('{') {
            self.0.push(OpenCall { task: task.into(), indent, function: function.into() });
        }
        // What is not called by another one was asked for.
        let astray = indent == 2 && !filter.takes(function);
        astray.then(|| format!("{function} is not within the filter"))
    }

    /// What is violated by what never returned.
    fn left(&self) -> Option<String> {
        let functions: Vec<&str> = self.0.iter().map(|open| open.function.as_str()).collect();
        (!functions.is_empty()).then(|| format!("calls without a return: {}", functions.join(" ")))
    }
}

/// The globs of a filter, in which `*` stands for any text and `?` for one character, as in the kernel.
struct Filter {
    /// Nothing was asked for in particular.
    takes_all: bool,
    globs: Vec<Regex>,
}

impl Filter {
    fn new(filters: &[String]) -> Filter {
        let pattern = |glob| format!("^{}$", regex::escape(glob).replace(r"\*", ".*").replace(r"\?", "."));
        // A glob that is too long for a pattern matches nothing, so each function is reported.
        let globs = filters.iter().filter_map(|glob| Regex::new(&pattern(glob)).ok()).collect();
        Filter { takes_all: filters.is_empty(), globs }
    }

    fn takes(&self, function: &str) -> bool {
        self.takes_all || self.globs.iter().any(|glob| glob.is_match(function))
    }
}

/// The same of a report's lines. A stack belongs to the function above it, which is its first
/// frame with a name.
fn violations_of_report(report: &str, filter: &Filter) -> Vec<String> {
    let mut found = Vec::new();
    let mut traced = "";
    let mut stack_is_open = false;
    let mut open = Open::default();
    for line in report.lines().skip(1).filter(|line| !line.is_empty()) {
        if let Some(graph) = REPORTED_GRAPH.captures(line) {
            found.extend(open.violated(&graph["pid"], &graph["call"], filter, line));
        } else if let Some(event) = REPORTED.captures(line) {
            if stack_is_open {
                found.push(format!("a stack without {traced}, which was traced"));
            }
            let text = event.name("text").map_or("", |text| text.as_str());
            stack_is_open = &event["event"] == "kernel_stack";
            if &event["event"] == "function" {
                traced = text.split(" <--").next().unwrap_or_default();
                if !filter.takes(traced) {
                    found.push(format!("{traced} is not within the filter"));
                }
            }
        } else if let Some(frame) = FRAME.captures(line) {
            let function = frame.name("function").map(|name| name.as_str());
            if stack_is_open && let Some(function) = function {
                if function != traced {
                    found.push(format!("the stack below {traced} starts with {function}"));
                }
                stack_is_open = false;
            }
        } else {
            found.push(format!("a line of a report that is of no known form: {line}"));
        }
    }
    if stack_is_open {
        found.push(format!("a stack without {traced}, which was traced"));
    }
    found.extend(open.left());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_what_its_globs_match_from_end_to_end() {
        let filter = |globs: &[&str]| Filter::new(&globs.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(filter(&[]).takes("kfree"));
        let some = filter(&["vfs_*", "k?ree", "a.b"]);
        assert!(["vfs_read", "kfree", "a.b"].iter().all(|name| some.takes(name)));
        assert!(["do_vfs_read", "kffree", "kfree_rcu", "axb"].iter().all(|name| !some.takes(name)));
    }

    #[test]
    fn events_lose_time_and_pid_but_keep_their_columns() {
        let one = "              sh-97    [000] .N..  1025.700985: __kmalloc <-security_prepare_creds\n             cat-110   [000] ....  1025.706053: __kmalloc <-load_elf_phdrs\n";
        let other = "              sh-4     [000] .N..     0.000001: __kmalloc <-security_prepare_creds\n             cat-31337 [000] ....     9.999999: __kmalloc <-load_elf_phdrs\n";
        let expected = "              sh-P1    [000] .N..     *.******: __kmalloc <-security_prepare_creds\n             cat-P2    [000] ....     *.******: __kmalloc <-load_elf_phdrs\n";
        assert_eq!(normalise(one), expected);
        assert_eq!(normalise(other), expected);
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
            assert_eq!(normalise(line), line);
        }
        let flags = "              sh-97    [001] dN.1     1.000000: f <-g\n";
        assert!(normalise(flags).contains("[001] dN.1 "), "{}", normalise(flags));
        assert!(normalise(flags).ends_with(": f <-g\n"));
    }

    #[test]
    fn graphs_lose_durations_and_marks() {
        let graph = " 0)               |  __kmalloc() {\n 0)   2.168 us    |    kmalloc_slab();\n 0) + 25.518 us   |  }\n 0) ! 125.518 us  |  }\n";
        let expected = " 0)               |  __kmalloc() {\n 0)   *.*** us    |    kmalloc_slab();\n 0)   *.*** us    |  }\n 0)   *.*** us    |  }\n";
        assert_eq!(normalise(graph), expected);
    }

    #[test]
    fn an_empty_call_is_a_leaf() {
        let ticked = " 0)               |  f() {\n 0)               |    g() {\n 0)   1.000 us    |    }\n 0)   2.000 us    |  }\n";
        let calm = " 0)               |  f() {\n 0)   0.100 us    |    g();\n 0)   2.000 us    |  }\n";
        assert_eq!(normalise(ticked), normalise(calm));
        let sibling = " 0)               |  f() {\n 0)   0.100 us    |    g();\n 0)   2.000 us    |  }\n 0)   1.000 us    |  }\n";
        assert_eq!(normalise(sibling).lines().count(), 4);
    }

    #[test]
    fn switches_are_centred_anew() {
        let short = " 0)     sh-97      =>    cat-124    \n";
        let long = " 0)    sh-12345    =>   cat-12346   \n";
        assert_eq!(normalise(short), " 0)      sh-P1      =>     cat-P2\n");
        assert_eq!(normalise(short), normalise(long));
    }

    #[test]
    fn trampolines_have_no_address() {
        assert_eq!(normalise(" => 0xffffffffc0191061\n => __kmalloc\n"), " => <trampoline>\n => __kmalloc\n");
    }

    const REPORT: &str = "cpus=1\n              sh-163   [000]   820.854628: function:             __kmalloc <-- security_prepare_creds\n              sh-163   [000]   820.854857: kernel_stack:         <stack trace>\n=> ffffffffc0021061\n=> __kmalloc (ffffffff849d7445)\n=> security_prepare_creds (ffffffff84b59cba)\n";

    #[test]
    fn reports_lose_times_pids_and_addresses() {
        let expected = "cpus=1\n              sh-P1    [000]     *.******: function:             __kmalloc <-- security_prepare_creds\n              sh-P1    [000]     *.******: kernel_stack:         <stack trace>\n=> <trampoline>\n=> __kmalloc (<address>)\n=> security_prepare_creds (<address>)\n";
        assert_eq!(normalise(REPORT), expected);
        let later = REPORT
            .replace("   820.85", " 12820.85")
            .replace("sh-163  ", "sh-16345")
            .replace("84b59", "99b00");
        assert_eq!(normalise(&later), expected);
        let recorded = "CPU0 data recorded at offset=0x1ef000\n    90 bytes in size (4096 uncompressed)\n";
        let expected =
            "CPU0 data recorded at offset=<offset>\n    <size> bytes in size (4096 uncompressed)\n";
        assert_eq!(normalise(recorded), expected);
    }

    #[test]
    fn invariants_of_a_report_name_what_is_broken() {
        let filters = ["__kmalloc".to_string()];
        assert!(is_trace(REPORT));
        assert_eq!(violations(REPORT, &filters), Vec::<String>::new());
        let outside = REPORT.replace("__kmalloc", "kfree");
        assert_eq!(violations(&outside, &filters), ["kfree is not within the filter"]);
        let astray = REPORT.replace("=> __kmalloc (ffffffff849d7445)\n", "");
        assert_eq!(
            violations(&astray, &filters),
            ["the stack below __kmalloc starts with security_prepare_creds"]
        );
        let cut = REPORT.split("=> __kmalloc").next().unwrap();
        assert_eq!(violations(cut, &filters), ["a stack without __kmalloc, which was traced"]);
        let lost = REPORT.replace("cpus=1\n", "cpus=1\nCPU:0 [12 EVENTS DROPPED]\n");
        assert_eq!(violations(&lost, &filters).len(), 1);
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
        assert_eq!(normalise(GRAPH_REPORT), expected);
        let quick = GRAPH_REPORT.replace("# 1734.078 us |", "    0.078 us   |");
        let quick = quick.replace("$ 2001235.66 us", "@ 200123.6 us ").replace("1025.70", "   5.70");
        assert_eq!(normalise(&quick), expected);
        // `stream` says the same lines without a head, `report -i` with the file before.
        for change in [("cpus=1\n", ""), ("              sh-97", "a.dat:              sh-97")] {
            let (text, wanted) = (GRAPH_REPORT.replace(change.0, change.1), change.1.replace("97", "P1"));
            assert_eq!(normalise(&text), expected.replace(&change.0.replace("97", "P1"), &wanted));
        }
        let precise = normalise(&GRAPH_REPORT.replace("1025.700985:", "1025.700985123:"));
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
        assert_eq!(normalise(tail), hidden);
        let raw = "  sh-97 [000]  1.700985: funcgraph_exit:       func=0xffffffff81 calltime=0x1ef0 rettime=8123 depth=1\n";
        let hidden = "  sh-P1 [000]     *.******: funcgraph_exit:       func=0xffffffff81 calltime=<time> rettime=<time> depth=1\n";
        assert_eq!(normalise(raw), hidden);
        // Styles of trace-cmd have flags before the time.
        let flags =
            "  sh-97    [000] d..1.  1025.700985: funcgraph_entry:      + 17.527 us  |  vfs_read();\n";
        let hidden =
            "  sh-P1    [000] d..1.     *.******: funcgraph_entry:        *.*** us   |  vfs_read();\n";
        assert_eq!(normalise(flags), hidden);
        // So has `report -l`, behind the number of the CPU.
        let latency =
            "     cat-81      0...1.    18.998996: funcgraph_entry:      + 10.560 us  |  mntget();\n";
        let hidden =
            "     cat-P1      0...1.     *.******: funcgraph_entry:        *.*** us   |  mntget();\n";
        assert_eq!(normalise(latency), hidden);
        // Left of a graph, shown by another tracer.
        let left = "  sh-97    [000] ....  1025.700985:  0) + 25.518 us   |  }\n";
        assert_eq!(normalise(left), "  sh-P1    [000] ....     *.******:  0)   *.*** us    |  }\n");
        // Of other events nothing but time and process is hidden.
        let event = "  sh-97    [000]  1.700985: print:                latency 2.168 us | calltime=12\n";
        assert!(normalise(event).ends_with(": print:                latency 2.168 us | calltime=12\n"));
    }

    #[test]
    fn an_empty_call_of_a_report_is_a_leaf() {
        let line = |event: &str, rest: &str| format!("  sh-97    [000]     1.000000: {event:21} {rest}\n");
        let ticked =
            line("funcgraph_entry:", "             |  f() {") + &line("funcgraph_exit:", "+ 12.000 us  |  }");
        let calm = line("funcgraph_entry:", "  0.100 us   |  f();");
        assert_eq!(normalise(&ticked), normalise(&calm));
        let another = ticked.replacen("[000]", "[001]", 1);
        assert_eq!(normalise(&another).lines().count(), 2);
    }

    #[test]
    fn invariants_of_a_graphs_report_name_what_is_broken() {
        let filters = ["vfs_*".to_string()];
        assert_eq!(violations(GRAPH_REPORT, &filters), Vec::<String>::new());
        let outside = GRAPH_REPORT.replace("vfs_read() {\n", "ksys_read() {\n").replace("__ksys", "__vfs");
        assert_eq!(violations(&outside, &filters), ["ksys_read is not within the filter"]);
        let cut: Vec<&str> = GRAPH_REPORT.lines().filter(|line| !line.ends_with("|  }")).collect();
        assert_eq!(violations(&cut.join("\n"), &filters), ["calls without a return: vfs_read"]);
        let cut: Vec<&str> = GRAPH_REPORT.lines().filter(|line| !line.contains("|  vfs_read")).collect();
        let found = violations(&cut.join("\n"), &filters);
        assert!(found.len() == 1 && found[0].starts_with("a return without a call: "), "{found:?}");
        // Tasks that take turns each have calls of their own.
        let other =
            GRAPH_REPORT.replace("cpus=1\n", "").replace("sh-97 ", "sh-98 ").replace("[000]", "[001]");
        let mixed: Vec<String> =
            GRAPH_REPORT.lines().skip(1).zip(other.lines()).map(|(a, b)| format!("{a}\n{b}\n")).collect();
        assert_eq!(violations(&format!("cpus=2\n{}", mixed.concat()), &filters), Vec::<String>::new());
    }

    #[test]
    fn no_duration_of_a_real_report_is_left() {
        for report in [
            include_str!("../../../../tests/recordings/5.4-graph.txt"),
            include_str!("../../../../tests/recordings/debian-6.1-graph.txt"),
        ] {
            let duration = regex(r"\d us\b");
            assert!(report.lines().filter(|line| duration.is_match(line)).count() > 50);
            let hidden = normalise(report);
            assert_eq!(hidden.lines().find(|line| duration.is_match(line)), None);
            let columns =
                |text: &str| -> Vec<Option<usize>> { text.lines().map(|line| line.find('|')).collect() };
            assert!(columns(&hidden).iter().flatten().all(|column| *column == columns(report)[1].unwrap()));
            let odd: Vec<String> = violations(report, &[]);
            assert_eq!(odd.iter().find(|odd| odd.contains("no known form")), None);
        }
    }

    #[test]
    fn the_time_of_an_error_log_is_hidden() {
        let line = "    [   29.355965] event filter parse error: error: Field not found\n";
        assert_eq!(normalise(line), "    [    *.******] event filter parse error: error: Field not found\n");
    }

    #[test]
    fn invariants_name_what_is_broken() {
        let filters = ["__kmalloc".to_string()];
        let good = "# tracer: function_graph\n#\n 0)               |  __kmalloc() {\n 0)   2.168 us    |    kmalloc_slab();\n 0) + 25.518 us   |  }\n";
        assert_eq!(violations(good, &filters), Vec::<String>::new());
        let outside = good.replace("__kmalloc", "kfree");
        assert_eq!(violations(&outside, &filters), ["kfree is not within the filter"]);
        let unbalanced = good.replace(" 0) + 25.518 us   |  }\n", "");
        assert_eq!(violations(&unbalanced, &filters), ["calls without a return: __kmalloc"]);
        let stray = format!("{good}CPU:0 [LOST 12 EVENTS]\n");
        assert_eq!(violations(&stray, &filters).len(), 1);
        let event = "# tracer: function\n              sh-97    [000] ....     1.000000: kfree <-g\n";
        assert_eq!(violations(event, &filters), ["kfree is not within the filter"]);
    }
}
