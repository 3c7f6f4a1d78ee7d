//! The tree against ARCHITECTURE.md: every source file is named there, and imports go one way.

#![allow(clippy::unwrap_used, reason = "helpers of tests, where a panic is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The Rust files below a folder, relative to it, with their text.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let folder = root().join(folder);
    walkdir::WalkDir::new(&folder)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .map(|path| {
            let name = path.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// The rooms of a crate that a file uses outside its tests.
fn imports(text: &str, krate: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let single = Regex::new(&format!(r"\b{krate}::([a-z_]+)")).unwrap();
    let group = Regex::new(&format!(r"(?s)\b{krate}::\{{(.*?)\}};")).unwrap();
    let nested = Regex::new(r"\{[^{}]*\}").unwrap();
    let first = Regex::new(r"(?:^|,)\s*([a-z_]+)").unwrap();
    let mut found: BTreeSet<String> = single.captures_iter(&code).map(|found| found[1].to_string()).collect();
    for inside in group.captures_iter(&code) {
        let flat = nested.replace_all(&inside[1], "");
        found.extend(first.captures_iter(&flat).map(|found| found[1].to_string()));
    }
    found
}

/// The room of a file: its folder, or its own name.
fn room(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// What the files of a folder import beyond what a room may; `*` is everything.
fn broken(folder: &str, krate: &str, rules: &[(&str, &str)]) -> Vec<String> {
    let rules: BTreeMap<&str, &str> = rules.iter().copied().collect();
    let mut broken = Vec::new();
    for (file, text) in sources(folder) {
        let room = room(&file);
        let Some(allowed) = rules.get(room) else {
            broken.push(format!("{folder}/{file}: no rule says what {room} may import"));
            continue;
        };
        let allowed: Vec<&str> = allowed.split(' ').collect();
        for import in imports(&text, krate) {
            if import != room && !allowed.contains(&import.as_str()) && !allowed.contains(&"*") {
                broken.push(format!("{folder}/{file}: {room} may not import {import}"));
            }
        }
    }
    broken
}

#[test]
fn the_harness_imports_one_way() {
    let rules = [
        ("lib", ""),
        ("verdict", ""),
        ("ui", ""),
        ("cargo", ""),
        ("clock", ""),
        ("child", ""),
        ("terminal", "error"),
        ("scratch", "child error terminal"),
        ("error", "verdict"),
        ("cache", "error scratch verdict ui"),
        ("matrix", "error"),
        ("harness", "cache cargo error matrix ui"),
        ("download", "cache clock error harness ui verdict"),
        ("apt", "cache child error harness ui verdict"),
        ("trace_cmd", "apt cache error harness verdict"),
        ("setup", "apt cache error harness matrix trace_cmd ui verdict"),
        ("chromium", "apt cache error harness setup verdict"),
        ("initramfs", "cargo error verdict"),
        ("kernel", "apt cache child download error harness matrix setup ui verdict"),
        ("vm", "cache child clock error setup terminal ui verdict"),
        ("suite", "*"),
        ("cli", "suite terminal vm"),
        ("main", "error harness kernel matrix scratch setup suite terminal ui verdict"),
    ];
    let mut found = broken("xtask/src", "crate", &rules);
    found.extend(broken("xtask/src", "xtask", &rules));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_tracer_imports_one_way() {
    let rules = [
        ("lib", ""),
        ("error", ""),
        ("bytes", ""),
        ("event", "bytes error filter"),
        ("ring_buffer", "bytes error"),
        ("trace_dat", "bytes error event ring_buffer"),
        ("sub_buffer", "bytes ring_buffer"),
        ("analysis", "bytes error event ring_buffer sub_buffer trace_dat"),
        ("report", "bytes error event ring_buffer trace_dat"),
        ("tracefs", "error"),
        ("restore", "error tracefs"),
        ("setup", "error restore tracefs"),
        ("capture", "error restore setup trace_dat tracefs"),
        ("commands", "analysis bytes capture error event report restore setup trace_dat tracefs"),
        ("main", "commands"),
    ];
    let mut found = broken("src", "crate", &rules);
    found.extend(broken("src", "snaptrace", &rules));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn harness_and_guest_do_not_link_the_tracer() {
    for package in ["xtask", "initramfs"] {
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        for section in ["dependencies", "dev-dependencies"] {
            let has = manifest.get(section).and_then(|section| section.get("snaptrace"));
            assert!(has.is_none(), "{package} depends on the tracer");
        }
    }
}

#[test]
fn the_lock_of_the_fuzz_targets_knows_what_the_packages_depend_on() {
    let parse = |path: PathBuf| fs::read_to_string(path).unwrap().parse::<toml::Table>().unwrap();
    let lock = parse(root().join("fuzz/Cargo.lock"));
    let packages = lock["package"].as_array().unwrap();
    for (folder, name) in [(".", "snaptrace"), ("xtask", "xtask"), ("initramfs", "initramfs")] {
        let locked = packages.iter().find(|package| package["name"].as_str() == Some(name)).unwrap();
        // Two versions of a package are told apart by a second word.
        let locked: BTreeSet<&str> = locked["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|dependency| dependency.as_str().unwrap().split(' ').next().unwrap())
            .collect();
        let manifest = parse(root().join(folder).join("Cargo.toml"));
        let dependencies = manifest["dependencies"].as_table().unwrap();
        let missing: Vec<&String> =
            dependencies.keys().filter(|name| !locked.contains(name.as_str())).collect();
        assert!(missing.is_empty(), "fuzz/Cargo.lock lacks {missing:?} of {name}: run fuzz/run.sh once");
    }
}

#[test]
fn the_pure_rooms_touch_nothing() {
    let suite = ["graph", "compare/normalise", "compare/renames", "compare/snapshots"];
    let mut files: Vec<PathBuf> =
        suite.iter().map(|file| root().join(format!("xtask/src/suite/{file}.rs"))).collect();
    files.push(root().join("initramfs/src/protocol.rs"));
    files.extend(["tracefs/filter", "setup/writes"].map(|file| root().join(format!("src/{file}.rs"))));
    files.extend(
        ["align", "compared", "page", "text", "tree"]
            .map(|room| root().join(format!("xtask/src/suite/diff/{room}.rs"))),
    );
    let pure = ["analysis", "bytes", "event", "report", "ring_buffer", "sub_buffer", "trace_dat"];
    files.extend(
        sources("src")
            .into_keys()
            .filter(|file| pure.contains(&room(file)))
            .map(|file| root().join("src").join(file)),
    );
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let file = file.display();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for forbidden in ["std::fs", "std::env", "std::time", "std::process", "unsafe"] {
            assert!(!code.contains(forbidden), "{file} uses {forbidden}");
        }
    }
}

/// The code of the harness and the tracer, without tests and comments, by file.
fn product_code() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for folder in ["src", "initramfs/src", "xtask/src"] {
        for (file, text) in sources(folder) {
            let code = text.split("#[cfg(test)]").next().unwrap();
            let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            all.push((format!("{folder}/{file}"), code.join("\n")));
        }
    }
    all
}

#[test]
fn no_command_line_is_put_together_for_a_shell() {
    let shell = Regex::new(r#""(/bin/)?(ba|da)?sh",?\s*(\.args?\(\[?)?\s*"-c",\s*([^,\])]+)"#).unwrap();
    let mut given = BTreeSet::new();
    for (file, code) in product_code() {
        given.extend(shell.captures_iter(&code).map(|found| format!("{file}: {}", found[4].trim())));
    }
    // One constant, whose arguments are passed beside it.
    assert_eq!(given.into_iter().collect::<Vec<_>>(), ["xtask/src/suite/faults/carry_out.rs: IN_NAMESPACE"]);
}

#[test]
fn temporary_folders_are_private_and_go_with_their_process() {
    for (file, code) in product_code().iter().filter(|(file, _)| file.starts_with("xtask/")) {
        let own = file == "xtask/src/scratch.rs";
        assert!(own || !code.contains("tempdir"), "{file} makes a temporary folder that is not `scratch`");
        assert!(!code.contains("temp_dir()"), "{file} uses the folder that all share");
    }
}

/// The files that the tree in ARCHITECTURE.md names, with their folders.
fn named_files(page: &str) -> BTreeSet<String> {
    let tree = page.split("## The tree").nth(1).unwrap().split("```").nth(1).unwrap();
    let mut folders: Vec<String> = Vec::new();
    let mut files = BTreeSet::new();
    for line in tree.lines().filter(|line| !line.trim().is_empty()) {
        let depth = (line.len() - line.trim_start().len()) / 2;
        let name = line.split_whitespace().next().unwrap();
        folders.truncate(depth);
        if name.ends_with('/') {
            folders.push(name.to_string());
        } else if name.ends_with(".rs") {
            files.insert(format!("{}{name}", folders.concat()));
        }
    }
    files
}

#[test]
fn the_page_names_every_source_file_and_no_other() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut there = BTreeSet::new();
    for folder in ["src", "initramfs/src", "xtask/src", "xtask/tests", "tests", "fuzz/src", "fuzz/targets"] {
        there.extend(sources(folder).into_keys().map(|file| format!("{folder}/{file}")));
    }
    let named = named_files(&page);
    let missing: Vec<&String> = there.difference(&named).collect();
    let stale: Vec<&String> = named.difference(&there).collect();
    assert!(missing.is_empty(), "not in ARCHITECTURE.md: {missing:?}");
    assert!(stale.is_empty(), "only in ARCHITECTURE.md: {stale:?}");
}

#[test]
fn a_wrong_import_is_found() {
    let text = "use crate::{\n    cache::Cache,\n    vm::{Machine, Ended},\n};\nuse crate::error::Error;\n\
                // crate::suite\n#[cfg(test)]\nmod tests { use crate::main; }\n";
    let found: Vec<String> = imports(text, "crate").into_iter().collect();
    assert_eq!(found, ["cache", "error", "vm"]);
}
