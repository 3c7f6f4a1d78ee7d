//! `cargo xtask`: arguments in, exit code out.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use cli::{
    Bench, BisectArgs, Cli, Command, CostArgs, DiffArgs, FaultsArgs, GuestArgs, KernelArgs, ListFormat,
    MergeArgs, PutBackArgs, ReferencesArgs, RunArgs, TestVmArgs,
};
use xtask::base::error::{Error, Result};
use xtask::base::ui::printable;
use xtask::base::verdict::Verdict;
use xtask::base::{scratch, terminal, ui};
use xtask::ci::merge;
use xtask::commands::{doctor, test, tour};
use xtask::explain::bisect::step::Orders;
use xtask::explain::{bisect, cost, diff};
use xtask::fetch::setup;
use xtask::guest::prepared::Wish;
use xtask::harness::Harness;
use xtask::kernel::{self, Request};
use xtask::matrix::Record;
use xtask::run::test_vm::Plan;
use xtask::run::{single, test_vm};
use xtask::selftest::{bench, faults, put_back};
use xtask::snapshots::compare::Mode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::KeepTerminal) {
        // It has the terminal as its standard error, and nobody to tell.
        return ExitCode::from(u8::from(terminal::keep().is_err()));
    }
    match dispatch(cli) {
        Ok(code) => match ui::lost_output() {
            Some(error) if code == 0 => {
                ui::print_error(format_args!("error: cannot write to standard output: {error}\n"));
                ExitCode::FAILURE
            }
            _ => ExitCode::from(code),
        },
        Err(error) => {
            let text = match error.verdict_given() {
                Some(verdict) => format!("error: {verdict}: {error}"),
                None => format!("error: {error}"),
            };
            ui::print_error(format_args!("{}\n", printable(&text)));
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(cli: Cli) -> Result<u8> {
    scratch::go_with_signals()?;
    let h = Harness::open(cli.yes)?;
    let verdict = |verdict: Verdict| verdict.exit_code();
    match cli.command {
        Command::Tour { kernel } => tour::tour(&h, kernel.as_deref()).map(|()| 0),
        Command::Kernel(args) => kernels(&h, args),
        Command::TestVm(args) => {
            let stored = args.stored;
            let plan = plan(args);
            let done = if stored { test_vm::compare_again(&h, &plan) } else { test_vm::run(&h, &plan) };
            done.map(|(worst, _)| verdict(worst))
        }
        Command::MergeResults(MergeArgs { folders, output }) => {
            merge::run(&merge::Plan { folders, junit: output.junit, format: output.message_format })
                .map(verdict)
        }
        Command::Run(args) => run_one(&h, args),
        Command::Cost(args) => cost::run(&h, &cost_plan(args)).map(verdict),
        Command::Diff(DiffArgs { old, new, cases, html, exit_code }) => {
            diff::diff(&h, &diff::Plan { old, new, cases, html, exit_code }).map(verdict)
        }
        Command::PutBack(PutBackArgs { cells, on, quick, only }) => {
            let ReferencesArgs { kernels, all_kernels } = on;
            put_back::put_back(&h, &put_back::Plan { cells, kernels, all_kernels, quick, only }).map(verdict)
        }
        Command::Bisect(args) => bisect::bisect(&h, &bisect_plan(args)).map(|()| 0),
        Command::BisectStep { folder } => Ok(bisect::step::run(&h, &folder)),
        Command::Shell(args) => single::shell(&h, args.kernel.clone().as_deref(), wish(args)),
        // Answered before anything else is set up.
        Command::KeepTerminal => Ok(0),
        Command::Test { full } => test::test(&h, full).map(verdict),
        Command::Faults(args) => cause_faults(&h, args),
        Command::Doctor => doctor::doctor(&h).map(|well| u8::from(!well)),
        Command::Setup => setup::setup(&h).map(|()| 0),
        Command::Bench { what } => match what {
            Bench::Boot => bench::boot(&h),
            Bench::Report => bench::report(&h),
            Bench::Record => bench::record(&h),
        }
        .map(|()| 0),
    }
}

fn kernels(h: &Harness, args: KernelArgs) -> Result<u8> {
    let matrix = h.matrix()?;
    let mut records: Vec<&Record> = Vec::new();
    for name in &args.names {
        records.push(matrix.find(name)?);
    }
    if args.list {
        kernel::list(h, matches!(args.format, ListFormat::Json))?;
        return Ok(0);
    }
    if args.clean {
        return kernel::clean(h, &args.names).map(|()| 0);
    }
    let request = Request { source: args.source, cc: args.cc };
    if records.is_empty() {
        records = matrix.usual().collect();
    }
    if (request.source.is_some() || args.menuconfig) && args.names.len() != 1 {
        return Err(Error::new("--source and --menuconfig need the name of one kernel")
            .help("for example: cargo xtask kernel 5.4 --source PATH"));
    }
    let mut worst: Option<Error> = None;
    for record in records {
        if args.menuconfig {
            kernel::menuconfig(h, record, &request)?;
            continue;
        }
        match kernel::obtain(h, record, &request) {
            Ok(kernel) => {
                ui::print(format_args!("{}: {} ({})\n", kernel.name, kernel.release, kernel.provenance));
                for note in &kernel.notes {
                    ui::print(format_args!("{}: {note}\n", kernel.name));
                }
            }
            Err(error) if args.names.len() == 1 => return Err(error),
            Err(error) => {
                ui::print_error(format_args!("{}: {error}\n", record.name));
                worst = Some(error);
            }
        }
    }
    Ok(worst.map_or(0, |error| error.exit_code()))
}

fn cause_faults(h: &Harness, args: FaultsArgs) -> Result<u8> {
    if args.list {
        faults::list();
        return Ok(0);
    }
    let by_name = !args.names.is_empty();
    let FaultsArgs { names, on: ReferencesArgs { kernels, all_kernels }, quick, .. } = args;
    let plan = faults::Plan { names, kernels, all_kernels, quick };
    Ok(faults::run(h, &plan)?.exit_code(by_name))
}

fn plan(args: TestVmArgs) -> Plan {
    let mode = match (args.update, args.review) {
        (true, _) => Mode::Update,
        (false, true) => Mode::Review,
        (false, false) => Mode::Check,
    };
    let exact = args.exact.exactness();
    Plan {
        cases: args.cases,
        kernels: args.kernels,
        all: args.all,
        shard: args.shard,
        junit: args.output.junit,
        format: args.output.message_format,
        append: args.append,
        extra: args.extra_file,
        snapshots: args.snapshots,
        mode,
        allow_drift: args.allow_drift,
        digests: args.digests,
        accel: args.accel,
        exact,
        repeat: args.repeat,
        load: args.load,
        boot_timeout: args.boot_timeout,
    }
}

fn cost_plan(args: CostArgs) -> cost::Plan {
    cost::Plan {
        cases: args.cases,
        kernel: args.kernel,
        against: args.against,
        update: args.update,
        append: args.append,
        extra: args.extra_file,
    }
}

fn bisect_plan(args: BisectArgs) -> bisect::Plan {
    let orders = Orders { kernel: args.kernel, case: args.case, cc: args.cc };
    bisect::Plan { source: args.source, good: args.good, bad: args.bad, orders }
}

fn wish(args: GuestArgs) -> Wish {
    Wish {
        append: args.append,
        extra: args.extra_file,
        cpus: args.cpus,
        max_cpus: args.max_cpus,
        memory: args.memory,
        gdb: args.gdb,
        accel: args.accel,
        boot_timeout: args.boot_timeout,
        ..Wish::default()
    }
}

fn run_one(h: &Harness, args: RunArgs) -> Result<u8> {
    let kernel = args.guest.kernel.clone();
    let exact = args.exact.exactness();
    let wish = Wish { busybox: true, exact, ..wish(args.guest) };
    let stdin = args.stdin.map(|file| file.map_or(single::Input::Standard, single::Input::File));
    let plan = single::Plan { kernel, argv: args.command, get: args.get, stdin, wish, timeout: args.timeout };
    single::run(h, &plan)
}
