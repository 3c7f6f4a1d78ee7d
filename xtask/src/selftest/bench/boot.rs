//! `cargo xtask bench boot`: the time that exactness and the harness add to a boot, and that tuning saves.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use initramfs::{Job, Step};

use super::measure::median;
use crate::base::error::{Context, Error, Result};
use crate::base::ui::outln;
use crate::base::workspace::Workspace;
use crate::guest::folders;
use crate::guest::prepared::{Guest, GuestOptions, Tools};
use crate::kernel;
use crate::matrix::Record;
use crate::vm::{Boot, Exactness};

/// Runs of each variant; the median counts.
const RUNS: usize = 7;

/// Measures what bit-exactness costs, what skipping waits and probes saves, what the harness adds to a bare
/// boot, and what the vmlinux saves compared with the bzImage.
///
/// # Errors
/// When no kernel is cached, or a boot fails.
pub fn boot(workspace: &Workspace) -> Result<()> {
    let tools = Tools::get(workspace)?;
    let mut measured = 0;
    for record in workspace.matrix()?.at_length(false) {
        let Some(kernel) = kernel::cached(workspace, record)? else {
            outln!("{}: not cached", record.name);
            continue;
        };
        measured += 1;
        boot_of(workspace, &tools, record, kernel)?;
    }
    match measured {
        0 => Err(Error::new("no kernel is cached").help("`cargo xtask kernel debian-6.1` gets one")),
        _ => Ok(()),
    }
}

fn boot_of(workspace: &Workspace, tools: &Tools, record: &Record, kernel: kernel::Kernel) -> Result<()> {
    let exact = GuestOptions::default();
    let plain = GuestOptions { exact: Exactness::Off, ..GuestOptions::default() };
    let untuned = GuestOptions { boot: Boot::Untuned, ..plain.clone() };
    let packed = GuestOptions { bzimage: true, ..GuestOptions::default() };
    let as_run = GuestOptions { busybox: true, ..GuestOptions::default() };
    let prepare =
        |guest_options: GuestOptions| Guest::prepare(workspace, tools, record, kernel.clone(), guest_options);
    let guests = [prepare(exact)?, prepare(plain)?, prepare(untuned)?, prepare(packed)?, prepare(as_run)?];
    let mut took: [Vec<Took>; 6] = Default::default();
    // Alternate the variants, so that other work on the host affects all of them equally.
    for _ in 0..RUNS {
        for (guest, took) in guests.iter().zip(&mut took) {
            let command: &[&str] = if guest.has_busybox() { &["true"] } else { &[] };
            took.push(bare_boot(workspace, guest, command)?);
        }
        took[5].push(run_true(&record.name)?);
    }
    let worked = |took: &[Took]| median(took.iter().map(|took| took.processor).collect());
    let waited = |took: &[Took]| median(took.iter().map(|took| took.wall).collect());
    let [exact, plain, untuned, packed, bare, run] = &took;
    outln!("{} under {} ({RUNS} runs each, medians)", record.name, guests[0].accel.name());
    outln!(" processor time of QEMU");
    match guests[0].icount_shift() {
        Some(_) => compare("bit-exact boot", worked(exact), "the plain one's", worked(plain)),
        None => outln!("  boots are not bit-exact under {}", guests[0].accel.name()),
    }
    compare("plain boot", worked(plain), "an untuned one's", worked(untuned));
    compare("vmlinux, init to power off", worked(exact), "the bzImage's", worked(packed));
    outln!(" wall time");
    compare("bit-exact boot", waited(exact), "the plain one's", waited(plain));
    compare("plain boot", waited(plain), "an untuned one's", waited(untuned));
    compare("`cargo xtask run -- true`", waited(run), "the bare boot's", waited(bare));
    Ok(())
}

/// The time of one run.
struct Took {
    /// Wall time, which includes delays by other work on the host.
    wall: Duration,
    /// CPU time, in user and system mode.
    processor: Duration,
}

/// Runs a command to its end.
fn timed(mut command: Command, what: &str) -> Result<Took> {
    let before = processor_time_of_children()?;
    let started = Instant::now();
    let status = command.stdin(Stdio::null()).status().context(|| format!("cannot start {what}"))?;
    let wall = started.elapsed();
    if !status.success() {
        return Err(Error::new(format!("{what} ended with {status}")));
    }
    Ok(Took { wall, processor: processor_time_of_children()? - before })
}

/// User and system time of all ended children, from /proc/self/stat.
fn processor_time_of_children() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").context(|| "cannot read /proc/self/stat".into())?;
    let ticks = children_ticks(&stat).context(|| "cannot understand /proc/self/stat".into())?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// `cutime` and `cstime`, the 16th and 17th field. The second, in parentheses, may hold spaces.
fn children_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(13);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn compare(what: &str, took: Duration, other: &str, others: Duration) {
    let ratio = took.as_secs_f64() / others.as_secs_f64();
    outln!("  {what:28} {:5.2} s: {ratio:.2} of {other} {:.2} s", took.as_secs_f64(), others.as_secs_f64());
}

/// Runs QEMU with the same kernel, init and options, but without the harness: the job is packed before, and
/// nothing watches the channels.
fn bare_boot(workspace: &Workspace, guest: &Guest, command: &[&str]) -> Result<Took> {
    let folder = folders::scratch(&workspace.root)?;
    let argv: Vec<String> = command.iter().map(|word| word.to_string()).collect();
    let steps = if argv.is_empty() { Vec::new() } else { vec![Step { argv, ..Step::default() }] };
    let job = Job { steps, ..guest.job() };
    timed(guest.bare_command(&job, folder.path())?, "a bare boot")
}

/// Runs the whole `cargo xtask run -- true` as a process.
fn run_true(kernel: &str) -> Result<Took> {
    let program = env::current_exe().context(|| "cannot find this program".into())?;
    let mut command = Command::new(program);
    command.args(["run", "--accel", "tcg", "--kernel", kernel, "--", "true"]);
    timed(command, "`run -- true`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_children_is_behind_a_name_with_anything_in_it() {
        let stat = "4711 (a ) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 30 4 20 0 1 0";
        assert_eq!(children_ticks(stat), Some(34));
        assert_eq!(children_ticks("4711 (a) S 1"), None);
    }
}
