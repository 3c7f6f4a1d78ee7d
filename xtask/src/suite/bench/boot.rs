//! `cargo xtask bench boot`: what the harness adds to a boot.

use std::env;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use initramfs::{Job, Step};

use super::median;
use crate::error::{Context, Error, Result};
use crate::harness::Harness;
use crate::kernel;
use crate::matrix::Record;
use crate::suite::guest::{Guest, Tools, Wish};
use crate::suite::run::bundle_folder;

/// Runs of each side; the median counts.
const RUNS: usize = 7;

/// Boots: what the harness adds to a bare boot, and what the vmlinux saves over the bzImage.
///
/// # Errors
/// When no kernel is at hand, or a boot fails.
pub fn boot(h: &Harness) -> Result<()> {
    let tools = Tools::get(h)?;
    let mut measured = 0;
    for record in h.matrix()?.records() {
        let Some(kernel) = kernel::at_hand(h, record)? else {
            println!("{}: not at hand", record.name);
            continue;
        };
        measured += 1;
        boot_of(h, &tools, record, kernel)?;
    }
    match measured {
        0 => Err(Error::new("no kernel is at hand").help("`cargo xtask kernel debian-6.1` gets one")),
        _ => Ok(()),
    }
}

fn boot_of(h: &Harness, tools: &Tools, record: &Record, kernel: kernel::Kernel) -> Result<()> {
    let plain = Wish::default();
    let as_run = Wish { busybox: true, ..Wish::default() };
    let packed = Wish { bzimage: true, ..Wish::default() };
    let prepare = |wish: Wish| Guest::prepare(h, tools, record, kernel.clone(), wish);
    let (plain, as_run, packed) = (prepare(plain)?, prepare(as_run)?, prepare(packed)?);
    let (mut vmlinux, mut bzimage, mut bare, mut run) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        vmlinux.push(bare_boot(h, &plain, &[])?);
        bzimage.push(bare_boot(h, &packed, &[])?);
        bare.push(bare_boot(h, &as_run, &["true"])?);
        run.push(run_true(&record.name)?);
    }
    println!("{} ({RUNS} runs each, medians)", record.name);
    compare("vmlinux, init to power off", median(vmlinux), "the bzImage's", median(bzimage));
    compare("`cargo xtask run -- true`", median(run), "the bare boot's", median(bare));
    Ok(())
}

fn compare(what: &str, took: Duration, other: &str, others: Duration) {
    let ratio = took.as_secs_f64() / others.as_secs_f64();
    println!("  {what:28} {:5.2} s: {ratio:.2} of {other} {:.2} s", took.as_secs_f64(), others.as_secs_f64());
}

/// QEMU with the same kernel, init and options, and no harness around it: the job is packed
/// beforehand, and nothing watches the channels.
fn bare_boot(h: &Harness, guest: &Guest, command: &[&str]) -> Result<Duration> {
    let folder = bundle_folder(&h.root)?;
    let argv: Vec<String> = command.iter().map(|word| word.to_string()).collect();
    let steps = if argv.is_empty() { Vec::new() } else { vec![Step { argv, ..Step::default() }] };
    let job = Job { steps, ..guest.job() };
    let mut command = guest.bare_command(&job, folder.path())?;
    let started = Instant::now();
    let status = command.stdin(Stdio::null()).status().context(|| "cannot start QEMU".into())?;
    let took = started.elapsed();
    if status.success() { Ok(took) } else { Err(Error::new(format!("a bare boot ended with {status}"))) }
}

/// The whole of `cargo xtask run -- true`, as a process of its own.
fn run_true(kernel: &str) -> Result<Duration> {
    let program = env::current_exe().context(|| "cannot find this program".into())?;
    let started = Instant::now();
    let status = Command::new(program)
        .args(["run", "--kernel", kernel, "--", "true"])
        .stdin(Stdio::null())
        .status()
        .context(|| "cannot start `xtask run`".into())?;
    let took = started.elapsed();
    if status.success() { Ok(took) } else { Err(Error::new(format!("`run -- true` ended with {status}"))) }
}
