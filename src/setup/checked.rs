//! Checks a request against the kernel: returns the values for its files, or why they are impossible.
//! No setting is changed here.

use std::rc::Rc;

use super::control_files::{EVENT_PIDS, EVENTS, FUNCTION_PIDS, Values, Write};
use super::events::{self, Chosen};
use super::request::{self, Request};
use crate::error::{Error, Result};
use crate::restore::journal::Journal;
use crate::restore::session::Session;
use crate::tracefs::filter_files::{self, FilterFile};
use crate::tracefs::options::{self, Setting};
use crate::tracefs::{Instance, Tracefs, tracers};

const STACK_OPTION: &str = "func_stack_trace";
const FORK_OPTIONS: [&str; 2] = ["function-fork", "event-fork"];

/// The events that the request chooses, with filters and triggers that the kernel accepts.
///
/// Filters and triggers are tried in an instance where that does no harm: in `fresh`, which is new, or in
/// a temporary one.
pub(crate) fn choose_events(
    tracefs: &Tracefs,
    request: &Request,
    fresh: Option<&Instance>,
    journal: Option<&Rc<Journal>>,
) -> Result<Vec<Chosen>> {
    // The kernel lists events in the top instance only; they are the same in all instances.
    let events = events::choose(tracefs.top(), &request.events, request.ignore_missing)?;
    if events.iter().all(|event| event.filter.is_none() && event.triggers.is_empty()) {
        return Ok(events);
    }
    if let Some(instance) = fresh {
        events::try_out(instance, &events)?;
    } else if let Some(mut scratch) = Session::in_own_instance(tracefs, "check", journal) {
        events::try_out(scratch.instance(), &events)?;
        scratch.restore()?;
    }
    // A kernel without instances checks the filters when they are set.
    Ok(events)
}

/// The values for a request, with the processes of `-P`; [`add_process`] adds that of the command.
///
/// Function names are not checked here: [`request::check_functions`] does it, and is slow.
///
/// # Errors
/// Something requested does not exist, would record nothing, or would record far too much. Exit code 2.
pub(crate) fn values(
    tracefs: &Tracefs,
    instance: &Instance,
    request: &Request,
    events: Vec<Chosen>,
) -> Result<Values> {
    let tracer = match &request.tracer {
        Some(tracer) => tracers::check(instance, tracer)?,
        None => instance.read_value("current_tracer")?,
    };
    if tracer.starts_with("function") && tracefs.functions_are_off() {
        return Err(Error::usage(format!(
            "tracer '{tracer}' would record nothing: kernel.ftrace_enabled is 0"
        ))
        .help("switch function tracing on with 'sysctl kernel.ftrace_enabled=1'"));
    }
    let settings = settings(instance, request)?;
    let filters = request::function_filters(request)?;
    refuse_all_stacks(instance, request, &tracer, &settings)?;
    refuse_lost_stacks(instance, &settings)?;
    if let Some(clock) = &request.clock {
        check_clock(instance, clock)?;
    }
    let filters = filters.into_iter().filter(|(_, filters)| !filters.is_empty());
    Ok(Values {
        tracer,
        is_tracer_asked_for: request.tracer.is_some(),
        clock: request.clock.clone(),
        buffer_kb: request.buffer_kb,
        settings,
        max_graph_depth: request.max_graph_depth,
        filters: filters.map(|(file, filters)| (file, filter_files::texts(&filters))).collect(),
        other_events: events.is_empty() && instance.has(EVENTS) && !instance.read_value(EVENTS)?.is_empty(),
        events,
        pids: pids(instance, request)?,
        event_pids: instance.has(EVENT_PIDS),
    })
}

/// Adds the command's process to the pid filter, if the request traces only the command.
pub(crate) fn add_process(values: &mut Values, request: &Request, pid: i32) {
    if request.only_command {
        values.pids.get_or_insert_default().push(pid.to_string());
    }
}

/// Checks that the kernel offers each file that is written.
///
/// # Errors
/// A file does not exist. Exit code 2.
pub(crate) fn check_offered(instance: &Instance, writes: &[Write]) -> Result<()> {
    match writes.iter().find(|write| !instance.has(&write.file)) {
        None => Ok(()),
        Some(write) => Err(Error::usage(format!("{} does not exist", instance.file(&write.file).display()))
            .help(match instance.name() {
                Some(_) => "this kernel has it in the top instance only, or not at all ('snaptrace check'): leave -B out",
                None => "this kernel does not have it; 'snaptrace check' names the configuration symbol that adds it",
            })),
    }
}

/// The pid filter: the processes of `-P`, or an empty filter if the old one would match nothing.
fn pids(instance: &Instance, request: &Request) -> Result<Option<Vec<String>>> {
    let pids: Vec<String> = request.pids.iter().map(ToString::to_string).collect();
    Ok((!pids.is_empty() || !request.only_command && only_ended_processes(instance)?).then_some(pids))
}

/// Whether the present pid filter chooses only processes that have ended.
///
/// With such a filter nothing at all is traced, so it is dropped rather than kept.
fn only_ended_processes(instance: &Instance) -> Result<bool> {
    if !instance.has(FUNCTION_PIDS) {
        return Ok(false);
    }
    let content = instance.read_value(FUNCTION_PIDS)?;
    Ok(content != "no pid" && !content.split_ascii_whitespace().any(request::exists))
}

fn check_clock(instance: &Instance, clock: &str) -> Result<()> {
    let clocks = instance.read_value("trace_clock")?;
    let mut known = clocks.split_ascii_whitespace().map(|name| name.trim_matches(['[', ']']));
    match known.any(|name| name == clock) {
        true => Ok(()),
        false => Err(Error::usage(format!("clock '{clock}' does not exist"))
            .help(format!("clocks, the current one in brackets: {clocks}"))),
    }
}

/// The options to set. Those of `-O` come last, so they override the others.
fn settings(instance: &Instance, request: &Request) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    if request.func_stack {
        settings.push(Setting { name: STACK_OPTION.to_string(), on: true });
    }
    if request.only_command || !request.pids.is_empty() {
        for name in FORK_OPTIONS {
            let setting = Setting { name: name.to_string(), on: request.children };
            // An option that does not exist need not be switched off.
            if setting.on || instance.has(&setting.file()) {
                settings.push(setting);
            }
        }
    }
    for word in &request.options {
        settings.push(options::parse(instance, word)?);
    }
    Ok(settings)
}

/// Refuses a request that would record a stack for every function, because of an option or a filter that
/// was set before.
fn refuse_all_stacks(
    instance: &Instance,
    request: &Request,
    tracer: &str,
    settings: &[Setting],
) -> Result<()> {
    if tracer != "function" || !request.functions.is_empty() || request.module.is_some() {
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
            "{STACK_OPTION} is on and {} is empty: this would record a stack for every kernel function",
            FilterFile::Function.name()
        ))
        .help("choose functions with -l, or switch the stacks off with -O nofunc_stack_trace")),
    }
}

/// Refuses stacks in an instance where the kernel would silently record none.
///
/// On 5.4 only the top instance's function tracer obeys the option. The kernel change that extended this
/// to all instances also added the option func-no-repeats, so that option identifies a newer kernel (6.1,
/// for example).
fn refuse_lost_stacks(instance: &Instance, settings: &[Setting]) -> Result<()> {
    let wanted =
        settings.iter().rev().find(|setting| setting.name == STACK_OPTION).is_some_and(|setting| setting.on);
    if !wanted || instance.name().is_none() || instance.has("options/func-no-repeats") {
        return Ok(());
    }
    Err(Error::usage(format!("this kernel records no call stacks in {}", instance.describe()))
        .help("leave -B out: this kernel records them in the top instance only"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::setup::control_files::{Manner, writes};
    use crate::tracefs::fixture::tracing_directory;

    fn fake(files: &[(&str, &str)]) -> (tempfile::TempDir, Tracefs) {
        let usual = [
            ("available_tracers", "function_graph function nop\n"),
            ("available_filter_functions", "__kmalloc\nkfree\next4_sync_fs [ext4]\n"),
            ("set_ftrace_filter", "#### all functions enabled ####\n"),
            ("options/func_stack_trace", "0\n"),
            ("options/function-fork", "0\n"),
            ("options/event-fork", "0\n"),
            ("tracing_on", "1\n"),
        ];
        tracing_directory(&[&usual, files].concat())
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    fn checked(tracefs: &Tracefs, request: &Request) -> Result<Values> {
        values(tracefs, tracefs.top(), request, Vec::new())
    }

    #[test]
    fn patterns_with_a_module_come_last_and_stacks_are_an_option() {
        let (_folder, tracefs) = fake(&[]);
        let request = Request {
            tracer: Some("function".into()),
            functions: strings(&["ext4*:mod:ext4", "__kmalloc", "k*"]),
            notrace: strings(&["kfree"]),
            func_stack: true,
            ..Request::default()
        };
        let values = checked(&tracefs, &request).unwrap();
        assert_eq!(
            values.filters,
            [
                (FilterFile::Notrace, strings(&["kfree"])),
                (FilterFile::Function, strings(&["__kmalloc", "k*", "ext4*:mod:ext4"])),
            ]
        );
        assert_eq!(values.settings, [Setting { name: STACK_OPTION.into(), on: true }]);
    }

    #[test]
    fn what_is_not_given_stays() {
        let (_folder, tracefs) = fake(&[("current_tracer", "function_graph\n")]);
        let values = checked(&tracefs, &Request::default()).unwrap();
        assert_eq!(values, Values { tracer: "function_graph".into(), ..Values::default() });
    }

    #[test]
    fn children_are_followed_only_when_they_are_asked_for() {
        let (_folder, tracefs) = fake(&[("set_ftrace_pid", "no pid\n"), ("set_event_pid", "")]);
        let request = Request { pids: vec![7, 8], ..Request::default() };
        let values = checked(&tracefs, &request).unwrap();
        assert_eq!(values.pids, Some(strings(&["7", "8"])));
        assert!(values.event_pids);
        let off = FORK_OPTIONS.map(|name| Setting { name: name.into(), on: false });
        assert_eq!(values.settings, off);
        let on = FORK_OPTIONS.map(|name| Setting { name: name.into(), on: true });
        assert_eq!(checked(&tracefs, &Request { children: true, ..request }).unwrap().settings, on);
    }

    #[test]
    fn the_process_of_the_command_is_added_to_those_that_were_given() {
        let (_folder, tracefs) = fake(&[("set_ftrace_pid", &format!("{}\n", 1 << 30))]);
        for (request, expected) in [
            (Request { only_command: true, ..Request::default() }, &["9"][..]),
            (Request { only_command: true, pids: vec![7], ..Request::default() }, &["7", "9"]),
            (Request { pids: vec![7], ..Request::default() }, &["7"]),
        ] {
            let mut values = checked(&tracefs, &request).unwrap();
            add_process(&mut values, &request, 9);
            assert_eq!(values.pids, Some(strings(expected)));
        }
    }

    #[test]
    fn a_pid_filter_is_dropped_once_its_processes_have_ended() {
        let pids = |content: String| {
            let (_folder, tracefs) = fake(&[("set_ftrace_pid", &content)]);
            checked(&tracefs, &Request::default()).unwrap().pids
        };
        let own = std::process::id();
        let beyond_any = 1 << 30;
        assert_eq!(pids(format!("{beyond_any}\n")), Some(Vec::new()));
        assert_eq!(pids(String::new()), Some(Vec::new()));
        assert_eq!(pids(format!("{beyond_any}\n{own}\n")), None);
        assert_eq!(pids("no pid\n".into()), None);
    }

    #[test]
    fn a_file_that_is_not_offered_is_found_out_before_anything_is_written() {
        let (_folder, tracefs) = fake(&[]);
        let request = Request { max_graph_depth: Some(3), ..Request::default() };
        let writes = writes(&checked(&tracefs, &request).unwrap(), Manner::Start);
        let error = check_offered(tracefs.top(), &writes).unwrap_err().to_string();
        assert!(error.contains("max_graph_depth does not exist"), "{error}");
    }

    #[test]
    fn stacks_for_every_function_are_refused() {
        let (_folder, tracefs) = fake(&[("options/func_stack_trace", "1\n")]);
        let refused = |request: Request| checked(&tracefs, &request).is_err();
        let function = || Request { tracer: Some("function".into()), ..Request::default() };
        assert!(refused(function()), "the option is on from before, and the filter empty");
        assert!(!refused(Request { functions: strings(&["kfree"]), ..function() }));
        assert!(!refused(Request { options: strings(&["nofunc_stack_trace"]), ..function() }));
        assert!(!refused(Request { tracer: Some("nop".into()), ..Request::default() }));
        let (_folder, tracefs) = fake(&[("set_ftrace_filter", "kfree\n")]);
        let config = Request { options: strings(&["func_stack_trace"]), ..function() };
        assert!(checked(&tracefs, &config).is_ok(), "the filter from before holds a function");
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
