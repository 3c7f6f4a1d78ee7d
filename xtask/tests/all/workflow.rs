//! Checks the workflows for CI: finds what GitHub would reject or misread. A test of commands/mod.rs checks
//! their command lines.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

trials! {
    every_job_has_what_it_needs,
    the_checks_are_complete_and_use_the_pinned_compiler,
    the_matrix_is_the_list_of_kernels,
    the_cache_is_kept_under_the_key_it_is_looked_for,
    new_pins_are_looked_at_and_not_committed,
    no_expression_stands_in_a_script,
    names_in_expressions_are_known,
}

/// The workflows, by the name of their file.
fn workflows() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows");
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn parsed(name: &str) -> Value {
    serde_saphyr::from_str(&workflows()[name]).unwrap()
}

fn steps(job: &Value) -> &Vec<Value> {
    job["steps"].as_array().unwrap()
}

fn every_job_has_what_it_needs() {
    for file in workflows().keys() {
        let workflow = parsed(file);
        assert_eq!(workflow["name"], **file, "a workflow is called what its file is called");
        let jobs = workflow["jobs"].as_object().unwrap();
        for (name, job) in jobs {
            assert!(job["runs-on"].is_string() && job["timeout-minutes"].is_u64(), "{file}: {name}");
            if let Some(needed) = job["needs"].as_str() {
                assert!(jobs.contains_key(needed), "{file}: {name} needs {needed}");
            }
            for step in steps(job) {
                assert_ne!(step["uses"].is_string(), step["run"].is_string(), "{file}: {name}: {step}");
                let Some(action) = step["uses"].as_str() else { continue };
                let (action, version) = action.split_once("@v").unwrap_or((action, ""));
                assert!(version.parse::<u32>().is_ok(), "{file}: {action} has no version");
                // Otherwise the token would stay in the checkout, where later steps can read it.
                let checks_out = action == "actions/checkout";
                assert!(!checks_out || step["with"]["persist-credentials"] == false, "{file}: {name}");
            }
        }
        // The token of every job may only read.
        assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }), "{file}");
        // `a | b` in a container's own shell succeeds with b.
        assert_eq!(workflow["defaults"]["run"]["shell"], "bash", "{file}");
    }
}

fn the_checks_are_complete_and_use_the_pinned_compiler() {
    let workflow = parsed("checks");
    let job = &workflow["jobs"]["checks"];
    let scripts: Vec<&str> = steps(job).iter().filter_map(|step| step["run"].as_str()).collect();
    for wanted in [
        "cargo fmt --all --check",
        "cargo clippy --locked --workspace --all-targets -- -D warnings",
        "cargo test --locked --workspace",
        "cargo doc --locked --workspace --no-deps",
        "cargo deny --workspace check advisories bans licenses sources",
        "zizmor",
    ] {
        assert!(scripts.iter().any(|script| script.contains(wanted)), "no step runs {wanted}");
    }
    let docs =
        steps(job).iter().find(|step| step["run"].as_str().is_some_and(|run| run.contains("cargo doc")));
    assert_eq!(docs.unwrap()["env"]["RUSTDOCFLAGS"], "-D warnings");
    let toolchain: toml::Table = include_str!("../../../rust-toolchain.toml").parse().unwrap();
    let pinned = format!("rust:{}-bookworm", toolchain["toolchain"]["channel"].as_str().unwrap());
    let jobs = [("checks", "checks"), ("kernels", "matrix"), ("kernels", "kernel"), ("pins", "pins")];
    for (file, name) in jobs {
        assert_eq!(parsed(file)["jobs"][name]["container"], *pinned, "{file}: {name}");
    }
}

fn the_matrix_is_the_list_of_kernels() {
    let workflow = parsed("kernels");
    let (list, kernel) = (&workflow["jobs"]["matrix"], &workflow["jobs"]["kernel"]);
    let step = steps(list).iter().find(|step| step["id"] == "list").unwrap();
    assert!(step["run"].as_str().unwrap().contains("cargo xtask kernel --list --format json"));
    assert!(step["run"].as_str().unwrap().contains("echo \"kernels=$kernels\" >> \"$GITHUB_OUTPUT\""));
    assert_eq!(list["outputs"]["kernels"], "${{ steps.list.outputs.kernels }}");
    assert_eq!(kernel["needs"], "matrix");
    let matrix = &kernel["strategy"]["matrix"]["kernel"];
    assert_eq!(matrix, "${{ fromJSON(needs.matrix.outputs.kernels) }}");
    assert_eq!(kernel["strategy"]["fail-fast"], false);
}

fn the_cache_is_kept_under_the_key_it_is_looked_for() {
    let workflow = parsed("kernels");
    let steps = steps(&workflow["jobs"]["kernel"]);
    let of = |action: &str| {
        let uses = |step: &&Value| step["uses"].as_str().is_some_and(|uses| uses.starts_with(action));
        steps.iter().find(uses).unwrap()
    };
    let (restore, save) = (of("actions/cache/restore@"), of("actions/cache/save@"));
    let key = restore["with"]["key"].as_str().unwrap();
    assert!(key.contains("matrix.kernel") && key.contains("hashFiles('kernel-configs/**')"), "{key}");
    assert_eq!(save["with"]["key"], "${{ steps.cache.outputs.cache-primary-key }}");
    assert_eq!(restore["id"], "cache");
    for step in [restore, save] {
        assert_eq!(step["with"]["path"], workflow["env"]["SNAPTRACE_CACHE"]);
    }
}

fn new_pins_are_looked_at_and_not_committed() {
    let workflow = parsed("pins");
    assert!(workflow["on"]["schedule"][0]["cron"].is_string());
    let steps = steps(&workflow["jobs"]["pins"]);
    let place = |words: &str| {
        let runs = |step: &Value| step["run"].as_str().is_some_and(|run| run.contains(words));
        steps.iter().position(runs).unwrap_or_else(|| panic!("no step runs {words}"))
    };
    assert!(place("kernel --repin") < place("test-vm --all --allow-drift"));
    assert!(steps.iter().all(|step| !step["run"].as_str().unwrap_or_default().contains("git commit")));
    let kept = steps.last().unwrap()["with"]["path"].as_str().unwrap();
    assert!(["pins.diff", "junit.xml", "target/vm"].iter().all(|path| kept.contains(path)), "{kept}");
}

fn no_expression_stands_in_a_script() {
    // The value of an expression would become part of the script; that of a variable does not.
    for file in workflows().keys() {
        for job in parsed(file)["jobs"].as_object().unwrap().values() {
            for step in steps(job) {
                assert!(!step["run"].as_str().unwrap_or_default().contains("${{"), "{file}: {step}");
            }
        }
    }
}

fn names_in_expressions_are_known() {
    let texts: Vec<String> = workflows().into_values().collect();
    let text = texts.concat();
    let expression = Regex::new(r"\$\{\{(.*?)\}\}").unwrap();
    let known = [
        "github.ref",
        "matrix.kernel",
        "needs.matrix.outputs.kernels",
        "steps.cache.outputs.cache-primary-key",
        "steps.list.outputs.kernels",
    ];
    let name = Regex::new(r"[a-z]+(\.[a-zA-Z-]+)+").unwrap();
    let quoted = Regex::new("'[^']*'").unwrap();
    let mut count = 0;
    for found in expression.captures_iter(&text) {
        for name in name.find_iter(&quoted.replace_all(&found[1], "")) {
            assert!(known.contains(&name.as_str()), "{} is not known", name.as_str());
            count += 1;
        }
    }
    assert!(count >= known.len());
}
