//! The kernels on which each snapshot was reviewed: `reviewed.toml`, beside the snapshots.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::base::error::{Context, Result};

/// The list's first line.
const HEAD: &str = "# What each snapshot was reviewed on; written by `cargo xtask test-vm --update`.\n";

/// For each case and kernel, the kernel's identity at the review. Without a list every kernel counts as
/// reviewed, so that a missing list lets no difference pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reviewed {
    cases: BTreeMap<String, BTreeMap<String, String>>,
    is_there: bool,
}

impl Reviewed {
    /// Reads the list of a folder of snapshots.
    ///
    /// # Errors
    /// When it exists and cannot be read or parsed.
    pub fn load(folder: &Path) -> Result<Reviewed> {
        let path = Reviewed::path(folder);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.context(|| format!("cannot read {}", path.display()))?,
        };
        let cases = toml::from_str(&text).context(|| format!("cannot understand {}", path.display()))?;
        Ok(Reviewed { cases, is_there: !text.is_empty() })
    }

    /// Writes the list.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = Reviewed::path(folder);
        let failed = || format!("cannot write {}", path.display());
        let text = format!("{HEAD}{}", toml::to_string(&self.cases).context(failed)?);
        fs::write(&path, text).context(failed)
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("reviewed.toml")
    }

    /// The kernel's identity when the output of a case on it was reviewed.
    pub fn identity(&self, case: &str, kernel: &str) -> Option<&String> {
        self.cases.get(case)?.get(kernel)
    }

    /// Whether any case was reviewed on a kernel.
    pub fn knows(&self, kernel: &str) -> bool {
        !self.is_there || self.cases.values().any(|kernels| kernels.contains_key(kernel))
    }

    /// The kernels on which a case was reviewed.
    pub fn kernels(&self, case: &str) -> impl Iterator<Item = &String> {
        self.cases.get(case).into_iter().flat_map(BTreeMap::keys)
    }

    /// Marks a case as reviewed on a kernel.
    pub fn set(&mut self, case: &str, kernel: &str, identity: &str) {
        self.cases.entry(case.into()).or_default().insert(kernel.into(), identity.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut reviewed = Reviewed::load(folder.path()).unwrap();
        assert!(reviewed.knows("5.4"), "without a list every kernel counts as reviewed");
        reviewed.set("mount", "5.4", "5.4.286, gcc 12, config cd");
        reviewed.save(folder.path()).unwrap();
        let text = fs::read_to_string(folder.path().join("reviewed.toml")).unwrap();
        assert_eq!(text, format!("{HEAD}[mount]\n\"5.4\" = \"5.4.286, gcc 12, config cd\"\n"));
        let reviewed = Reviewed::load(folder.path()).unwrap();
        assert_eq!(reviewed.identity("mount", "5.4").unwrap(), "5.4.286, gcc 12, config cd");
        assert!(reviewed.knows("5.4") && !reviewed.knows("6.1"));
        assert_eq!(reviewed.kernels("mount").collect::<Vec<_>>(), ["5.4"]);
        assert_eq!(reviewed.kernels("list").count(), 0);
    }

    #[test]
    fn the_list_of_the_tree_would_be_written_as_it_is() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/snapshots");
        let again = tempfile::tempdir().unwrap();
        Reviewed::load(&folder).unwrap().save(again.path()).unwrap();
        let read = |folder: &Path| fs::read_to_string(Reviewed::path(folder)).unwrap();
        assert_eq!(read(again.path()), read(&folder));
    }

    #[test]
    fn a_damaged_list_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(Reviewed::path(folder.path()), "<<<<<<< ours\n").unwrap();
        let error = Reviewed::load(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("cannot understand ") && error.contains("reviewed.toml: "), "{error}");
    }
}
