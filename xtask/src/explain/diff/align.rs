//! Two trees side by side: functions added, gone, renamed and moved; pure.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::iter;
use std::ops::AddAssign;

use super::tree::{Node, Shape};
use crate::kernel::renames::{self, Known};

/// How alike the names of two functions that call the same have to be for a guess, from 0 to 1.
const ALIKE: f64 = 0.7;
/// The same of functions that call nothing, so that only the names speak for it.
const ALIKE_ALONE: f64 = 0.85;
/// The most pairs of names that are compared to find a rename; beyond that none is looked for.
const PAIRS: usize = 1 << 20;
/// How often moves are looked for, each time with what is left.
const ROUNDS: usize = 8;
/// What compilers append to the name of a part or a variant of a function, before its number.
const SUFFIXES: [&str; 6] = [".isra", ".part", ".constprop", ".cold", ".lto_priv", ".llvm"];

/// A function on one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Its name there.
    pub name: String,
    /// How often it was called at this place.
    pub calls: u64,
    /// Median instructions of such a call, without those of traced calls below it.
    pub instructions: Option<i64>,
}

/// Why two names are taken for one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// It is a known one: since when, and why.
    Known(Known),
    /// The names are alike, and so is all around them.
    Guess,
}

/// A function that both sides have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Both {
    /// Before.
    pub old: Side,
    /// Now.
    pub new: Side,
    /// Why the names differ, beyond what a compiler appends.
    pub rename: Option<Rename>,
    /// The functions that were above it, outermost first, if these were others.
    pub moved: Option<Vec<String>>,
}

/// How a function changed at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the new side has it here.
    Added(Side),
    /// Only the old side has it here.
    Gone(Side),
    /// Both have it.
    Both(Box<Both>),
}

/// A place in the tree of both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// How the function changed.
    pub change: Change,
    /// What stands below it.
    pub rows: Vec<Row>,
}

/// How many functions changed, by kind of change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Places that are new.
    pub added: usize,
    /// Places that are gone.
    pub gone: usize,
    /// Places where a function has another name.
    pub renamed: usize,
    /// Places that have moved.
    pub moved: usize,
    /// Places with another number of calls and no other change.
    pub counts: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.added += other.added;
        self.gone += other.gone;
        self.renamed += other.renamed;
        self.moved += other.moved;
        self.counts += other.counts;
    }
}

impl Tally {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Tally::default()
    }
}

impl Both {
    /// What the compiler appends to the name on either side, where it is not the same.
    pub fn suffixes(&self) -> Option<(&str, &str)> {
        let (old, new) = (suffix(&self.old.name), suffix(&self.new.name));
        (old != new).then_some((old, new))
    }
}

impl Row {
    /// The function, by its new name where there is one.
    pub fn name(&self) -> &str {
        match &self.change {
            Change::Added(side) | Change::Gone(side) => &side.name,
            Change::Both(both) => &both.new.name,
        }
    }

    /// Whether at most the instructions changed at this place; places below it do not count.
    pub fn is_same(&self) -> bool {
        match &self.change {
            Change::Added(_) | Change::Gone(_) => false,
            Change::Both(both) => {
                both.rename.is_none() && both.moved.is_none() && both.old.calls == both.new.calls
            }
        }
    }

    /// Whether there is nothing to be told of this place and what is below it.
    pub fn is_dull(&self) -> bool {
        let here = match &self.change {
            Change::Added(_) | Change::Gone(_) => false,
            Change::Both(both) => {
                let same = both.old.instructions == both.new.instructions;
                self.is_same() && same && both.suffixes().is_none()
            }
        };
        here && self.rows.iter().all(Row::is_dull)
    }

    /// Whether this place or one below it changed.
    pub fn has_changed(&self) -> bool {
        !self.is_same() || self.rows.iter().any(Row::has_changed)
    }

    /// How many places there are from here on.
    pub fn places(&self) -> usize {
        1 + self.rows.iter().map(Row::places).sum::<usize>()
    }

    /// The changes from here on.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        match &self.change {
            Change::Added(_) => tally.added = 1,
            Change::Gone(_) => tally.gone = 1,
            // A function that moved and was renamed did both.
            Change::Both(both) => {
                tally.renamed = usize::from(both.rename.is_some());
                tally.moved = usize::from(both.moved.is_some());
                let counts = both.old.calls != both.new.calls && tally.is_empty();
                tally.counts = usize::from(counts);
            }
        }
        self.rows.iter().for_each(|row| tally += row.tally());
        tally
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

/// Puts two trees of a shape side by side.
///
/// Level by level functions are paired by name, then by known renames, then by guesses. A function
/// that is gone from one place and new at another has moved, with all below it, where it is clear
/// which place became which. Among callers none moves: each place stands for itself.
pub fn align(shape: Shape, old: &[Node], new: &[Node]) -> Vec<Row> {
    let mut aligner = Aligner { budget: PAIRS, ..Aligner::default() };
    let drafts = aligner.level(old, new, &[]);
    if shape != Shape::Callers {
        aligner.find_moves();
    }
    aligner.rows(drafts)
}

/// A row before it is known what has moved.
enum Draft<'a> {
    /// A place among what is gone.
    Gone(usize),
    /// A place among what is new.
    Added(usize),
    Both(Pair<'a>),
}

/// A function on both sides, and what is below it.
struct Pair<'a> {
    old: &'a Node,
    new: &'a Node,
    rename: Option<Rename>,
    moved: Option<Vec<String>>,
    below: Vec<Draft<'a>>,
}

#[derive(Default)]
struct Aligner<'a> {
    gone: Places<'a>,
    added: Places<'a>,
    /// New places that turned out to be old ones.
    moved: HashMap<usize, Pair<'a>>,
    /// How many functions of both sides were paired so far.
    pairs: usize,
    /// How many more pairs of names may be looked at.
    budget: usize,
}

/// Functions that one side alone has where they are: subtrees, each from its top down.
#[derive(Default)]
struct Places<'a>(Vec<Place<'a>>);

struct Place<'a> {
    node: &'a Node,
    /// How many places its subtree has; they follow it.
    size: usize,
    parent: Option<usize>,
    /// What stood above it, if it has no parent here.
    above: Vec<&'a str>,
    /// The function of both sides that it is below.
    home: usize,
    /// It has been found on the other side, as a part of something larger perhaps.
    taken: bool,
    /// It, or a part of what is below it, has been.
    touched: bool,
}

impl<'a> Places<'a> {
    /// Puts a subtree in and returns the place of its top.
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

    /// What stood above a place, outermost first.
    fn path(&self, at: usize) -> Vec<&'a str> {
        let ancestors: Vec<usize> =
            iter::successors(self.0[at].parent, |above| self.0[*above].parent).collect();
        let top = &self.0[ancestors.last().copied().unwrap_or(at)].above;
        let inner = ancestors.iter().rev().map(|above| self.0[*above].node.name.as_str());
        top.iter().copied().chain(inner).collect()
    }

    /// The places right below one.
    fn below(&self, at: usize) -> impl Iterator<Item = usize> {
        let end = at + self.0[at].size;
        let next = move |child: &usize| Some(child + self.0[*child].size).filter(|next| *next < end);
        iter::successors(Some(at + 1).filter(|first| *first < end), next)
    }

    /// Takes a subtree out.
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

    /// Where each function is left, by its plain name within a scope; `None` if in several places.
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
    /// The functions below one place, in the new order; what is gone stands where it was, before
    /// what is new there.
    fn level(&mut self, old: &'a [Node], new: &'a [Node], above: &[&'a str]) -> Vec<Draft<'a>> {
        let home = self.pairs;
        let pairs = self.paired(old, new);
        let is_paired: HashSet<usize> = pairs.iter().flatten().map(|(at, _)| *at).collect();
        let mut unpaired = (0..old.len()).filter(|at| !is_paired.contains(at)).peekable();
        // For each new function the place of the next one that both sides have.
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

    /// A function on both sides, with all below it; `above` stood above the old one.
    fn pair(&mut self, old: &'a Node, new: &'a Node, rename: Option<Rename>, above: &[&'a str]) -> Pair<'a> {
        self.pairs += 1;
        let below = self.level(&old.children, &new.children, &[above, &[&old.name]].concat());
        Pair { old, new, rename, moved: None, below }
    }

    /// For each new function the old one it is, if any, and why the names differ.
    fn paired(&mut self, old: &[Node], new: &[Node]) -> Vec<Option<(usize, Option<Rename>)>> {
        let mut pairs: Vec<Option<(usize, Option<Rename>)>> = vec![None; new.len()];
        let mut free: Vec<bool> = vec![true; old.len()];
        // The very name first: a function may stand beside a part of itself.
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
        for why in [known_rename as fn(&Node, &Node) -> Option<(f64, Rename)>, guess] {
            for (pair, new) in iter::zip(&mut pairs, new).filter(|(pair, _)| pair.is_none()) {
                let left: Vec<usize> = (0..old.len()).filter(|at| free[*at]).collect();
                let Some(budget) = self.budget.checked_sub(left.len()) else { break };
                self.budget = budget;
                let likely = left.into_iter().filter_map(|at| Some((at, why(&old[at], new)?)));
                // The first of those that are equally likely.
                let best = likely.reduce(|best, next| if next.1.0 > best.1.0 { next } else { best });
                if let Some((at, (_, rename))) = best {
                    free[at] = false;
                    *pair = Some((at, Some(rename)));
                }
            }
        }
        pairs
    }

    /// Finds what moved: a function that is left at one place on either side, below the same
    /// function of both sides or, failing that, in the whole tree. What this pairs leaves fewer
    /// places, among which more may be clear.
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
        let mut found: Vec<(usize, usize, Option<Rename>)> = Vec::new();
        for (key, new) in &added {
            let Some(new) = *new else { continue };
            match gone.get(key) {
                Some(old) => found.extend(old.map(|old| (old, new, None))),
                None => found.extend(renames::other_names(key.1).into_iter().find_map(|(name, why)| {
                    let old = *gone.get(&(key.0, name))?;
                    Some((old?, new, Some(Rename::Known(why))))
                })),
            }
        }
        // The largest first: a part of it may stand elsewhere on its own.
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

    /// The rows, without what is gone from one place and stands at another.
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
        let both = Both { old: side(old), new: side(new), rename, moved };
        Row { change: Change::Both(Box::new(both)), rows: self.rows(below) }
    }

    fn gone_row(&self, at: usize) -> Option<Row> {
        let place = &self.gone.0[at];
        if place.taken {
            return None;
        }
        let rows = self.gone.below(at).filter_map(|child| self.gone_row(child)).collect();
        Some(Row { change: Change::Gone(side(place.node)), rows })
    }

    fn added_row(&mut self, at: usize) -> Row {
        if let Some(pair) = self.moved.remove(&at) {
            return self.row(pair);
        }
        let below: Vec<usize> = self.added.below(at).collect();
        let rows = below.into_iter().map(|child| self.added_row(child)).collect();
        Row { change: Change::Added(side(self.added.0[at].node)), rows }
    }
}

fn side(node: &Node) -> Side {
    Side { name: node.name.clone(), calls: node.calls, instructions: node.instructions }
}

/// A known rename, with how likely it is.
fn known_rename(old: &Node, new: &Node) -> Option<(f64, Rename)> {
    renames::known(plain(&old.name), plain(&new.name)).map(|why| (1.0, Rename::Known(why)))
}

/// A guess: names that are nearly the same, before the same functions.
fn guess(old: &Node, new: &Node) -> Option<(f64, Rename)> {
    let name = |node: &'_ Node| plain(&node.name).trim_start_matches('_').to_owned();
    let alike = strsim::normalized_damerau_levenshtein(&name(old), &name(new));
    let enough = if old.children.is_empty() { ALIKE_ALONE } else { ALIKE };
    (alike >= enough && call_the_same(old, new)).then_some((alike, Rename::Guess))
}

/// Whether two functions call the same ones, known renames aside.
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
                        Some(Rename::Known(why)) => format!(" was {}, {why}", both.old.name),
                        Some(Rename::Guess) => format!(" was {}, a guess", both.old.name),
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
        assert!(same[0].is_dull() && !same[0].has_changed() && same[0].tally().is_empty());
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
        // The same names before other functions are two functions.
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
        let tally = rows[0].tally();
        assert_eq!((tally.added, tally.gone, tally.renamed, tally.moved, tally.counts), (2, 2, 1, 3, 0));
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
        // What is gone twice and new once may have moved from either place.
        insta::assert_snapshot!(aligned("f\n  a\n    x\n  b\n    x", "f\n  c\n    x"), @r"
        = f
        -   a
        -     x
        -   b
        -     x
        +   c
        +     x
        ");
        // It is clear where it came from once something larger is found, or below the same function.
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
