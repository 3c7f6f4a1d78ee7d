//! The result of a comparison of two kernels, as plain data; pure.

use similar::{ChangeTag, TextDiff};

use super::align::{self, ChangeCounts, Row};
use super::tree::{self, Shape};
use crate::base::verdict::Verdict;
use crate::guest::fingerprint::Fingerprint;
use crate::run::results::{Stored, StoredStep};
use crate::snapshots::redact::redacted;

/// Unchanged lines shown around those that changed.
const CONTEXT: usize = 2;

/// Two kernels, case by case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The old side and the new one.
    pub names: [SideName; 2],
    /// Why instructions are not compared, where they are not.
    pub no_instructions: Option<String>,
    /// The cases, in the order of the tutorial.
    pub cases: Vec<CaseDiff>,
}

/// What to call a side of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideName {
    /// The kernel's name, or that of its tree.
    pub name: String,
    /// Version, compiler and configuration; for stored results also their run.
    pub about: String,
}

/// A case on both kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseDiff {
    /// Its name.
    pub name: String,
    /// What it shows, in a line.
    pub title: String,
    /// The result.
    pub result: CaseResult,
}

/// The result of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseResult {
    /// Its commands were compared.
    Compared(Vec<StepDiff>),
    /// It cannot be compared; the reason, as a sentence.
    OneSided(String),
    /// It failed on one side; the reason, as a sentence that begins with the side's name.
    Failed(Verdict, String),
}

/// A command on both kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepDiff {
    /// The old command, if it differs.
    pub old_command: Option<String>,
    /// The command.
    pub command: String,
    /// How the output differs.
    pub body: Body,
}

/// How the output of a command differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Not at all.
    Same,
    /// Two traces, as trees.
    Tree(Shape, Vec<Row>),
    /// Any other text, redacted: the lines that changed, and some around them.
    Lines(Vec<DiffLine>),
}

/// A line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiffLine {
    /// Only the new side has it.
    Added(String),
    /// Only the old side has it.
    Gone(String),
    /// Both have it.
    Same(String),
    /// This many equal lines are left out.
    Omitted(usize),
}

impl CaseDiff {
    /// Whether the kernels differ in it, beyond instructions.
    pub fn differs(&self) -> bool {
        match &self.result {
            CaseResult::Compared(steps) => steps.iter().any(StepDiff::differs),
            CaseResult::OneSided(_) | CaseResult::Failed(..) => false,
        }
    }

    /// Counts the changes in its trees.
    pub fn change_counts(&self) -> ChangeCounts {
        let mut counts = ChangeCounts::default();
        for step in self.steps() {
            counts += step.change_counts();
        }
        counts
    }

    /// How many lines changed in outputs that are not trees.
    pub fn lines(&self) -> usize {
        self.steps().iter().map(StepDiff::lines).sum()
    }

    fn steps(&self) -> &[StepDiff] {
        match &self.result {
            CaseResult::Compared(steps) => steps,
            CaseResult::OneSided(_) | CaseResult::Failed(..) => &[],
        }
    }
}

impl StepDiff {
    /// Whether the kernels differ in it, beyond instructions.
    pub fn differs(&self) -> bool {
        !self.change_counts().is_empty() || self.lines() > 0
    }

    /// Whether commands and outputs are the same, instructions included.
    pub fn is_identical(&self) -> bool {
        let said = match &self.body {
            Body::Same => true,
            Body::Tree(_, rows) => rows.iter().all(Row::is_identical),
            Body::Lines(_) => false,
        };
        said && self.old_command.is_none()
    }

    fn change_counts(&self) -> ChangeCounts {
        let mut counts = ChangeCounts::default();
        if let Body::Tree(_, rows) = &self.body {
            rows.iter().for_each(|row| counts += row.change_counts());
        }
        counts
    }

    fn lines(&self) -> usize {
        let Body::Lines(lines) = &self.body else { return 0 };
        lines.iter().filter(|line| matches!(line, DiffLine::Added(_) | DiffLine::Gone(_))).count()
    }
}

/// The counts as words: `2 added, 1 moved`; empty if nothing changed.
pub fn words(counts: ChangeCounts, lines: usize) -> String {
    let ChangeCounts { added, gone, renamed, moved, counts } = counts;
    let counted = [
        (added, "added"),
        (gone, "gone"),
        (renamed, "renamed"),
        (moved, "moved"),
        (counts, "with other counts"),
        (lines, if lines == 1 { "line of text" } else { "lines of text" }),
    ];
    let said: Vec<String> = counted
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    said.join(", ")
}

/// Compares the results of a case on both sides; `instructions` says whether instruction counts may be
/// compared.
pub fn compare(title: &str, old: &Stored, new: &Stored, instructions: bool) -> CaseDiff {
    let case = |result| CaseDiff { name: new.case.clone(), title: title.to_owned(), result };
    for stored in [old, new] {
        if stored.verdict != Verdict::Pass {
            let why = stored.why.lines().next().unwrap_or_default();
            let said = format!("{}: {}: {why}", stored.kernel, stored.verdict);
            return case(CaseResult::Failed(stored.verdict, said));
        }
    }
    if old.steps.len() != new.steps.len() {
        let (old, new) = (old.steps.len(), new.steps.len());
        return case(CaseResult::OneSided(format!("it had {old} commands, and has {new} now")));
    }
    let shift = |stored: &Stored| stored.fingerprint.shift().filter(|_| instructions);
    let shifts = [shift(old), shift(new)];
    let steps = old.steps.iter().zip(&new.steps).map(|(old, new)| compare_step(old, new, shifts));
    case(CaseResult::Compared(steps.collect()))
}

fn compare_step(old: &StoredStep, new: &StoredStep, shifts: [Option<u8>; 2]) -> StepDiff {
    let trees = (tree::of_output(&old.output, shifts[0]), tree::of_output(&new.output, shifts[1]));
    let body = match trees {
        (Some((shape, old)), Some((other, new))) if shape == other => {
            Body::Tree(shape, align::align(shape, &old, &new))
        }
        _ => lines(&text(old), &text(new)),
    };
    let old_command = (old.command != new.command).then(|| old.command.clone());
    StepDiff { old_command, command: new.command.clone(), body }
}

/// The output and exit status of a command, redacted.
fn text(step: &StoredStep) -> String {
    let status = match step.status {
        Some(0) => String::new(),
        Some(status) => format!("[exit status {status}]\n"),
        None => "[did not end]\n".to_owned(),
    };
    let newline = if step.output.is_empty() || step.output.ends_with('\n') { "" } else { "\n" };
    redacted(&format!("{}{newline}{status}", step.output))
}

/// The difference of two texts.
fn lines(old: &str, new: &str) -> Body {
    if old == new {
        return Body::Same;
    }
    let diff = TextDiff::from_lines(old, new);
    let mut lines = Vec::new();
    // Lines of the old text that have been handled, shown or left out.
    let mut handled = 0;
    for group in diff.grouped_ops(CONTEXT) {
        let begins = group.first().map_or(handled, |op| op.old_range().start);
        if begins > handled {
            lines.push(DiffLine::Omitted(begins - handled));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let line = change.value().trim_end_matches('\n').to_owned();
            lines.push(match change.tag() {
                ChangeTag::Insert => DiffLine::Added(line),
                ChangeTag::Delete => DiffLine::Gone(line),
                ChangeTag::Equal => DiffLine::Same(line),
            });
        }
        handled = group.last().map_or(handled, |op| op.old_range().end);
    }
    let all = old.lines().count();
    if all > handled {
        lines.push(DiffLine::Omitted(all - handled));
    }
    Body::Lines(lines)
}

/// Why the instruction counts of two results cannot be compared: something besides the kernel differs.
/// `own` are the words that kernel records add to the command line; differences in them are ignored.
pub fn differ_besides_the_kernel(old: &Fingerprint, new: &Fingerprint, own: &[String]) -> Option<String> {
    if !(old.is_exact() && new.is_exact()) {
        return Some("not both sides are bit-exact runs".into());
    }
    // The record chooses the shift, and the conversion to instructions already considers it.
    let options = |inputs: &Fingerprint| {
        let shift = inputs.shift().map_or(String::new(), |shift| format!("shift={shift}"));
        inputs.options.replacen(&shift, "shift", 1)
    };
    let append = |inputs: &Fingerprint| -> Vec<String> {
        let words = inputs.append.split_whitespace().filter(|word| !own.iter().any(|own| own == word));
        words.map(str::to_owned).collect()
    };
    let differs = [
        ("QEMU is not", old.qemu != new.qemu),
        ("the options of QEMU are not", options(old) != options(new)),
        ("the command line is not", append(old) != append(new)),
        // Results of an older harness have no digest of the programs.
        ("the guest's programs are not", old.programs.is_empty() || old.programs != new.programs),
    ];
    let (what, _) = differs.into_iter().find(|(_, differs)| *differs)?;
    Some(format!("{what} the same on both sides"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A result made up of commands with their outputs.
    pub fn stored(case: &str, kernel: &str, steps: &[(&str, &str)]) -> Stored {
        let step = |(command, output): &(&str, &str)| StoredStep {
            command: (*command).to_owned(),
            output: (*output).to_owned(),
            status: Some(0),
        };
        Stored {
            case: case.into(),
            kernel: kernel.into(),
            identity: "1".into(),
            verdict: Verdict::Pass,
            why: String::new(),
            steps: steps.iter().map(step).collect(),
            filters: Vec::new(),
            fingerprint: inputs(),
            took_ms: 0,
            runs: 1,
        }
    }

    fn inputs() -> Fingerprint {
        Fingerprint {
            image: "a".into(),
            initrd: "a".into(),
            append: "console=ttyS0 cryptomgr.notests panic=-1".into(),
            qemu: "7.2.22".into(),
            options: "-icount shift=4,sleep=off -m 512M".into(),
            programs: "p".into(),
            stdin: String::new(),
        }
    }

    const OLD: &str = "\
# tracer: function_graph
 0)               |  alloc() {
 0)   1.600 us    |    slab();
 0)   0.320 us    |    fail();
 0)   8.000 us    |  }
 0)               |  still() {
 0)   1.600 us    |    inner();
 0)   3.200 us    |  }
";
    const NEW: &str = "\
# tracer: function_graph
 0)               |  alloc() {
 0)   1.760 us    |    slab();
 0)               |    node() {
 0)   0.320 us    |      fail();
 0)   1.600 us    |    }
 0)   8.000 us    |  }
 0)               |  still() {
 0)   1.600 us    |    inner();
 0)   3.200 us    |  }
";

    /// A comparison that contains every kind of difference.
    pub fn comparison() -> Comparison {
        let name = |name: &str| SideName { name: name.into(), about: format!("{name}.1, gcc 12") };
        let old = stored("graph", "5.10", &[("true", ""), ("show alloc", OLD)]);
        let new = stored("graph", "6.12", &[("true", ""), ("show alloc_noprof", NEW)]);
        let list = |kernel: &str, clock: &str| {
            let text = format!("a\nb\nc\nd\n{clock}\ne\nf\ng\x1b[2J\n");
            stored("list", kernel, &[("list <clocks>", &text)])
        };
        let mut broken = stored("broken", "6.12", &[]);
        (broken.verdict, broken.why) = (Verdict::Oops, "a pointer to nothing\nand more".into());
        let alone = CaseResult::OneSided("it is not for 5.10".into());
        Comparison {
            names: [name("5.10"), name("6.12")],
            no_instructions: None,
            cases: vec![
                compare("What alloc calls", &old, &new, true),
                compare("Clocks", &list("5.10", "boot"), &list("6.12", "boot tai"), true),
                compare("A failure", &stored("broken", "5.10", &[]), &broken, true),
                compare("No change", &list("5.10", "boot"), &list("6.12", "boot"), true),
                CaseDiff { name: "module".into(), title: "Modules".into(), result: alone },
            ],
        }
    }

    #[test]
    fn a_case_tells_whether_it_differs() {
        let cases = comparison().cases;
        let differs: Vec<bool> = cases.iter().map(CaseDiff::differs).collect();
        assert_eq!(differs, [true, true, false, false, false]);
        assert_eq!(words(cases[0].change_counts(), cases[0].lines()), "1 added, 1 moved");
        assert_eq!(words(cases[1].change_counts(), cases[1].lines()), "2 lines of text");
        assert_eq!(
            cases[2].result,
            CaseResult::Failed(Verdict::Oops, "6.12: oops: a pointer to nothing".into())
        );
        let one = stored("c", "5.4", &[("a", ""), ("b", "")]);
        let other = stored("c", "6.1", &[("a", "")]);
        let CaseResult::OneSided(why) = compare("", &one, &other, true).result else { panic!() };
        assert_eq!(why, "it had 2 commands, and has 1 now");
    }

    #[test]
    fn lines_that_are_left_out_are_counted() {
        let all: Vec<String> = (0..20).map(|at| format!("{at}\n")).collect();
        let new = all.concat().replace("\n10\n", "\nten\n");
        let Body::Lines(lines) = lines(&all.concat(), &new) else { panic!() };
        let of = |line: &str| line.to_owned();
        let expected = [
            DiffLine::Omitted(8),
            DiffLine::Same(of("8")),
            DiffLine::Same(of("9")),
            DiffLine::Gone(of("10")),
            DiffLine::Added(of("ten")),
            DiffLine::Same(of("11")),
            DiffLine::Same(of("12")),
            DiffLine::Omitted(7),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn an_exit_status_is_a_part_of_what_a_command_says() {
        let mut failed = stored("c", "6.1", &[("a", "x")]).steps.remove(0);
        failed.status = Some(2);
        let step = compare_step(&stored("c", "5.4", &[("a", "x")]).steps[0], &failed, [None, None]);
        let expected = [DiffLine::Same("x".into()), DiffLine::Added("[exit status 2]".into())];
        assert_eq!(step.body, Body::Lines(expected.into()));
    }

    #[test]
    fn instructions_are_compared_where_only_the_kernel_differs() {
        let own = ["cryptomgr.notests".to_owned(), "pty.legacy_count=0".to_owned()];
        let why = |change: fn(&mut Fingerprint)| {
            let mut other = inputs();
            change(&mut other);
            differ_besides_the_kernel(&inputs(), &other, &own)
        };
        let said = |change| why(change).unwrap_or_default();
        // These belong to the kernel: image, modules, the record's command-line words, the clock's shift.
        assert_eq!(why(|of| (of.image, of.initrd) = ("b".into(), "b".into())), None);
        assert_eq!(why(|of| of.append = "console=ttyS0 pty.legacy_count=0 panic=-1".into()), None);
        assert_eq!(why(|of| of.options = of.options.replace("shift=4", "shift=3")), None);
        assert_eq!(said(|of| of.append.push_str(" quiet")), "the command line is not the same on both sides");
        assert_eq!(
            said(|of| of.options = of.options.replace("512M", "1024M")),
            "the options of QEMU are not the same on both sides"
        );
        assert_eq!(said(|of| of.qemu = "8".into()), "QEMU is not the same on both sides");
        assert_eq!(
            said(|of| of.programs = String::new()),
            "the guest's programs are not the same on both sides"
        );
        assert_eq!(said(|of| of.options = "-m 512M".into()), "not both sides are bit-exact runs");
        let case =
            compare("", &stored("c", "a", &[("show", OLD)]), &stored("c", "b", &[("show", NEW)]), false);
        assert!(!format!("{case:?}").contains("instructions: Some"));
    }
}
