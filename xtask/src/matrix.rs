//! The kernel matrix: `kernel-configs/kernels.toml` as plain records.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};

/// The kernels that the harness knows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    kernel: Vec<Record>,
}

/// One kernel: where it comes from and what its guests need.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The name that commands take.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// The line of releases that the name may stand for, such as `5.4`.
    pub line: String,
    /// Where it comes from.
    pub source: Source,
    /// Config fragments in `kernel-configs/`: what a build is configured with, and what is
    /// proved of every kernel, built or ready-made.
    pub fragments: Vec<String>,
    /// An instruction counts 2^this nanoseconds in bit-exact runs.
    pub icount_shift: u8,
    /// Words added to the kernel command line.
    #[serde(default)]
    pub append: Vec<String>,
    /// Modules that init loads before anything else, in load order.
    #[serde(default)]
    pub boot_modules: Vec<String>,
    /// Modules that cases may load, each after those it depends on.
    #[serde(default)]
    pub case_modules: Vec<String>,
}

/// Where a kernel comes from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A tarball of kernel.org, built here.
    KernelOrg {
        /// The release, such as `5.4.302`.
        version: String,
        /// The tarball's SHA-256, in hexadecimal.
        sha256: String,
        /// The tarball's path below a mirror's base address.
        file: String,
        /// Base addresses, tried in turn.
        mirrors: Vec<String>,
        /// Commands that this line needs besides make, compiler and linker, each with the
        /// package that brings it.
        #[serde(default)]
        tools: BTreeMap<String, String>,
        /// The newest gcc that builds this line.
        gcc_max: Option<u32>,
        /// About how many files a build makes, for the progress of a first one.
        build_steps: u64,
    },
    /// A ready-made package of Debian.
    Debian {
        /// The suite that has the line, such as `bookworm`.
        suite: String,
        /// A regular expression that the package's whole name matches.
        package: String,
        /// The package version to take while the archive has it, else the line's newest.
        version: String,
    },
}

impl Record {
    /// Whether it comes as a package, without a build.
    pub fn is_ready_made(&self) -> bool {
        matches!(self.source, Source::Debian { .. })
    }
}

impl Matrix {
    /// Reads a matrix file.
    ///
    /// # Errors
    /// The file cannot be read, does not follow the format or names a kernel twice.
    pub fn load(path: &Path) -> Result<Matrix> {
        let text = std::fs::read_to_string(path)
            .context(|| format!("cannot read the kernel matrix {}", path.display()))?;
        Matrix::parse(&text, &path.display().to_string())
    }

    fn parse(text: &str, origin: &str) -> Result<Matrix> {
        let matrix: Matrix =
            toml::from_str(text).context(|| format!("cannot understand the matrix {origin}"))?;
        let names: Vec<&str> = matrix.names().collect();
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                return Err(Error::new(format!("{origin} names the kernel {name} twice")));
            }
        }
        Ok(matrix)
    }

    /// All records, in the file's order.
    pub fn records(&self) -> &[Record] {
        &self.kernel
    }

    /// The record of a name.
    ///
    /// # Errors
    /// The name is unknown: the error lists the known ones and suggests the nearest.
    pub fn find(&self, name: &str) -> Result<&Record> {
        if let Some(record) = self.kernel.iter().find(|record| record.name == name) {
            return Ok(record);
        }
        let known: Vec<&str> = self.names().collect();
        Err(Error::unknown("kernel", name, &known))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.kernel.iter().map(|record| record.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../kernel-configs/kernels.toml");

    #[test]
    fn the_matrix_is_understood_and_its_fragments_are_there() {
        let matrix = Matrix::parse(FILE, "kernels.toml").unwrap();
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-configs");
        for record in matrix.records() {
            assert!(!record.fragments.is_empty(), "{}", record.name);
            for fragment in &record.fragments {
                assert!(configs.join(fragment).is_file(), "{}: {fragment}", record.name);
            }
            if let Source::KernelOrg { sha256, version, .. } = &record.source {
                assert_eq!(sha256.len(), 64);
                assert!(version.starts_with(&format!("{}.", record.line)));
            }
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_and_the_nearest() {
        let matrix = Matrix::parse(FILE, "kernels.toml").unwrap();
        let error = matrix.find("debian-61").unwrap_err().to_string();
        assert!(error.contains("did you mean debian-6.1?"), "{error}");
        assert!(error.contains("known: 5.4, debian-6.1"), "{error}");
        assert!(!matrix.find("zzz").unwrap_err().to_string().contains("did you mean"));
    }

    #[test]
    fn a_name_twice_or_an_unknown_key_is_refused() {
        let (head, _) = FILE.split_once("[[kernel]]").unwrap();
        let record = FILE.split("[[kernel]]").nth(1).unwrap();
        let twice = format!("{head}[[kernel]]{record}[[kernel]]{record}");
        assert!(Matrix::parse(&twice, "f").unwrap_err().to_string().contains("twice"));
        let odd = FILE.replacen("icount_shift", "icount_shft", 1);
        assert!(Matrix::parse(&odd, "f").is_err());
    }
}
