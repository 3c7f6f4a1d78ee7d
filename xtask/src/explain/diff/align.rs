//! Compares two trees: functions added, gone, renamed and moved; pure.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::iter;
use std::ops::AddAssign;

use super::tree::{Node, Shape};
use crate::kernel::renames::{self, KnownRename};

/// Least similarity of names, from 0 to 1, to guess a rename of a function with the same callees.
const ALIKE: f64 = 0.7;
/// The same for functions without callees, where only the names can be compared.
const ALIKE_ALONE: f64 = 0.85;
/// The most pairs of names compared to find renames; after that, no more are searched for.
const PAIRS: usize = 1 << 20;
/// The most passes that search for moves; each uses the functions that are still unpaired.
const ROUNDS: usize = 8;
/// Suffixes, without their number, that compilers append to the name of a part or variant of a function.
const SUFFIXES: [&str; 6] = [".isra", ".part", ".constprop", ".cold", ".lto_priv", ".llvm"];

/// A function at one place of one tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Its name in that tree.
    pub name: String,
    /// How often it was called at this place.
    pub calls: u64,
    /// Median instructions of such a call, without those of traced calls below it.
    pub instructions: Option<i64>,
}

/// Why two names are taken for one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameReason {
    /// A known rename: since when, and why.
    Known(KnownRename),
    /// The names are similar and the callees are the same.
    Guess,
}

/// A function that both sides have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Both {
    /// In the old tree.
    pub old: Occurrence,
    /// In the new tree.
    pub new: Occurrence,
    /// Why the names differ, beyond what a compiler appends.
    pub rename: Option<RenameReason>,
    /// If the function moved: its callers in the old tree, outermost first.
    pub moved: Option<Vec<String>>,
}

/// How a function changed at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the new side has it here.
    Added(Occurrence),
    /// Only the old side has it here.
    Gone(Occurrence),
    /// Both have it.
    Both(Box<Both>),
}

/// A place in the tree of both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// How the function changed.
    pub change: Change,
    /// The rows below it.
    pub rows: Vec<Row>,
}

/// How many functions changed, by kind of change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    /// Places that are new.
    pub added: usize,
    /// Places that are gone.
    pub gone: usize,
    /// Places where a function has another name.
    pub renamed: usize,
    /// Places that have moved.
    pub moved: usize,
    /// Places where only the number of calls changed.
    pub counts: usize,
}

impl AddAssign for ChangeCounts {
    fn add_assign(&mut self, other: ChangeCounts) {
        self.added += other.added;
        self.gone += other.gone;
        self.renamed += other.renamed;
        self.moved += other.moved;
        self.counts += other.counts;
    }
}

impl ChangeCounts {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == ChangeCounts::default()
    }
}

impl Both {
    /// The suffixes that the compiler appended to the old and the new name, if they differ.
    pub fn suffixes(&self) -> Option<(&str, &str)> {
        let (old, new) = (suffix(&self.old.name), suffix(&self.new.name));
        (old != new).then_some((old, new))
    }
}

impl Row {
    /// The function's new name, or its old one if it is gone.
    pub fn name(&self) -> &str {
        match &self.change {
            Change::Added(side) | Change::Gone(side) => &side.name,
            Change::Both(both) => &both.new.name,
        }
    }

    /// Whether nothing but the instructions changed at this place; places below it are not considered.
    pub fn is_same(&self) -> bool {
        match &self.change {
            Change::Added(_) | Change::Gone(_) => false,
            Change::Both(both) => {
                both.rename.is_none() && both.moved.is_none() && both.old.calls == both.new.calls
            }
        }
    }

    /// Whether nothing changed at this place and below it, instructions and suffixes included.
    pub fn is_identical(&self) -> bool {
        let here = match &self.change {
            Change::Added(_) | Change::Gone(_) => false,
            Change::Both(both) => {
                let same = both.old.instructions == both.new.instructions;
                self.is_same() && same && both.suffixes().is_none()
            }
        };
        here && self.rows.iter().all(Row::is_identical)
    }

    /// Whether this place or one below it changed.
    pub fn has_changed(&self) -> bool {
        !self.is_same() || self.rows.iter().any(Row::has_changed)
    }

    /// The number of places from this one down.
    pub fn places(&self) -> usize {
        1 + self.rows.iter().map(Row::places).sum::<usize>()
    }

    /// Counts the changes from this place down.
    pub fn change_counts(&self) -> ChangeCounts {
        let mut counts = ChangeCounts::default();
        match &self.change {
            Change::Added(_) => counts.added = 1,
            Change::Gone(_) => counts.gone = 1,
            // A function that was both moved and renamed counts twice.
            Change::Both(both) => {
                counts.renamed = usize::from(both.rename.is_some());
                counts.moved = usize::from(both.moved.is_some());
                let only_calls = both.old.calls != both.new.calls && counts.is_empty();
                counts.counts = usize::from(only_calls);
            }
        }
        self.rows.iter().for_each(|row| counts += row.change_counts());
        counts
    }
}

/// A function's name without the suffixes that compilers append.
pub fn plain(name: &str) -> &str {
    let mut plain = name;
    loop {
        let Some((head, last)) = plain.rsplit_once('.') else { return plain };
        // A number belongs to the word before it.
        let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
        let (head, word) = match (is_number, head.rfind('.')) {
            (true, Some(dot)) => head.split_at(dot),
            _ => plain.split_at(head.len()),
        };
        if head.is_empty() || !SUFFIXES.contains(&word) {
            return plain;
        }
        plain = head;
    }
}

fn suffix(name: &str) -> &str {
    &name[plain(name).len()..]
}

/// Compares two trees of the same shape.
///
/// Functions are paired level by level: by name, then by known renames, then by guesses. A function
/// that is gone from one place and new at another has moved, with its subtree, if only one old and one
/// new place come into question. In trees of callers nothing is reported as moved.
pub fn align(shape: Shape, old: &[Node], new: &[Node]) -> Vec<Row> {
    let mut aligner = Aligner { budget: PAIRS, ..Aligner::default() };
    let drafts = aligner.level(old, new, &[]);
    if shape != Shape::Callers {
        aligner.find_moves();
    }
    aligner.rows(drafts)
}

/// A row before moves are found.
enum Draft<'a> {
    /// Index into `Aligner::gone`.
    Gone(usize),
    /// Index into `Aligner::added`.
    Added(usize),
    Both(Pair<'a>),
}

/// A function in both trees, with its subtree.
struct Pair<'a> {
    old: &'a Node,
    new: &'a Node,
    rename: Option<RenameReason>,
    moved: Option<Vec<String>>,
    below: Vec<Draft<'a>>,
}

#[derive(Default)]
struct Aligner<'a> {
    gone: Places<'a>,
    added: Places<'a>,
    /// Places of `added` that are moved functions, by index.
    moved: HashMap<usize, Pair<'a>>,
    /// How many functions have been paired so far.
    pairs: usize,
    /// How many more pairs of names may be compared.
    budget: usize,
}

/// Unpaired functions of one tree: subtrees one after the other, each from its top down.
#[derive(Default)]
struct Places<'a>(Vec<Place<'a>>);

struct Place<'a> {
    node: &'a Node,
    /// The number of places in its subtree, this one included; the others follow it.
    size: usize,
    parent: Option<usize>,
    /// Its callers, outermost first; set only for the top of a subtree.
    above: Vec<&'a str>,
    /// The number of the pair (a function in both trees) that it is below.
    home: usize,
    /// It was paired as moved, alone or as part of a larger subtree.
    taken: bool,
    /// It or a place below it was paired as moved.
    touched: bool,
}

impl<'a> Places<'a> {
    /// Adds a subtree and returns the index of its top.
    fn put(&mut self, node: &'a Node, home: usize, above: &[&'a str]) -> usize {
        let at = self.0.len();
        self.put_below(node, home, None);
        self.0[at].above = above.to_vec();
        at
    }

    fn put_below(&mut self, node: &'a Node, home: usize, parent: Option<usize>) {
        let at = self.0.len();
        let (taken, touched) = (false, false);
        self.0.push(Place { node, size: 1, parent, above: Vec::new(), home, taken, touched });
        for child in &node.children {
            self.put_below(child, home, Some(at));
        }
        self.0[at].size = self.0.len() - at;
    }

    /// The callers of a place, outermost first.
    fn path(&self, at: usize) -> Vec<&'a str> {
        let ancestors: Vec<usize> =
            iter::successors(self.0[at].parent, |above| self.0[*above].parent).collect();
        let top = &self.0[ancestors.last().copied().unwrap_or(at)].above;
        let inner = ancestors.iter().rev().map(|above| self.0[*above].node.name.as_str());
        top.iter().copied().chain(inner).collect()
    }

    /// The places directly below one.
    fn below(&self, at: usize) -> impl Iterator<Item = usize> {
        let end = at + self.0[at].size;
        let next = move |child: &usize| Some(child + self.0[*child].size).filter(|next| *next < end);
        iter::successors(Some(at + 1).filter(|first| *first < end), next)
    }

    /// Marks a subtree as paired.
    fn take(&mut self, at: usize) {
        let end = at + self.0[at].size;
        for place in &mut self.0[at..end] {
            (place.taken, place.touched) = (true, true);
        }
        let mut above = self.0[at].parent;
        while let Some(at) = above {
            self.0[at].touched = true;
            above = self.0[at].parent;
        }
    }

    /// The unpaired place of each function, by scope and plain name; `None` if there are several.
    fn single(&self, scope: fn(&Place<'_>) -> usize) -> HashMap<(usize, &'a str), Option<usize>> {
        let mut single = HashMap::new();
        for (at, place) in self.0.iter().enumerate().filter(|(_, place)| !place.touched) {
            let key = (scope(place), plain(&place.node.name));
            single.entry(key).and_modify(|known| *known = None).or_insert(Some(at));
        }
        single
    }
}

impl<'a> Aligner<'a> {
    /// Pairs the functions below one place, in the order of the new tree. Gone functions keep their
    /// position, before added ones.
    fn level(&mut self, old: &'a [Node], new: &'a [Node], above: &[&'a str]) -> Vec<Draft<'a>> {
        let home = self.pairs;
        let pairs = self.paired(old, new);
        let is_paired: HashSet<usize> = pairs.iter().flatten().map(|(at, _)| *at).collect();
        let mut unpaired = (0..old.len()).filter(|at| !is_paired.contains(at)).peekable();
        // For each new function: the old index of the next paired one, this one included.
        let mut next = old.len();
        let mut until: Vec<usize> = Vec::with_capacity(new.len());
        for pair in pairs.iter().rev() {
            next = pair.map_or(next, |(at, _)| at);
            until.push(next);
        }
        let mut drafts = Vec::new();
        for ((new, pair), until) in iter::zip(iter::zip(new, pairs), until.into_iter().rev()) {
            while let Some(gone) = unpaired.next_if(|at| *at < until) {
                drafts.push(Draft::Gone(self.gone.put(&old[gone], home, above)));
            }
            drafts.push(match pair {
                None => Draft::Added(self.added.put(new, home, above)),
                Some((at, rename)) => Draft::Both(self.pair(&old[at], new, rename, above)),
            });
        }
        for gone in unpaired {
            drafts.push(Draft::Gone(self.gone.put(&old[gone], home, above)));
        }
        drafts
    }

    /// Pairs two functions and everything below them; `above` are the callers of the old one.
    fn pair(
        &mut self,
        old: &'a Node,
        new: &'a Node,
        rename: Option<RenameReason>,
        above: &[&'a str],
    ) -> Pair<'a> {
        self.pairs += 1;
        let below = self.level(&old.children, &new.children, &[above, &[&old.name]].concat());
        Pair { old, new, rename, moved: None, below }
    }

    /// For each new function: the index of the old function it is paired with, and why the names differ.
    fn paired(&mut self, old: &[Node], new: &[Node]) -> Vec<Option<(usize, Option<RenameReason>)>> {
        let mut pairs: Vec<Option<(usize, Option<RenameReason>)>> = vec![None; new.len()];
        let mut free: Vec<bool> = vec![true; old.len()];
        // Exact names first: a function and its `.part` may be siblings.
        let exact: fn(&Node) -> &str = |node| &node.name;
        let without_suffix: fn(&Node) -> &str = |node| plain(&node.name);
        for name in [exact, without_suffix] {
            let mut known: HashMap<&str, usize> = HashMap::new();
            for (at, node) in old.iter().enumerate().filter(|(at, _)| free[*at]) {
                known.entry(name(node)).or_insert(at);
            }
            for (pair, node) in iter::zip(&mut pairs, new).filter(|(pair, _)| pair.is_none()) {
                if let Some(at) = known.remove(name(node)) {
                    free[at] = false;
                    *pair = Some((at, None));
                }
            }
        }
        for why in [known_rename as fn(&Node, &Node) -> Option<(f64, RenameReason)>, guess] {
            for (pair, new) in iter::zip(&mut pairs, new).filter(|(pair, _)| pair.is_none()) {
                let left: Vec<usize> = (0..old.len()).filter(|at| free[*at]).collect();
                let Some(budget) = self.budget.checked_sub(left.len()) else { break };
                self.budget = budget;
                let likely = left.into_iter().filter_map(|at| Some((at, why(&old[at], new)?)));
                // Of equally likely ones, the first.
                let best = likely.reduce(|best, next| if next.1.0 > best.1.0 { next } else { best });
                if let Some((at, (_, rename))) = best {
                    free[at] = false;
                    *pair = Some((at, Some(rename)));
                }
            }
        }
        pairs
    }

    /// Finds moves: functions with exactly one unpaired place in each tree. They are searched first below
    /// the same pair, then in the whole tree. Each pass leaves fewer unpaired places, so the next one may
    /// find more.
    fn find_moves(&mut self) {
        let scopes: [fn(&Place<'_>) -> usize; 2] = [|place| place.home, |_| 0];
        for _ in 0..ROUNDS {
            let pairs = self.pairs;
            for scope in scopes {
                self.find_moves_within(scope);
            }
            if self.pairs == pairs {
                break;
            }
        }
    }

    fn find_moves_within(&mut self, scope: fn(&Place<'_>) -> usize) {
        let (gone, added) = (self.gone.single(scope), self.added.single(scope));
        let mut found: Vec<(usize, usize, Option<RenameReason>)> = Vec::new();
        for (key, new) in &added {
            let Some(new) = *new else { continue };
            match gone.get(key) {
                Some(old) => found.extend(old.map(|old| (old, new, None))),
                None => found.extend(renames::other_names(key.1).into_iter().find_map(|(name, why)| {
                    let old = *gone.get(&(key.0, name))?;
                    Some((old?, new, Some(RenameReason::Known(why))))
                })),
            }
        }
        // The largest subtrees first: parts of them may also match elsewhere.
        found.sort_by_key(|(old, new, _)| (Reverse(self.gone.0[*old].size), *new));
        for (old, new, rename) in found {
            if self.gone.0[old].touched || self.added.0[new].touched {
                continue;
            }
            self.gone.take(old);
            self.added.take(new);
            let path = self.gone.path(old);
            let mut pair = self.pair(self.gone.0[old].node, self.added.0[new].node, rename, &path);
            pair.moved = Some(path.iter().map(|name| (*name).to_owned()).collect());
            self.moved.insert(new, pair);
        }
    }

    /// Makes rows of drafts; a moved function is shown only at its new place.
    fn rows(&mut self, drafts: Vec<Draft<'a>>) -> Vec<Row> {
        let row = |draft| match draft {
            Draft::Gone(at) => self.gone_row(at),
            Draft::Added(at) => Some(self.added_row(at)),
            Draft::Both(pair) => Some(self.row(pair)),
        };
        drafts.into_iter().filter_map(row).collect()
    }

    fn row(&mut self, pair: Pair<'a>) -> Row {
        let Pair { old, new, rename, moved, below } = pair;
        let both = Both { old: occurrence(old), new: occurrence(new), rename, moved };
        Row { change: Change::Both(Box::new(both)), rows: self.rows(below) }
    }

    fn gone_row(&self, at: usize) -> Option<Row> {
        let place = &self.gone.0[at];
        if place.taken {
            return None;
        }
        let rows = self.gone.below(at).filter_map(|child| self.gone_row(child)).collect();
        Some(Row { change: Change::Gone(occurrence(place.node)), rows })
    }

    fn added_row(&mut self, at: usize) -> Row {
        if let Some(pair) = self.moved.remove(&at) {
            return self.row(pair);
        }
        let below: Vec<usize> = self.added.below(at).collect();
        let rows = below.into_iter().map(|child| self.added_row(child)).collect();
        Row { change: Change::Added(occurrence(self.added.0[at].node)), rows }
    }
}

fn occurrence(node: &Node) -> Occurrence {
    Occurrence { name: node.name.clone(), calls: node.calls, instructions: node.instructions }
}

/// A known rename, with its likelihood.
fn known_rename(old: &Node, new: &Node) -> Option<(f64, RenameReason)> {
    renames::known(plain(&old.name), plain(&new.name)).map(|why| (1.0, RenameReason::Known(why)))
}

/// A guessed rename: similar names and the same callees.
fn guess(old: &Node, new: &Node) -> Option<(f64, RenameReason)> {
    let name = |node: &'_ Node| plain(&node.name).trim_start_matches('_').to_owned();
    let alike = strsim::normalized_damerau_levenshtein(&name(old), &name(new));
    let enough = if old.children.is_empty() { ALIKE_ALONE } else { ALIKE };
    (alike >= enough && call_the_same(old, new)).then_some((alike, RenameReason::Guess))
}

/// Whether two functions call the same functions, known renames included.
fn call_the_same(old: &Node, new: &Node) -> bool {
    let names: HashSet<&str> = old.children.iter().map(|child| plain(&child.name)).collect();
    let has = |child: &Node| {
        let name = plain(&child.name);
        names.contains(name) || renames::other_names(name).iter().any(|(other, _)| names.contains(other))
    };
    old.children.len() == new.children.len() && new.children.iter().all(has)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// A tree from lines, two spaces a level, with calls where they are not one: `f x3`.
    fn tree(text: &str) -> Vec<Node> {
        fn below(lines: &mut iter::Peekable<std::str::Lines<'_>>, depth: usize) -> Vec<Node> {
            let mut nodes = Vec::new();
            while let Some(line) = lines.next_if(|line| (line.len() - line.trim_start().len()) / 2 == depth) {
                let (name, calls) = line.trim().split_once(" x").unwrap_or((line.trim(), "1"));
                let children = below(lines, depth + 1);
                nodes.push(Node {
                    name: name.into(),
                    calls: calls.parse().unwrap(),
                    instructions: None,
                    children,
                });
            }
            nodes
        }
        below(&mut text.lines().peekable(), 0)
    }

    fn shown(rows: &[Row], depth: usize) -> String {
        let (mut out, indent) = (String::new(), depth * 2);
        for row in rows {
            let (sign, note) = match &row.change {
                Change::Added(_) => ('+', String::new()),
                Change::Gone(_) => ('-', String::new()),
                Change::Both(both) => {
                    let mut note = match both.rename {
                        None => String::new(),
                        Some(RenameReason::Known(why)) => format!(" was {}, {why}", both.old.name),
                        Some(RenameReason::Guess) => format!(" was {}, a guess", both.old.name),
                    };
                    if let Some((old, new)) = both.suffixes() {
                        let _ = write!(note, " suffix {old:?} {new:?}");
                    }
                    if both.old.calls != both.new.calls {
                        let _ = write!(note, " x{} x{}", both.old.calls, both.new.calls);
                    }
                    if let Some(above) = &both.moved {
                        let _ = write!(note, " from {}", above.join("/"));
                    }
                    (if both.moved.is_some() { '>' } else { '=' }, note)
                }
            };
            let _ = writeln!(out, "{sign} {:indent$}{}{note}", "", row.name());
            out.push_str(&shown(&row.rows, depth + 1));
        }
        out
    }

    fn aligned(old: &str, new: &str) -> String {
        shown(&align(Shape::Calls, &tree(old), &tree(new)), 0)
    }

    #[test]
    fn what_is_the_same_stays_and_the_rest_stands_in_its_place() {
        let (old, new) = ("f x2\n  a\n  b\n  c\n    d", "f x3\n  n\n    m\n  a\n  c\n    d");
        insta::assert_snapshot!(aligned(old, new), @r"
        = f x2 x3
        +   n
        +     m
        =   a
        -   b
        =   c
        =     d
        ");
        let same = align(Shape::Calls, &tree(old), &tree(old));
        assert!(same[0].is_identical() && !same[0].has_changed() && same[0].change_counts().is_empty());
    }

    #[test]
    fn renames_are_known_or_guessed() {
        insta::assert_snapshot!(aligned("_do_fork\n  copy_process", "kernel_clone\n  copy_process"), @r"
        = kernel_clone was _do_fork, since 5.10: it is named as other helpers behind system calls are
        =   copy_process
        ");
        insta::assert_snapshot!(aligned("f\n  __x64_sys_clone\n    a", "f\n  __do_sys_clone\n    a"), @r"
        = f
        =   __do_sys_clone was __x64_sys_clone, a guess
        =     a
        ");
        let clone = ("__x64_sys_clone\n  _do_fork\n    copy", "__do_sys_clone\n  kernel_clone\n    copy");
        insta::assert_snapshot!(aligned(clone.0, clone.1), @r"
        = __do_sys_clone was __x64_sys_clone, a guess
        =   kernel_clone was _do_fork, since 5.10: it is named as other helpers behind system calls are
        =     copy
        ");
        // Similar names with other callees are two functions.
        insta::assert_snapshot!(aligned("f\n  __x64_sys_clone\n    a", "f\n  __do_sys_clone\n    b"), @r"
        = f
        -   __x64_sys_clone
        -     a
        +   __do_sys_clone
        +     b
        ");
        insta::assert_snapshot!(aligned("vfs_read", "vfs_write"), @r"
        - vfs_read
        + vfs_write
        ");
    }

    #[test]
    fn what_moves_takes_along_what_is_below_it() {
        let old = "f\n  _cond_resched\n    rcu_all_qs\n  should_failslab x2\n  old\n    deep\n      deeper";
        let new = "f\n  alloc\n    __cond_resched\n    should_failslab x3\n    deep\n      deeper\n      new";
        insta::assert_snapshot!(aligned(old, new), @r"
        = f
        -   old
        +   alloc
        >     __cond_resched was _cond_resched, since 5.12: which of several implementations is called is chosen at boot from f
        -       rcu_all_qs
        >     should_failslab x2 x3 from f
        >     deep from f/old
        =       deeper
        +       new
        ");
        let rows = align(Shape::Calls, &tree(old), &tree(new));
        let counts = rows[0].change_counts();
        assert_eq!((counts.added, counts.gone, counts.renamed, counts.moved, counts.counts), (2, 2, 1, 3, 0));
    }

    #[test]
    fn a_part_that_moved_is_not_taken_again_with_the_whole() {
        let old = "f\n  whole\n    part";
        let new = "f\n  a\n    part\n  b\n    whole";
        insta::assert_snapshot!(aligned(old, new), @r"
        = f
        +   a
        >     part from f/whole
        +   b
        >     whole from f
        ");
        // A function that is gone from two places and new at one may have moved from either.
        insta::assert_snapshot!(aligned("f\n  a\n    x\n  b\n    x", "f\n  c\n    x"), @r"
        = f
        -   a
        -     x
        -   b
        -     x
        +   c
        +     x
        ");
        // Pairing a larger subtree first, or looking below the same function, decides which one moved.
        insta::assert_snapshot!(aligned("f\n  a\n    y\n      x\n  b\n    x", "f\n  c\n    x\n  d\n    y\n      x"), @r"
        = f
        -   a
        -   b
        +   c
        >     x from f/b
        +   d
        >     y from f/a
        =       x
        ");
        insta::assert_snapshot!(aligned("f\n  a\n    x\ng\n  b\n    x", "f\n  c\n    x\ng\n  d\n    x"), @r"
        = f
        -   a
        +   c
        >     x from f/a
        = g
        -   b
        +   d
        >     x from g/b
        ");
    }

    #[test]
    fn callers_do_not_move() {
        let (old, new) = (tree("f\n  a\ng"), tree("f\ng\n  a"));
        insta::assert_snapshot!(shown(&align(Shape::Callers, &old, &new), 0), @r"
        = f
        -   a
        = g
        +   a
        ");
    }

    #[test]
    fn what_compilers_append_makes_no_other_function() {
        insta::assert_snapshot!(aligned("f.isra.0\n  g.part.0.cold\n  h\n  h.part.0", "f\n  g\n  h.part.1\n  h"), @r#"
        = f suffix ".isra.0" ""
        =   g suffix ".part.0.cold" ""
        =   h.part.1 suffix ".part.0" ".part.1"
        =   h
        "#);
        for (name, expected) in [
            ("do_execveat_common.isra.0", "do_execveat_common"),
            ("f.constprop.0.isra.12", "f"),
            ("f.cold", "f"),
            ("f.isra.0.cold", "f"),
            ("f.llvm.1234567", "f"),
            ("f.x.0", "f.x.0"),
            (".part.0", ".part.0"),
            ("f.", "f."),
            ("f.part.", "f.part."),
            ("f", "f"),
        ] {
            assert_eq!(plain(name), expected);
        }
    }

    #[test]
    fn many_names_take_no_time_of_their_square() {
        let nodes = |prefix: &str| -> Vec<Node> {
            let name = |at| Node { name: format!("{prefix}{at}"), calls: 1, ..Node::default() };
            (0..20_000).map(name).collect()
        };
        let rows = align(Shape::Calls, &nodes("one_"), &nodes("other_"));
        assert_eq!(rows.len(), 40_000);
    }
}
