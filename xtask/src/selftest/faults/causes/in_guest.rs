//! Faults in the guest, caused on every kernel; each is its own case.

use std::fs;

use crate::base::error::{Context, Error, Result};
use crate::base::verdict::Verdict;
use crate::selftest::faults::fault::{Cause, Expected, Fault, InGuest, On};
use crate::selftest::faults::fixture::Fixture;
use crate::selftest::faults::setup::Setup;

const USUAL: InGuest =
    InGuest { run: "", append: &[], module: false, since: None, limit: 30, qemu: None, says: &[] };

/// The boot timeout in seconds for faults where init does not start.
const BOOT_TIMEOUT: &str = "15";

/// A script that runs QEMU and replaces the byte in the middle of the results.
const FLIPS_A_BYTE: &str = r#"
LD_LIBRARY_PATH=$FAULT_LIBRARIES
export LD_LIBRARY_PATH
[ "$1" != --version ] || exec "$FAULT_QEMU" --version
for word; do
    shift
    case $word in
    file,id=results,path=*)
        results=${word#file,id=results,path=}
        word=$word.whole
        ;;
    esac
    set -- "$@" "$word"
done
for folder in $FAULT_FIRMWARE; do set -- -L "$folder" "$@"; done
"$FAULT_QEMU" "$@"
status=$?
half=$(($(wc -c <"$results.whole") / 2))
head -c "$half" "$results.whole" >"$results"
printf '\377' >>"$results"
tail -c +$((half + 2)) "$results.whole" >>"$results"
rm "$results.whole"
exit $status
"#;

/// The faults in the guest.
pub fn faults() -> Vec<Fault> {
    let fault = |name, about, verdict, deadline, quick, in_guest| Fault {
        name,
        about,
        expected: Expected::Verdict(verdict),
        deadline,
        quick,
        on: On::Every,
        cause: Cause::InGuest(in_guest),
    };
    let run = |run| InGuest { run, ..USUAL };
    let module = |run, says| InGuest { run, module: true, limit: 15, says, ..USUAL };
    vec![
        fault(
            "panic",
            "sysrq has the kernel panic.",
            Verdict::Panic,
            30,
            true,
            InGuest { says: &["console: ", "sysrq triggered crash"], ..run("/extra/fault panic") },
        ),
        fault(
            "oops",
            "A module reads from the address 0.",
            Verdict::Oops,
            30,
            false,
            module("oops", &["NULL pointer dereference"]),
        ),
        fault(
            "soft-lockup",
            "A module never leaves the kernel.",
            Verdict::Lockup,
            60,
            false,
            module("lockup", &["BUG: soft lockup"]),
        ),
        fault(
            "rcu-stall",
            "A module never ends an RCU section.",
            Verdict::Lockup,
            60,
            false,
            module("stall", &["stall"]),
        ),
        fault(
            "hung-task",
            "A task sleeps, and nobody wakes it up.",
            Verdict::HungTask,
            60,
            false,
            module("hang", &["blocked for more than"]),
        ),
        fault(
            "out-of-memory",
            "A process takes all memory there is.",
            Verdict::OutOfMemory,
            60,
            false,
            run("/extra/fault memory"),
        ),
        fault(
            "init-killed",
            "PID 1 is killed while a case runs.",
            Verdict::InitDied,
            30,
            true,
            // Without it, 7.x allows no write to the code of another process.
            InGuest { append: &["proc_mem.force_override=always"], ..run("/extra/fault init") },
        ),
        fault(
            "init-ends",
            "PID 1 ends at once, instead of starting anything.",
            Verdict::InitDied,
            30,
            false,
            InGuest { append: &["rdinit=/extra/fault", "fault=nothing"], ..run("/extra/fault nothing") },
        ),
        fault(
            "init-silent",
            "PID 1 never says anything.",
            Verdict::BootTimeout,
            // The time of the fault, and that to prepare a guest on a busy machine.
            25,
            false,
            InGuest { append: &["rdinit=/extra/fault", "fault=silent"], ..run("/extra/fault nothing") },
        ),
        fault(
            "case-never-ends",
            "A command of a case sleeps for ever.",
            Verdict::Timeout,
            20,
            true,
            InGuest { limit: 1, ..run("/extra/fault forever") },
        ),
        fault(
            "case-floods",
            "A command of a case writes for ever.",
            Verdict::GuestFailed,
            60,
            false,
            InGuest { says: &["more than its bounds allow"], ..run("/extra/fault flood") },
        ),
        fault(
            "console-floods",
            "A command of a case writes to the console for ever.",
            Verdict::Timeout,
            30,
            false,
            InGuest { limit: 2, ..run("/extra/fault babble") },
        ),
        fault(
            "results-cut",
            "The results' port is taken away while init sends.",
            Verdict::LostChannel,
            30,
            true,
            run("/extra/fault cut"),
        ),
        fault(
            "results-corrupted",
            "One byte of the results is replaced on their way.",
            Verdict::LostChannel,
            30,
            false,
            InGuest {
                qemu: Some(FLIPS_A_BYTE),
                says: &["the results are damaged"],
                ..run("/extra/fault nothing")
            },
        ),
        fault(
            "results-foreign",
            "Another process writes into the results.",
            Verdict::LostChannel,
            30,
            false,
            // pidfd_getfd came with 5.6.
            InGuest {
                since: Some((5, 6)),
                says: &["the results are damaged"],
                ..run("/extra/fault foreign")
            },
        ),
        fault(
            "hello-hostile",
            "A program in init's place greets with another release, and escapes in it.",
            Verdict::ConfigUnmet,
            30,
            false,
            InGuest {
                append: &["rdinit=/extra/fault", "fault=hostile"],
                says: &["the guest runs ?[2J?]0;owned?"],
                ..run("/extra/fault nothing")
            },
        ),
        fault(
            "frame-huge",
            "A program in init's place begins a frame of 4 GiB.",
            Verdict::LostChannel,
            30,
            false,
            InGuest {
                append: &["rdinit=/extra/fault", "fault=huge"],
                says: &["a frame that claims 4294967295 bytes"],
                ..run("/extra/fault nothing")
            },
        ),
        fault(
            "reboot",
            "The guest restarts in the middle of a case.",
            Verdict::Rebooted,
            30,
            false,
            run("/extra/fault reboot"),
        ),
        fault(
            "escapes",
            "The guest sends what drives a terminal, on console and results.",
            Verdict::GuestFailed,
            30,
            false,
            InGuest { says: &["console: ?[2J?]0;owned?"], ..run("/extra/fault escapes") },
        ),
    ]
}

impl InGuest {
    fn command(&self) -> String {
        if self.module { format!("/extra/fault {}", self.run) } else { self.run.to_owned() }
    }

    /// The fault as a case of `test-vm`, run on the fixture's kernel.
    ///
    /// # Errors
    /// The fault cannot be caused on this kernel, or files cannot be written.
    pub fn setup(&self, fixture: &Fixture<'_>, fault: &Fault) -> Result<Setup> {
        let (record, _) = fixture.target()?;
        if let Some((major, minor)) = self.since
            && !since(&record.line, (major, minor))
        {
            return Err(Error::new(format!("it can be caused on Linux {major}.{minor} and newer"))
                .verdict(Verdict::Unavailable));
        }
        fixture.with_guests()?;
        if let Some(script) = self.qemu {
            fixture.with_program("qemu-system-x86_64", script)?;
        }
        let case = format!(
            "section = 'faults'\ntitle = '{}'\ndeadline = {}\n[[step]]\nrun = '{}'\nsay = 'The fault.'\n",
            fault.name,
            self.limit,
            self.command()
        );
        let path = fixture.path(&format!("work/tests/cases/{}.toml", fault.name));
        fs::write(&path, case).context(|| format!("cannot write {}", path.display()))?;
        let program = fixture.tools.programs.fault.display().to_string();
        let mut setup = Setup::of(["test-vm", fault.name, "--kernel", &record.name, "--put", &program]);
        if self.module {
            let module = fixture.module()?.display().to_string();
            setup.arguments.extend(["--put".to_owned(), module]);
        }
        for word in self.append {
            setup.arguments.extend(["--append".to_owned(), (*word).to_owned()]);
        }
        if fault.expected == Expected::Verdict(Verdict::BootTimeout) {
            setup.arguments.extend(["--boot-timeout", BOOT_TIMEOUT].map(str::to_owned));
        }
        setup.bundle = Some(fault.name);
        Ok(setup.saying(["0 passed, 1 failed"]).saying(self.says.iter().copied()))
    }
}

/// Whether a release line, such as `5.4`, is at least a version.
fn since(line: &str, version: (u32, u32)) -> bool {
    let mut numbers = line.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= version
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_releases_are_compared_by_number() {
        assert!(since("6.1", (5, 6)) && since("5.10", (5, 6)) && since("5.6", (5, 6)));
        assert!(!since("5.4", (5, 6)));
    }
}
