//! A machine as plain data, and the QEMU command line for it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use initramfs::job::{INPUT_PORT, RESULTS_PORT};

use super::gdb::Gdb;
use super::noise::Noise;
use crate::base::error::{Error, Result};
use crate::base::qemu::Qemu;

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// The host's processor, through KVM.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accel {
    /// QEMU's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        }
    }
}

impl FromStr for Accel {
    type Err = String;

    fn from_str(name: &str) -> Result<Accel, String> {
        let known = [Accel::Kvm, Accel::Tcg].into_iter().find(|accel| accel.name() == name);
        known.ok_or_else(|| format!("{name} is neither kvm nor tcg"))
    }
}

/// Whether a guest uses the instruction-count clock, so that equal inputs give equal runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exactness {
    /// Wherever that is possible.
    #[default]
    WherePossible,
    /// Required; otherwise the run fails.
    Demanded,
    /// The guest uses the host's clock.
    Off,
}

/// Whether a boot skips work that only takes time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Boot {
    /// Skip it.
    #[default]
    Fast,
    /// Do not skip it: for machines with several CPUs, and for comparison in the benchmark.
    Untuned,
}

impl Boot {
    /// The machine type. Under `pc`, before it opens the first device, the kernel lets ACPI compute the
    /// routing of all interrupts (75 million instructions); `q35` provides a table.
    fn machine(self) -> &'static str {
        match self {
            Boot::Fast => "q35",
            Boot::Untuned => "pc",
        }
    }
}

/// The file of a boot with the guest's console.
pub const CONSOLE: &str = "console.log";
/// The file of a boot with the guest's frames.
pub const RESULTS: &str = "results.bin";
/// The file of a boot with QEMU's own output.
pub const QEMU_LOG: &str = "qemu.log";

/// One boot, described.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The vmlinux (started at its PVH entry) or bzImage.
    pub image: PathBuf,
    /// The initramfs, all archives in one file.
    pub initrd: PathBuf,
    /// The kernel command line.
    pub append: String,
    /// What executes the guest's instructions.
    pub accel: Accel,
    /// The instruction-count clock: each instruction takes 2^shift ns of guest time, and equal
    /// inputs give equal runs. Only under TCG with one CPU.
    pub icount_shift: Option<u8>,
    /// Number of CPUs.
    pub cpus: u32,
    /// Number of CPU slots, empty ones included; as many as CPUs when `None`.
    pub max_cpus: Option<u32>,
    /// Memory in MiB. It has to hold the unpacked initramfs.
    pub memory: u32,
    /// Wait for a debugger there before the first instruction.
    pub gdb: Option<Gdb>,
    /// Connect the console to this terminal.
    pub interactive: bool,
    /// Give the guest a port that receives this process's standard input.
    pub input: bool,
    /// Whether it skips work that only takes time.
    pub boot: Boot,
    /// A source of noise enabled on purpose.
    pub noise: Option<Noise>,
    /// The folder of the channels: `console.log`, `results.bin`, `qemu.log`.
    pub dir: PathBuf,
    /// The same folder under a path that is short enough for sockets.
    pub sockets: PathBuf,
}

/// The most CPUs and CPU slots of a guest: kernels built here support no more.
pub const MOST_CPUS: u32 = 64;

/// Kernel command-line words of every guest, with reasons.
const APPEND: [&str; 8] = [
    // The console is the first channel.
    "console=ttyS0",
    // Only warnings and worse: other messages would take time in the emulated UART.
    "quiet",
    // An oops or a lock-up causes a panic, a panic a reset, and a reset ends QEMU.
    "panic=-1",
    "oops=panic",
    "softlockup_panic=1",
    // Addresses are the same in every run.
    "nokaslr",
    // TCG is too slow for the timer check of old kernels: "IO-APIC + timer doesn't work".
    "no_timer_check",
    // After an oops, print the latest trace entries to the console.
    "ftrace_dump_on_oops",
];

/// Words that only save time at boot, with reasons. Those of single kernels are in kernels.toml.
const APPEND_FAST: [&str; 2] = [
    // Calibrating the local APIC's timer takes 100 ms of the host's time; the HPET works as well, and needs
    // fewer exits from translated code.
    "noapictimer",
    // Detecting the kind of mouse takes half a second, and powering off waits for it.
    "i8042.noaux",
];

/// The kernel command line: the words every guest gets, then those of the kernel, then the user's.
pub fn command_line(boot: Boot, of_kernel: &[String], of_user: &[String]) -> String {
    let mut words: Vec<&str> = APPEND.to_vec();
    if boot == Boot::Fast {
        words.extend(APPEND_FAST);
        words.extend(of_kernel.iter().map(String::as_str));
    }
    words.extend(of_user.iter().map(String::as_str));
    words.join(" ")
}

/// The longest command line of an x86 kernel, in bytes: COMMAND_LINE_SIZE is 2048, including the final zero.
/// With a longer one, a kernel does not even reach its console.
pub const COMMAND_LINE_LIMIT: usize = 2047;

/// Checks that a command line is not too long for the kernel, which puts its built-in words (`built_in`)
/// before it.
///
/// # Errors
/// It is too long; the error gives the length of each part.
pub fn check_command_line(
    boot: Boot,
    built_in: &str,
    of_kernel: &[String],
    of_user: &[String],
) -> Result<()> {
    // A space separates the parts.
    let with_space = |length: usize| if length == 0 { 0 } else { length + 1 };
    let length = with_space(built_in.len()) + command_line(boot, of_kernel, of_user).len();
    if length <= COMMAND_LINE_LIMIT {
        return Ok(());
    }
    let ours = command_line(boot, &[], &[]).len();
    let kernels = command_line(boot, of_kernel, &[]).len() - ours;
    let parts = [
        (of_user.join(" ").len(), "of --append"),
        (kernels.saturating_sub(1), "of the kernel's `append` in kernels.toml"),
        (built_in.len(), "of the kernel's CONFIG_CMDLINE"),
        (ours, "of every guest"),
    ];
    let parts = parts.iter().filter(|(length, _)| *length > 0);
    let parts: Vec<String> = parts.map(|(length, what)| format!("{length} {what}")).collect();
    let mut error = Error::new(format!("the kernel command line is too long: {length} bytes"))
        .because(format!("a kernel takes {COMMAND_LINE_LIMIT}; these are {}", parts.join(", ")));
    if let Some(longest) = of_user.iter().max_by_key(|word| word.len()) {
        let shown: String = longest.chars().take(30).collect();
        let more = if shown.len() < longest.len() { "…" } else { "" };
        error =
            error.help(format!("the longest word of --append has {} bytes: {shown}{more}", longest.len()));
    }
    Err(error.help(format!("shorten it by at least {} bytes", length - COMMAND_LINE_LIMIT)).usage())
}

impl Machine {
    /// QEMU's arguments. Only the paths of files in them depend on the host.
    pub fn arguments(&self, qemu: &Qemu) -> Vec<OsString> {
        let mut arguments = Arguments(Vec::new());
        for folder in &qemu.firmware {
            arguments.pair("-L", folder);
        }
        arguments.pair("-machine", self.boot.machine()).pair("-accel", self.accelerator());
        self.processor(&mut arguments);
        arguments.pair("-m", format!("{}M", self.memory));
        // No default devices: no display, network, floppy, or second serial line.
        arguments.one("-no-user-config").one("-nodefaults").one("-no-reboot");
        arguments.pair("-display", "none").pair("-vga", "none");
        arguments.pair("-kernel", &self.image).pair("-initrd", &self.initrd).pair("-append", &self.append);
        self.channels(&mut arguments);
        if let Some(gdb) = &self.gdb {
            arguments.pair("-gdb", gdb.device()).one("-S");
        }
        arguments.0
    }

    /// QEMU's options on one line, the same on every host: without the kernel command line, and with plain
    /// names instead of paths.
    pub fn options(&self, qemu: &Qemu) -> String {
        let plain = Machine {
            image: "kernel".into(),
            initrd: "initrd".into(),
            append: String::new(),
            dir: PathBuf::new(),
            sockets: PathBuf::new(),
            // Its port says nothing about the guest.
            gdb: self.gdb.as_ref().map(|_| Gdb::Port(0)),
            ..self.clone()
        };
        let qemu = Qemu { firmware: Vec::new(), ..qemu.clone() };
        let words: Vec<String> =
            plain.arguments(&qemu).iter().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ").replace("-append  ", "")
    }

    /// Whether the instruction-count clock can drive a guest.
    ///
    /// # Errors
    /// It cannot: the reason, and what to do about it.
    pub fn can_be_exact(accel: Accel, cpus: u32, gdb: bool, interactive: bool) -> Result<()> {
        let refused =
            |why: &str, help: &str| Err(Error::new("cannot run bit-exactly").because(why).help(help).usage());
        if accel == Accel::Kvm {
            return refused(
                "under KVM the guest's time is the host's, and no one counts its instructions",
                "`--accel tcg` has QEMU translate the guest, which is slower",
            );
        }
        if cpus != 1 {
            return refused("the host decides in which order several CPUs run", "leave out `--cpus`");
        }
        if gdb || interactive {
            return refused("the guest waits for people", "leave out `--gdb`");
        }
        Ok(())
    }

    /// Whether a machine may have this many CPUs, and this many slots for them.
    ///
    /// # Errors
    /// What is wrong with the numbers; a usage error.
    pub fn check_cpus(cpus: u32, max_cpus: Option<u32>) -> Result<()> {
        let refused = |what: String, help: String| Err(Error::new(what).help(help).usage());
        let most = max_cpus.unwrap_or(cpus);
        if cpus == 0 {
            return refused("a guest cannot have 0 CPUs".into(), "give it one at least".into());
        }
        if most > MOST_CPUS || cpus > MOST_CPUS {
            let number = most.max(cpus);
            return refused(
                format!("a guest cannot have {number} CPUs or slots for them"),
                format!("the most is {MOST_CPUS}, as many as kernels that are built here know of"),
            );
        }
        if most < cpus {
            return refused(
                format!("a guest cannot have {cpus} CPUs in {most} slots"),
                format!("the slots of --max-cpus hold all CPUs: {cpus} is the least"),
            );
        }
        Ok(())
    }

    /// The accelerator option. Under TCG, several CPUs take turns in one thread. With a thread each, a busy
    /// host may delay one while another runs on, and the guest's kernel would take that for a lock-up.
    fn accelerator(&self) -> &'static str {
        match self.accel {
            Accel::Tcg if self.cpus > 1 => "tcg,thread=single",
            accel => accel.name(),
        }
    }

    fn processor(&self, arguments: &mut Arguments) {
        // `-cpu host` and `max` have RDRAND, and so randomness. qemu64 does not have it, nor any feature that
        // a host could lack.
        let cpu = match self.accel {
            Accel::Kvm => "host",
            Accel::Tcg if self.noise == Some(Noise::Rdrand) => "qemu64,+rdrand",
            Accel::Tcg => "qemu64",
        };
        // Newer kernels, such as 6.12, count an empty slot only under a hypervisor that they know, and TCG is
        // not one. There `maxcpus=1` on the kernel command line leaves out an existing CPU.
        let slots = self.max_cpus.map_or(String::new(), |slots| format!(",maxcpus={slots}"));
        arguments.pair("-cpu", cpu).pair("-smp", format!("{}{slots}", self.cpus));
        if let Some(shift) = self.icount_shift {
            arguments.pair("-icount", format!("shift={shift},sleep=off"));
            arguments.pair("-rtc", "base=2020-01-01,clock=vm");
        }
    }

    /// Adds the console and the results port, and nothing else. A chardev that is not a file, or ioeventfd,
    /// would make runs differ: both let the host's timing into the guest.
    fn channels(&self, arguments: &mut Arguments) {
        if self.interactive {
            arguments.pair("-chardev", chardev("socket,id=console", &self.console_socket()));
        } else {
            arguments.pair("-chardev", chardev("file,id=console", &self.console()));
        }
        arguments.pair("-serial", "chardev:console");
        arguments.pair(
            "-device",
            match self.noise {
                Some(Noise::Ioeventfd) => "virtio-serial-pci",
                _ => "virtio-serial-pci,ioeventfd=off",
            },
        );
        arguments.pair(
            "-chardev",
            match self.noise {
                Some(Noise::Socket) => chardev("socket,id=results", &self.socket()),
                _ => chardev("file,id=results", &self.results()),
            },
        );
        arguments.pair("-device", format!("virtserialport,chardev=results,name={RESULTS_PORT}"));
        if self.input {
            arguments.pair("-chardev", chardev("socket,id=input", &self.input_socket()));
            arguments.pair("-device", format!("virtserialport,chardev=input,name={INPUT_PORT}"));
        }
    }

    /// The file with the console's output.
    pub fn console(&self) -> PathBuf {
        self.dir.join(CONSOLE)
    }

    /// The file with the guest's frames.
    pub fn results(&self) -> PathBuf {
        self.dir.join(RESULTS)
    }

    /// The socket for the guest's frames, used when noise is asked for.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("results.socket")
    }

    /// The socket for the console of a machine that uses this terminal.
    pub fn console_socket(&self) -> PathBuf {
        self.sockets.join("console.socket")
    }

    /// The socket for this process's standard input.
    pub fn input_socket(&self) -> PathBuf {
        self.sockets.join("input.socket")
    }

    /// The file with QEMU's own output.
    pub fn qemu_log(&self) -> PathBuf {
        self.dir.join(QEMU_LOG)
    }
}

/// A chardev option with a path; QEMU reads a doubled comma as a comma in the path.
fn chardev(backend: &str, path: &Path) -> OsString {
    let mut option = OsString::from(format!("{backend},path="));
    option.push(path.to_string_lossy().replace(',', ",,"));
    option
}

struct Arguments(Vec<OsString>);

impl Arguments {
    fn one(&mut self, flag: &str) -> &mut Arguments {
        self.0.push(flag.into());
        self
    }

    fn pair(&mut self, flag: &str, value: impl Into<OsString>) -> &mut Arguments {
        self.0.push(flag.into());
        self.0.push(value.into());
        self
    }
}

/// How long a guest may take, on the host's clock. Time in which QEMU waited for a processor does not count,
/// so that a busy host causes no timeout; but a guest may take at most four times its deadline. Time in which
/// QEMU or the harness was stopped never counts.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From QEMU's start until init sends its hello.
    pub boot: Duration,
    /// From there until the end marker; `None` for no limit.
    pub job: Option<Duration>,
}

impl Deadlines {
    /// The usual deadlines, scaled to the accelerator: TCG boots in one to four seconds on an
    /// idle machine and is given room for a busy one.
    pub fn of(accel: Accel, job: Option<Duration>) -> Deadlines {
        match accel {
            Accel::Kvm => Deadlines { boot: Duration::from_secs(20), job },
            Accel::Tcg => Deadlines { boot: Duration::from_secs(120), job: job.map(|job| job * 4) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            image: "/k/vmlinux".into(),
            initrd: "/run/initrd".into(),
            append: command_line(Boot::Fast, &["a=1".into()], &["b".into()]),
            accel: Accel::Tcg,
            icount_shift: Some(4),
            cpus: 1,
            max_cpus: None,
            memory: 512,
            gdb: None,
            interactive: false,
            input: false,
            boot: Boot::Fast,
            noise: None,
            dir: "/run/one,two".into(),
            sockets: "/run/one,two".into(),
        }
    }

    fn line(machine: &Machine) -> String {
        let qemu = Qemu {
            program: "qemu-system-x86_64".into(),
            library_path: None,
            firmware: vec!["/q/share".into()],
            version: "7.2.22".into(),
        };
        let words: Vec<String> =
            machine.arguments(&qemu).into_iter().map(|word| word.into_string().unwrap()).collect();
        words.join(" ").replace(" -", "\n-")
    }

    #[test]
    fn an_exact_machine() {
        insta::assert_snapshot!(line(&machine()), @"
        -L /q/share
        -machine q35
        -accel tcg
        -cpu qemu64
        -smp 1
        -icount shift=4,sleep=off
        -rtc base=2020-01-01,clock=vm
        -m 512M
        -no-user-config
        -nodefaults
        -no-reboot
        -display none
        -vga none
        -kernel /k/vmlinux
        -initrd /run/initrd
        -append console=ttyS0 quiet panic=-1 oops=panic softlockup_panic=1 nokaslr no_timer_check ftrace_dump_on_oops noapictimer i8042.noaux a=1 b
        -chardev file,id=console,path=/run/one,,two/console.log
        -serial chardev:console
        -device virtio-serial-pci,ioeventfd=off
        -chardev file,id=results,path=/run/one,,two/results.bin
        -device virtserialport,chardev=results,name=snaptrace.results
        ");
    }

    #[test]
    fn a_command_line_that_is_too_long_is_told_with_its_parts() {
        let usual = command_line(Boot::Fast, &["a=1".into()], &[]).len();
        let check = |built_in: &str, length: usize| {
            check_command_line(Boot::Fast, built_in, &["a=1".into()], &["x".repeat(length)])
        };
        let fits = COMMAND_LINE_LIMIT - usual - 1;
        check("", fits).unwrap();
        check("b=1", fits - 4).unwrap();
        check_command_line(Boot::Fast, "", &[], &[]).unwrap();
        let error = check("", fits + 1).unwrap_err();
        let text = error.to_string();
        assert!(error.is_usage() && text.contains("2048 bytes") && text.contains("takes 2047"), "{text}");
        assert!(text.contains(&format!("{} of --append, 3 of the kernel's `append`", fits + 1)), "{text}");
        assert!(
            text.contains("shorten it by at least 1 bytes") && !text.contains("CONFIG_CMDLINE"),
            "{text}"
        );
        let text = check("b=1", fits - 3).unwrap_err().to_string();
        assert!(text.contains("3 of the kernel's CONFIG_CMDLINE"), "{text}");
    }

    #[test]
    fn options_name_nothing_of_the_host() {
        let qemu = Qemu {
            program: "/q/qemu".into(),
            library_path: None,
            firmware: vec!["/q/share".into()],
            version: "7.2.22".into(),
        };
        let options = machine().options(&qemu);
        assert!(!options.contains('/') && !options.contains("ttyS0"), "{options}");
        assert!(options.contains("-initrd initrd -chardev file,id=console,path=console.log "), "{options}");
        assert_eq!(crate::vm::noise::suspects(&options), Vec::<String>::new());
        let other = Machine { memory: 256, ..machine() };
        assert_ne!(options, other.options(&qemu));
    }

    #[test]
    fn what_cannot_be_exact_is_refused_with_the_reason() {
        let why = |accel, cpus, gdb| Machine::can_be_exact(accel, cpus, gdb, false).unwrap_err().to_string();
        assert!(Machine::can_be_exact(Accel::Tcg, 1, false, false).is_ok());
        assert!(why(Accel::Kvm, 1, false).contains("under KVM the guest's time is the host's"));
        assert!(why(Accel::Tcg, 2, false).contains("in which order several CPUs run"));
        assert!(why(Accel::Tcg, 1, true).contains("waits for people"));
    }

    #[test]
    fn kvm_has_the_hosts_processor_and_no_instruction_clock() {
        let line = line(&Machine { accel: Accel::Kvm, icount_shift: None, ..machine() });
        assert!(line.contains("-accel kvm\n-cpu host\n"), "{line}");
        assert!(!line.contains("icount"), "{line}");
    }

    #[test]
    fn several_cpus_take_turns_in_one_thread() {
        let line = line(&Machine { cpus: 2, icount_shift: None, ..machine() });
        assert!(line.contains("-accel tcg,thread=single\n") && line.contains("-smp 2\n"), "{line}");
    }

    #[test]
    fn empty_slots_change_nothing_else() {
        let with_slots = line(&Machine { max_cpus: Some(4), ..machine() });
        assert_eq!(with_slots.replace("-smp 1,maxcpus=4\n", "-smp 1\n"), line(&machine()));
        assert!(with_slots.contains("-icount"), "{with_slots}");
        let several = line(&Machine { cpus: 2, max_cpus: Some(4), icount_shift: None, ..machine() });
        assert!(several.contains("thread=single\n") && several.contains("-smp 2,maxcpus=4\n"), "{several}");
    }

    #[test]
    fn numbers_of_cpus_that_cannot_be_are_refused() {
        assert!(Machine::check_cpus(1, None).is_ok());
        assert!(Machine::check_cpus(2, Some(2)).is_ok());
        assert!(Machine::check_cpus(1, Some(MOST_CPUS)).is_ok());
        let why = |cpus, slots| {
            let error = Machine::check_cpus(cpus, slots).unwrap_err();
            assert!(error.is_usage());
            error.to_string()
        };
        assert!(why(4, Some(2)).contains("cannot have 4 CPUs in 2 slots"));
        assert!(why(1, Some(65)).contains("cannot have 65 CPUs or slots for them"));
        assert!(why(65, None).contains("the most is 64"));
        assert!(why(0, Some(2)).contains("0 CPUs"));
    }

    #[test]
    fn a_shell_has_its_console_on_a_socket_and_never_on_the_terminal() {
        let line = line(&Machine { interactive: true, gdb: Some(Gdb::Port(1234)), ..machine() });
        assert!(line.contains("-chardev socket,id=console,path=/run/one,,two/console.socket\n"), "{line}");
        assert!(!line.contains("stdio"), "{line}");
        assert!(line.ends_with("-gdb tcp:127.0.0.1:1234\n-S"), "{line}");
    }

    #[test]
    fn what_this_process_reads_has_a_port_of_its_own() {
        let line = line(&Machine { input: true, icount_shift: None, ..machine() });
        let port = "-chardev socket,id=input,path=/run/one,,two/input.socket\n\
                    -device virtserialport,chardev=input,name=snaptrace.input";
        assert!(line.ends_with(port), "{line}");
    }
}
