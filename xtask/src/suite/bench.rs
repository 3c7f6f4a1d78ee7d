//! `cargo xtask bench`: figures as ratios, measured side by side in one run.

use std::env;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use initramfs::{Job, Step};

use crate::error::{Context, Error, Result};
use crate::harness::Harness;
use crate::kernel;
use crate::matrix::Record;
use crate::suite::guest::{Guest, Tools, Wish};
use crate::suite::run::bundle_folder;
use crate::vm::{Boot, Exactness};

/// Runs of each side; the median counts.
const RUNS: usize = 7;

/// Boots: what bit-exactness costs, what leaving out waits and probes saves, what the harness adds
/// to a bare boot, and what the vmlinux saves over the bzImage.
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
    let exact = Wish::default();
    let plain = Wish { exact: Exactness::Off, ..Wish::default() };
    let untuned = Wish { boot: Boot::Untuned, ..plain.clone() };
    let packed = Wish { bzimage: true, ..Wish::default() };
    let as_run = Wish { busybox: true, ..Wish::default() };
    let prepare = |wish: Wish| Guest::prepare(h, tools, record, kernel.clone(), wish);
    let guests = [prepare(exact)?, prepare(plain)?, prepare(untuned)?, prepare(packed)?, prepare(as_run)?];
    let mut took: [Vec<Duration>; 6] = Default::default();
    // In turn, so that whatever else the host does meets all alike.
    for _ in 0..RUNS {
        for (guest, took) in guests.iter().zip(&mut took) {
            let command: &[&str] = if guest.has_busybox() { &["true"] } else { &[] };
            took.push(bare_boot(h, guest, command)?);
        }
        took[5].push(run_true(&record.name)?);
    }
    let [exact, plain, untuned, packed, bare, run] = took.map(median);
    println!("{} under {} ({RUNS} runs each, medians)", record.name, guests[0].accel.name());
    match guests[0].icount_shift() {
        Some(_) => compare("bit-exact boot", exact, "the plain one's", plain),
        None => println!("  boots are not bit-exact under {}", guests[0].accel.name()),
    }
    compare("plain boot", plain, "an untuned one's", untuned);
    compare("vmlinux, init to power off", exact, "the bzImage's", packed);
    compare("`cargo xtask run -- true`", run, "the bare boot's", bare);
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
