//! The user's request, and whether its parts fit together.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::events::Choice;
use super::program;
use crate::error::{Error, Result};
use crate::tracefs::Tracefs;
use crate::tracefs::filter::FunctionFilter;
use crate::tracefs::filter_files::{self, FilterFile};

const PID_NAMESPACE: &str = "/proc/self/ns/pid";
/// The inode of the initial pid namespace (PROC_PID_INIT_INO).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// What to trace. Settings that are not given are not changed, except that a pid filter whose processes
/// have all ended is removed.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The tracer, as in `available_tracers`.
    pub tracer: Option<String>,
    /// Functions to trace.
    pub functions: Vec<String>,
    /// Functions not to trace.
    pub notrace: Vec<String>,
    /// Functions whose call graph is traced.
    pub graph: Vec<String>,
    /// Functions whose call graph is left out.
    pub graph_notrace: Vec<String>,
    /// Record a call stack with each function.
    pub func_stack: bool,
    /// Depth of the call graph; 0 is without limit.
    pub max_graph_depth: Option<u32>,
    /// Patterns that name no module match functions of this one only. Without a pattern, all functions of
    /// this module are traced.
    pub module: Option<String>,
    /// Events; if any are chosen, all others are off.
    pub events: Vec<Choice>,
    /// Allow patterns that match no event.
    pub ignore_missing: bool,
    /// Trace options, `name` or `noname`.
    pub options: Vec<String>,
    /// The trace clock.
    pub clock: Option<String>,
    /// Size of each CPU's buffer in KiB.
    pub buffer_kb: Option<u64>,
    /// The instance; it is created when it does not exist.
    pub instance: Option<String>,
    /// Trace these processes only.
    pub pids: Vec<u32>,
    /// Trace the command's process only.
    pub only_command: bool,
    /// Trace the children of the chosen processes too.
    pub children: bool,
    /// A program and its arguments, to run while tracing is on.
    pub command: Vec<OsString>,
}

/// Checks what can be checked without the kernel's files: that the parts of the request fit together.
///
/// # Errors
/// They do not fit together (exit code 2), or the command is not found.
pub(crate) fn check(request: &Request) -> Result<()> {
    if let Some(program) = request.command.first() {
        program::find(program)?;
    } else if request.only_command {
        return Err(Error::usage("-F needs a command to trace")
            .help("give the command last, or choose processes with -P"));
    }
    if request.children && !request.only_command && request.pids.is_empty() {
        return Err(Error::usage("-c needs a process whose children to trace")
            .help("use it with -F and a command, or with -P"));
    }
    if let Some(pid) = request.pids.iter().find(|pid| !exists(&pid.to_string())) {
        return Err(Error::usage(format!("process {pid} of -P does not exist"))
            .help("'ps -e' shows the processes; to trace a command from its start, use -F"));
    }
    if request.buffer_kb == Some(0) {
        return Err(Error::usage("-b 0: a buffer cannot have size 0")
            .help("give the size of each CPU's buffer in KiB"));
    }
    if request.func_stack && request.functions.is_empty() && request.module.is_none() {
        return Err(Error::usage("--func-stack without -l would record a stack for every kernel function")
            .help("that would make the machine too slow to use; choose functions with -l"));
    }
    Ok(())
}

/// Refuses to choose processes by pids of an inner pid namespace.
///
/// The kernel's filters hold pids of the initial namespace. A pid of another namespace would match
/// nothing, or a process of somebody else.
///
/// # Errors
/// The request chooses processes, and this process is in an inner pid namespace. Exit code 2.
pub(crate) fn check_pids(tracefs: &Tracefs, request: &Request) -> Result<()> {
    if !tracefs.is_live() {
        return Ok(());
    }
    // If /proc belongs to an outer namespace, so do the pids that the user sees.
    let is_own =
        fs::read_link("/proc/self").is_ok_and(|pid| pid == Path::new(&std::process::id().to_string()));
    if !request.only_command && !is_own {
        return Ok(());
    }
    refuse_pids_of_namespace(request, fs::metadata(PID_NAMESPACE).ok().map(|meta| meta.ino()))
}

fn refuse_pids_of_namespace(request: &Request, namespace: Option<u64>) -> Result<()> {
    let option = match (request.only_command, request.pids.is_empty()) {
        (true, _) => "-F",
        (false, false) => "-P",
        (false, true) => return Ok(()),
    };
    // A kernel without pid namespaces does not have this file.
    if namespace.is_none_or(|number| number == FIRST_PID_NAMESPACE) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{option} would choose the wrong process: this is a pid namespace (a container), and the kernel \
         filters by the pids outside it"
    ))
    .help(format!(
        "run snaptrace outside (podman and docker: --pid=host), or leave {option} out and choose \
         records afterwards, as with 'snaptrace report --comm NAME'"
    )))
}

/// The function filters that the request gives, with their files.
pub(crate) fn function_filters(request: &Request) -> Result<Vec<(FilterFile, Vec<FunctionFilter>)>> {
    let mut filters = Vec::new();
    let (functions, notrace) = in_module(request);
    for (file, patterns) in [
        (FilterFile::Notrace, &notrace),
        (FilterFile::Function, &functions),
        (FilterFile::GraphNotrace, &request.graph_notrace),
        (FilterFile::Graph, &request.graph),
    ] {
        filters.push((file, file.parse(patterns)?));
    }
    Ok(filters)
}

/// Checks that each function filter of the request selects something.
///
/// # Errors
/// One selects nothing; the error has the nearest names. Exit code 2.
pub(crate) fn check_functions(tracefs: &Tracefs, request: &Request) -> Result<()> {
    filter_files::check(tracefs, function_filters(request)?.iter().flat_map(|(_, filters)| filters))
}

/// Whether the kernel itself refuses every function filter of the request that selects nothing.
pub(crate) fn kernel_checks_functions(request: &Request) -> Result<bool> {
    // The kernel accepts a filter for a module that is not loaded. A line number refers to
    // `available_filter_functions`, which is not the list that the kernel searches.
    let plain = |filter: &FunctionFilter| !filter.has_module() && !filter.is_line_number();
    Ok(function_filters(request)?.iter().all(|(_, filters)| filters.iter().all(plain)))
}

/// The patterns of -l and -n; patterns that name no module get the one of `--module`.
fn in_module(request: &Request) -> (Vec<String>, Vec<String>) {
    let Some(module) = &request.module else { return (request.functions.clone(), request.notrace.clone()) };
    let within = |pattern: &String| match pattern.contains(':') {
        true => pattern.clone(),
        false => format!("{pattern}:mod:{module}"),
    };
    let mut functions: Vec<String> = request.functions.iter().map(within).collect();
    let notrace: Vec<String> = request.notrace.iter().map(within).collect();
    if functions.is_empty() && notrace.is_empty() {
        functions.push(format!("*:mod:{module}"));
    }
    (functions, notrace)
}

/// Whether there is a process or thread of this number.
pub(crate) fn exists(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_module_is_added_to_patterns_that_name_none() {
        let request = |functions: &[&str], notrace: &[&str]| Request {
            module: Some("ext4".into()),
            functions: strings(functions),
            notrace: strings(notrace),
            ..Request::default()
        };
        let (functions, notrace) = in_module(&request(&["write*", "a:mod:b"], &["x"]));
        assert_eq!(functions, ["write*:mod:ext4", "a:mod:b"]);
        assert_eq!(notrace, ["x:mod:ext4"]);
        assert_eq!(in_module(&request(&[], &[])).0, ["*:mod:ext4"]);
    }

    #[test]
    fn processes_are_not_chosen_by_numbers_of_a_pid_namespace() {
        let command = Request { only_command: true, ..Request::default() };
        let pids = Request { pids: vec![1], ..Request::default() };
        for (request, option) in [(&command, "-F"), (&pids, "-P")] {
            let error = refuse_pids_of_namespace(request, Some(FIRST_PID_NAMESPACE - 1)).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let error = error.to_string();
            assert!(error.starts_with(option) && error.contains("--pid=host"), "{error}");
            assert!(refuse_pids_of_namespace(request, Some(FIRST_PID_NAMESPACE)).is_ok());
            assert!(refuse_pids_of_namespace(request, None).is_ok());
        }
        assert!(refuse_pids_of_namespace(&Request::default(), Some(7)).is_ok(), "nothing is chosen");
    }
}
