//! The keys of cache entries: digests of everything that made a kernel.

use sha2::{Digest, Sha256};

use super::fragments;
use crate::base::error::{Context, Result};
use crate::harness::Harness;
use crate::matrix::{Record, Source};

/// Part of every key: raised when entries change in form or making.
pub const FORMAT: u32 = 1;

/// The digest of what the repository says about how a kernel is made: the source, the
/// fragments' bytes, the modules and our own format.
pub fn record_digest(h: &Harness, record: &Record) -> Result<String> {
    let mut digest = Keyed::new();
    digest.add("format", FORMAT.to_string());
    digest.add("arch", "x86_64");
    digest.add("modules", format!("{:?} {:?}", record.boot_modules, record.case_modules));
    if let Source::Debian { .. } = &record.source {
        // A built kernel's source is part of its key instead: --source may replace it.
        let source = serde_json::to_string(&record.source)
            .context(|| format!("cannot describe the source of {}", record.name))?;
        digest.add("source", source);
    }
    for (name, text) in fragments::of(h, record)? {
        digest.add(&name, text);
    }
    Ok(digest.finish())
}

/// A digest over named parts, none of which can run into the next.
pub struct Keyed(Sha256);

impl Keyed {
    /// Of nothing yet.
    #[expect(clippy::new_without_default, reason = "a key of nothing is none")]
    pub fn new() -> Keyed {
        Keyed(Sha256::new())
    }

    /// Adds a part.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        for part in [name.as_ref(), value.as_ref()] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// SHA-256 of the parts, in hexadecimal.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_key_do_not_run_into_each_other() {
        let key = |parts: &[(&str, &str)]| {
            let mut keyed = Keyed::new();
            parts.iter().for_each(|(name, value)| keyed.add(name, value));
            keyed.finish()
        };
        assert_ne!(key(&[("a", "bc")]), key(&[("ab", "c")]));
        assert_ne!(key(&[("a", "b"), ("c", "d")]), key(&[("a", "bcd")]));
        assert_eq!(key(&[("a", "b")]).len(), 64);
    }
}
