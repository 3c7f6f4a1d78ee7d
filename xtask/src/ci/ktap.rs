//! A run as KTAP, version 1, the kernel's Test Anything Protocol; pure.
//!
//! The format is that of Documentation/dev-tools/ktap.rst of the kernel: each kernel of the run
//! is a test, its cases are the subtests.

use std::fmt::Write;

use crate::base::ui::printable;
use crate::base::verdict::Verdict;
use crate::outcome::summary::{Column, Outcome, Summary};

const VERSION: &str = "KTAP version 1";

/// The run as text. Kernels without a case in this shard are left out.
pub fn ktap(run: &Summary) -> String {
    let columns: Vec<&Column> =
        run.kernels.iter().filter(|column| column.outcomes().next().is_some()).collect();
    let mut text = format!("{VERSION}\n1..{}\n", columns.len());
    for (number, column) in (1..).zip(columns) {
        kernel(&mut text, number, column);
    }
    text
}

fn kernel(text: &mut String, number: usize, column: &Column) {
    let outcomes: Vec<(&str, &Outcome)> = column.outcomes().collect();
    let name = described(&column.kernel);
    if let Some(missing) = column.missing()
        && outcomes.iter().all(|(_, outcome)| outcome.ran.is_none())
    {
        diagnose(text, "", &missing.why);
        let _ = writeln!(text, "{}", result(number, &name, missing, column.asked));
        return;
    }
    let _ = writeln!(text, "  {VERSION}\n  1..{}", outcomes.len());
    for (number, (case, outcome)) in (1..).zip(&outcomes) {
        if outcome.verdict != Verdict::Pass {
            diagnose(text, "  ", &format!("{}\n{}", outcome.why, outcome.detail));
        }
        let _ = writeln!(text, "  {}", result(number, &described(case), outcome, column.asked));
    }
    let failed = outcomes.iter().any(|(_, outcome)| outcome.fails(column.asked));
    let _ = writeln!(text, "{} {number} {name}", if failed { "not ok" } else { "ok" });
}

/// A result line, with the directive that fits best.
fn result(number: usize, name: &str, outcome: &Outcome, asked: bool) -> String {
    let first = printable(outcome.why.lines().next().unwrap_or_default());
    let said = format!("{}: {first}", outcome.verdict);
    let head = format!("{} {number} {name}", if outcome.fails(asked) { "not ok" } else { "ok" });
    match outcome.verdict {
        Verdict::Pass => match &outcome.ran {
            Some(ran) => format!("{head} # {:.1} s", ran.seconds()),
            None => head,
        },
        Verdict::Unavailable if !asked => format!("{head} # SKIP {said}"),
        Verdict::Timeout | Verdict::BootTimeout => format!("{head} # TIMEOUT {said}"),
        // Here the case itself was judged; other verdicts mean that it could not be judged.
        Verdict::Drift | Verdict::Mismatch | Verdict::NotRepeatable | Verdict::GuestFailed => {
            format!("{head} # {said}")
        }
        _ => format!("{head} # ERROR {said}"),
    }
}

/// Diagnostic lines for people; readers of KTAP ignore them.
fn diagnose(text: &mut String, indent: &str, words: &str) {
    for line in words.lines() {
        let _ = writeln!(text, "{}", format!("{indent}# {}", printable(line)).trim_end());
    }
}

/// A name as a description, which must not contain `#`.
fn described(name: &str) -> String {
    printable(name).replace('#', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::summary::Ran;
    use crate::outcome::summary::tests::sample;

    #[test]
    fn kernels_are_tests_and_cases_subtests() {
        let expected = "\
KTAP version 1
1..3
  KTAP version 1
  1..3
  ok 1 check # 1.5 s
  ok 2 function # 2.0 s
  ok 3 ext4 # 0.1 s
ok 1 5.4
  KTAP version 1
  1..2
  ok 1 check # 0.1 s
  # the transcript differs from snapshot function
  # -old <a>
  # +new?[1m
  not ok 2 function # mismatch: the transcript differs from snapshot function
not ok 2 debian-6.1
# it is not built
#   help: build it
ok 3 debian-7 # SKIP unavailable: it is not built
";
        assert_eq!(ktap(&sample()), expected);
    }

    #[test]
    fn a_kernel_asked_for_by_name_is_an_error_without() {
        let mut run = sample();
        run.kernels.drain(..2);
        run.kernels[0].asked = true;
        let text = ktap(&run);
        assert!(text.ends_with("not ok 1 debian-7 # ERROR unavailable: it is not built\n"), "{text}");
    }

    #[test]
    fn a_part_leaves_out_what_another_has_and_skips_one_by_one() {
        let mut run = sample();
        run.kernels[0].cells.iter_mut().for_each(|cell| cell.outcome = None);
        let timeout = Outcome {
            verdict: Verdict::Timeout,
            why: "the job did not end in time".into(),
            ran: Some(Ran { took_ms: 1, digest: String::new(), runs: 1 }),
            ..run.kernels[1].outcome("function").unwrap().clone()
        };
        run.note("debian-7", "function", timeout);
        let text = ktap(&run);
        assert!(text.starts_with("KTAP version 1\n1..2\n"), "{text}");
        assert!(!text.contains("5.4"), "{text}");
        assert!(text.contains("\n  ok 1 check # SKIP unavailable: it is not built\n"), "{text}");
        assert!(text.contains("\n  not ok 2 function # TIMEOUT timeout: the job did"), "{text}");
    }
}
