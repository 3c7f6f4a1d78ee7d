//! File names of snapshots, which say which kernels a snapshot applies to; pure.
//!
//! `CASE.snap` applies to all kernels of a case. If their outputs differ, each group of kernels with equal
//! output has a snapshot that names them: `CASE@KERNEL.snap` or `CASE@KERNEL+KERNEL.snap`.

use std::collections::BTreeMap;

/// The ending of a snapshot's file.
const ENDING: &str = ".snap";

/// A snapshot's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The case.
    pub case: String,
    /// The kernels it applies to; all if empty.
    pub kernels: Vec<String>,
}

impl Name {
    /// The snapshot of one kernel alone.
    pub fn own(case: &str, kernel: &str) -> Name {
        Name { case: case.into(), kernels: vec![kernel.into()] }
    }

    /// Parses a file's name; `None` if the file is no snapshot.
    pub fn of_file(file: &str) -> Option<Name> {
        let stem = file.strip_suffix(ENDING)?;
        let (case, kernels) = match stem.split_once('@') {
            Some((case, kernels)) => (case, kernels.split('+').map(str::to_owned).collect()),
            None => (stem, Vec::new()),
        };
        Some(Name { case: case.into(), kernels })
    }

    /// The file's name without its ending.
    pub fn stem(&self) -> String {
        match self.kernels.is_empty() {
            true => self.case.clone(),
            false => format!("{}@{}", self.case, self.kernels.join("+")),
        }
    }

    /// The file's name.
    pub fn file(&self) -> String {
        self.stem() + ENDING
    }
}

/// The snapshot that applies to a case on a kernel: of those that name the kernel, the one with the fewest
/// kernels, else the one for all kernels.
pub fn holding<'a>(names: &'a [Name], case: &str, kernel: &str) -> Option<&'a Name> {
    let of_case = names.iter().filter(|name| name.case == case);
    let holds = of_case.filter(|name| name.kernels.is_empty() || name.kernels.iter().any(|k| k == kernel));
    holds.min_by_key(|name| if name.kernels.is_empty() { usize::MAX } else { name.kernels.len() })
}

/// The snapshots of a case, given its output on each kernel: one for all kernels if the outputs are equal,
/// else one for each group with equal output. If there is only one kernel, its snapshot names it, since it
/// says nothing about other kernels.
pub fn grouped(case: &str, texts: &BTreeMap<String, String>) -> BTreeMap<Name, String> {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (kernel, text) in texts {
        groups.entry(text).or_default().push(kernel.clone());
    }
    let for_all = groups.len() == 1 && texts.len() > 1;
    let named = groups.into_iter().map(|(text, kernels)| {
        let kernels = if for_all { Vec::new() } else { kernels };
        (Name { case: case.into(), kernels }, text.to_owned())
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str]) -> Vec<Name> {
        files.iter().map(|file| Name::of_file(file).unwrap()).collect()
    }

    #[test]
    fn a_files_name_tells_case_and_kernels() {
        for (file, case, kernels) in [
            ("mount.snap", "mount", &[][..]),
            ("mount@5.4.snap", "mount", &["5.4"]),
            ("mount@5.4+debian-6.1.snap", "mount", &["5.4", "debian-6.1"]),
        ] {
            let name = Name::of_file(file).unwrap();
            assert_eq!((name.case.as_str(), name.kernels.as_slice()), (case, &names_of(kernels)[..]));
            assert_eq!(name.file(), file);
        }
        assert_eq!(Name::of_file("reviewed.toml"), None);
        assert_eq!(Name::of_file("mount.snap.new"), None);
    }

    fn names_of(kernels: &[&str]) -> Vec<String> {
        kernels.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_snapshot_that_names_a_kernel_comes_first() {
        let names = names(&["list.snap", "list@5.4.snap", "list@5.4+6.1.snap", "mount@6.1.snap"]);
        let file = |case, kernel| holding(&names, case, kernel).map(Name::file);
        assert_eq!(file("list", "5.4").unwrap(), "list@5.4.snap");
        assert_eq!(file("list", "6.1").unwrap(), "list@5.4+6.1.snap");
        assert_eq!(file("list", "6").unwrap(), "list.snap");
        assert_eq!(file("mount", "6.1").unwrap(), "mount@6.1.snap");
        assert_eq!(file("mount", "5.4"), None);
    }

    fn files(texts: &[(&str, &str)]) -> Vec<String> {
        let texts = texts.iter().map(|(kernel, text)| (kernel.to_string(), text.to_string())).collect();
        let mut files: Vec<String> = grouped("c", &texts).keys().map(Name::file).collect();
        files.sort();
        files
    }

    #[test]
    fn kernels_that_agree_share_a_snapshot() {
        assert_eq!(files(&[("5.4", "a"), ("6.1", "a"), ("7", "a")]), ["c.snap"]);
        assert_eq!(files(&[("5.4", "a"), ("6.1", "b"), ("7", "b")]), ["c@5.4.snap", "c@6.1+7.snap"]);
        assert_eq!(files(&[("5.4", "a"), ("6.1", "b"), ("7", "a")]), ["c@5.4+7.snap", "c@6.1.snap"]);
        assert_eq!(files(&[("5.4", "a")]), ["c@5.4.snap"]);
        assert_eq!(files(&[]), Vec::<String>::new());
    }
}
