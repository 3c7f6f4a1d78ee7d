//! The inputs of a run, and how those of two runs differ; pure.

use serde::{Deserialize, Serialize};

/// The inputs of a run. Equal ones give equal raw traces on an exact machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
// Results of an older harness lack newer fields, and so count as having other inputs.
#[serde(default)]
pub struct Fingerprint {
    /// SHA-256 of the kernel image.
    pub image: String,
    /// SHA-256 of the initramfs, job included.
    pub initrd: String,
    /// The kernel command line.
    pub append: String,
    /// QEMU's version.
    pub qemu: String,
    /// QEMU's options, with plain names for the files.
    pub options: String,
    /// SHA-256 of our own programs in the initramfs, without the kernel's modules.
    pub programs: String,
    /// SHA-256 of the standard input, empty if there was none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stdin: String,
}

impl Fingerprint {
    /// A word for the first input that differs.
    pub fn difference(&self, other: &Fingerprint) -> Option<&'static str> {
        self.differing(other).map(|(name, ..)| name)
    }

    /// The first input that differs, with the difference.
    pub fn explain(&self, other: &Fingerprint) -> Option<String> {
        let (name, one, another) = self.differing(other)?;
        let lacks = |text: &str, word: &str| !text.split_whitespace().any(|known| known == word);
        let only = |text: &str, other: &str| {
            let words: Vec<&str> = text.split_whitespace().filter(|word| lacks(other, word)).collect();
            let shown = words.join(" ");
            // The first characters are enough to distinguish digests.
            if words.len() == 1 && shown.len() == 64 { shown[..12].to_string() } else { shown }
        };
        let (one, another) = (only(one, another), only(another, one));
        Some(match (one.is_empty(), another.is_empty()) {
            (true, true) => format!("the {name} (in its order)"),
            (true, false) => format!("the {name} (`{another}` is new)"),
            (false, true) => format!("the {name} (`{one}` is gone)"),
            (false, false) => format!("the {name} (`{one}` became `{another}`)"),
        })
    }

    /// Whether the instruction-count clock drove the run.
    pub fn is_exact(&self) -> bool {
        self.options.split_whitespace().any(|word| word == "-icount")
    }

    /// Whether the guest ran under KVM, and so by the host's clock.
    pub fn is_under_kvm(&self) -> bool {
        let mut words = self.options.split_whitespace().skip_while(|word| *word != "-accel");
        words.nth(1).is_some_and(|accel| accel.split(',').next() == Some("kvm"))
    }

    /// The shift of the instruction-count clock, if the run used it: an instruction takes 2^shift
    /// nanoseconds.
    pub fn shift(&self) -> Option<u8> {
        let words = self.options.split_whitespace();
        let clock = words.skip_while(|word| *word != "-icount").nth(1)?;
        clock.split(',').find_map(|setting| setting.strip_prefix("shift="))?.parse().ok()
    }

    fn differing<'a>(&'a self, other: &'a Fingerprint) -> Option<(&'static str, &'a str, &'a str)> {
        let parts: [(&str, &str, &str); 7] = [
            ("kernel image", &self.image, &other.image),
            ("command line", &self.append, &other.append),
            ("QEMU", &self.qemu, &other.qemu),
            ("options of QEMU", &self.options, &other.options),
            ("guest's programs", &self.programs, &other.programs),
            ("standard input", &self.stdin, &other.stdin),
            ("initramfs", &self.initrd, &other.initrd),
        ];
        parts.into_iter().find(|(_, one, another)| one != another)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_names_the_input_that_differs() {
        let one = Fingerprint { append: "quiet".into(), ..Fingerprint::default() };
        let other = Fingerprint { append: "quiet word".into(), ..Fingerprint::default() };
        assert_eq!(one.difference(&one), None);
        assert_eq!(one.difference(&other), Some("command line"));
        assert_eq!(one.shift(), None);
        let exact = Fingerprint { options: "-m 512M -icount shift=4,sleep=off".into(), ..one.clone() };
        assert_eq!(exact.shift(), Some(4));
        let under = |accel: &str| {
            let options = format!("-machine q35 -accel {accel} -cpu host -append kvm");
            Fingerprint { options, ..one.clone() }.is_under_kvm()
        };
        assert!(under("kvm") && !under("tcg") && !under("tcg,thread=single"));
        assert!(!one.is_under_kvm());
        assert_eq!(one.explain(&one), None);
        assert_eq!(one.explain(&other).unwrap(), "the command line (`word` is new)");
        assert_eq!(other.explain(&one).unwrap(), "the command line (`word` is gone)");
        let digest = |byte: &str| Fingerprint { initrd: byte.repeat(32), ..Fingerprint::default() };
        let became = digest("ab").explain(&digest("cd")).unwrap();
        assert_eq!(became, "the initramfs (`abababababab` became `cdcdcdcdcdcd`)");
        let typed = Fingerprint { stdin: "ab".repeat(32), ..digest("ab") };
        assert_eq!(typed.explain(&digest("cd")).unwrap(), "the standard input (`abababababab` is gone)");
        assert!(!serde_json::to_string(&one).unwrap().contains("stdin"));
    }
}
