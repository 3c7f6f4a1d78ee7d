//! Parses the text of the function_graph tracer into calls with their durations; pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

/// ` 0)   2.168 us    |    kmalloc_slab();`
static CALL: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^ *\d+\) (?<duration>[^|]*)\|(?<indent> *)(?<call>.*)$"));
/// ` 0)     sh-97      =>    cat-124    `
static SWITCH: LazyLock<Regex> = LazyLock::new(|| regex(r"^ *\d+\) +(?<from>\S.*?) +=> +(?<to>\S.*?) *$"));
/// The `25.518 us` of `+ 25.518 us`.
static DURATION: LazyLock<Regex> = LazyLock::new(|| regex(r"(?<us>\d+)\.(?<fraction>\d+) us"));

/// Compiles a regular expression of this file; a broken one fails every test here.
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

/// One call that returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The process id of its task; empty if the trace has no task switch, which names tasks.
    pub task: String,
    /// The function.
    pub function: String,
    /// Nanoseconds from its entry to its return.
    pub duration: i64,
    /// The part of `duration` that its traced callees took, in nanoseconds.
    pub in_children: i64,
    /// The number of traced calls directly below it.
    pub children: i64,
    /// The number of traced calls below it at any depth.
    pub descendants: i64,
}

/// A call that has not returned yet.
struct Open {
    indent: usize,
    call: Call,
}

/// The calls of a trace in the order of their returns. Calls whose entry or return is not in the
/// trace are left out.
pub fn calls(trace: &str) -> Vec<Call> {
    let mut done = Vec::new();
    // Calls that have not returned yet, by task.
    let mut open: BTreeMap<String, Vec<Open>> = BTreeMap::new();
    let mut task = String::new();
    for line in trace.lines().filter(|line| !line.starts_with('#')) {
        if let Some(found) = CALL.captures(line) {
            let stack = open.entry(task.clone()).or_default();
            let (indent, call) = (found["indent"].len(), &found["call"]);
            let duration = duration(&found["duration"]);
            if let Some(function) = call.strip_suffix("() {") {
                stack.push(Open { indent, call: called(&task, function, 0) });
            } else if let Some(function) = call.strip_suffix("();") {
                finish(called(&task, function, duration.unwrap_or(0)), stack, &mut done);
            } else if call.starts_with('}') {
                while let Some(last) = stack.pop() {
                    if last.indent == indent {
                        let call = Call { duration: duration.unwrap_or(0), ..last.call };
                        finish(call, stack, &mut done);
                        break;
                    }
                }
            }
        } else if let Some(found) = SWITCH.captures(line) {
            // The first switch also names the task before it, which has no banner of its own.
            if task.is_empty() {
                let first = pid(&found["from"]);
                for call in done.iter_mut().chain(open.values_mut().flatten().map(|open| &mut open.call)) {
                    call.task = first.into();
                }
                open = open.into_values().map(|stack| (first.to_string(), stack)).collect();
            }
            // A task is renamed by exec, but keeps its id.
            task = pid(&found["to"]).into();
        }
    }
    done
}

/// The id at the end of a task's name: `sh-97`.
fn pid(task: &str) -> &str {
    task.rsplit('-').next().unwrap_or(task)
}

fn called(task: &str, function: &str, duration: i64) -> Call {
    Call {
        task: task.into(),
        function: function.into(),
        duration,
        in_children: 0,
        children: 0,
        descendants: 0,
    }
}

fn finish(call: Call, stack: &mut [Open], done: &mut Vec<Call>) {
    if let Some(parent) = stack.last_mut() {
        parent.call.in_children += call.duration;
        parent.call.children += 1;
        parent.call.descendants += 1 + call.descendants;
    }
    done.push(call);
}

/// Parses a duration, which the tracer writes in microseconds, into nanoseconds.
fn duration(text: &str) -> Option<i64> {
    let found = DURATION.captures(text)?;
    let fraction = format!("{:0<3}", &found["fraction"]);
    Some(found["us"].parse::<i64>().ok()? * 1000 + fraction.get(..3)?.parse::<i64>().ok()?)
}

/// Converts guest time to instructions, rounded; one instruction takes 2^`shift` nanoseconds.
pub fn instructions(nanoseconds: i64, shift: u8) -> i64 {
    (nanoseconds + (1 << shift) / 2) >> shift
}

/// The median; 0 without values.
pub fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(
        task: &str,
        function: &str,
        duration: i64,
        in_children: i64,
        children: i64,
        descendants: i64,
    ) -> Call {
        let (task, function) = (task.into(), function.into());
        Call { task, function, duration, in_children, children, descendants }
    }

    #[test]
    fn a_call_knows_what_its_calls_took() {
        let trace = "# tracer: function_graph\n#\n 0)               |  f() {\n 0)   0.500 us    |    a();\n 0)               |    b() {\n 0)   0.250 us    |      c();\n 0)   1.000 us    |    }\n 0) + 25.518 us   |  }\n";
        let expected = [
            call("", "a", 500, 0, 0, 0),
            call("", "c", 250, 0, 0, 0),
            call("", "b", 1000, 250, 1, 1),
            call("", "f", 25518, 1500, 2, 3),
        ];
        assert_eq!(calls(trace), expected);
    }

    #[test]
    fn each_task_has_its_own_calls_open() {
        let trace = " 0)               |  f() {\n ------------------------------------------\n 0)     sh-97      =>    cat-124    \n ------------------------------------------\n\n 0)               |  f() {\n 0)   2.000 us    |  }\n ------------------------------------------\n 0)    cat-124     =>     sh-97    \n ------------------------------------------\n\n 0)   1.000 us    |    g();\n 0)   7.000 us    |  }\n";
        assert_eq!(
            calls(trace),
            [
                call("124", "f", 2000, 0, 0, 0),
                call("97", "g", 1000, 0, 0, 0),
                call("97", "f", 7000, 1000, 1, 1)
            ]
        );
    }

    #[test]
    fn calls_cut_at_either_end_of_the_trace_are_left_out() {
        let trace = " 0)   1.000 us    |    }\n 0)   9.000 us    |  }\n 0)               |  f() {\n 0)   1.000 us    |    g();\n";
        assert_eq!(calls(trace), [call("", "g", 1000, 0, 0, 0)]);
    }

    #[test]
    fn durations_are_nanoseconds() {
        assert_eq!(duration("  2.168 us    "), Some(2168));
        assert_eq!(duration("! 12345.67 us "), Some(12_345_670));
        assert_eq!(duration("$ 1234567.8 us"), Some(1_234_567_800));
        assert_eq!(duration("               "), None);
    }
}
