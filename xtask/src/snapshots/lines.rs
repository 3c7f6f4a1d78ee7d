//! The forms of lines in traces and reports, as regular expressions; pure.

use std::sync::LazyLock;

use regex::Regex;

/// Compiles a regular expression of this room; a broken one fails every test here.
pub fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

/// `  sh-97    [000] .N..  1025.700985: __kmalloc <-security_prepare_creds`
pub static EVENT: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?<task> *\S.*?-)(?<pid>\d+)(?<gap> +)(?<cpu>\[\d{3}\] \S{4,5}) +(?<time>\d+\.\d{6}): (?<rest>.*)$",
    )
});
/// ` 0)   2.168 us    |    kmalloc_slab();`
pub static GRAPH: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^(?<cpu> *\d+\) )(?<duration>[^|]*)\|(?<call>  .*)$"));
/// ` 0)     sh-97      =>    cat-124    `
pub static SWITCH: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"^(?<cpu> *\d+\) )  *(?<from>\S.*?)-(?<from_pid>\d+) +=>  *(?<to>\S.*?)-(?<to_pid>\d+) *$")
});
/// `             cat-248   [000]   731.895426: function:             __kmalloc <-- load_elf_phdrs`,
/// a line of a report.
pub static REPORTED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?<task> *\S.*?-)(?<pid>\d+)(?<gap> +)(?<cpu>\[\d{3}\]) +(?<time>\d+\.\d{6}): (?<event>\w+): +(?<text>\S.*)$",
    )
});
/// `              sh-97    [000]  1025.700985: funcgraph_entry:        2.168 us   |    kmalloc_slab();`, a
/// line in the report of a graph: the duration has its own column, with a mark before it if it is long.
pub static REPORTED_GRAPH: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?<task> *\S.*?-)(?<pid>\d+)(?<gap> +)(?<cpu>\[\d{3}\](?: \S{4,6})?|\d{1,3}[^\s\d]\S{3,5}) +(?<time>\d+\.\d{6}(?<ns>\d{3})?): (?<event>\w*graph\w*:) +(?<duration>[-+!#*@$ ]*\d[\d.]* us)? *\|(?<call>  .*)$",
    )
});
/// `=> __kmalloc (ffffffff849d7445)`, or only the address if it is in no function: a frame in a report.
pub static FRAME: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^=> (?:(?<function>\S+) \([0-9a-f]+\)|[0-9a-f]+)$"));
