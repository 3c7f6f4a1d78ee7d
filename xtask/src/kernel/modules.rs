//! Modules: their dependencies, and the flat folder of modules for guests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::entry::Kernel;
use super::image;
use crate::base::cache;
use crate::base::error::{Context, Error, Result};
use crate::base::verdict::Verdict;
use crate::matrix::Record;

/// The modules below a folder, by name (with underscores, as in `lsmod`).
///
/// # Errors
/// The folder cannot be read.
pub fn index(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut modules = BTreeMap::new();
    for item in walkdir::WalkDir::new(folder) {
        let item = item.context(|| format!("cannot read {}", folder.display()))?;
        let file = item.file_name().to_string_lossy();
        if let Some((name, ending)) = file.split_once(".ko")
            && ["", ".gz", ".xz", ".zst"].contains(&ending)
        {
            modules.insert(name.replace('-', "_"), item.into_path());
        }
    }
    Ok(modules)
}

/// Copies the modules of a record, with those they depend on, to `into` as `<name>.ko`.
///
/// # Errors
/// A module is missing or damaged, or the record lists one before its dependencies.
pub fn collect(record: &Record, available: &BTreeMap<String, PathBuf>, into: &Path) -> Result<()> {
    fs::create_dir_all(into).map_err(|e| cache::denied("cannot create", into, &e))?;
    let mut listed: Vec<&str> = Vec::new();
    for name in record.boot_modules.iter().chain(&record.case_modules) {
        let file = available.get(name).ok_or_else(|| missing(record, name, "its package or build"))?;
        let packed = fs::read(file).context(|| format!("cannot read {}", file.display()))?;
        let module = image::module(&file.display().to_string(), &packed)?;
        for needed in depends(&module).context(|| format!("cannot read {}", file.display()))? {
            if !listed.contains(&needed.as_str()) {
                return Err(missing(record, &needed, &format!("the list before {name}"))
                    .help(format!("{name} depends on {needed}: list it first in kernels.toml")));
            }
        }
        let copy = into.join(format!("{name}.ko"));
        fs::write(&copy, module).map_err(|e| cache::denied("cannot write", &copy, &e))?;
        listed.push(name);
    }
    Ok(())
}

/// Those of some modules that are available, and what they depend on, each after its dependencies.
///
/// # Errors
/// A module cannot be read.
pub fn in_order(names: &[&str], available: &BTreeMap<String, PathBuf>) -> Result<Vec<String>> {
    let mut ordered: Vec<String> = Vec::new();
    for name in names {
        // The last one's dependencies have to come before it; what is on this list is being looked at.
        let mut open = vec![(*name).to_owned()];
        while let Some(name) = open.last().cloned() {
            let Some(file) = available.get(&name) else {
                // Built in, most likely; `collect` says if it is not.
                open.pop();
                continue;
            };
            let packed = fs::read(file).context(|| format!("cannot read {}", file.display()))?;
            let module = image::module(&file.display().to_string(), &packed)?;
            let needs = depends(&module).context(|| format!("cannot read {}", file.display()))?;
            let next = needs.into_iter().find(|needed| {
                available.contains_key(needed) && !ordered.contains(needed) && !open.contains(needed)
            });
            match next {
                Some(next) => open.push(next),
                None => {
                    open.pop();
                    if !ordered.contains(&name) {
                        ordered.push(name);
                    }
                }
            }
        }
    }
    Ok(ordered)
}

/// Checks that the modules of a record are of a release: the kernel refuses others.
///
/// # Errors
/// One is of another release (verdict `config-unmet`), or cannot be read.
pub fn check_release(record: &Record, available: &BTreeMap<String, PathBuf>, release: &str) -> Result<()> {
    for name in record.boot_modules.iter().chain(&record.case_modules) {
        let Some(file) = available.get(name) else { continue };
        let failed = || format!("cannot read {}", file.display());
        let packed = fs::read(file).context(failed)?;
        let module = image::module(&file.display().to_string(), &packed)?;
        let of = modinfo(&module, "vermagic").context(failed)?.into_iter().next().unwrap_or_default();
        let of = of.split(' ').next().unwrap_or_default();
        if of != release {
            return Err(Error::new(format!("the module {} is of another kernel", file.display()))
                .because(format!("it is of {of}, and the image of {release}"))
                .help("give an image and modules of the same build")
                .verdict(Verdict::ConfigUnmet));
        }
    }
    Ok(())
}

/// Checks that a cached kernel has the modules that its record names. An entry made before a module was added
/// to the record lacks it.
///
/// # Errors
/// One is missing: `config-unmet`, with the command that gets the kernel again.
pub fn check(record: &Record, kernel: &Kernel) -> Result<()> {
    let named = record.boot_modules.iter().chain(&record.case_modules);
    let is_missing = |name: &&String| !kernel.modules.join(format!("{name}.ko")).is_file();
    let missing: Vec<&str> = named.filter(is_missing).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let noun = if missing.len() == 1 { "module" } else { "modules" };
    let (made, makes) = match record.is_ready_made() {
        true => ("fetched", "fetches"),
        false => ("built", "builds"),
    };
    Err(Error::new(format!("the cached kernel {} lacks the {noun} {}", record.name, missing.join(", ")))
        .because(format!("when it was {made}, kernels.toml did not name the {noun} yet"))
        .help(format!("`cargo xtask kernel {}` {makes} it again", record.name))
        .verdict(Verdict::ConfigUnmet))
}

fn missing(record: &Record, module: &str, place: &str) -> Error {
    Error::new(format!("the module {module} of {} is not in {place}", record.name))
        .verdict(Verdict::ConfigUnmet)
}

/// The dependencies of a module, from its `.modinfo` section.
fn depends(module: &[u8]) -> Result<Vec<String>, String> {
    let values = modinfo(module, "depends")?;
    let names = values.iter().flat_map(|value| value.split(',')).filter(|name| !name.is_empty());
    Ok(names.map(|name| name.replace('-', "_")).collect())
}

/// The values of a key in a module's `.modinfo` section, a list of NUL-terminated `key=value` strings; the
/// file is 64-bit little-endian ELF.
fn modinfo(module: &[u8], key: &str) -> Result<Vec<String>, String> {
    let Some(modinfo) = section(module, ".modinfo")? else {
        return Err("it has no .modinfo section".to_owned());
    };
    let values = modinfo
        .split(|byte| *byte == 0)
        .filter_map(|entry| entry.strip_prefix(key.as_bytes())?.strip_prefix(b"="));
    Ok(values.map(|value| String::from_utf8_lossy(value).into_owned()).collect())
}

/// A section of an ELF file by its name.
fn section<'a>(elf: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, String> {
    // ELF magic, ELFCLASS64, ELFDATA2LSB.
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return Err("it is not a 64-bit little-endian ELF file".to_owned());
    }
    let table = number(elf, 0x28, 8)?;
    let entry_size = number(elf, 0x3a, 2)?;
    let count = number(elf, 0x3c, 2)?;
    let names_index = number(elf, 0x3e, 2)?;
    let header = |index: usize| -> Result<&'a [u8], String> {
        let offset = index.checked_mul(entry_size).and_then(|o| o.checked_add(table));
        slice(elf, offset.ok_or("its section table is damaged")?, 0x40)
    };
    let content = |header: &[u8]| slice(elf, number(header, 0x18, 8)?, number(header, 0x20, 8)?);
    let names = content(header(names_index)?)?;
    for index in 0..count {
        let header = header(index)?;
        let found = names.get(number(header, 0, 4)?..).ok_or("a section's name is damaged")?;
        if found.split(|byte| *byte == 0).next() == Some(name.as_bytes()) {
            return content(header).map(Some);
        }
    }
    Ok(None)
}

fn slice(data: &[u8], offset: usize, length: usize) -> Result<&[u8], String> {
    let end = offset.checked_add(length);
    end.and_then(|end| data.get(offset..end)).ok_or_else(|| "it is cut short".to_owned())
}

/// A little-endian number of `length` bytes.
fn number(data: &[u8], offset: usize, length: usize) -> Result<usize, String> {
    let bytes = slice(data, offset, length)?;
    let value = bytes.iter().rev().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    usize::try_from(value).map_err(|_| "a number in it is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::entry::Manifest;

    /// A module with the sections null, `.shstrtab` and `.modinfo`.
    fn made_up(depends: &str) -> Vec<u8> {
        let names = b"\0.shstrtab\0.modinfo\0";
        let modinfo = format!("license=GPL\0depends={depends}\0name=x\0vermagic=6.1.7 SMP\0");
        let mut elf = vec![0; 0x40];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let put = |header: &mut [u8], offset: usize, bytes: &[u8]| {
            header[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        let table = 0x40 + names.len() + modinfo.len();
        put(&mut elf, 0x28, &(table as u64).to_le_bytes());
        put(&mut elf, 0x3a, &[0x40, 0, 3, 0, 1, 0]);
        elf.extend_from_slice(names);
        elf.extend_from_slice(modinfo.as_bytes());
        elf.extend_from_slice(&[0; 0x40]);
        for (name, offset, length) in [(1_u8, 0x40, names.len()), (11, 0x40 + names.len(), modinfo.len())] {
            let mut header = [0; 0x40];
            header[0] = name;
            put(&mut header, 0x18, &(offset as u64).to_le_bytes());
            put(&mut header, 0x20, &(length as u64).to_le_bytes());
            elf.extend_from_slice(&header);
        }
        elf
    }

    fn record(modules: &[&str]) -> Record {
        let list = format!("{modules:?}");
        toml::from_str(&format!(
            "name='x'\nabout=''\nline='6.1'\nfragments=[]\nicount_shift=4\ncase_modules={list}\n\
             [source]\nkind='debian'\nsuite='s'\npackage='p'\nversion='v'"
        ))
        .unwrap()
    }

    #[test]
    fn dependencies_come_from_modinfo() {
        assert_eq!(depends(&made_up("jbd2,crc-16")).unwrap(), ["jbd2", "crc_16"]);
        assert_eq!(depends(&made_up("")).unwrap(), [""; 0]);
    }

    #[test]
    fn modules_come_after_those_they_depend_on_and_are_of_the_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let mut available = BTreeMap::new();
        for (name, depends) in [("ext4", "jbd2,mbcache"), ("jbd2", ""), ("mbcache", "gone"), ("loop", "")] {
            let path = folder.path().join(format!("{name}.ko"));
            fs::write(&path, made_up(depends)).unwrap();
            available.insert(name.to_owned(), path);
        }
        let ordered = in_order(&["ext4", "fuse", "jbd2"], &available).unwrap();
        assert_eq!(ordered, ["jbd2", "mbcache", "ext4"]);
        let record = record(&["jbd2", "ext4"]);
        check_release(&record, &available, "6.1.7").unwrap();
        let error = check_release(&record, &available, "6.1.8").unwrap_err();
        assert_eq!(error.verdict_given(), Some(Verdict::ConfigUnmet));
        assert!(error.to_string().contains("it is of 6.1.7, and the image of 6.1.8"), "{error}");
        // Each needs the other: nothing hangs.
        for (name, depends) in [("ext4", "jbd2"), ("jbd2", "ext4")] {
            fs::write(&available[name], made_up(depends)).unwrap();
        }
        assert_eq!(in_order(&["ext4"], &available).unwrap().len(), 2);
    }

    #[test]
    fn a_module_cut_anywhere_is_an_error_and_no_panic() {
        let whole = made_up("jbd2");
        for cut in 0..whole.len() {
            assert!(depends(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn modules_are_copied_flat_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("kernel/fs/a-b");
        fs::create_dir_all(&from).unwrap();
        fs::write(from.join("a-b.ko"), made_up("")).unwrap();
        let xz = {
            use std::io::Write;
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(&made_up("a_b")).unwrap();
            encoder.finish().unwrap()
        };
        fs::write(from.join("c.ko.xz"), xz).unwrap();
        let modules = index(folder.path()).unwrap();
        assert_eq!(modules.keys().collect::<Vec<_>>(), ["a_b", "c"]);

        let into = folder.path().join("flat");
        collect(&record(&["a_b", "c"]), &modules, &into).unwrap();
        assert_eq!(fs::read(into.join("c.ko")).unwrap(), made_up("a_b"));

        let early = collect(&record(&["c", "a_b"]), &modules, &into).unwrap_err();
        assert!(early.to_string().contains("c depends on a_b"), "{early}");
        let absent = collect(&record(&["d"]), &modules, &into).unwrap_err();
        assert_eq!(absent.verdict_given(), Some(Verdict::ConfigUnmet));
    }
    #[test]
    fn a_cached_kernel_without_a_module_of_its_record_is_an_error_that_says_how_to_get_it() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = Manifest {
            release: String::new(),
            version: String::new(),
            compiler: String::new(),
            vmlinux_sha256: String::new(),
            provenance: String::new(),
            notes: Vec::new(),
            record: String::new(),
            source: None,
            symbols: None,
            build_steps: None,
        };
        let kernel = Kernel::new("x", folder.path().to_owned(), manifest);
        fs::create_dir(&kernel.modules).unwrap();
        fs::write(kernel.modules.join("ext4.ko"), made_up("")).unwrap();
        check(&record(&["ext4"]), &kernel).unwrap();
        let error = check(&record(&["ext4", "loop", "jbd2"]), &kernel).unwrap_err();
        assert_eq!(error.verdict_given(), Some(Verdict::ConfigUnmet));
        assert_eq!(
            error.to_string(),
            "the cached kernel x lacks the modules loop, jbd2: when it was fetched, kernels.toml did not name the modules yet\n  \
             help: `cargo xtask kernel x` fetches it again"
        );
    }
}
