//! The imports between the files of a crate, read from their tokens.
//!
//! `crate::`, `super::` and `self::` are followed, in `use` and in the code, macros included, and so are
//! paths that begin with a child module. What only tests use does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The names of a path: `["vm", "console"]` for `crate::vm::console`.
type Names = Vec<String>;

/// The files of a crate, by the module that each holds.
pub struct Crate {
    name: String,
    /// From a module to the file's name below the crate's folder, and its text.
    modules: BTreeMap<Names, (String, String)>,
}

impl Crate {
    /// Reads the Rust files below a folder that holds the crate `name`.
    pub fn read(folder: &Path, name: &str) -> Crate {
        let files = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap().into_path());
        let mut modules = BTreeMap::new();
        for path in files.filter(|path| path.extension().is_some_and(|ending| ending == "rs")) {
            let file = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            modules.insert(module(&file), (file, fs::read_to_string(&path).unwrap()));
        }
        Crate { name: name.into(), modules }
    }

    /// A crate of made-up files.
    pub fn of(name: &str, files: &[(&str, &str)]) -> Crate {
        let modules = files.iter().map(|(file, text)| (module(file), ((*file).into(), (*text).into())));
        Crate { name: name.into(), modules: modules.collect() }
    }

    /// The files with their texts.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.modules.values().map(|(file, text)| (file.as_str(), text.as_str()))
    }

    /// For each file, the other files that it imports from.
    pub fn imports(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut imports = BTreeMap::new();
        for (module, (file, text)) in &self.modules {
            // A program beside a library names it as a crate, and its own files from the root.
            let module = if module == &["main"] { Vec::new() } else { module.clone() };
            let tokens = TokenStream::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
            let mut paths = Vec::new();
            self.walk(tokens, &module, &mut paths);
            let mut found: BTreeSet<&str> = paths.iter().filter_map(|path| self.holds(path)).collect();
            found.remove(file.as_str());
            imports.insert(file.as_str(), found);
        }
        imports
    }

    /// The groups of files that import each other, directly or indirectly.
    pub fn circles(&self) -> Vec<Vec<&str>> {
        let imports = self.imports();
        let reached = |from: &str| {
            let mut seen = BTreeSet::new();
            let mut next: Vec<&str> = imports[from].iter().copied().collect();
            while let Some(file) = next.pop() {
                if seen.insert(file) {
                    next.extend(&imports[file]);
                }
            }
            seen
        };
        let reached: BTreeMap<&str, BTreeSet<&str>> =
            imports.keys().map(|file| (*file, reached(file))).collect();
        let mut circles: BTreeSet<Vec<&str>> = BTreeSet::new();
        for (file, others) in &reached {
            let members: Vec<&str> =
                others.iter().copied().filter(|other| reached[other].contains(file)).collect();
            if !members.is_empty() {
                circles.insert(members);
            }
        }
        circles.into_iter().collect()
    }

    /// The file with the item that a path names: the file of the longest prefix that is a module.
    fn holds(&self, path: &[String]) -> Option<&str> {
        let known = (1..=path.len()).rev().find_map(|length| self.modules.get(&path[..length]));
        let (file, _) = known.or_else(|| self.modules.get(&[] as &[String]))?;
        Some(file)
    }

    /// Collects the paths, from the crate's root, that the code of a module names.
    fn walk(&self, tokens: TokenStream, module: &[String], paths: &mut Vec<Names>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if is_for_tests(&tokens[at..]) {
                at += 2 + item(&tokens[at + 2..]);
                continue;
            }
            match (&tokens[at], tokens.get(at + 1), tokens.get(at + 2)) {
                (TokenTree::Ident(word), Some(TokenTree::Ident(name)), Some(TokenTree::Group(body)))
                    if word == "mod" && body.delimiter() == Delimiter::Brace =>
                {
                    let inner = [module, &[name.to_string()]].concat();
                    self.walk(body.stream(), &inner, paths);
                    at += 3;
                }
                (TokenTree::Ident(word), ..) if word == "use" => {
                    let end = at + tokens[at..].iter().position(|token| is(token, ';')).unwrap();
                    let mut named = Vec::new();
                    tree(&tokens[at + 1..end], &[], &mut named);
                    paths.extend(named.into_iter().filter_map(|path| self.absolute(&path, module)));
                    at = end;
                }
                // A visibility is no import: `pub(in crate::room)`.
                (TokenTree::Ident(word), Some(TokenTree::Group(_)), _) if word == "pub" => at += 2,
                (TokenTree::Ident(_), ..) => {
                    let (path, length) = path(&tokens[at..]);
                    let is_first = match &tokens[..at] {
                        [.., one, other] if is(one, ':') && is(other, ':') => false,
                        [.., before] => !is(before, '.'),
                        [] => true,
                    };
                    if path.len() > 1 && is_first {
                        paths.extend(self.absolute(&path, module));
                    }
                    at += length;
                }
                (TokenTree::Group(group), ..) => {
                    self.walk(group.stream(), module, paths);
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }

    /// A path from the crate's root, if it leads into the crate.
    fn absolute(&self, path: &[String], module: &[String]) -> Option<Names> {
        let ups = path.iter().take_while(|name| *name == "super").count();
        let rest = match path[0].as_str() {
            "super" => [&module[..module.len().checked_sub(ups)?], &path[ups..]].concat(),
            "self" => [module, &path[1..]].concat(),
            "crate" => path[1..].to_vec(),
            first if first == self.name => path[1..].to_vec(),
            first => {
                let child = [module, &[first.to_string()]].concat();
                self.modules.contains_key(&child).then(|| [module, path].concat())?
            }
        };
        Some(rest)
    }
}

/// The module that a file holds.
fn module(file: &str) -> Names {
    let mut names: Names = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if names.last().is_some_and(|name| name == "mod") || names == ["lib"] {
        names.pop();
    }
    names
}

fn is(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

/// Whether tokens begin with `#[cfg(test)]`.
fn is_for_tests(tokens: &[TokenTree]) -> bool {
    match tokens {
        [hash, TokenTree::Group(group), ..] => {
            is(hash, '#') && group.stream().to_string().replace(' ', "") == "cfg(test)"
        }
        _ => false,
    }
}

/// The number of tokens of the item at the start of `tokens`.
fn item(tokens: &[TokenTree]) -> usize {
    let ends = |token: &TokenTree| {
        is(token, ';') || matches!(token, TokenTree::Group(body) if body.delimiter() == Delimiter::Brace)
    };
    // A `use` may have braces before its end.
    let is_use = tokens.iter().take(3).any(|token| matches!(token, TokenTree::Ident(word) if word == "use"));
    let end = tokens.iter().position(|token| if is_use { is(token, ';') } else { ends(token) });
    end.map_or(tokens.len(), |end| end + 1)
}

/// The path at the start of `tokens`, and its number of tokens.
fn path(tokens: &[TokenTree]) -> (Names, usize) {
    let mut names = Vec::new();
    let mut at = 0;
    while let Some(TokenTree::Ident(name)) = tokens.get(at) {
        names.push(name.to_string());
        at += 1;
        match tokens.get(at..at + 2) {
            Some([one, other]) if is(one, ':') && is(other, ':') => at += 2,
            _ => break,
        }
    }
    (names, at.max(1))
}

/// The paths that a `use` names.
fn tree(tokens: &[TokenTree], before: &[String], named: &mut Vec<Names>) {
    for part in tokens.split(|token| is(token, ',')) {
        let (names, length) = path(part);
        let here = [before, &names].concat();
        match part.get(length) {
            Some(TokenTree::Group(group)) if !names.is_empty() => {
                tree(&group.stream().into_iter().collect::<Vec<_>>(), &here, named);
            }
            _ if here.is_empty() => {}
            // `{self, …}`: the module itself.
            _ if here.last().is_some_and(|name| name == "self") && here.len() > 1 => {
                named.push(here[..here.len() - 1].to_vec());
            }
            _ => named.push(here),
        }
    }
}
