//! A digest of the inputs that all parts of a run must share, whichever kernels each part has.

use std::fs;
use std::path::PathBuf;

use crate::base::digest::Keyed;
use crate::base::error::{Context, Result};

/// SHA-256 over the named files and all files in the named folders: their contents, and their names within
/// the folder. The location of the folders does not matter. `words` are further inputs.
///
/// # Errors
/// When a file cannot be read.
pub fn digest(paths: &[PathBuf], words: &[String]) -> Result<String> {
    let mut key = Keyed::new();
    for (number, path) in paths.iter().enumerate() {
        for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
            let entry = entry.context(|| format!("cannot list {}", path.display()))?;
            let file = entry.path();
            // Pending snapshots are not used for comparison.
            let pending = file.extension().is_some_and(|ending| ending == "new");
            if pending || !entry.file_type().is_file() {
                continue;
            }
            let name = file.strip_prefix(path).unwrap_or(file).display();
            let bytes = fs::read(file).context(|| format!("cannot read {}", file.display()))?;
            key.add(format!("{number} {name}"), bytes);
        }
    }
    words.iter().for_each(|word| key.add("word", word));
    Ok(key.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_byte_and_word_counts_and_the_place_does_not() {
        let of = |name: &str, text: &str, words: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), text).unwrap();
            fs::write(folder.path().join("a.snap.new"), text).unwrap();
            let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
            digest(&[folder.path().to_path_buf()], &words).unwrap()
        };
        let one = of("a.toml", "x", &["quiet"]);
        assert_eq!(one, of("a.toml", "x", &["quiet"]));
        assert_ne!(one, of("b.toml", "x", &["quiet"]));
        assert_ne!(one, of("a.toml", "y", &["quiet"]));
        assert_ne!(one, of("a.toml", "x", &["qui", "et"]));
        assert_eq!(of("b.new", "x", &[]), of("c.new", "y", &[]));
        assert!(digest(&["/nosuch".into()], &[]).is_err());
    }
}
