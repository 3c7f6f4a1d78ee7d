//! Chooses a guest's accelerator. Guests that judge, measure or show a trace run under TCG on every machine;
//! others run under KVM, if a boot proved that it works.
//!
//! `/dev/kvm` may open, and create a machine and a processor, but still run no ordinary kernel. Only a guest
//! that reaches init within a deadline proves KVM. The result is stored: without limit if KVM works, for a
//! day if it does not.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use initramfs::protocol::Frame;
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::machine::{Accel, Deadlines, Exactness, Machine};
use super::watch::{Taken, boot};
use crate::base::cache::Cache;
use crate::base::error::{Error, Result};
use crate::base::qemu::Qemu;
use crate::base::ui::Ui;

/// The file of the cache with the results, lines of `key accelerator seconds`: the accelerator that works,
/// and the time of the test in seconds since 1970.
pub const MEMORY: &str = "accelerators";
/// The device that QEMU opens for KVM.
const DEVICE: &str = "/dev/kvm";
/// How long a guest under KVM may take to reach init; it takes well under a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a failure of KVM is remembered: the machine may be repaired.
const HOLDS: Duration = Duration::from_secs(24 * 60 * 60);
/// A run under TCG that takes longer ends with advice on KVM.
const LONG: Duration = Duration::from_secs(60);

/// The purpose of a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To judge, to measure or to show a trace; the result has to be the same on every machine.
    #[default]
    Judgement,
    /// The user's own command or shell.
    Work,
}

/// The accelerators that a guest may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// TCG, even where this machine has KVM.
    Tcg,
    /// Only KVM, which the user demanded.
    Kvm,
    /// KVM if it works, else TCG.
    KvmWhereItWorks,
}

/// The state of KVM on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kvm {
    /// A guest booted under it.
    Works,
    /// The device opens, but no guest boots under KVM.
    Fails,
    /// The device opens, but KVM was not tried, or the last failure is older than a day.
    Untried,
    /// The device does not open, for this reason.
    Closed(String),
}

impl Choice {
    /// The accelerators for a guest, by its purpose and by the user's options.
    pub fn of(asked: Option<Accel>, purpose: Purpose, exact: Exactness, gdb: bool) -> Choice {
        match asked {
            Some(Accel::Tcg) => Choice::Tcg,
            Some(Accel::Kvm) => Choice::Kvm,
            None if purpose == Purpose::Work && exact != Exactness::Demanded && !gdb => {
                Choice::KvmWhereItWorks
            }
            None => Choice::Tcg,
        }
    }

    /// Decides on the accelerator. `kvm` may boot a guest, so it is called only if its result matters.
    ///
    /// # Errors
    /// KVM was demanded and does not work, or `kvm` failed.
    pub fn settle(self, kvm: impl FnOnce() -> Result<Kvm>) -> Result<Accel> {
        if self == Choice::Tcg {
            return Ok(Accel::Tcg);
        }
        let refused = |why: String| {
            Err(Error::new("cannot run guests under KVM")
                .because(why)
                .help("without `--accel kvm` they run under TCG"))
        };
        match (kvm()?, self) {
            (Kvm::Works, _) => Ok(Accel::Kvm),
            (_, Choice::KvmWhereItWorks) => Ok(Accel::Tcg),
            (Kvm::Closed(why), _) => refused(why),
            (Kvm::Fails | Kvm::Untried, _) => refused(
                "none reaches init under it on this machine; `cargo xtask doctor` tries again, and so \
                 does whoever asks a day later"
                    .into(),
            ),
        }
    }
}

/// The state of KVM, as far as it is known without a boot.
///
/// # Errors
/// The cache cannot be read.
pub fn known(qemu: &Qemu, cache: &Cache) -> Result<Kvm> {
    if let Err(why) = device() {
        return Ok(Kvm::Closed(why));
    }
    let remembered = cache.load(MEMORY)?.unwrap_or_default();
    Ok(match recall(&remembered, &key(qemu), now()) {
        Some(Accel::Kvm) => Kvm::Works,
        Some(Accel::Tcg) => Kvm::Fails,
        None => Kvm::Untried,
    })
}

/// The state of KVM: the stored result, else that of a boot.
///
/// `machine` is a bootable description whose accelerator is replaced.
///
/// # Errors
/// QEMU cannot be started at all, or the cache cannot be read.
pub fn proved(machine: &Machine, qemu: &Qemu, cache: &Cache, ui: &Ui) -> Result<Kvm> {
    match known(qemu, cache)? {
        Kvm::Untried => {
            ui.say(format!("{DEVICE} is there; proving by a boot that it works …"));
            let (kvm, why) = prove(machine, qemu, cache, ui)?;
            let accel = if kvm == Kvm::Works { Accel::Kvm } else { Accel::Tcg };
            ui.say(format!("accelerator: {} (tried KVM: {why})", accel.name()));
            Ok(kvm)
        }
        known => Ok(known),
    }
}

/// Boots a guest under KVM even if a result is stored, and stores the new result. Also returns the reason.
///
/// # Errors
/// QEMU cannot be started at all, or the cache cannot be read.
pub fn prove(machine: &Machine, qemu: &Qemu, cache: &Cache, ui: &Ui) -> Result<(Kvm, String)> {
    if let Err(why) = device() {
        return Ok((Kvm::Closed(why.clone()), why));
    }
    let machine = Machine { accel: Accel::Kvm, icount_shift: None, ..machine.clone() };
    let deadlines = Deadlines { boot: PATIENCE, job: Some(PATIENCE) };
    let ended = boot(&machine, qemu, deadlines, ui, &mut |_: Frame| Taken::More)?;
    let (kvm, accel, why) = match ended.judge() {
        Ok(()) => (Kvm::Works, Accel::Kvm, "a guest booted".to_string()),
        Err((verdict, why)) => (Kvm::Fails, Accel::Tcg, format!("{verdict}: {why}")),
    };
    let remembered = cache.load(MEMORY)?.unwrap_or_default();
    if let Err(error) = cache.store(MEMORY, &with_answer(&remembered, &key(qemu), accel, now())) {
        // If the cache cannot be written, the next run has to test again; this run goes on.
        ui.say(error.to_string());
    }
    Ok((kvm, why))
}

/// The advice after a long run under TCG, if KVM would have been faster.
pub fn advice(took: Duration, kvm: &Kvm) -> Option<String> {
    let seconds = took.as_secs();
    let why = match kvm {
        _ if took < LONG => return None,
        Kvm::Works => "KVM works here: `--accel kvm` is faster, but not exact".to_owned(),
        Kvm::Untried => format!("{DEVICE} opens here: `--accel kvm` may be faster, but is not exact"),
        // Without a device, or with one that only root may open, the user can do nothing.
        Kvm::Closed(why) if why.contains("join the group") => format!("KVM may be faster, but {why}"),
        Kvm::Closed(_) | Kvm::Fails => return None,
    };
    Some(format!("{seconds} s under TCG; {why}"))
}

/// Checks that the device of KVM opens.
///
/// # Errors
/// It does not open: the reason, and what to do about it.
pub fn device() -> std::result::Result<(), String> {
    opens(Path::new(DEVICE))
}

fn opens(path: &Path) -> std::result::Result<(), String> {
    let Err(error) = OpenOptions::new().read(true).write(true).open(path) else { return Ok(()) };
    let Ok(about) = fs::metadata(path) else { return Err(refusal(path, &error, None)) };
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let group = name_of_group(&groups, about.gid()).unwrap_or_else(|| about.gid().to_string());
    Err(refusal(path, &error, Some((&group, about.mode()))))
}

/// Why a device does not open; `group` is the name of its group, and its mode.
fn refusal(path: &Path, error: &io::Error, group: Option<(&str, u32)>) -> String {
    let path = path.display();
    match (Errno::from_io_error(error), group) {
        (Some(Errno::NOENT), _) => format!("there is no {path}"),
        (Some(Errno::ACCESS), Some((group, mode))) if mode & 0o060 == 0o060 => format!(
            "{path} is there, but not for this user: join the group {group} (`usermod -aG {group} USER` \
             as root) and log in again"
        ),
        (Some(Errno::ACCESS), Some((group, _))) => {
            format!(
                "{path} is there, but neither for this user nor for its group {group}: only for its owner"
            )
        }
        _ => format!("{path} does not open: {error}"),
    }
}

/// The name of a group in the text of `/etc/group`.
fn name_of_group(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

/// The key of a result; it depends on machine, processor, host kernel and QEMU.
pub fn key(qemu: &Qemu) -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = cpuinfo
        .lines()
        .filter(|line| {
            ["vendor_id", "model name", "cpu family", "model\t", "flags"]
                .iter()
                .any(|key| line.starts_with(key))
        })
        .take(5);
    let mut hasher = Sha256::new();
    hasher.update(fs::read("/etc/machine-id").unwrap_or_default());
    for line in processor {
        hasher.update(line);
    }
    hasher.update(fs::read("/proc/sys/kernel/osrelease").unwrap_or_default());
    hasher.update(fs::read("/proc/sys/kernel/version").unwrap_or_default());
    hasher.update(&qemu.version);
    hasher.finalize()[..12].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The stored result for a key, while it is valid. Results of an older harness have no date.
fn recall(remembered: &str, key: &str, now: u64) -> Option<Accel> {
    let lines = remembered.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    lines.filter_map(|answer| holding(answer, now)).next_back()
}

fn holding(answer: &str, now: u64) -> Option<Accel> {
    let mut words = answer.split_whitespace();
    let accel = words.next()?.parse().ok()?;
    if accel == Accel::Tcg {
        // A date in the future comes from a wrong clock.
        let age = now.checked_sub(words.next()?.parse().ok()?)?;
        return (age < HOLDS.as_secs()).then_some(accel);
    }
    Some(accel)
}

/// The text of the results, with one result added or replaced.
fn with_answer(remembered: &str, key: &str, accel: Accel, now: u64) -> String {
    let others = remembered.lines().filter(|line| line.split_whitespace().next() != Some(key));
    let others: String = others.map(|line| format!("{line}\n")).collect();
    format!("{others}{key} {} {now}\n", accel.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    #[test]
    fn an_answer_is_recalled_by_its_key_only() {
        let remembered = "aa tcg 1000\nbb kvm 1000\ncc nonsense\n";
        assert_eq!(recall(remembered, "aa", 1001), Some(Accel::Tcg));
        assert_eq!(recall(remembered, "bb", 1001), Some(Accel::Kvm));
        assert_eq!(recall(remembered, "cc", 1001), None);
        assert_eq!(recall(remembered, "dd", 1001), None);
        assert_eq!(recall(remembered, "a", 1001), None);
    }

    #[test]
    fn that_kvm_fails_holds_for_a_day_and_that_it_works_for_good() {
        let remembered = "aa tcg 1000\nbb kvm 1000\n";
        assert_eq!(recall(remembered, "aa", 999 + DAY), Some(Accel::Tcg));
        assert_eq!(recall(remembered, "aa", 1000 + DAY), None);
        assert_eq!(recall(remembered, "aa", 999), None, "a date to come");
        assert_eq!(recall(remembered, "bb", 1000 + 1000 * DAY), Some(Accel::Kvm));
    }

    #[test]
    fn answers_of_an_older_harness_have_no_date() {
        let remembered = "aa tcg\nbb kvm\n";
        assert_eq!(recall(remembered, "aa", 1000), None);
        assert_eq!(recall(remembered, "bb", 1000), Some(Accel::Kvm));
    }

    #[test]
    fn an_answer_takes_the_place_of_the_one_before() {
        let remembered = with_answer("aa tcg\nbb kvm 7\n", "aa", Accel::Kvm, 2000);
        assert_eq!(remembered, "bb kvm 7\naa kvm 2000\n");
        let again = with_answer(&remembered, "aa", Accel::Tcg, 3000);
        assert_eq!(again, "bb kvm 7\naa tcg 3000\n");
        assert_eq!(recall(&again, "aa", 3001), Some(Accel::Tcg));
    }

    /// The accelerator by purpose and options, if KVM works, fails, was not tried or is closed.
    #[test]
    fn only_work_that_need_not_be_exact_gets_kvm() {
        use Exactness::{Demanded, Off, WherePossible};
        use Purpose::{Judgement, Work};
        const KVM: Option<Accel> = Some(Accel::Kvm);
        const TCG: Option<Accel> = Some(Accel::Tcg);
        // Accelerator asked for, purpose, exactness, gdb; the result if KVM works, and if it does not.
        let table = [
            (None, Work, WherePossible, false, KVM, TCG),
            (None, Work, Off, false, KVM, TCG),
            (None, Work, Demanded, false, TCG, TCG),
            (None, Work, WherePossible, true, TCG, TCG),
            (None, Judgement, WherePossible, false, TCG, TCG),
            (None, Judgement, Off, false, TCG, TCG),
            (None, Judgement, Demanded, false, TCG, TCG),
            (TCG, Work, WherePossible, false, TCG, TCG),
            (TCG, Judgement, Off, false, TCG, TCG),
            // A demanded accelerator is used, or refused.
            (KVM, Work, WherePossible, false, KVM, None),
            (KVM, Work, WherePossible, true, KVM, None),
            (KVM, Judgement, WherePossible, false, KVM, None),
        ];
        for (asked, purpose, exact, gdb, works, fails) in table {
            let on = |kvm: Kvm| Choice::of(asked, purpose, exact, gdb).settle(|| Ok(kvm)).ok();
            let row = format!("{asked:?} {purpose:?} {exact:?} {gdb}");
            assert_eq!(on(Kvm::Works), works, "{row}");
            for kvm in [Kvm::Fails, Kvm::Closed("why".into())] {
                assert_eq!(on(kvm.clone()), fails, "{row}: {kvm:?}");
            }
            // No boot if its result does not matter.
            let asks = Choice::of(asked, purpose, exact, gdb) != Choice::Tcg;
            let result = Choice::of(asked, purpose, exact, gdb).settle(|| Err(Error::new("asked")));
            assert_eq!(result.is_err(), asks, "{row}");
        }
    }

    #[test]
    fn kvm_that_is_asked_for_and_not_there_is_refused_with_the_reason() {
        let refused = |kvm| Choice::Kvm.settle(|| Ok(kvm)).unwrap_err().to_string();
        let fails = refused(Kvm::Fails);
        assert!(fails.contains("none reaches init") && fails.contains("cargo xtask doctor"), "{fails}");
        let closed = refused(Kvm::Closed("there is no /dev/kvm".into()));
        assert!(closed.contains("there is no /dev/kvm") && closed.contains("under TCG"), "{closed}");
    }

    #[test]
    fn a_device_that_is_not_for_this_user_names_its_group() {
        let refused = |errno: Errno, group| refusal(Path::new(DEVICE), &errno.into(), group);
        assert_eq!(
            refused(Errno::ACCESS, Some(("kvm", 0o20660))),
            "/dev/kvm is there, but not for this user: join the group kvm (`usermod -aG kvm USER` as \
             root) and log in again"
        );
        let refused_to_all = refused(Errno::ACCESS, Some(("root", 0o20600)));
        assert!(refused_to_all.contains("nor for its group root: only for its owner"), "{refused_to_all}");
        assert_eq!(refused(Errno::NOENT, None), "there is no /dev/kvm");
        // If a container denies the device, no group helps.
        assert!(!refused(Errno::PERM, Some(("kvm", 0o20660))).contains("join"));
        let groups = "root:x:0:\nkvm:x:104:libvirt\nbroken\n";
        assert_eq!(name_of_group(groups, 104).as_deref(), Some("kvm"));
        assert_eq!(name_of_group(groups, 105), None);
        let missing = tempfile::tempdir().unwrap().path().join("kvm");
        assert!(opens(&missing).unwrap_err().starts_with("there is no "));
    }

    #[test]
    fn only_a_long_run_is_told_of_a_faster_way() {
        let long = Duration::from_secs(75);
        assert_eq!(advice(Duration::from_secs(59), &Kvm::Works), None);
        let said = advice(long, &Kvm::Works).unwrap();
        assert!(said.starts_with("75 s under TCG; ") && said.contains("`--accel kvm`"), "{said}");
        assert!(advice(long, &Kvm::Untried).unwrap().contains("`--accel kvm` may be faster"));
        assert_eq!(advice(long, &Kvm::Fails), None);
        assert_eq!(advice(long, &Kvm::Closed("there is no /dev/kvm".into())), None);
        let closed = Kvm::Closed(refusal(Path::new(DEVICE), &Errno::ACCESS.into(), Some(("kvm", 0o20660))));
        assert!(advice(long, &closed).unwrap().contains("join the group kvm"));
    }
}
