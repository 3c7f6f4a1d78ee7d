//! The workflow for CI: what GitHub would refuse or misread is found here. That its command lines
//! are accepted is a test of cli.rs.

#![allow(clippy::unwrap_used, reason = "helpers of tests, where a panic is the report")]

use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows/kernels.yml");
    fs::read_to_string(path).unwrap()
}

fn workflow() -> Value {
    serde_saphyr::from_str(&text()).unwrap()
}

fn steps(job: &Value) -> &Vec<Value> {
    job["steps"].as_array().unwrap()
}

#[test]
fn every_job_has_what_it_needs() {
    let workflow = workflow();
    let jobs = workflow["jobs"].as_object().unwrap();
    for (name, job) in jobs {
        assert!(job["runs-on"].is_string() && job["timeout-minutes"].is_u64(), "{name}");
        if let Some(needed) = job["needs"].as_str() {
            assert!(jobs.contains_key(needed), "{name} needs {needed}");
        }
        for step in steps(job) {
            assert_ne!(step["uses"].is_string(), step["run"].is_string(), "{name}: {step}");
            if let Some(action) = step["uses"].as_str() {
                let version = action.split_once("@v").map(|(_, version)| version.parse::<u32>());
                assert!(version.is_some_and(|version| version.is_ok()), "{action} has no version");
            }
        }
    }
    // The token that every job gets may read and nothing else.
    assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }));
    // `a | b` in a container's own shell succeeds with b.
    assert_eq!(workflow["defaults"]["run"]["shell"], "bash");
}

#[test]
fn the_matrix_is_the_list_of_kernels() {
    let workflow = workflow();
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

#[test]
fn the_cache_is_kept_under_the_key_it_is_looked_for() {
    let workflow = workflow();
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

#[test]
fn no_expression_stands_in_a_script() {
    // What an expression gives would be read as part of the script; variables are not.
    let workflow = workflow();
    for job in workflow["jobs"].as_object().unwrap().values() {
        for step in steps(job) {
            assert!(!step["run"].as_str().unwrap_or_default().contains("${{"), "{step}");
        }
    }
}

#[test]
fn names_in_expressions_are_known() {
    let text = text();
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
