//! Invariants of traces and reports, which hold on any kernel, reviewed or not; pure.

use regex::Regex;

use super::lines::{EVENT, FRAME, GRAPH, REPORTED, REPORTED_GRAPH, SWITCH};

/// Whether a command's output is a trace or a report, which [`violations`] can check.
pub fn is_trace(output: &str) -> bool {
    output.starts_with("# tracer: function") || output.starts_with("cpus=")
}

/// Checks a trace or a report: every line has a known form, every traced function matches the filter, every
/// call of a graph returns, and every stack belongs to a traced function.
///
/// `filters` are the globs of `-l` or `-g`. Returns a text for each violation.
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
    /// The task that calls.
    task: String,
    /// The indentation of the line.
    indent: usize,
    function: String,
}

impl Open {
    /// The violation by a call or return, if any.
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
        // A function at the outermost level has to match the filter.
        let astray = indent == 2 && !filter.takes(function);
        astray.then(|| format!("{function} is not within the filter"))
    }

    /// The violation by calls that never returned, if any.
    fn left(&self) -> Option<String> {
        let functions: Vec<&str> = self.0.iter().map(|open| open.function.as_str()).collect();
        (!functions.is_empty()).then(|| format!("calls without a return: {}", functions.join(" ")))
    }
}

/// The globs of a filter; as in the kernel, `*` matches any text and `?` one character.
struct Filter {
    /// There is no filter, so every function matches.
    takes_all: bool,
    globs: Vec<Regex>,
}

impl Filter {
    fn new(filters: &[String]) -> Filter {
        let pattern = |glob| format!("^{}$", regex::escape(glob).replace(r"\*", ".*").replace(r"\?", "."));
        // A glob that is too long for a regular expression matches nothing, so each function is a violation.
        let globs = filters.iter().filter_map(|glob| Regex::new(&pattern(glob)).ok()).collect();
        Filter { takes_all: filters.is_empty(), globs }
    }

    fn takes(&self, function: &str) -> bool {
        self.takes_all || self.globs.iter().any(|glob| glob.is_match(function))
    }
}

/// The violations of a report's lines. A stack belongs to the function in the line above it, which is also
/// the first frame with a name.
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
    fn every_line_of_a_real_report_is_of_a_known_form() {
        for report in [
            include_str!("../../../tests/recordings/5.4-graph.txt"),
            include_str!("../../../tests/recordings/debian-6.1-graph.txt"),
        ] {
            let found = violations(report, &[]);
            assert_eq!(found.iter().find(|found| found.contains("no known form")), None);
        }
    }

    const REPORT: &str = "cpus=1\n              sh-163   [000]   820.854628: function:             __kmalloc <-- security_prepare_creds\n              sh-163   [000]   820.854857: kernel_stack:         <stack trace>\n=> ffffffffc0021061\n=> __kmalloc (ffffffff849d7445)\n=> security_prepare_creds (ffffffff84b59cba)\n";

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
        // Calls of interleaved tasks are matched by task.
        let other =
            GRAPH_REPORT.replace("cpus=1\n", "").replace("sh-97 ", "sh-98 ").replace("[000]", "[001]");
        let mixed: Vec<String> =
            GRAPH_REPORT.lines().skip(1).zip(other.lines()).map(|(a, b)| format!("{a}\n{b}\n")).collect();
        assert_eq!(violations(&format!("cpus=2\n{}", mixed.concat()), &filters), Vec::<String>::new());
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
