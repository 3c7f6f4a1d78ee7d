//! Digests: SHA-256 of bytes, and of named parts; pure.

use sha2::{Digest, Sha256};

/// A digest over named parts. Each is preceded by its length, so that different parts never give the same
/// bytes.
pub struct Keyed(Sha256);

impl Keyed {
    /// A digest without parts.
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

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 in hexadecimal.
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
