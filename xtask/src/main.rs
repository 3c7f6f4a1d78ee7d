//! `cargo xtask`: arguments in, exit code out.

mod cli;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use cli::{Bench, Cli, Command, CostArgs, GuestArgs, KernelArgs, ListFormat, RunArgs, TestVmArgs};
use xtask::cache::Cache;
use xtask::error::{Error, Result};
use xtask::harness::Harness;
use xtask::kernel::{self, Request};
use xtask::matrix::Record;
use xtask::suite::compare::Mode;
use xtask::suite::guest::Wish;
use xtask::suite::test_vm::Plan;
use xtask::suite::{bench, cost, run, test, test_vm, tour};
use xtask::verdict::Verdict;
use xtask::{setup, ui};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            match error.verdict_given() {
                Some(verdict) => eprintln!("error: {verdict}: {error}"),
                None => eprintln!("error: {error}"),
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(cli: Cli) -> Result<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf();
    let h = Harness { root, cache: Cache::open()?, yes: cli.yes, ui: ui::Ui::new() };
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
        Command::Run(args) => run_one(&h, args),
        Command::Cost(args) => cost::run(&h, &cost_plan(args)).map(verdict),
        Command::Shell(args) => run::shell(&h, args.kernel.clone().as_deref(), wish(args)).map(|()| 0),
        Command::Test => test::test(&h).map(verdict),
        Command::Doctor => setup::doctor(&h).map(|well| u8::from(!well)),
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
        records = matrix.records().iter().collect();
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
                println!("{}: {} ({})", kernel.name, kernel.release, kernel.provenance);
                for note in &kernel.notes {
                    println!("{}: {note}", kernel.name);
                }
            }
            Err(error) if args.names.len() == 1 => return Err(error),
            Err(error) => {
                eprintln!("{}: {error}", record.name);
                worst = Some(error);
            }
        }
    }
    Ok(worst.map_or(0, |error| error.exit_code()))
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
        append: args.append,
        extra: args.extra_file,
        mode,
        allow_drift: args.allow_drift,
        digests: args.digests,
        accel: args.exact.accel,
        exact,
        repeat: args.repeat,
        load: args.load,
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

fn wish(args: GuestArgs) -> Wish {
    Wish {
        append: args.append,
        extra: args.extra_file,
        cpus: args.cpus,
        memory: args.memory,
        gdb: args.gdb,
        ..Wish::default()
    }
}

fn run_one(h: &Harness, args: RunArgs) -> Result<u8> {
    let kernel = args.guest.kernel.clone();
    let (exact, accel) = (args.exact.exactness(), args.exact.accel);
    let wish = Wish { busybox: true, exact, accel, ..wish(args.guest) };
    let plan = run::Plan { kernel, argv: args.command, get: args.get, wish, timeout: args.timeout };
    run::run(h, &plan)
}
