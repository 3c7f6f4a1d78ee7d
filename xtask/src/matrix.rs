//! The kernel matrix: `kernel-configs/kernels.toml` as plain records.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::error::{Context, Error, Result};
use crate::base::workspace::Workspace;

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
    /// Its release line, such as `5.4`.
    pub line: String,
    /// Where it comes from.
    pub source: Source,
    /// Config fragments in `kernel-configs/`. A build is configured with them, and every kernel, built or
    /// ready-made, is checked against them.
    pub fragments: Vec<String>,
    /// Whether it is a reference: slow tests run only on references, and commands that need any kernel try
    /// them first.
    #[serde(default)]
    pub reference: bool,
    /// An instruction takes 2^`icount_shift` nanoseconds in bit-exact runs.
    pub icount_shift: u8,
    /// Words added to the kernel command line.
    #[serde(default)]
    pub append: Vec<String>,
    /// Modules that init loads before anything else, in load order.
    #[serde(default)]
    pub boot_modules: Vec<String>,
    /// Modules that cases may load, each after its dependencies.
    #[serde(default)]
    pub case_modules: Vec<String>,
    /// Boot its bzImage: QEMU cannot start its vmlinux.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bzimage: bool,
}

/// Where a kernel comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
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
        /// Commands that a build needs besides make, compiler and linker, each with its package.
        #[serde(default)]
        tools: BTreeMap<String, String>,
        /// The newest gcc that builds this line.
        gcc_max: Option<u32>,
        /// The approximate number of files of a build, for the progress of the first one.
        build_steps: u64,
    },
    /// A ready-made package of Debian.
    Debian {
        /// The suite that has the line, such as `bookworm`.
        suite: String,
        /// Where the recorded version is looked for once that suite has moved on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        then: Option<String>,
        /// A regular expression that matches the whole name of the image package.
        package: String,
        /// The packages with the rest of a kernel: the words that their names have instead of `linux-image`
        /// or `linux-binary`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        with: Vec<String>,
        /// The package version to take while the archive has it, else the line's newest.
        version: String,
        /// What a host without Debian's apt downloads.
        #[serde(default, skip_serializing)]
        pinned: Pinned,
    },
    /// A package of Debian that holds a tarball of the source, built here.
    DebianSource {
        /// The suite that has the line, such as `bookworm`.
        suite: String,
        /// Where the recorded version is looked for once that suite has moved on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        then: Option<String>,
        /// A regular expression that matches the whole name of the package.
        package: String,
        /// The package version to take while the archive has it, else the line's newest.
        version: String,
        /// What a host without Debian's apt downloads.
        #[serde(default, skip_serializing)]
        pinned: Pinned,
        /// As for `KernelOrg`.
        #[serde(default)]
        tools: BTreeMap<String, String>,
        /// As for `KernelOrg`.
        gcc_max: Option<u32>,
        /// As for `KernelOrg`.
        build_steps: u64,
    },
    /// A kernel of the user's own, which lies in the cache; no kernel of the matrix does.
    Own {
        /// The key of its entry.
        key: String,
    },
}

/// The package files of the recorded version, by their digests. No part of a kernel's key: the same
/// version is the same kernel, however its packages are fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// A moment at which Debian's archive had them, as its snapshot archive writes it:
    /// `20261128T000000Z`.
    pub snapshot: String,
    /// The files, the one with the image or source first.
    pub files: Vec<PackageFile>,
}

/// A package file of Debian's archive.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageFile {
    /// Its path below the archive's address: `pool/…/NAME_VERSION_ARCHITECTURE.deb`.
    pub path: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// The requirements of a build.
#[derive(Clone, Copy, Debug)]
pub struct Building<'a> {
    /// Commands besides make, compiler and linker, each with its package.
    pub tools: &'a BTreeMap<String, String>,
    /// The newest gcc that builds the line.
    pub gcc_max: Option<u32>,
    /// The approximate number of files of a build.
    pub steps: u64,
}

impl Source {
    /// The suites of Debian that may have it, the newest first.
    pub fn suites(&self) -> Vec<&str> {
        match self {
            Source::Debian { suite, then, .. } | Source::DebianSource { suite, then, .. } => {
                std::iter::once(suite.as_str()).chain(then.as_deref()).collect()
            }
            Source::KernelOrg { .. } | Source::Own { .. } => Vec::new(),
        }
    }

    /// The requirements of its build; `None` for a ready-made kernel.
    pub fn building(&self) -> Option<Building<'_>> {
        match self {
            Source::KernelOrg { tools, gcc_max, build_steps, .. }
            | Source::DebianSource { tools, gcc_max, build_steps, .. } => {
                Some(Building { tools, gcc_max: *gcc_max, steps: *build_steps })
            }
            Source::Debian { .. } | Source::Own { .. } => None,
        }
    }
}

impl Record {
    /// Whether it comes as a package, without a build.
    pub fn is_ready_made(&self) -> bool {
        self.source.building().is_none()
    }

    /// Whether a Linux version, such as `5.4.286`, belongs to its line.
    pub fn has_version(&self, version: &str) -> bool {
        let rest = version.strip_prefix(&self.line);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// Whether commands use it only if it is named. Such kernels are for comparison, and take minutes to
    /// build.
    pub fn is_by_name_only(&self) -> bool {
        matches!(self.source, Source::DebianSource { .. })
    }
}

impl Workspace {
    /// Reads the kernel matrix of this workspace.
    ///
    /// # Errors
    /// The file cannot be read or does not follow the format.
    pub fn matrix(&self) -> Result<Matrix> {
        Matrix::load(&self.configs().join("kernels.toml"))
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
        if let Some(record) = matrix.kernel.iter().find(|record| matches!(record.source, Source::Own { .. }))
        {
            return Err(Error::new(format!("{origin} cannot have the kernel {}", record.name))
                .because("a kernel of the kind `own` exists in one machine's cache only")
                .help(format!("there `cargo xtask kernel add {} PATH` adds it", record.name)));
        }
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

    /// The records that commands use if no kernel is named.
    pub fn usual(&self) -> impl Iterator<Item = &Record> {
        self.kernel.iter().filter(|record| !record.is_by_name_only())
    }

    /// The records for slow tests: the references, or all usual ones.
    pub fn at_length(&self, all: bool) -> impl Iterator<Item = &Record> {
        self.usual().filter(move |record| all || record.reference)
    }

    /// The named records, in that order and each once; without names, the usual ones.
    ///
    /// # Errors
    /// A name is unknown.
    pub fn named_or_usual(&self, names: &[String]) -> Result<Vec<&Record>> {
        self.named_or(names, || self.usual().collect())
    }

    /// The named records likewise; without names, those of [`Matrix::at_length`].
    ///
    /// # Errors
    /// A name is unknown.
    pub fn named_or_at_length(&self, names: &[String], all: bool) -> Result<Vec<&Record>> {
        self.named_or(names, || self.at_length(all).collect())
    }

    fn named_or<'a>(
        &'a self,
        names: &[String],
        otherwise: impl FnOnce() -> Vec<&'a Record>,
    ) -> Result<Vec<&'a Record>> {
        if names.is_empty() {
            return Ok(otherwise());
        }
        let mut records: Vec<&Record> = Vec::new();
        for name in names {
            if !records.iter().any(|record| record.name == *name) {
                records.push(self.find(name)?);
            }
        }
        Ok(records)
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

    /// The record with which a source of a version is built.
    ///
    /// # Errors
    /// No record that is built here has its line.
    pub fn for_source(&self, version: &str) -> Result<&Record> {
        let built = || self.kernel.iter().filter(|record| !record.is_ready_made());
        built().find(|record| record.has_version(version)).ok_or_else(|| {
            let lines: Vec<&str> = built().map(|record| record.line.as_str()).collect();
            Error::new(format!("cannot build Linux {version}"))
                .because("no kernel of the matrix that is built here is of its line")
                .help(format!("their lines are: {}", lines.join(", ")))
        })
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
    fn kernels_from_source_packages_are_built_and_named() {
        let matrix = Matrix::parse(FILE, "kernels.toml").unwrap();
        let usual: Vec<&str> = matrix.usual().map(|record| record.name.as_str()).collect();
        assert!(usual.contains(&"5.4") && usual.contains(&"debian-6.1"), "{usual:?}");
        assert!(!usual.iter().any(|name| name.ends_with("-src")), "{usual:?}");
        for record in matrix.records().iter().filter(|record| record.name.ends_with("-src")) {
            assert!(record.is_by_name_only() && !record.is_ready_made(), "{}", record.name);
            assert!(record.source.building().unwrap().tools.contains_key("flex"), "{}", record.name);
            assert!(!record.source.suites().is_empty(), "{}", record.name);
        }
        assert!(matrix.find("6.1-src").is_ok());
    }

    #[test]
    fn a_source_is_built_as_the_kernel_of_its_line() {
        let matrix = Matrix::parse(FILE, "kernels.toml").unwrap();
        for (version, name) in [("5.4.302", "5.4"), ("6.1.0-rc1", "6.1-src"), ("6.12.1", "6.12-src")] {
            assert_eq!(matrix.for_source(version).unwrap().name, name);
        }
        let error = matrix.for_source("6.10.0").unwrap_err().to_string();
        assert!(error.contains("their lines are: 5.4, 5.10, 6.1"), "{error}");
    }

    #[test]
    fn without_a_name_the_usual_kernels_are_taken() {
        let matrix = Matrix::parse(FILE, "kernels.toml").unwrap();
        let taken = |names: &[&str]| -> Vec<String> {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            matrix.named_or_usual(&names).unwrap().iter().map(|record| record.name.clone()).collect()
        };
        assert_eq!(taken(&[]), ["5.4", "debian-5.10", "debian-6.1", "debian-6.12", "debian-7"]);
        assert_eq!(taken(&["6.1-src", "5.4", "6.1-src"]), ["6.1-src", "5.4"]);
        assert!(matrix.named_or_usual(&["nosuch".into()]).is_err());
        let at_length = |all| matrix.named_or_at_length(&[], all).unwrap().len();
        assert_eq!((at_length(false), at_length(true)), (2, 5));
        assert_eq!(matrix.named_or_at_length(&["6.1-src".into()], false).unwrap()[0].name, "6.1-src");
    }

    #[test]
    fn an_unknown_name_lists_the_known_and_the_nearest() {
        let matrix = Matrix::parse(FILE, "kernels.toml").unwrap();
        let error = matrix.find("debian-61").unwrap_err().to_string();
        assert!(error.contains("did you mean debian-6.1?"), "{error}");
        assert!(error.contains("known: 5.4, debian-5.10, debian-6.1"), "{error}");
        assert!(!matrix.find("zzz").unwrap_err().to_string().contains("did you mean"));
    }

    #[test]
    fn the_record_in_the_docs_is_all_that_a_kernel_takes() {
        let page = include_str!("../../docs/kernels.md");
        let record = page.split("```toml").nth(1).unwrap().split("```").next().unwrap();
        let matrix = Matrix::parse(&format!("{FILE}\n{record}"), "f").unwrap();
        let added = matrix.records().last().unwrap();
        assert!(!added.is_by_name_only() && added.is_ready_made() && !added.reference, "{added:?}");
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-configs");
        assert!(added.fragments.iter().all(|fragment| configs.join(fragment).is_file()), "{added:?}");
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
