//! A comparison as one HTML page that needs no network; pure.
//!
//! Output of guests is escaped, and the page's content security policy allows only our own style and script.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::align::{Change, RenameReason, Row};
use super::compared::{Body, CaseDiff, CaseResult, Comparison, DiffLine, StepDiff};
use super::text::{calls, instructions, notes, omitted, sign, summary};
use super::tree::Shape;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page.
pub fn page(comparison: &Comparison) -> String {
    let [old, new] = &comparison.names;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (old.name) " → " (new.name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (old.name) span.to { " → " } (new.name) }
                    dl {
                        @for side in &comparison.names {
                            dt { (side.name) }
                            dd { (side.about) }
                        }
                    }
                    (legend())
                    (about(comparison))
                }
                (tools())
                div.all {
                    nav aria-label="Cases" {
                        ol {
                            @for case in &comparison.cases {
                                li data-case=(id(case)) data-changed[case.differs()] {
                                    a href={ "#" (id(case)) } { (case.name) small { (summary(case)) } }
                                }
                            }
                        }
                    }
                    main { @for case in &comparison.cases { (section(case)) } }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// What the page may load and run: its own style and its own script.
fn policy() -> String {
    let digest = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let (style, script) = (digest(STYLE), digest(SCRIPT));
    format!("default-src 'none'; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none'")
}

fn legend() -> Markup {
    let keys = [("added", "+"), ("gone", "-"), ("renamed", "~"), ("moved", ">")];
    html! {
        ul.legend aria-label="Signs" {
            @for (word, sign) in keys { li { span class={ "key " (word) } { (sign) " " (word) } } }
        }
    }
}

fn about(comparison: &Comparison) -> Markup {
    html! {
        p.about {
            @match &comparison.no_instructions {
                None => {
                    "Instructions are those of a call, the median, without traced calls below it and with \
                     what the tracer takes, which " code { "cargo xtask cost" } " tells apart."
                }
                Some(why) => { "Instructions are not compared: " (why) "." }
            }
        }
    }
}

fn tools() -> Markup {
    html! {
        div.tools role="search" {
            input #search type="search" placeholder="Find a function  ( / )" aria-label="Find a function"
                autocomplete="off" spellcheck="false";
            label { input #only type="checkbox" autocomplete="off"; " Only changes" }
            button #unfold type="button" { "Unfold all" }
            button #fold type="button" { "Fold all" }
            output #found for="search" aria-live="polite" {}
        }
    }
}

/// The HTML id of a case.
fn id(case: &CaseDiff) -> String {
    format!("case-{}", case.name)
}

fn section(case: &CaseDiff) -> Markup {
    html! {
        section.case id=(id(case)) data-changed[case.differs()] {
            h2 { (case.name) }
            p { (case.title) }
            p.sum { (summary(case)) }
            @if let CaseResult::Compared(steps) = &case.result {
                @for step in steps { (self::step(step)) }
            }
        }
    }
}

fn step(step: &StepDiff) -> Markup {
    if step.body == Body::Same && step.old_command.is_none() {
        return Markup::default();
    }
    html! {
        div.step {
            @if let Some(old) = &step.old_command { code.command { "- $ " (old) } }
            code.command { @if step.old_command.is_some() { "+ " } "$ " (step.command) }
            @match &step.body {
                Body::Same => {}
                Body::Tree(shape, rows) => (tree(*shape, rows)),
                Body::Lines(lines) => div.lines { @for line in lines { (self::line(line)) } },
            }
        }
    }
}

fn tree(shape: Shape, rows: &[Row]) -> Markup {
    let figures = rows.iter().any(|row| !instructions(row).is_empty());
    html! {
        ul.tree.plain[!figures] {
            li.head {
                div.row {
                    span {} span {} span { @if shape == Shape::Callers { "function, and its callers" } @else { "function" } }
                    span.calls { "calls" }
                    span.instructions { "instructions" }
                }
            }
            (self::rows(shape, rows, 0))
        }
    }
}

fn rows(shape: Shape, rows: &[Row], depth: usize) -> Markup {
    html! {
        @for row in rows {
            li class=(classes(row)) data-name=(names(row)) data-changed[row.has_changed()] {
                @if row.rows.is_empty() {
                    div.row { (columns(shape, row, depth)) }
                } @else {
                    details open[row.has_changed()] {
                        summary.row { (columns(shape, row, depth)) }
                        ul { (self::rows(shape, &row.rows, depth + 1)) }
                    }
                }
            }
        }
    }
}

fn columns(shape: Shape, row: &Row, depth: usize) -> Markup {
    let figures = instructions(row);
    let notes = notes(row, &mut HashSet::new()).join("; ");
    html! {
        span.fold {}
        (signed(sign(row)))
        span {
            span.name title=[path(row)] {
                @if shape == Shape::Callers && depth > 0 { "← " }
                (row.name())
            }
            @if !notes.is_empty() { " " span.note { (notes) } }
        }
        span.calls { (calls(row)) }
        span.instructions {
            @for (at, figure) in figures.iter().enumerate() {
                @if at > 0 { " " }
                (figure)
            }
        }
    }
}

/// A sign, with its word for screen readers.
fn signed(sign: char) -> Markup {
    match word(sign) {
        "same" => html! { span.sign {} },
        word => html! { span.sign role="img" aria-label=(word) title=(word) { (sign) } },
    }
}

fn word(sign: char) -> &'static str {
    match sign {
        '+' => "added",
        '-' => "gone",
        '~' => "renamed",
        '>' => "moved",
        _ => "same",
    }
}

fn classes(row: &Row) -> String {
    let guess = matches!(&row.change, Change::Both(both) if both.rename == Some(RenameReason::Guess));
    let word = match word(sign(row)) {
        // Only the number of calls differs: neither faint nor coloured.
        "same" if !row.is_same() => "counted",
        word => word,
    };
    if guess { format!("{word} guess") } else { word.to_owned() }
}

/// The names that a search matches: old and new.
fn names(row: &Row) -> String {
    match &row.change {
        Change::Both(both) if both.old.name != both.new.name => {
            format!("{} {}", both.old.name, both.new.name)
        }
        _ => row.name().to_owned(),
    }
}

/// The callers of a moved function at its old place, outermost first.
fn path(row: &Row) -> Option<String> {
    let Change::Both(both) = &row.change else { return None };
    let above = both.moved.as_ref().filter(|above| !above.is_empty())?;
    Some(format!("was in {}", above.join(" > ")))
}

fn line(line: &DiffLine) -> Markup {
    let (class, sign, text) = match line {
        DiffLine::Added(text) => ("added", '+', text),
        DiffLine::Gone(text) => ("gone", '-', text),
        DiffLine::Same(text) => ("same", ' ', text),
        DiffLine::Omitted(count) => {
            return html! { div.line { span {} span.text { "… " (omitted(*count)) } } };
        }
    };
    html! {
        div class={ "line " (class) } data-name=(text) data-changed[sign != ' '] {
            (signed(sign)) span.text { (text) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::diff::compared::compare;
    use crate::explain::diff::compared::tests::{comparison, stored};
    use crate::explain::diff::text::text;

    #[test]
    fn a_tree_is_a_list_that_folds() {
        let comparison = comparison();
        let html = section(&comparison.cases[0]).into_string();
        insta::assert_snapshot!(html.replace("<li", "\n<li").replace("<details", "\n<details"), @r#"
        <section class="case" id="case-graph" data-changed><h2>graph</h2><p>What alloc calls</p><p class="sum">1 added, 1 moved</p><div class="step"><code class="command">- $ show alloc</code><code class="command">+ $ show alloc_noprof</code><ul class="tree">
        <li class="head"><div class="row"><span></span><span></span><span>function</span><span class="calls">calls</span><span class="instructions">instructions</span></div></li>
        <li class="same" data-name="alloc" data-changed>
        <details open><summary class="row"><span class="fold"></span><span class="sign"></span><span><span class="name">alloc</span></span><span class="calls">1</span><span class="instructions">380 → 290 (-90)</span></summary><ul>
        <li class="same" data-name="slab"><div class="row"><span class="fold"></span><span class="sign"></span><span><span class="name">slab</span></span><span class="calls">1</span><span class="instructions">100 → 110 (+10)</span></div></li>
        <li class="added" data-name="node" data-changed>
        <details open><summary class="row"><span class="fold"></span><span class="sign" role="img" aria-label="added" title="added">+</span><span><span class="name">node</span></span><span class="calls">1</span><span class="instructions">80</span></summary><ul>
        <li class="moved" data-name="fail" data-changed><div class="row"><span class="fold"></span><span class="sign" role="img" aria-label="moved" title="moved">&gt;</span><span><span class="name" title="was in alloc">fail</span> <span class="note">was below alloc</span></span><span class="calls">1</span><span class="instructions">20</span></div></li></ul></details></li></ul></details></li>
        <li class="same" data-name="still">
        <details><summary class="row"><span class="fold"></span><span class="sign"></span><span><span class="name">still</span></span><span class="calls">1</span><span class="instructions">100</span></summary><ul>
        <li class="same" data-name="inner"><div class="row"><span class="fold"></span><span class="sign"></span><span><span class="name">inner</span></span><span class="calls">1</span><span class="instructions">100</span></div></li></ul></details></li></ul></div></section>
        "#);
    }

    #[test]
    fn words_of_others_are_escaped() {
        let mut hostile = comparison();
        let word = "\"><script>alert(1)</script>";
        hostile.names[0].name = word.into();
        hostile.cases[1].name = word.into();
        hostile.no_instructions = Some(word.into());
        let page = page(&hostile);
        assert!(!page.contains("<script>alert"), "{page}");
        assert!(page.contains("list &lt;clocks&gt;"));
        assert_eq!(page.matches("<script>").count(), 1);
    }

    #[test]
    fn the_deepest_tree_has_a_page_and_a_text() {
        let stack = |name: &str| {
            let head = "# tracer: function\n  sh-1 [000] ....     1.000001: <stack trace>\n";
            let frames: String = (0..1024).map(|at| format!(" => {name}{at}\n")).collect();
            head.to_owned() + &frames
        };
        let [old, new] = ["old", "new"].map(|name| stored("deep", name, &[("show", &stack(name))]));
        let mut deep = comparison();
        deep.cases = vec![compare("Stacks", &old, &new, true)];
        assert_eq!(page(&deep).matches("<li class").count(), 1 + 2 * 1024);
        assert_eq!(text(&deep, false).lines().filter(|line| line.starts_with("+  ")).count(), 1024);
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        let page = page(&comparison());
        for word in ["http:", "https:", "url(", "@import", "<link", "src=", " style=", "onclick"] {
            assert!(!page.contains(word), "the page has {word}");
        }
        assert!(policy().starts_with("default-src 'none'; style-src 'sha256-"), "{}", policy());
        assert!(!policy().contains("unsafe"));
    }
}
