//! Test cases: one TOML file each under `tests/cases/`, a list of commands for the guest.

use std::path::Path;
use std::{fs, iter};

use initramfs::{Job, Step};
use serde::Deserialize;

use crate::base::error::{Context, Error, Result};
use crate::kernel::renames;
use crate::matrix::Record;
use crate::vm::Machine;

/// One case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    /// The file's name without its ending.
    #[serde(skip)]
    pub name: String,
    /// The tutorial's section, by which `tour` orders.
    pub section: String,
    /// One line on what it shows.
    pub title: String,
    /// A module that the case loads. The case is then only for kernels whose `case_modules` list the module;
    /// without it, for every kernel.
    pub module: Option<String>,
    /// CPUs of its machine. With more than one it is not bit-exact, so its output must not depend on which
    /// CPU does what.
    pub cpus: Option<u32>,
    /// CPU slots, empty ones included.
    pub max_cpus: Option<u32>,
    /// Seconds it may take on real hardware; scaled to the accelerator.
    #[serde(default = "default_deadline")]
    pub deadline: u64,
    /// A command that traces a graph of what the case shows, often enough to measure each function; `cargo
    /// xtask cost` runs it.
    pub cost: Option<String>,
    /// The commands.
    #[serde(rename = "step")]
    pub steps: Vec<CaseStep>,
}

/// One command of a case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CaseStep {
    /// The command line, in a shell's words and quotes.
    pub run: String,
    /// What it does, in one sentence, for `tour`.
    pub say: String,
    /// The exit status that counts as success.
    #[serde(default)]
    pub expect: i32,
}

fn default_deadline() -> u64 {
    30
}

impl Case {
    /// Whether the case is for a kernel.
    pub fn is_for(&self, kernel: &Record) -> bool {
        self.module.as_ref().is_none_or(|module| kernel.case_modules.contains(module))
    }

    /// The case for a kernel version: with the function names of that version.
    ///
    /// The names come from a table. The real symbol list is known only after boot, when the job is already
    /// packed; Debian has the list in a separate package.
    ///
    /// # Errors
    /// When a placeholder such as `{fn:__kmalloc}` is not valid.
    pub fn on(&self, version: &str) -> Result<Case> {
        let mut case = self.clone();
        let named = || format!("the case {} is not understood", self.name);
        for text in case.steps.iter_mut().map(|step| &mut step.run).chain(&mut case.cost) {
            *text = renames::resolved(text, version).context(named)?;
        }
        Ok(case)
    }

    /// The job that runs the case.
    ///
    /// # Errors
    /// When a command line has an open quote.
    pub fn job(&self, boot_modules: &[String]) -> Result<Job> {
        let mut steps = Vec::new();
        for step in &self.steps {
            let argv = shlex::split(&step.run)
                .context(|| format!("case {}: an open quote in `{}`", self.name, step.run))?;
            steps.push(Step { argv, expect: step.expect, fifo: true });
        }
        Ok(Job { boot_modules: boot_modules.to_vec(), steps, ..Job::default() })
    }

    /// The globs that the case passes to `-l` and `-g`: the functions that its traces may show.
    pub fn filters(&self) -> Vec<String> {
        let mut filters = Vec::new();
        for step in &self.steps {
            let words = shlex::split(&step.run).unwrap_or_default();
            for (flag, value) in iter::zip(&words, words.iter().skip(1)) {
                if flag == "-l" || flag == "-g" {
                    filters.push(value.clone());
                }
            }
        }
        filters
    }
}

/// All cases, in the order of the tutorial.
///
/// # Errors
/// When the folder or a file cannot be read, or a file is no case; the error names it.
pub fn load(root: &Path) -> Result<Vec<Case>> {
    let folder = root.join("tests/cases");
    let mut cases = Vec::new();
    for entry in fs::read_dir(&folder).context(|| format!("cannot list the cases in {}", folder.display()))? {
        let path = entry.context(|| format!("cannot list the cases in {}", folder.display()))?.path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let text =
            fs::read_to_string(&path).context(|| format!("cannot read the case {}", path.display()))?;
        let mut case: Case =
            toml::from_str(&text).context(|| format!("cannot read the case {}", path.display()))?;
        case.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Machine::check_cpus(case.cpus.unwrap_or(1), case.max_cpus)
            .context(|| format!("the case {} asks for a machine that is not possible", case.name))?;
        cases.push(case);
    }
    cases.sort_by(|a, b| (&a.section, &a.name).cmp(&(&b.section, &b.name)));
    Ok(cases)
}

/// The cases with the given names, all of them when none is given.
///
/// # Errors
/// A name is unknown; the error lists the known ones and suggests the nearest.
pub fn select(cases: Vec<Case>, names: &[String]) -> Result<Vec<Case>> {
    for name in names {
        if !cases.iter().any(|case| case.name == *name) {
            let known: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
            return Err(Error::unknown("case", name, &known));
        }
    }
    Ok(cases.into_iter().filter(|case| names.is_empty() || names.contains(&case.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(text: &str) -> Case {
        toml::from_str(text).unwrap()
    }

    const CASE: &str = r#"
        section = "3.1"
        title = "t"
        [[step]]
        run = "snaptrace start -p function -l 'vfs_*' -l kfree sh 'cat /proc/uptime'"
        say = "s"
    "#;

    #[test]
    fn a_command_line_is_split_as_a_shell_would() {
        let job = case(CASE).job(&["virtio".into()]).unwrap();
        assert_eq!(job.steps[0].argv.last().unwrap(), "cat /proc/uptime");
        assert_eq!(job.boot_modules, ["virtio"]);
        let open = case(&CASE.replace("'cat /proc/uptime'", "'cat"));
        assert!(open.job(&[]).unwrap_err().to_string().contains("an open quote in `snaptrace"));
    }

    #[test]
    fn filters_are_those_of_the_command_lines() {
        assert_eq!(case(CASE).filters(), ["vfs_*", "kfree"]);
    }

    #[test]
    fn functions_have_the_names_of_the_kernel() {
        let renamed = case(&CASE.replace("-l kfree", "-l {fn:__kmalloc}"));
        assert_eq!(renamed.on("5.4.286").unwrap().filters(), ["vfs_*", "__kmalloc"]);
        assert_eq!(renamed.on("6.12.117-1").unwrap().filters(), ["vfs_*", "__kmalloc_noprof"]);
        let unknown = case(&CASE.replace("-l kfree", "-l {fn:kfree}"));
        let error = unknown.on("5.4.286").unwrap_err().to_string();
        assert!(error.contains("no other name of kfree"), "{error}");
    }

    #[test]
    fn a_case_has_the_machine_it_asks_for() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("tests/cases");
        fs::create_dir_all(&folder).unwrap();
        let loaded = |keys: &str| {
            fs::write(folder.join("one.toml"), format!("{keys}\n{CASE}")).unwrap();
            load(root.path()).map(|mut cases| cases.remove(0))
        };
        let case = loaded("cpus = 2\nmax-cpus = 4").unwrap();
        assert_eq!((case.cpus, case.max_cpus), (Some(2), Some(4)));
        let error = loaded("cpus = 4\nmax-cpus = 2").unwrap_err().to_string();
        assert!(error.contains("the case one") && error.contains("4 CPUs in 2 slots"), "{error}");
        assert!(loaded("max-cpus = 1000").unwrap_err().to_string().contains("cannot have 1000 CPUs"));
    }

    #[test]
    fn an_unknown_case_names_the_nearest() {
        let mut one = case(CASE);
        one.name = "function-graph".into();
        let error = select(vec![one], &["function-grap".into()]).unwrap_err().to_string();
        assert!(error.contains("there is no case function-grap"), "{error}");
        assert!(error.contains("did you mean function-graph?"), "{error}");
    }

    #[test]
    fn every_case_of_the_tree_parses() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let cases = load(root).unwrap();
        for case in &cases {
            for version in ["5.4.286", "7.2.13-1"] {
                case.on(version).unwrap().job(&[]).unwrap();
            }
            assert!(case.steps.iter().all(|step| !step.say.is_empty()), "{}", case.name);
        }
        for section in ["2", "3.1", "3.2", "3.3", "3.4", "3.5"] {
            assert!(cases.iter().any(|case| case.section == section), "no case for section {section}");
        }
    }
}
