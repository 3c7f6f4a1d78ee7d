//! A difference between a snapshot and the output of a case, as text for people; pure.

use super::names::Name;
use crate::base::ui::printable;

/// The output of a case on a kernel, and the snapshot that it is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The snapshot: the one that applies to the kernel, else the most similar one of another kernel.
    pub like: Option<Name>,
    /// The snapshot's text; empty without a snapshot.
    pub old: String,
    /// The kernel.
    pub kernel: String,
    /// The output of the case.
    pub new: String,
}

impl Difference {
    /// A unified diff from the snapshot to the text, not yet made safe for a terminal.
    pub fn diff(&self) -> String {
        let name = self.like.as_ref().map_or_else(|| "no snapshot".into(), Name::file);
        let new = format!("{}\n", self.new.trim_end());
        similar::TextDiff::from_lines(&*self.old, &new).unified_diff().header(&name, &self.kernel).to_string()
    }

    /// The text for a terminal: the diff, or the whole output if there is no snapshot.
    pub fn shown(&self) -> String {
        if self.like.is_some() {
            return printable(&self.diff());
        }
        let lines: Vec<String> =
            self.new.trim_end().lines().map(|line| format!("  {}\n", printable(line))).collect();
        lines.concat()
    }
}

/// The commands that accept or review differences of a case, with the further options that the user gave.
pub fn what_to_type(case: &str, options: &str) -> String {
    let again = format!("cargo xtask test-vm --stored{options}");
    format!("  accept: {again} --update {case}\n  review: {again} --review {case}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(like: Option<Name>, old: &str) -> Difference {
        let new = "$ uname\nLinux\x1b[31m\n$ true\n[exit status 0]\n\n".into();
        Difference { like, old: old.into(), kernel: "5.4".into(), new }
    }

    #[test]
    fn a_mismatch_shows_the_snapshot_and_what_changed() {
        let name = Name { case: "c".into(), kernels: vec!["5.4".into(), "6.1".into()] };
        let difference = difference(Some(name), "$ uname\nGNU\n$ true\n[exit status 0]\n");
        insta::assert_snapshot!(difference.shown(), @r"
        --- c@5.4+6.1.snap
        +++ 5.4
        @@ -1,4 +1,4 @@
         $ uname
        -GNU
        +Linux?[31m
         $ true
         [exit status 0]
        ");
        assert!(difference.diff().contains("+Linux\x1b[31m\n"));
    }

    #[test]
    fn without_any_snapshot_the_text_is_shown() {
        let difference = difference(None, "");
        assert_eq!(difference.shown(), "  $ uname\n  Linux?[31m\n  $ true\n  [exit status 0]\n");
        assert!(difference.diff().starts_with("--- no snapshot\n+++ 5.4\n@@ -0,0 +1,4 @@\n+$ uname\n"));
    }

    #[test]
    fn what_to_type_names_the_case() {
        assert_eq!(
            what_to_type("mount", ""),
            "  accept: cargo xtask test-vm --stored --update mount\n  \
             review: cargo xtask test-vm --stored --review mount\n"
        );
    }
}
