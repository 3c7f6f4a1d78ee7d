//! The folder of snapshots, in insta's format: accepted and pending ones.
//!
//! A snapshot begins with a line that names its test, between two lines of `---`. The text follows, without
//! empty lines at its end. `NAME.snap.new` is pending; `cargo insta review` and `cargo insta accept` handle
//! it like one of insta's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::names::{self, Name};
use crate::base::error::{Context, Error, Result};

/// The head of each snapshot, as insta writes it for an assertion in `xtask/tests/all/vm.rs`.
const HEAD: &str = "---\nsource: xtask/tests/all/vm.rs\n---\n";

/// The ending of a pending snapshot, after the snapshot's name.
const PENDING: &str = ".new";

/// A folder of snapshots.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The snapshots in a folder, which need not exist yet.
    pub fn new(folder: PathBuf) -> Store {
        Store { folder }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of a snapshot.
    pub fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(name.file())
    }

    /// All snapshots, in the order of their names.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn names(&self) -> Result<Vec<Name>> {
        let failed = || format!("cannot list the snapshots in {}", self.folder.display());
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(Name::of_file(&entry.context(failed)?.file_name().to_string_lossy()));
        }
        names.sort();
        Ok(names)
    }

    /// A snapshot's text, with one newline at its end. A file without a head has no text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn text(&self, name: &Name) -> Result<String> {
        let path = self.path(name);
        let file = fs::read_to_string(&path).context(|| format!("cannot read {}", path.display()))?;
        Ok(ended(body(&file)))
    }

    /// The snapshot of a case that is most similar to a text; a kernel without a snapshot is compared with
    /// it.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn nearest<'a>(&self, names: &'a [Name], case: &str, text: &str) -> Result<Option<&'a Name>> {
        let mut nearest: Option<(f32, &Name)> = None;
        for name in names.iter().filter(|name| name.case == case) {
            let likeness = similar::TextDiff::from_lines(&*self.text(name)?, text).ratio();
            if nearest.is_none_or(|(best, _)| likeness >= best) {
                nearest = Some((likeness, name));
            }
        }
        Ok(nearest.map(|(_, name)| name))
    }

    /// Stores a text as a snapshot, and removes a pending one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, name: &Name, text: &str) -> Result<()> {
        self.write(&self.path(name), text)?;
        self.withdraw(name);
        Ok(())
    }

    /// Stores a text as pending, for a review.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave_pending(&self, name: &Name, text: &str) -> Result<()> {
        self.write(&self.pending(name), text)
    }

    /// Removes the pending version of a snapshot, if any. In a read-only folder it stays, since a comparison
    /// alone must work there.
    pub fn withdraw(&self, name: &Name) {
        let _ = fs::remove_file(self.pending(name));
    }

    /// The file of a pending snapshot.
    pub fn pending(&self, name: &Name) -> PathBuf {
        self.folder.join(name.file() + PENDING)
    }

    /// Rewrites the snapshots of a case: one for each group of these kernels with equal output. Pending ones
    /// stay, since each is for one kernel.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub fn regroup<'a>(&self, case: &str, kernels: impl Iterator<Item = &'a String>) -> Result<()> {
        let mut names = self.names()?;
        names.retain(|name| name.case == case);
        let mut texts = BTreeMap::new();
        for kernel in kernels {
            if let Some(name) = names::holding(&names, case, kernel) {
                texts.insert(kernel.clone(), self.text(name)?);
            }
        }
        let grouped = names::grouped(case, &texts);
        for (name, text) in &grouped {
            self.write(&self.path(name), text)?;
        }
        for name in names.iter().filter(|name| !grouped.contains_key(name)) {
            let path = self.path(name);
            fs::remove_file(&path).context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    fn write(&self, path: &Path, text: &str) -> Result<()> {
        let failed = |error: io::Error| {
            Error::new(format!("cannot write {}", path.display()))
                .because(error)
                .help("`--snapshots FOLDER` names another folder of snapshots")
        };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        fs::write(path, format!("{HEAD}{}", ended(text))).map_err(failed)
    }
}

/// A text with exactly one newline at its end.
fn ended(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

/// The text after the head of a snapshot.
fn body(file: &str) -> &str {
    let is_rule = |line: &str| line.trim_end() == "---";
    let mut rest = file;
    let mut rules = 0;
    while rules < 2 {
        let Some((line, after)) = rest.split_once('\n') else { return "" };
        // The head begins with the first line.
        if rules == 0 && !is_rule(line) {
            return "";
        }
        rules += usize::from(is_rule(line));
        rest = after;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("snapshots"));
        (folder, store)
    }

    fn own(kernel: &str) -> Name {
        Name::own("c", kernel)
    }

    const TEXTS: [&str; 4] =
        ["$ true\n", "$ cat x\n\n  a: \"b\"\n---\n---\n\tc\n", "$ no newline", "$ more\n\n\n  \n"];

    #[test]
    fn what_is_kept_is_read_again() {
        let (_folder, store) = store();
        assert_eq!(store.names().unwrap(), []);
        for text in TEXTS {
            store.keep(&own("5.4"), text).unwrap();
            assert_eq!(store.text(&own("5.4")).unwrap(), format!("{}\n", text.trim_end()));
            assert_eq!(store.names().unwrap(), [own("5.4")]);
        }
    }

    /// Does what `cargo insta accept` does: insta reads a pending snapshot and saves it as the snapshot.
    fn accept(store: &Store, name: &Name) {
        insta::Snapshot::from_file(&store.pending(name)).unwrap().save(&store.path(name)).unwrap();
        fs::remove_file(store.pending(name)).unwrap();
    }

    #[test]
    fn insta_reads_what_is_written_and_writes_the_same_bytes() {
        let (folder, store) = store();
        let name = own("5.4");
        for text in TEXTS {
            store.keep(&name, text).unwrap();
            let read = insta::Snapshot::from_file(&store.path(&name)).unwrap();
            assert_eq!(read.as_text().unwrap().to_string(), text.trim_end());
            assert_eq!(read.snapshot_name(), Some("c@5.4"));
            let about = read.metadata();
            assert_eq!(about.source(), Some("xtask/tests/all/vm.rs"));
            assert_eq!((about.input_file(), about.expression(), about.assertion_line()), (None, None, None));
            let again = folder.path().join("again");
            read.save(&again).unwrap();
            assert_eq!(fs::read(&again).unwrap(), fs::read(store.path(&name)).unwrap());
        }
    }

    #[test]
    fn insta_finds_what_is_written_equal_to_the_text() {
        let (_folder, store) = store();
        let mut settings = insta::Settings::new();
        settings.set_snapshot_path(store.folder());
        settings.set_prepend_module_to_snapshot(false);
        for (kernel, text) in ["one", "two", "three", "four"].into_iter().zip(TEXTS) {
            store.keep(&own(kernel), text).unwrap();
            settings.bind(|| insta::assert_snapshot!(own(kernel).stem(), text));
        }
    }

    #[test]
    fn insta_accepts_what_is_pending() {
        let (_folder, store) = store();
        let name = own("5.4");
        store.keep(&name, "$ old").unwrap();
        store.leave_pending(&name, "$ new\n").unwrap();
        assert_eq!(store.names().unwrap(), [own("5.4")]);
        assert_eq!(store.text(&name).unwrap(), "$ old\n");
        accept(&store, &name);
        let accepted = fs::read(store.path(&name)).unwrap();
        store.keep(&name, "$ new\n").unwrap();
        assert_eq!(accepted, fs::read(store.path(&name)).unwrap());
    }

    #[test]
    fn what_was_pending_is_gone_once_it_is_kept() {
        let (_folder, store) = store();
        store.leave_pending(&own("5.4"), "$ new\n").unwrap();
        store.keep(&own("5.4"), "$ new\n").unwrap();
        assert!(!store.pending(&own("5.4")).exists());
    }

    #[test]
    fn the_snapshots_of_the_tree_would_be_written_as_they_are() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/snapshots");
        let store = Store::new(folder);
        let names = store.names().unwrap();
        assert!(names.len() > 50);
        for name in names {
            let bytes = fs::read_to_string(store.path(&name)).unwrap();
            let text = store.text(&name).unwrap();
            assert_eq!(format!("{HEAD}{text}"), bytes, "{}", name.file());
            let read = insta::Snapshot::from_file(&store.path(&name)).unwrap();
            assert_eq!(read.as_text().unwrap().to_string() + "\n", text, "{}", name.file());
        }
    }

    #[test]
    fn a_file_that_is_no_snapshot_has_no_text() {
        assert_eq!(body("---\nsource: x\nexpression: y\n---\n---\na\n"), "---\na\n");
        assert_eq!(body("---\r\nsource: x\r\n---\r\na\r\n"), "a\r\n");
        for file in ["", "---\n", "a\n---\n---\nb\n", "---\nsource: x\n", "<<<<<<< ours\n---\n---\na\n"] {
            assert_eq!(body(file), "", "{file:?}");
        }
        let (_folder, store) = store();
        fs::create_dir(store.folder()).unwrap();
        fs::write(store.path(&own("5.4")), [0xff]).unwrap();
        let error = store.text(&own("5.4")).unwrap_err().to_string();
        assert!(error.contains("c@5.4.snap: stream did not contain valid UTF-8"), "{error}");
    }

    #[test]
    fn kernels_that_come_to_agree_are_regrouped() {
        let (_folder, store) = store();
        let kernels = ["5.4", "6.1", "7"].map(str::to_owned);
        let texts =
            || store.names().unwrap().iter().map(|name| (name.file(), store.text(name).unwrap())).collect();
        for (kernel, text) in [("5.4", "a"), ("6.1", "b"), ("7", "b")] {
            store.keep(&own(kernel), text).unwrap();
        }
        store.leave_pending(&own("7"), "b").unwrap();
        store.keep(&Name::own("other", "7"), "b").unwrap();
        store.regroup("c", kernels.iter()).unwrap();
        let found: Vec<(String, String)> = texts();
        let expected = [("c@5.4.snap", "a\n"), ("c@6.1+7.snap", "b\n"), ("other@7.snap", "b\n")];
        assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
        assert!(store.pending(&own("7")).exists(), "nobody has decided about it");
        // After an update of one kernel they no longer share a snapshot.
        store.keep(&own("7"), "c").unwrap();
        store.regroup("c", kernels.iter()).unwrap();
        let files: Vec<String> = store.names().unwrap().iter().map(Name::file).collect();
        assert_eq!(files, ["c@5.4.snap", "c@6.1.snap", "c@7.snap", "other@7.snap"]);
    }

    #[test]
    fn a_kernel_without_a_snapshot_is_shown_beside_the_nearest() {
        let (_folder, store) = store();
        store.keep(&own("5.4"), "a\nb\nc").unwrap();
        store.keep(&own("6.1"), "a\nb\nd").unwrap();
        let names = store.names().unwrap();
        assert_eq!(store.nearest(&names, "c", "b\nd\n").unwrap(), Some(&own("6.1")));
        assert_eq!(store.nearest(&names, "other", "a").unwrap(), None);
    }
}
