//! Traces as trees: all calls of a trace grouped by their path; pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use regex::Regex;

use crate::explain::graph::{self, Call, instructions, median};

/// The deepest tree that is accepted. No kernel nests or unwinds this deep, so a deeper one is a made-up
/// text.
const DEEPEST: usize = 1024;

/// `sh-97 [000] .N.. 1025.700985: __kmalloc <-security_prepare_creds`, or the line of a report.
static EVENT: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^ *\S.*?-\d+ +\[\d{3}\].*? \d+\.\d{6}: (?:function: +)?(?<function>\S.*?) <--? ?(?<caller>\S.*?)$",
    )
});
/// `sh-97 [000] .N.. 1025.700990: <stack trace>`, likewise.
static STACK: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^ *\S.*?-\d+ +\[\d{3}\].*? \d+\.\d{6}: (?:kernel_stack: +)?<stack trace>\s*$"));
/// ` => load_elf_phdrs`, `=> load_elf_phdrs (ffffffff84b59cba)`, or a frame without a name: an address
/// or, on later kernels, `[FTRACE TRAMPOLINE]`.
static FRAME: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^ ?=> (?:(?:0x)?[0-9a-f]{8,}|\[FTRACE TRAMPOLINE\]|(?<function>\S+?(?: \[\w+\])?)(?: \([0-9a-f]+\))?)\s*$",
    )
});

/// Compiles a regular expression of this file; a broken one fails every test here.
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

/// How the children of a node relate to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The functions that it calls, from a graph.
    Calls,
    /// The functions that it calls on the way to the traced one, from stacks.
    Stacks,
    /// The functions that call it, from a trace of functions.
    Callers,
}

/// A function at one place of a tree, with all its calls there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The function.
    pub name: String,
    /// How often it was called there.
    pub calls: u64,
    /// Median instructions of a call, without those of its traced callees.
    pub instructions: Option<i64>,
    /// The nodes below it, in the order of their first call.
    pub children: Vec<Node>,
}

/// The tree of a trace or of a report; `None` for any other text, or a trace of other events.
///
/// `shift` is that of the instruction-count clock; without it the nodes have no instructions.
pub fn of_output(output: &str, shift: Option<u8>) -> Option<(Shape, Vec<Node>)> {
    let first = output.lines().next()?;
    if first.starts_with("# tracer: function_graph") {
        return Some((Shape::Calls, of_graph(&graph::calls(output), shift)?));
    }
    // A report of a graph or of events also begins with `cpus=`; `of_functions` rejects its lines.
    let is_flat = first.starts_with("# tracer: function") || first.starts_with("cpus=");
    if is_flat { of_functions(output) } else { None }
}

/// A call with the calls that it made.
struct Called<'a> {
    call: &'a Call,
    height: usize,
    children: Vec<Called<'a>>,
}

/// Groups calls, given in the order of their returns, by path.
fn of_graph(calls: &[Call], shift: Option<u8>) -> Option<Vec<Node>> {
    // Calls whose caller has not returned yet, by task. When a caller returns, its callees are the last ones.
    let mut waiting: BTreeMap<&str, Vec<(usize, Called<'_>)>> = BTreeMap::new();
    for (at, call) in calls.iter().enumerate() {
        let stack = waiting.entry(&call.task).or_default();
        let own = usize::try_from(call.children).unwrap_or(0).min(stack.len());
        let children: Vec<Called<'_>> =
            stack.split_off(stack.len() - own).into_iter().map(|(_, child)| child).collect();
        let height = 1 + children.iter().map(|child| child.height).max().unwrap_or(0);
        if height > DEEPEST {
            return None;
        }
        stack.push((at, Called { call, height, children }));
    }
    let mut roots: Vec<(usize, Called<'_>)> = waiting.into_values().flatten().collect();
    roots.sort_by_key(|(at, _)| *at);
    Some(together(roots.into_iter().map(|(_, root)| root).collect(), shift))
}

/// Groups the calls of one caller by function.
fn together(calls: Vec<Called<'_>>, shift: Option<u8>) -> Vec<Node> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<Vec<Called<'_>>> = Vec::new();
    for called in calls {
        let at = *places.entry(&called.call.function).or_insert(groups.len());
        if at == groups.len() {
            groups.push(Vec::new());
        }
        groups[at].push(called);
    }
    let node = |group: Vec<Called<'_>>| {
        let own = |shift| {
            let durations = group.iter().map(|called| called.call.duration - called.call.in_children);
            median(durations.map(|own| instructions(own, shift)).collect())
        };
        Node {
            name: group.first().map(|called| called.call.function.clone()).unwrap_or_default(),
            calls: group.len() as u64,
            instructions: shift.map(own),
            children: together(group.into_iter().flat_map(|called| called.children).collect(), shift),
        }
    };
    groups.into_iter().map(node).collect()
}

/// A trace of functions, with or without stacks; `None` if it also has other events.
fn of_functions(output: &str) -> Option<(Shape, Vec<Node>)> {
    let mut callers = Paths::default();
    let mut stacks = Paths::default();
    // The frames of the stack that is being read, innermost first.
    let mut frames: Option<Vec<&str>> = None;
    let meant = |line: &&str| !line.starts_with('#') && !line.trim().is_empty();
    for line in output.lines().filter(meant).filter(|line| !line.starts_with("cpus=")) {
        if let Some(frame) = FRAME.captures(line) {
            // A frame without a name is ftrace's trampoline.
            if let Some(name) = frame.name("function") {
                frames.as_mut()?.push(name.as_str());
            }
            continue;
        }
        stacks.add_stack(frames.take())?;
        if STACK.is_match(line) {
            frames = Some(Vec::new());
        } else {
            let event = EVENT.captures(line)?;
            let (function, caller) = (event.name("function")?.as_str(), event.name("caller")?.as_str());
            callers.add([function, caller].into_iter());
        }
    }
    stacks.add_stack(frames)?;
    Some(match (stacks.roots.is_empty(), callers.roots.is_empty()) {
        (false, _) => (Shape::Stacks, stacks.nodes()),
        (true, false) => (Shape::Callers, callers.nodes()),
        (true, true) => return None,
    })
}

/// Builds a tree from paths.
#[derive(Default)]
struct Paths {
    /// Each node with the indices of its children.
    all: Vec<(Node, Vec<usize>)>,
    roots: Vec<usize>,
    /// The index of a node, by the index of its parent and its name.
    known: HashMap<(Option<usize>, String), usize>,
}

impl Paths {
    /// Counts a path, given from the root on.
    fn add<'a>(&mut self, path: impl Iterator<Item = &'a str>) {
        let mut parent = None;
        for name in path {
            let next = self.all.len();
            let at = *self.known.entry((parent, name.to_owned())).or_insert(next);
            if at == next {
                self.all.push((Node { name: name.to_owned(), ..Node::default() }, Vec::new()));
                match parent {
                    Some(parent) => self.all[parent].1.push(at),
                    None => self.roots.push(at),
                }
            }
            self.all[at].0.calls += 1;
            parent = Some(at);
        }
    }

    /// Counts a stack, if there is one, given from the traced function outwards; `None` if it is
    /// too deep.
    fn add_stack(&mut self, frames: Option<Vec<&str>>) -> Option<()> {
        let Some(frames) = frames else { return Some(()) };
        if frames.len() > DEEPEST {
            return None;
        }
        self.add(frames.into_iter().rev());
        Some(())
    }

    fn nodes(mut self) -> Vec<Node> {
        // Children have higher indices than their parent.
        let mut made: HashMap<usize, Node> = HashMap::new();
        for at in (0..self.all.len()).rev() {
            let (mut node, below) = std::mem::take(&mut self.all[at]);
            node.children = below.iter().filter_map(|child| made.remove(child)).collect();
            made.insert(at, node);
        }
        self.roots.iter().filter_map(|root| made.remove(root)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// A tree as lines, for snapshots.
    fn lines(nodes: &[Node], depth: usize) -> String {
        let (mut out, indent) = (String::new(), depth * 2);
        for node in nodes {
            let figure = node.instructions.map_or(String::new(), |figure| format!(", {figure} each"));
            let _ = writeln!(out, "{:indent$}{} x{}{figure}", "", node.name, node.calls);
            out.push_str(&lines(&node.children, depth + 1));
        }
        out
    }

    const GRAPH: &str = "\
# tracer: function_graph
#
 0)               |  __kmalloc() {
 0)   0.160 us    |    kmalloc_slab();
 0)               |    _cond_resched() {
 0)   0.320 us    |      rcu_all_qs();
 0)   0.800 us    |    }
 0)   1.600 us    |  }
 0)               |  __kmalloc() {
 ------------------------------------------
 0)      sh-97      =>    cat-124
 ------------------------------------------

 0)               |  __kmalloc() {
 0)   0.160 us    |    kmalloc_slab();
 0)   1.600 us    |  }
 ------------------------------------------
 0)     cat-124     =>     sh-97
 ------------------------------------------

 0)   0.320 us    |    kmalloc_slab();
 0)   0.160 us    |    should_failslab();
 0)   1.600 us    |  }
";

    #[test]
    fn the_calls_of_a_graph_are_put_together_by_path() {
        let (shape, nodes) = of_output(GRAPH, Some(4)).unwrap();
        assert_eq!(shape, Shape::Calls);
        insta::assert_snapshot!(lines(&nodes, 0), @r"
        __kmalloc x3, 70 each
          kmalloc_slab x3, 10 each
          _cond_resched x1, 30 each
            rcu_all_qs x1, 20 each
          should_failslab x1, 10 each
        ");
        assert_eq!(of_output(GRAPH, None).unwrap().1[0].instructions, None);
    }

    const STACKS: &str = "\
# tracer: function
#
              sh-97      [000] ....     1.000001: __kmalloc <-load_elf_phdrs
              sh-97      [000] ....     1.000002: <stack trace>
 => 0xffffffffc0191061
 => __kmalloc
 => load_elf_phdrs
 => do_syscall_64
              sh-97      [000] ....     1.000003: __kmalloc <-fuse_fill [fuse]
              sh-97      [000] ....     1.000004: <stack trace>
 => [FTRACE TRAMPOLINE]
 => __kmalloc
 => fuse_fill [fuse]
 => do_syscall_64
";

    #[test]
    fn stacks_begin_with_the_outermost_caller() {
        let (shape, nodes) = of_output(STACKS, Some(4)).unwrap();
        assert_eq!(shape, Shape::Stacks);
        insta::assert_snapshot!(lines(&nodes, 0), @r"
        do_syscall_64 x2
          load_elf_phdrs x1
            __kmalloc x1
          fuse_fill [fuse] x1
            __kmalloc x1
        ");
        let report = "cpus=1\n              sh-163   [000]   820.854628: function:             __kmalloc <-- security_prepare_creds\n              sh-163   [000]   820.854857: kernel_stack:         <stack trace>\n=> ffffffffc0021061\n=> __kmalloc (ffffffff849d7445)\n=> security_prepare_creds (ffffffff84b59cba)\n";
        let (shape, nodes) = of_output(report, None).unwrap();
        assert_eq!(shape, Shape::Stacks);
        insta::assert_snapshot!(lines(&nodes, 0), @r"
        security_prepare_creds x1
          __kmalloc x1
        ");
    }

    #[test]
    fn without_stacks_each_function_has_its_callers() {
        let trace: Vec<&str> =
            STACKS.lines().filter(|line| !line.contains("=>") && !line.contains("<stack")).collect();
        let (shape, nodes) = of_output(&trace.join("\n"), None).unwrap();
        assert_eq!(shape, Shape::Callers);
        insta::assert_snapshot!(lines(&nodes, 0), @r"
        __kmalloc x2
          load_elf_phdrs x1
          fuse_fill [fuse] x1
        ");
    }

    #[test]
    fn other_text_has_no_tree() {
        assert_eq!(of_output("nop\n", None), None);
        assert_eq!(of_output("", None), None);
        let events = STACKS.to_owned() + "  sh-97 [000] ....     1.000005: sched_switch: prev_comm=sh\n";
        assert_eq!(of_output(&events, None), None);
        assert_eq!(of_output("# tracer: function\n => astray\n", None), None);
    }

    #[test]
    fn what_is_deeper_than_any_kernel_has_no_tree() {
        let head = "# tracer: function\n  sh-1 [000] ....     1.000001: f <-g\n  sh-1 [000] ....     1.000002: <stack trace>\n";
        let stack = |frames: usize| head.to_owned() + &" => f\n".repeat(frames);
        assert!(of_output(&stack(DEEPEST), None).is_some());
        assert!(of_output(&stack(DEEPEST + 1), None).is_none());
        let nested = |depth: usize| {
            let opening = (0..depth).map(|at| format!(" 0)               |{:1$}f() {{\n", "", at * 2 + 2));
            let closing = (0..depth).rev().map(|at| format!(" 0)   1.000 us    |{:1$}}}\n", "", at * 2 + 2));
            format!("# tracer: function_graph\n{}", opening.chain(closing).collect::<String>())
        };
        assert!(of_output(&nested(DEEPEST), None).is_some());
        assert!(of_output(&nested(DEEPEST + 1), None).is_none());
    }
}
