//! `start`: everything is checked, then written in an order that is safe, then the command runs.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use crate::capture::command::{self, Held};
use crate::error::{Error, Result};
use crate::restore::journal::Journal;
use crate::restore::session::Session;
use crate::setup::events::{self, Choice, Chosen};
use crate::tracefs::filter::FunctionFilter;
use crate::tracefs::filter_files::{self, FilterFile};
use crate::tracefs::options::{self, Setting};
use crate::tracefs::tracers;
use crate::tracefs::{Instance, Mode, Tracefs};

const STACK_OPTION: &str = "func_stack_trace";
const FUNCTION_PIDS: &str = "set_ftrace_pid";
const EVENT_PIDS: &str = "set_event_pid";
const PID_NAMESPACE: &str = "/proc/self/ns/pid";
/// The inode of the pid namespace that the kernel starts in (PROC_PID_INIT_INO).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
const FORK_OPTIONS: [&str; 2] = ["function-fork", "event-fork"];

/// What to trace. What is not given stays as it is, except a pid filter whose processes have all
/// ended: it is dropped.
#[derive(Clone, Debug, Default)]
pub struct Start {
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
    /// Keep to this module's functions where a pattern names none; all of them without a pattern.
    pub module: Option<String>,
    /// Events; those that are not chosen are off when any is.
    pub events: Vec<Choice>,
    /// Let patterns choose no event.
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

/// One step: a file and the values it gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) file: String,
    pub(crate) values: Vec<String>,
    pub(crate) mode: Mode,
}

/// Starts tracing, runs the command if there is one, and gives its exit status, else 0.
///
/// Tracing stays on afterwards.
///
/// # Errors
/// Something asked for does not exist, and then nothing was changed; or the kernel refuses a value,
/// and then tracing is left off.
pub fn start(tracefs: &Tracefs, config: &Start) -> Result<u8> {
    check(config)?;
    check_pids(tracefs, config)?;
    let (instance, created) = match &config.instance {
        Some(name) if !tracefs.instances()?.contains(name) => (tracefs.create_instance(name)?, true),
        name => (tracefs.instance(name.as_deref())?, false),
    };
    let fresh = created.then_some(&instance);
    let prepared = check_functions(tracefs, config)
        .and_then(|()| choose_events(tracefs, config, fresh, None))
        .and_then(|events| prepare(tracefs, &instance, config, &events));
    let (held, steps) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            if let (true, Some(name)) = (created, instance.name()) {
                tracefs.remove_instance(name)?;
            }
            return Err(error);
        }
    };
    apply(&instance, &steps)?;
    held.map_or(Ok(0), Held::run)
}

/// Checks what can be checked without the kernel's files: that the parts of the request fit together.
///
/// # Errors
/// They do not (exit code 2), or the command is not found.
pub(crate) fn check(config: &Start) -> Result<()> {
    if let Some(program) = config.command.first() {
        command::find(program)?;
    } else if config.only_command {
        return Err(Error::usage("-F has no command to trace")
            .help("give the command last, or choose processes with -P"));
    }
    if config.children && !config.only_command && config.pids.is_empty() {
        return Err(Error::usage("-c has no process whose children to trace")
            .help("use it with -F and a command, or with -P"));
    }
    if let Some(pid) = config.pids.iter().find(|pid| !exists(&pid.to_string())) {
        return Err(Error::usage(format!("process {pid} of -P does not exist"))
            .help("'ps -e' shows the processes; to trace a command from its start, use -F"));
    }
    if config.buffer_kb == Some(0) {
        return Err(Error::usage("-b 0 leaves no buffer").help("give the size of each CPU's buffer in KiB"));
    }
    if config.func_stack && config.functions.is_empty() && config.module.is_none() {
        return Err(Error::usage("--func-stack without -l would record a stack for every kernel function")
            .help("that brings the machine to its knees; choose functions with -l"));
    }
    Ok(())
}

/// Refuses to choose processes by numbers that are not the kernel's own.
///
/// Its filters hold numbers as they are outside of all containers. Those of a pid namespace choose
/// nothing, or a process of somebody else's.
///
/// # Errors
/// The request chooses processes, and this one is in a pid namespace. Exit code 2.
pub(crate) fn check_pids(tracefs: &Tracefs, config: &Start) -> Result<()> {
    if !tracefs.is_live() {
        return Ok(());
    }
    // Where /proc is that of an outer namespace, the numbers given are seen from there.
    let is_own =
        fs::read_link("/proc/self").is_ok_and(|pid| pid == Path::new(&std::process::id().to_string()));
    if !config.only_command && !is_own {
        return Ok(());
    }
    refuse_pids_of_namespace(config, fs::metadata(PID_NAMESPACE).ok().map(|meta| meta.ino()))
}

fn refuse_pids_of_namespace(config: &Start, namespace: Option<u64>) -> Result<()> {
    let option = match (config.only_command, config.pids.is_empty()) {
        (true, _) => "-F",
        (false, false) => "-P",
        (false, true) => return Ok(()),
    };
    // Without pid namespaces in the kernel there is no such file.
    if namespace.is_none_or(|number| number == FIRST_PID_NAMESPACE) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{option} would choose the wrong process: this is a pid namespace, as of a container, and the kernel \
         filters by the numbers outside of it"
    ))
    .help(format!(
        "run snaptrace outside (podman and docker: --pid=host), or leave {option} out and choose \
         among the records, as with 'snaptrace report --comm NAME'"
    )))
}

/// The events that the request chooses, with filters and triggers that the kernel takes.
///
/// It is asked in an instance where that does no harm: `fresh`, which holds nothing yet, or one
/// that is created for it.
pub(crate) fn choose_events(
    tracefs: &Tracefs,
    config: &Start,
    fresh: Option<&Instance>,
    journal: Option<&Rc<Journal>>,
) -> Result<Vec<Chosen>> {
    // The kernel lists them in the top instance only; they are the same in all.
    let events = events::choose(tracefs.top(), &config.events, config.ignore_missing)?;
    if events.iter().all(|event| event.filter.is_none() && event.triggers.is_empty()) {
        return Ok(events);
    }
    if let Some(instance) = fresh {
        events::try_out(instance, &events)?;
    } else if let Some(mut scratch) = Session::in_own_instance(tracefs, "check", journal) {
        events::try_out(scratch.instance(), &events)?;
        scratch.restore()?;
    }
    // Without instances the kernel has its say when the filters are set.
    Ok(events)
}

/// Checks everything but the functions ([`check_functions`]), and starts the command's process, held;
/// changes nothing in the kernel.
///
/// The steps begin with tracing off and the nop tracer, and end with the tracer and tracing on.
pub(crate) fn prepare(
    tracefs: &Tracefs,
    instance: &Instance,
    config: &Start,
    events: &[Chosen],
) -> Result<(Option<Held>, Vec<Step>)> {
    let mut steps = plan(tracefs, instance, config, events)?;
    let held = match config.command.is_empty() {
        true => None,
        false => Some(Held::spawn(&config.command)?),
    };
    let mut pids: Vec<String> = config.pids.iter().map(ToString::to_string).collect();
    if config.only_command {
        pids.extend(held.as_ref().map(|held| held.pid().to_string()));
    }
    if !pids.is_empty() || only_ended_processes(instance)? {
        // Before the tracer and tracing_on, the two last steps.
        let at = steps.len() - 2;
        let events = instance.has(EVENT_PIDS).then(|| Step::new(EVENT_PIDS, pids.clone()));
        steps.splice(at..at, [Step::new(FUNCTION_PIDS, pids)].into_iter().chain(events));
    }
    match steps.iter().find(|step| !instance.has(&step.file)) {
        None => Ok((held, steps)),
        Some(step) => Err(Error::usage(format!("{} does not exist", instance.file(&step.file).display())).help(
            match instance.name() {
                Some(_) => "the kernel offers it only in the top instance, or not at all ('snaptrace check'): leave -B out",
                None => "this kernel does not offer it; 'snaptrace check' tells which configuration symbol does",
            },
        )),
    }
}

/// Whether a pid filter from before chooses processes of which none is left.
///
/// With such a filter nothing at all is traced, so it is dropped rather than kept.
fn only_ended_processes(instance: &Instance) -> Result<bool> {
    if !instance.has(FUNCTION_PIDS) {
        return Ok(false);
    }
    let content = instance.read_value(FUNCTION_PIDS)?;
    Ok(content != "no pid" && !content.split_ascii_whitespace().any(exists))
}

/// Whether there is a process or thread of this number.
fn exists(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

/// The steps, apart from the pid filters, in the order in which they are safe.
///
/// Tracing is off and the tracer is nop while filters change, since a tracer that is on with an
/// empty filter traces every function; the tracer comes back only once its filters stand.
fn plan(tracefs: &Tracefs, instance: &Instance, config: &Start, events: &[Chosen]) -> Result<Vec<Step>> {
    let tracer = match &config.tracer {
        Some(tracer) => tracers::check(instance, tracer)?,
        None => instance.read_value("current_tracer")?,
    };
    if tracer.starts_with("function") && tracefs.functions_are_off() {
        return Err(Error::usage(format!(
            "tracer '{tracer}' would record nothing: kernel.ftrace_enabled is 0"
        ))
        .help("switch function tracing on with 'sysctl kernel.ftrace_enabled=1'"));
    }
    let settings = settings(instance, config)?;
    let filters = function_filters(config)?;
    refuse_all_stacks(instance, config, &tracer, &settings)?;
    refuse_lost_stacks(instance, &settings)?;

    let mut steps = vec![Step::one("tracing_on", "0"), Step::one("current_tracer", "nop")];
    // Both empty the buffer, so they come while nothing is recorded.
    if let Some(clock) = &config.clock {
        steps.push(Step::one("trace_clock", check_clock(instance, clock)?));
    }
    steps.extend(config.buffer_kb.map(|size| Step::one("buffer_size_kb", &size.to_string())));
    steps.extend(settings.iter().map(|setting| Step::one(&setting.file(), setting.value())));
    steps.extend(config.max_graph_depth.map(|depth| Step::one("max_graph_depth", &depth.to_string())));
    let filters = filters.into_iter().filter(|(_, filters)| !filters.is_empty());
    steps.extend(filters.map(|(file, filters): (FilterFile, Vec<FunctionFilter>)| {
        Step::new(file.name(), filter_files::texts(&filters))
    }));
    steps.extend(event_steps(events));
    steps.extend([Step::one("current_tracer", &tracer), Step::one("tracing_on", "1")]);
    Ok(steps)
}

/// Filters stand before the events are on. Triggers come after: an event that has one counts as
/// on, and could not be told from one that was on before.
fn event_steps(events: &[Chosen]) -> Vec<Step> {
    let filters =
        events.iter().filter_map(|event| Some(Step::one(&event.file("filter"), event.filter.as_ref()?)));
    let triggers = events.iter().filter(|event| !event.triggers.is_empty()).map(|event| Step {
        mode: Mode::Append,
        ..Step::new(&event.file("trigger"), event.triggers.clone())
    });
    let on = Step::new("set_event", events.iter().map(|event| event.name.clone()).collect());
    filters.chain((!events.is_empty()).then_some(on)).chain(triggers).collect()
}

/// The function filters that the request gives, with their files.
fn function_filters(config: &Start) -> Result<Vec<(FilterFile, Vec<FunctionFilter>)>> {
    let mut filters = Vec::new();
    let (functions, notrace) = in_module(config);
    for (file, patterns) in [
        (FilterFile::Notrace, &notrace),
        (FilterFile::Function, &functions),
        (FilterFile::GraphNotrace, &config.graph_notrace),
        (FilterFile::Graph, &config.graph),
    ] {
        filters.push((file, file.parse(patterns)?));
    }
    Ok(filters)
}

/// Checks that each function filter of the request selects something.
///
/// # Errors
/// One selects nothing; the error has the nearest names. Exit code 2.
pub(crate) fn check_functions(tracefs: &Tracefs, config: &Start) -> Result<()> {
    filter_files::check(tracefs, function_filters(config)?.iter().flat_map(|(_, filters)| filters))
}

/// Whether the kernel itself refuses each of the function filters that selects nothing.
pub(crate) fn kernel_checks_functions(config: &Start) -> Result<bool> {
    // A filter for a module always waits for it, and a number is of a list that is not the filter's.
    let plain = |filter: &FunctionFilter| !filter.has_module() && !filter.is_line_number();
    Ok(function_filters(config)?.iter().all(|(_, filters)| filters.iter().all(plain)))
}

fn check_clock<'c>(instance: &Instance, clock: &'c str) -> Result<&'c str> {
    let clocks = instance.read_value("trace_clock")?;
    let mut known = clocks.split_ascii_whitespace().map(|name| name.trim_matches(['[', ']']));
    match known.any(|name| name == clock) {
        true => Ok(clock),
        false => Err(Error::usage(format!("clock '{clock}' does not exist"))
            .help(format!("clocks, the current one in brackets: {clocks}"))),
    }
}

/// The patterns of -l and -n; those that name no module keep to the one of `--module`.
fn in_module(config: &Start) -> (Vec<String>, Vec<String>) {
    let Some(module) = &config.module else { return (config.functions.clone(), config.notrace.clone()) };
    let within = |pattern: &String| match pattern.contains(':') {
        true => pattern.clone(),
        false => format!("{pattern}:mod:{module}"),
    };
    let mut functions: Vec<String> = config.functions.iter().map(within).collect();
    let notrace: Vec<String> = config.notrace.iter().map(within).collect();
    if functions.is_empty() && notrace.is_empty() {
        functions.push(format!("*:mod:{module}"));
    }
    (functions, notrace)
}

/// The options to set; what `-O` says comes last and so prevails.
fn settings(instance: &Instance, config: &Start) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    if config.func_stack {
        settings.push(Setting { name: STACK_OPTION.to_string(), on: true });
    }
    if config.only_command || !config.pids.is_empty() {
        for name in FORK_OPTIONS {
            let setting = Setting { name: name.to_string(), on: config.children };
            // To follow no children, an option that does not exist need not be switched off.
            if setting.on || instance.has(&setting.file()) {
                settings.push(setting);
            }
        }
    }
    for word in &config.options {
        settings.push(options::parse(instance, word)?);
    }
    Ok(settings)
}

/// Refuses to record a stack for every function because of an option or a filter that is left over.
fn refuse_all_stacks(instance: &Instance, config: &Start, tracer: &str, settings: &[Setting]) -> Result<()> {
    if tracer != "function" || !config.functions.is_empty() || config.module.is_some() {
        return Ok(());
    }
    let file = format!("options/{STACK_OPTION}");
    let stacks = match settings.iter().rev().find(|setting| setting.name == STACK_OPTION) {
        Some(setting) => setting.on,
        None => instance.has(&file) && instance.read_value(&file)? == "1",
    };
    if !stacks || !instance.has(FilterFile::Function.name()) {
        return Ok(());
    }
    let content = instance.read(FilterFile::Function.name())?;
    match content.lines().any(|line| !line.is_empty() && !line.starts_with('#')) {
        true => Ok(()),
        false => Err(Error::usage(format!(
            "{STACK_OPTION} is on and {} holds no function: this would record a stack for every kernel function",
            FilterFile::Function.name()
        ))
        .help("choose functions with -l, or switch the stacks off with -O nofunc_stack_trace")),
    }
}

/// Refuses stacks in an instance where the kernel would silently record none.
///
/// On 5.4 only the top instance's function tracer looks at the option. The rework that changed this
/// also brought func-no-repeats, which therefore tells such a kernel (6.1 is one).
fn refuse_lost_stacks(instance: &Instance, settings: &[Setting]) -> Result<()> {
    let wanted =
        settings.iter().rev().find(|setting| setting.name == STACK_OPTION).is_some_and(|setting| setting.on);
    if !wanted || instance.name().is_none() || instance.has("options/func-no-repeats") {
        return Ok(());
    }
    Err(Error::usage(format!("this kernel records no call stacks in {}", instance.describe()))
        .help("leave -B out: kernels this old record them in the top instance only"))
}

fn apply(instance: &Instance, steps: &[Step]) -> Result<()> {
    steps.iter().try_for_each(|step| {
        instance.write_lines(&step.file, &step.values, step.mode).map_err(|error| {
            error.and_help("tracing is left off; 'snaptrace reset' brings back the kernel's defaults")
        })
    })
}

impl Step {
    pub(crate) fn new(file: &str, values: Vec<String>) -> Step {
        Step { file: file.to_string(), values, mode: Mode::Replace }
    }

    pub(crate) fn one(file: &str, value: &str) -> Step {
        Step::new(file, vec![value.to_string()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(files: &[(&str, &str)]) -> (tempfile::TempDir, Tracefs) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("options")).unwrap();
        let usual = [
            ("current_tracer", "nop\n"),
            ("available_tracers", "function_graph function nop\n"),
            ("available_filter_functions", "__kmalloc\nkfree\next4_sync_fs [ext4]\n"),
            ("set_ftrace_filter", "#### all functions enabled ####\n"),
            ("options/func_stack_trace", "0\n"),
            ("options/function-fork", "0\n"),
            ("options/event-fork", "0\n"),
            ("tracing_on", "1\n"),
        ];
        for (name, content) in usual.iter().chain(files) {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let tracefs = Tracefs::at(folder.path()).unwrap();
        (folder, tracefs)
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    fn planned(tracefs: &Tracefs, config: &Start) -> Vec<String> {
        let steps = plan(tracefs, tracefs.top(), config, &[]).unwrap();
        steps.iter().map(|step| format!("{} {}", step.file, step.values.join(" "))).collect()
    }

    #[test]
    fn filters_stand_before_the_tracer_and_modules_come_last() {
        let (_folder, tracefs) = fake(&[]);
        let config = Start {
            tracer: Some("function".into()),
            functions: strings(&["ext4*:mod:ext4", "__kmalloc", "k*"]),
            notrace: strings(&["kfree"]),
            func_stack: true,
            ..Start::default()
        };
        assert_eq!(
            planned(&tracefs, &config),
            [
                "tracing_on 0",
                "current_tracer nop",
                "options/func_stack_trace 1",
                "set_ftrace_notrace kfree",
                "set_ftrace_filter __kmalloc k* ext4*:mod:ext4",
                "current_tracer function",
                "tracing_on 1",
            ]
        );
    }

    #[test]
    fn a_module_is_added_to_patterns_that_name_none() {
        let config = |functions: &[&str], notrace: &[&str]| Start {
            module: Some("ext4".into()),
            functions: strings(functions),
            notrace: strings(notrace),
            ..Start::default()
        };
        let (functions, notrace) = in_module(&config(&["write*", "a:mod:b"], &["x"]));
        assert_eq!(functions, ["write*:mod:ext4", "a:mod:b"]);
        assert_eq!(notrace, ["x:mod:ext4"]);
        assert_eq!(in_module(&config(&[], &[])).0, ["*:mod:ext4"]);
    }

    #[test]
    fn filters_stand_before_their_events_are_on() {
        let event = Chosen {
            name: "sched:sched_switch".into(),
            filter: Some("prev_pid == 1".into()),
            triggers: strings(&["stacktrace"]),
        };
        let steps: Vec<(String, Mode)> =
            event_steps(&[event]).into_iter().map(|step| (step.file, step.mode)).collect();
        assert_eq!(
            steps,
            [
                ("events/sched/sched_switch/filter".to_string(), Mode::Replace),
                ("set_event".to_string(), Mode::Replace),
                ("events/sched/sched_switch/trigger".to_string(), Mode::Append),
            ]
        );
        assert_eq!(event_steps(&[]), []);
    }

    #[test]
    fn what_is_not_given_stays() {
        let (_folder, tracefs) = fake(&[("current_tracer", "function_graph\n")]);
        assert_eq!(
            planned(&tracefs, &Start::default()),
            ["tracing_on 0", "current_tracer nop", "current_tracer function_graph", "tracing_on 1"]
        );
    }

    #[test]
    fn pids_come_before_the_tracer() {
        let (_folder, tracefs) = fake(&[("set_ftrace_pid", "no pid\n"), ("set_event_pid", "")]);
        let config = Start { pids: vec![7, 8], ..Start::default() };
        let (_, steps) = prepare(&tracefs, tracefs.top(), &config, &[]).unwrap();
        let files: Vec<&str> = steps.iter().map(|step| step.file.as_str()).collect();
        assert_eq!(
            files,
            [
                "tracing_on",
                "current_tracer",
                "options/function-fork",
                "options/event-fork",
                "set_ftrace_pid",
                "set_event_pid",
                "current_tracer",
                "tracing_on"
            ]
        );
        assert_eq!(steps[4].values, ["7", "8"]);
        assert_eq!(steps[2].values, ["0"], "children are followed only with -c");
    }

    #[test]
    fn a_pid_filter_is_dropped_once_its_processes_have_ended() {
        let pid_steps = |content: String| {
            let (_folder, tracefs) = fake(&[("set_ftrace_pid", &content)]);
            let (_, steps) = prepare(&tracefs, tracefs.top(), &Start::default(), &[]).unwrap();
            steps
                .into_iter()
                .filter(|step| step.file == FUNCTION_PIDS)
                .map(|step| step.values)
                .collect::<Vec<_>>()
        };
        let own = std::process::id();
        let beyond_any = 1 << 30;
        assert_eq!(pid_steps(format!("{beyond_any}\n")), [Vec::<String>::new()]);
        assert_eq!(pid_steps(String::new()), [Vec::<String>::new()]);
        assert!(pid_steps(format!("{beyond_any}\n{own}\n")).is_empty());
        assert!(pid_steps("no pid\n".into()).is_empty());
    }

    #[test]
    fn a_file_that_is_not_offered_is_found_out_before_anything_is_written() {
        let (_folder, tracefs) = fake(&[]);
        let config = Start { max_graph_depth: Some(3), ..Start::default() };
        let error = prepare(&tracefs, tracefs.top(), &config, &[]).unwrap_err().to_string();
        assert!(error.contains("max_graph_depth does not exist"), "{error}");
    }

    #[test]
    fn stacks_for_every_function_are_refused() {
        let (_folder, tracefs) = fake(&[("options/func_stack_trace", "1\n")]);
        let refused = |config: Start| plan(&tracefs, tracefs.top(), &config, &[]).is_err();
        let function = || Start { tracer: Some("function".into()), ..Start::default() };
        assert!(refused(function()), "the option is on from before, and the filter empty");
        assert!(!refused(Start { functions: strings(&["kfree"]), ..function() }));
        assert!(!refused(Start { options: strings(&["nofunc_stack_trace"]), ..function() }));
        assert!(!refused(Start { tracer: Some("nop".into()), ..Start::default() }));
        let (_folder, tracefs) = fake(&[("set_ftrace_filter", "kfree\n")]);
        let config = Start { options: strings(&["func_stack_trace"]), ..function() };
        assert!(
            plan(&tracefs, tracefs.top(), &config, &[]).is_ok(),
            "the filter from before holds a function"
        );
    }

    #[test]
    fn processes_are_not_chosen_by_numbers_of_a_pid_namespace() {
        let command = Start { only_command: true, ..Start::default() };
        let pids = Start { pids: vec![1], ..Start::default() };
        for (config, option) in [(&command, "-F"), (&pids, "-P")] {
            let error = refuse_pids_of_namespace(config, Some(FIRST_PID_NAMESPACE - 1)).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let error = error.to_string();
            assert!(error.starts_with(option) && error.contains("--pid=host"), "{error}");
            assert!(refuse_pids_of_namespace(config, Some(FIRST_PID_NAMESPACE)).is_ok());
            assert!(refuse_pids_of_namespace(config, None).is_ok());
        }
        assert!(refuse_pids_of_namespace(&Start::default(), Some(7)).is_ok(), "nothing is chosen");
    }

    #[test]
    fn stacks_in_an_instance_need_a_kernel_that_records_them() {
        let (folder, tracefs) = fake(&[]);
        fs::create_dir(folder.path().join("instances")).unwrap();
        let instance = tracefs.create_instance("probe").unwrap();
        fs::create_dir(instance.file("options")).unwrap();
        let on = [Setting { name: STACK_OPTION.to_string(), on: true }];
        assert!(refuse_lost_stacks(tracefs.top(), &on).is_ok());
        let error = refuse_lost_stacks(&instance, &on).unwrap_err().to_string();
        assert!(error.contains("no call stacks in instance 'probe'"), "{error}");
        fs::write(instance.file("options/func-no-repeats"), "0\n").unwrap();
        assert!(refuse_lost_stacks(&instance, &on).is_ok());
    }
}
