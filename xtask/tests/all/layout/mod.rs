//! Checks the rules of ARCHITECTURE.md against the code: the imports of rooms, no circle between files, a
//! first line in each file, and what pure rooms must not use.

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use imports::Crate;
use regex::Regex;

use crate::common::root;

trials! {
    rooms_import_what_the_page_says_and_no_more,
    no_files_import_each_other_in_a_circle,
    no_command_imports_another,
    every_file_begins_with_what_it_is_for,
    harness_and_guest_do_not_link_the_tracer,
    the_lock_of_the_fuzz_targets_knows_what_the_packages_depend_on,
    fuzz_targets_of_the_tracer_do_not_build_the_harness,
    the_pure_rooms_touch_nothing,
    no_command_line_is_put_together_for_a_shell,
    only_the_command_test_runs_the_tests_of_this_repository,
    temporary_folders_are_private_and_go_with_their_process,
    imports_are_read_from_use_code_and_macros_and_not_from_tests,
    a_circle_is_found_wherever_it_is,
}

/// The crates of the workspace: the folder of each, and its name.
const CRATES: [(&str, &str); 4] = [
    ("src", "snaptrace"),
    ("trace-dat/src", "trace_dat"),
    ("xtask/src", "xtask"),
    ("initramfs/src", "initramfs"),
];

/// The crates of the workspace with their folders.
fn crates() -> Vec<(&'static str, Crate)> {
    CRATES.into_iter().map(|(folder, name)| (folder, Crate::read(&root().join(folder), name))).collect()
}

/// The room of a file: its folder below the crate's, or the file itself.
fn room(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The rooms of a crate in ARCHITECTURE.md, each with its imports.
fn rules(page: &str, folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let heading = format!("`{folder}/`");
    let section = page.split("\n## ").find(|section| section.lines().next().unwrap().contains(&heading));
    let section = section.unwrap_or_else(|| panic!("ARCHITECTURE.md has no section on {folder}"));
    let words = |cell: &str| cell.split(' ').map(|word| word.trim_matches('`').to_owned()).collect();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [room, _, imports] = cells[..] else { panic!("not three cells: {row}") };
        let imports: BTreeSet<String> = if imports == "–" { BTreeSet::new() } else { words(imports) };
        (room.trim_matches('`').trim_end_matches('/').to_owned(), imports)
    })
    .collect()
}

fn rooms_import_what_the_page_says_and_no_more() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut wrong = Vec::new();
    for (folder, krate) in crates() {
        let rules = rules(&page, folder);
        let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (file, imports) in krate.imports() {
            let from = room(file);
            let used = used.entry(from).or_default();
            for import in imports.into_iter().filter(|import| room(import) != from) {
                used.insert(room(import));
                if rules.get(from).is_some_and(|allowed| !allowed.contains(room(import))) {
                    wrong.push(format!("{folder}/{file} imports {folder}/{import}"));
                }
            }
        }
        for (room, used) in &used {
            let Some(allowed) = rules.get(*room) else {
                wrong.push(format!("{folder}: the page does not name {room}, which imports {used:?}"));
                continue;
            };
            let unused: Vec<&String> = allowed.iter().filter(|room| !used.contains(room.as_str())).collect();
            if !unused.is_empty() {
                wrong.push(format!("{folder}: {room} does not import {unused:?}, which the page says"));
            }
        }
        let gone = rules.keys().filter(|room| !used.contains_key(room.as_str()));
        wrong.extend(gone.map(|room| format!("{folder}: the page names {room}, which is not there")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn no_files_import_each_other_in_a_circle() {
    let mut circles = Vec::new();
    for (folder, krate) in crates() {
        circles.extend(krate.circles().iter().map(|circle| format!("{folder}: {}", circle.join(", "))));
    }
    assert_eq!(circles, [""; 0]);
}

fn no_command_imports_another() {
    let shared = |file: &str| file.starts_with("commands/args/") || file == "commands/interface.rs";
    let mut wrong = Vec::new();
    for (folder, krate) in crates() {
        for (file, imports) in krate.imports() {
            let is_command = |file: &str| file.starts_with("commands/") && !shared(file);
            if is_command(file) && file != "commands/mod.rs" {
                let others = imports.into_iter().filter(|import| is_command(import));
                wrong.extend(others.map(|other| format!("{folder}/{file} imports {folder}/{other}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn every_file_begins_with_what_it_is_for() {
    let mut silent = Vec::new();
    for folder in CRATES.map(|(folder, _)| folder).into_iter().chain(["tests", "xtask/tests", "fuzz"]) {
        for (file, text) in Crate::read(&root().join(folder), "").files() {
            if !file.starts_with("target/") && !text.starts_with("//! ") {
                silent.push(format!("{folder}/{file}"));
            }
        }
    }
    assert!(silent.is_empty(), "without a first line of `//!`: {silent:?}");
}

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

fn the_lock_of_the_fuzz_targets_knows_what_the_packages_depend_on() {
    let parse = |path: PathBuf| fs::read_to_string(path).unwrap().parse::<toml::Table>().unwrap();
    let lock = parse(root().join("fuzz/Cargo.lock"));
    let packages = lock["package"].as_array().unwrap();
    for (folder, name) in
        [(".", "snaptrace"), ("trace-dat", "trace-dat"), ("xtask", "xtask"), ("initramfs", "initramfs")]
    {
        let locked = packages.iter().find(|package| package["name"].as_str() == Some(name)).unwrap();
        // If two versions of a package exist, an entry also has the version.
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

fn fuzz_targets_of_the_tracer_do_not_build_the_harness() {
    let manifest =
        fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap().parse::<toml::Table>().unwrap();
    let dependencies = manifest["dependencies"].as_table().unwrap();
    for package in ["xtask", "initramfs"] {
        let optional = dependencies[package].get("optional").and_then(toml::Value::as_bool);
        assert_eq!(optional, Some(true), "fuzz depends on {package} always");
    }
    assert!(manifest["features"].get("default").is_none(), "the harness is not asked for");
    let script = fs::read_to_string(root().join("fuzz/run.sh")).unwrap();
    let harness = script.lines().find_map(|line| line.trim().strip_suffix(") features=harness ;;")).unwrap();
    let harness: BTreeSet<&str> = harness.split(" | ").collect();
    for target in manifest["bin"].as_array().unwrap() {
        let (name, path) = (target["name"].as_str().unwrap(), target["path"].as_str().unwrap());
        let code = fs::read_to_string(root().join("fuzz").join(path)).unwrap();
        let uses = ["use xtask::", "use initramfs::"].iter().any(|import| code.contains(import));
        assert_eq!(target.get("required-features").is_some(), uses, "required-features of {name}");
        assert!(name == "seeds" || harness.contains(name) == uses, "fuzz/run.sh: the features of {name}");
    }
}

/// Pure rooms and files: they use no file, clock, environment or process.
const PURE: [&str; 16] = [
    "initramfs/src/protocol.rs",
    "src/analysis/",
    "src/report/",
    "src/setup/control_files.rs",
    "src/tracefs/filter.rs",
    "trace-dat/src/",
    "xtask/src/base/digest.rs",
    "xtask/src/explain/diff/",
    "xtask/src/explain/graph.rs",
    "xtask/src/fetch/control.rs",
    "xtask/src/kernel/renames.rs",
    "xtask/src/snapshots/difference.rs",
    "xtask/src/snapshots/invariants.rs",
    "xtask/src/snapshots/lines.rs",
    "xtask/src/snapshots/names.rs",
    "xtask/src/snapshots/redact.rs",
];

/// Files of pure rooms that are not pure: those of `diff` that run both sides.
const IMPURE: [&str; 2] = ["xtask/src/explain/diff/mod.rs", "xtask/src/explain/diff/sides.rs"];

fn the_pure_rooms_touch_nothing() {
    let mut seen = BTreeSet::new();
    for (file, code) in product_code() {
        let is_pure = |room: &&&str| file.starts_with(**room) && !IMPURE.contains(&file.as_str());
        let Some(room) = PURE.iter().find(is_pure) else { continue };
        seen.insert(*room);
        for forbidden in ["std::fs", "std::env", "std::time", "std::process", "unsafe "] {
            assert!(!code.contains(forbidden), "{file} uses {forbidden}");
        }
    }
    assert_eq!(seen, BTreeSet::from(PURE), "a pure room is not there");
}

/// The code of all crates, without tests and comments, by file.
fn product_code() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (folder, krate) in crates() {
        for (file, text) in krate.files() {
            let code = text.split("#[cfg(test)]").next().unwrap();
            let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            all.push((format!("{folder}/{file}"), code.join("\n")));
        }
    }
    all
}

fn no_command_line_is_put_together_for_a_shell() {
    let shell = Regex::new(r#""(/bin/)?(ba|da)?sh",?\s*(\.args?\(\[?)?\s*"-c",\s*([^,\])]+)"#).unwrap();
    let mut given = BTreeSet::new();
    for (file, code) in product_code() {
        given.extend(shell.captures_iter(&code).map(|found| format!("{file}: {}", found[4].trim())));
    }
    // One constant, whose arguments are passed beside it.
    assert_eq!(
        given.into_iter().collect::<Vec<_>>(),
        ["xtask/src/selftest/faults/carry_out.rs: IN_NAMESPACE"]
    );
}

fn only_the_command_test_runs_the_tests_of_this_repository() {
    let cargo_test = Regex::new(r#"args?\(\[?"test"|\["test",|\bINSTA_"#).unwrap();
    let found: Vec<String> = product_code()
        .into_iter()
        .filter(|(_, code)| cargo_test.is_match(code))
        .map(|(file, _)| file)
        .collect();
    // `cargo xtask test`, whose purpose it is.
    assert_eq!(found, ["xtask/src/commands/test.rs"]);
}

fn temporary_folders_are_private_and_go_with_their_process() {
    for (file, code) in product_code().iter().filter(|(file, _)| file.starts_with("xtask/")) {
        let own = file == "xtask/src/base/scratch.rs";
        assert!(own || !code.contains("tempdir"), "{file} makes a temporary folder that is not `scratch`");
        assert!(!code.contains("temp_dir()"), "{file} uses the folder that all share");
    }
}

fn imports_are_read_from_use_code_and_macros_and_not_from_tests() {
    let top = "//! Top.\nuse crate::{cache::Cache, vm::{Machine, console::{self, text}}};\n\
               // crate::unused\n#[cfg(test)]\nmod tests { use crate::only_in_tests::Sample; }\n";
    let machine = "fn start(ui: crate::ui::Ui) { say!(\"{}\", super::cache::size()); crate::run() }\n\
                   mod inner { fn f() { super::super::cache::g() } }\n#[cfg(test)]\nuse crate::a::{b};\nmod console;\n\
                   fn of_a_child() { console::text(); other::text() }";
    let krate = Crate::of(
        "xtask",
        &[
            ("lib.rs", "pub use cache::Cache;"),
            ("main.rs", "use xtask::vm::Machine;"),
            ("top.rs", top),
            ("cache.rs", ""),
            ("ui.rs", ""),
            ("only_in_tests.rs", ""),
            ("unused.rs", ""),
            ("a.rs", "use super::vm; use std::fs;"),
            ("vm/mod.rs", machine),
            ("vm/console.rs", ""),
        ],
    );
    let imports = krate.imports();
    let of = |file: &str| imports[file].iter().copied().collect::<Vec<_>>();
    assert_eq!(of("lib.rs"), ["cache.rs"]);
    assert_eq!(of("main.rs"), ["vm/mod.rs"]);
    assert_eq!(of("top.rs"), ["cache.rs", "vm/console.rs", "vm/mod.rs"]);
    assert_eq!(of("vm/mod.rs"), ["cache.rs", "lib.rs", "ui.rs", "vm/console.rs"]);
    assert_eq!(of("a.rs"), ["vm/mod.rs"]);
    assert_eq!(krate.circles(), Vec::<Vec<&str>>::new());
}

fn a_circle_is_found_wherever_it_is() {
    let files = [
        ("one.rs", "use crate::two::Two;"),
        ("two.rs", "fn two() -> crate::three::Three { crate::three::Three }"),
        ("three.rs", "use super::one::One;"),
        ("above.rs", "use crate::one::One;"),
        ("room/mod.rs", "mod part;\npub use part::Part;\npub struct Face;"),
        ("room/part.rs", "use super::Face;"),
    ];
    let krate = Crate::of("made_up", &files);
    let circles = krate.circles();
    assert_eq!(circles, [vec!["one.rs", "three.rs", "two.rs"], vec!["room/mod.rs", "room/part.rs"]]);
}
