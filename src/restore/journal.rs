//! The journal: old values written to a file, so that the settings can be restored after a kill.
//!
//! A line is written before its change is made, so each change has a line.
//! The file is in a folder that is emptied by a reboot, which also resets the kernel's state. Its name
//! contains the inode of the tracing directory, which is the same in every mount. It is removed once
//! everything is restored. A journal must not be used while its recording runs, which then holds the
//! lock on the directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::tracefs::{Mode, Tracefs};

const SYSTEM_FOLDER: &str = "/run";
const USER_FOLDER: &str = "XDG_RUNTIME_DIR";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// One change, and how it is undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// An instance that was created.
    Created { instance: String },
    /// A changed file of an instance (the top one has an empty name), and the values that undo the
    /// change.
    Changed { instance: String, file: String, values: Vec<String>, mode: Mode },
}

/// The journal of a process that changes a tracing directory.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Begins a journal. The caller holds the lock on the tracing directory.
    ///
    /// `None` if there is no folder for it, for example for users without a runtime folder.
    ///
    /// # Errors
    /// The folder exists and the file cannot be written.
    pub fn begin(tracefs: &Tracefs) -> Result<Option<Journal>> {
        let name = name(tracefs)?;
        for folder in folders() {
            let path = folder.join(&name);
            // Early user space has mounted nothing there.
            if folder == Path::new(SYSTEM_FOLDER) && !folder.exists() && fs::create_dir(&folder).is_err() {
                continue;
            }
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => {
                    let journal = Journal { path, file };
                    journal.line(&["begin".into(), boot_id(), std::process::id().to_string()])?;
                    return Ok(Some(journal));
                }
                Err(cause) if folder_takes_none(&cause) => {}
                Err(cause) => {
                    return Err(Error::io("create the journal", &path, cause)
                        .help("it is needed to restore the settings if snaptrace is killed: make room there, or remove it"));
                }
            }
        }
        Ok(None)
    }

    /// Notes a change before it is made.
    ///
    /// # Errors
    /// The file cannot be written. The change must not be made then.
    pub(crate) fn note(&self, entry: &Entry) -> Result<()> {
        let words = match entry {
            Entry::Created { instance } => vec!["created".to_string(), instance.clone()],
            Entry::Changed { instance, file, values, mode } => {
                let kind = if *mode == Mode::Append { "append" } else { "replace" };
                let mut words = vec![kind.to_string(), instance.clone(), file.clone()];
                words.extend(values.iter().cloned());
                words
            }
        };
        self.line(&words)
    }

    fn line(&self, words: &[String]) -> Result<()> {
        let words: Vec<String> = words.iter().map(|word| escape(word)).collect();
        // A single write: if the line is incomplete, its change was not made.
        (&self.file).write_all(format!("{}\n", words.join("\t")).as_bytes()).map_err(|cause| {
            Error::io("note in the journal", &self.path, cause)
                .help("without it the settings cannot be restored if snaptrace is killed: make room there")
        })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // If removing fails, the next call finds the journal and restores once more, which does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// A journal found in a folder: that of a killed recording, or of one that still runs.
#[derive(Debug)]
pub(crate) struct FoundJournal {
    path: PathBuf,
    /// The process that wrote it.
    pub(crate) pid: String,
    /// Its entries in the order of the changes.
    pub(crate) entries: Vec<Entry>,
}

impl FoundJournal {
    /// The path of this tracing directory's journal, if there is one.
    pub(crate) fn path(tracefs: &Tracefs) -> Result<Option<PathBuf>> {
        let name = name(tracefs)?;
        Ok(folders().into_iter().map(|folder| folder.join(&name)).find(|path| path.exists()))
    }

    /// Reads a journal. `None` when there is nothing to restore: it has been removed, or was written
    /// before a reboot.
    ///
    /// # Errors
    /// The journal cannot be read, or another user may have written it.
    pub(crate) fn read(path: &Path) -> Result<Option<FoundJournal>> {
        let failed = |cause: io::Error| Error::io("read the journal", path, cause);
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(failed(cause)),
        };
        let owner = file.metadata().map_err(failed)?.uid();
        if owner != rustix::process::geteuid().as_raw() && owner != 0 {
            return Err(Error::new(format!("{} belongs to user {owner}", path.display())).help(
                "it says what to write to the kernel and may be forged, so it is not used: read it, and remove it",
            ));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let (boot, pid, entries) = parse(&text);
        let found = FoundJournal { path: path.to_path_buf(), pid, entries };
        if boot != boot_id() {
            found.remove()?;
            return Ok(None);
        }
        Ok(Some(found))
    }

    /// Removes the journal, after the attempt to restore everything.
    pub(crate) fn remove(&self) -> Result<()> {
        fs::remove_file(&self.path).map_err(|cause| Error::io("remove the journal", &self.path, cause))
    }
}

/// The boot, the process and the entries of a journal.
fn parse(text: &str) -> (String, String, Vec<Entry>) {
    let (mut boot, mut pid, mut entries) = (String::new(), String::new(), Vec::new());
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines() {
        let words: Vec<String> = line.split('\t').map(unescape).collect();
        match words.as_slice() {
            [kind, of, by] if kind == "begin" => (boot, pid) = (of.clone(), by.clone()),
            [kind, instance] if kind == "created" => {
                entries.push(Entry::Created { instance: instance.clone() });
            }
            [kind, instance, file, values @ ..] if kind == "replace" || kind == "append" => {
                entries.push(Entry::Changed {
                    instance: instance.clone(),
                    file: file.clone(),
                    values: values.to_vec(),
                    mode: if kind == "append" { Mode::Append } else { Mode::Replace },
                });
            }
            _ => {}
        }
    }
    (boot, pid, entries)
}

fn escape(word: &str) -> String {
    word.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
}

fn unescape(word: &str) -> String {
    let mut text = String::new();
    let mut letters = word.chars();
    while let Some(letter) = letters.next() {
        text.push(match letter {
            '\\' => match letters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    text
}

/// The folders that may hold a journal, the preferred one first.
fn folders() -> Vec<PathBuf> {
    let user = std::env::var_os(USER_FOLDER).filter(|folder| Path::new(folder).is_absolute());
    [Some(PathBuf::from(SYSTEM_FOLDER)), user.map(PathBuf::from)].into_iter().flatten().collect()
}

fn folder_takes_none(cause: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(cause.kind(), NotFound | NotADirectory | PermissionDenied | ReadOnlyFilesystem)
}

fn name(tracefs: &Tracefs) -> Result<String> {
    let path = tracefs.path();
    let meta = fs::metadata(path).map_err(|cause| Error::io("look at", path, cause))?;
    Ok(format!("snaptrace-{:x}-{:x}.journal", meta.dev(), meta.ino()))
}

/// Identifies the boot, for folders that survive a reboot; empty when the kernel has no boot id.
fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).map(|id| id.trim().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 128, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Default::default()
        })]

        #[test]
        fn whatever_is_noted_is_read(
            (instance, file) in ("\\PC*", "[^\r]{0,20}"),
            values in proptest::collection::vec("[a\\\\\t\n \\PC]{0,12}", 0..4),
        ) {
            let noted = Entry::Changed { instance, file, values, mode: Mode::Append };
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("journal");
            let journal = Journal { path: path.clone(), file: File::create(&path).unwrap() };
            journal.note(&noted).unwrap();
            prop_assert_eq!(parse(&fs::read_to_string(&path).unwrap()).2, [noted]);
        }
    }

    #[test]
    fn what_is_noted_is_read_and_a_cut_line_is_not() {
        let changed = |file: &str, values: &[&str], mode| Entry::Changed {
            instance: "a b".into(),
            file: file.into(),
            values: values.iter().map(ToString::to_string).collect(),
            mode,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let entries = [
            Entry::Created { instance: "mine".into() },
            changed("set_ftrace_filter", &[], Mode::Replace),
            changed("events/a/b/filter", &["c == \"\\t\t\n\""], Mode::Replace),
            changed("events/a/b/trigger", &["!stacktrace"], Mode::Append),
        ];
        let journal = Journal { path: path.clone(), file: File::create(&path).unwrap() };
        journal.line(&["begin".into(), "boot".into(), "12".into()]).unwrap();
        entries.iter().for_each(|entry| journal.note(entry).unwrap());
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(parse(&text), ("boot".into(), "12".into(), entries.to_vec()));
        assert_eq!(parse(&text[..text.len() - 1]).2, entries[..3]);
        drop(journal);
        assert!(!path.exists());
    }

    #[test]
    fn a_journal_of_another_boot_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        fs::write(&path, "begin\tnosuch\t1\ncreated\tmine\n").unwrap();
        assert!(FoundJournal::read(&path).unwrap().is_none());
        assert!(!path.exists());
        assert!(FoundJournal::read(&path).unwrap().is_none(), "one that is gone is none");
    }
}
