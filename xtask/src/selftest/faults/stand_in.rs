//! A stand-in for Linux: a tiny source tree with kbuild's targets that builds at once, and a record that
//! takes it as a tarball from mirrors.

use std::fs;
use std::path::{Path, PathBuf};

use liblzma::write::XzEncoder;

use crate::base::error::{Context, Result};

/// The stand-in's version.
pub const VERSION: &str = "5.4.7";
/// The tarball's path below a mirror's base address.
pub const FILE: &str = "pub/linux.tar.xz";

/// What is wrong with a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    #[default]
    None,
    /// `olddefconfig` drops a symbol.
    DropsPci,
    /// A file does not compile.
    Error,
    /// The first build of a file takes a minute.
    Slow,
    /// The image has a few MiB.
    Large,
}

impl Flaw {
    /// What makes the configuration what Kconfig takes it for.
    fn olddefconfig(self) -> &'static str {
        match self {
            Flaw::DropsPci => "sed -i s/CONFIG_PCI=y/CONFIG_OTHER=y/ $(O)/.config",
            _ => "true",
        }
    }

    /// What is done before the image is there; `builds` has a line by then.
    fn meanwhile(self) -> &'static str {
        match self {
            // One process, which make knows by the time that the line is there.
            Flaw::Slow => "test `wc -l <$(BUILDS)` -gt 1 || exec sleep 60",
            Flaw::Large => "dd if=/dev/zero of=$(O)/large bs=1M count=4 2>&1",
            _ => "sleep 0.2",
        }
    }

    fn modules(self) -> &'static str {
        match self {
            Flaw::Error => "echo 'a.c:1: error: no such thing'; exit 1",
            _ => "true",
        }
    }
}

/// Writes a source tree to `folder`. Each build of it appends a line to the file `builds`.
///
/// # Errors
/// When it cannot be written.
pub fn tree(folder: &Path, builds: &Path, flaw: Flaw) -> Result<()> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).context(|| format!("cannot write {}", path.display()))
    };
    let arch = folder.join("arch/x86");
    fs::create_dir_all(&arch).context(|| format!("cannot create {}", arch.display()))?;
    write("Kconfig", "if HAS_BUS\nconfig PCI\n\tbool\n\tdepends on MMU\nendif\n")?;
    write("kernel.c", "int main;\n")?;
    let makefile = format!(
        "VERSION = 5\nPATCHLEVEL = 4\nSUBLEVEL = 7\nEXTRAVERSION =\nBUILDS = {builds}\n\
         .PHONY: tinyconfig olddefconfig vmlinux bzImage modules\n\
         tinyconfig:\n\t@echo '# CONFIG_PCI is not set' >$(O)/.config\n\
         olddefconfig:\n\t@{olddefconfig}\n\
         vmlinux:\n\t@echo '  CC      kernel.o'\n\t@echo one >>$(BUILDS); {meanwhile}\n\t@cat kernel.c >$(O)/vmlinux\n\
         \t@mkdir -p $(O)/include/config; echo {VERSION} >$(O)/include/config/kernel.release\n\
         bzImage:\n\t@mkdir -p $(O)/arch/x86/boot; echo bz >$(O)/arch/x86/boot/bzImage\n\
         modules:\n\t@{modules}\n",
        builds = builds.display(),
        olddefconfig = flaw.olddefconfig(),
        meanwhile = flaw.meanwhile(),
        modules = flaw.modules(),
    );
    write("Makefile", &makefile)
}

/// A tree as a tarball with one top folder. It is large enough to be cut in the middle, and has the same
/// bytes each time.
///
/// # Errors
/// When the tree cannot be read.
pub fn tarball(tree: &Path) -> Result<Vec<u8>> {
    let failed = || format!("cannot pack {}", tree.display());
    let mut tar = tar::Builder::new(XzEncoder::new(Vec::new(), 0));
    tar.append_dir_all("linux-5.4.7", tree).context(failed)?;
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let filler: Vec<u8> = (0..200_000).map(|_| byte()).collect();
    let mut header = tar::Header::new_gnu();
    header.set_size(filler.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "linux-5.4.7/filler", filler.as_slice()).context(failed)?;
    tar.into_inner().and_then(XzEncoder::finish).context(failed)
}

/// Writes a matrix to `configs` with one record, `tiny`, that takes the tarball with a digest from mirrors.
///
/// # Errors
/// When it cannot be written.
pub fn matrix(configs: &Path, sha256: &str, mirrors: &[&str]) -> Result<()> {
    let source = format!(
        "kind = 'kernel-org'\nversion = '{VERSION}'\nsha256 = '{sha256}'\nfile = '{FILE}'\n\
         mirrors = {mirrors:?}\nbuild_steps = 1\n"
    );
    matrix_of(configs, &source)
}

/// The same with a package of Debian's, pinned by its digest.
///
/// # Errors
/// When it cannot be written.
pub fn package_matrix(configs: &Path, sha256: &str) -> Result<()> {
    let source = format!(
        "kind = 'debian'\nsuite = 'sid'\npackage = 'tiny'\nversion = '1-1'\n\
         pinned = {{ snapshot = '20200101T000000Z', files = [\
         {{ path = 'pool/main/tiny_1-1_amd64.deb', sha256 = '{sha256}' }}] }}\n"
    );
    matrix_of(configs, &source)
}

fn matrix_of(configs: &Path, source: &str) -> Result<()> {
    let write = |name: &str, text: &str| {
        let path: PathBuf = configs.join(name);
        fs::write(&path, text).context(|| format!("cannot write {}", path.display()))
    };
    fs::create_dir_all(configs).context(|| format!("cannot create {}", configs.display()))?;
    write("a.config", "# The bus.\nCONFIG_PCI=y\n")?;
    let text = format!(
        "[[kernel]]\nname = 'tiny'\nabout = 'a stand-in'\nline = '5.4'\nicount_shift = 4\n\
         fragments = ['a.config']\n[kernel.source]\n{source}"
    );
    write("kernels.toml", &text)
}
