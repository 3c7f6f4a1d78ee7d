//! `cargo xtask bench`: figures as ratios, measured side by side in one run.

use std::env;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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
    let wish = Wish { busybox: true, ..Wish::default() };
    let vmlinux = Guest::prepare(h, tools, record, kernel.clone(), wish.clone())?;
    let bzimage = Guest::prepare(h, tools, record, kernel, Wish { bzimage: true, ..wish })?;
    let (mut bare, mut run, mut packed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        bare.push(bare_boot(h, &vmlinux)?);
        run.push(run_true(&record.name)?);
        packed.push(bare_boot(h, &bzimage)?);
    }
    let (bare, run, packed) = (median(bare), median(run), median(packed));
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!("{} ({} runs each, medians)", record.name, RUNS);
    println!("  bare boot of vmlinux      {:6.2} s", bare.as_secs_f64());
    println!(
        "  `run -- true`             {:6.2} s   {:.2} of the bare boot",
        run.as_secs_f64(),
        ratio(run, bare)
    );
    println!("  bare boot of bzImage      {:6.2} s", packed.as_secs_f64());
    println!("  vmlinux against bzImage             {:.2}", ratio(bare, packed));
    Ok(())
}

/// QEMU with the same kernel, init and options, and no harness around it: the same job is
/// packed, then only QEMU's run is timed.
fn bare_boot(h: &Harness, guest: &Guest) -> Result<Duration> {
    let folder = bundle_folder(&h.root)?;
    let step = initramfs::Step { argv: vec!["true".into()], ..initramfs::Step::default() };
    let job = initramfs::Job { steps: vec![step], ..guest.job() };
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

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        let times = [3, 1, 2].map(Duration::from_secs).to_vec();
        assert_eq!(median(times), Duration::from_secs(2));
    }
}
