//! Prepares a kernel to boot: image, accelerator, initramfs. Only this file joins kernel, initramfs and VM.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::read::GzDecoder;
use initramfs::Job;
use initramfs::protocol::{Frame, Hello};
use xshell::Shell;

use super::cases::Case;
use super::fingerprint::Fingerprint;
use super::folders;
use super::initramfs::{Archive, Programs, build};
use super::put::Put;
use crate::base::cache;
use crate::base::digest::{Keyed, sha256};
use crate::base::error::{Context, Error, Result};
use crate::base::qemu::Qemu;
use crate::base::ui::Ui;
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::fetch::download;
use crate::fetch::tools;
use crate::kernel::{self, Kernel};
use crate::matrix::Record;
use crate::vm::accel::{self, Choice, Kvm, Purpose};
use crate::vm::memory::{self, MIB, MemoryDemand};
use crate::vm::{self, Accel, Boot, Deadlines, Ended, Exactness, Gdb, Machine, Noise, Taken, TerminalEnd};

/// The file that keeps QEMU's command line, beside the channels.
pub const COMMAND: &str = "qemu-command";
/// The file of a boot with its initramfs.
pub const INITRD: &str = "initrd";

/// The largest `/proc/config.gz` that is read, unpacked.
const CONFIG_LIMIT: u64 = 4 << 20;

/// Memory that a guest needs beyond kernel and initramfs, in MiB; used only for advice.
const SPARE: u64 = 24;

/// The variable that names a program to put into guests as `snaptrace`, instead of the one built here: an
/// older one, or one that is broken on purpose.
pub const TRACER_VAR: &str = "SNAPTRACE_TRACER";

/// The tools for all kernels: QEMU and the guest's programs.
pub struct Tools {
    /// QEMU.
    pub qemu: Qemu,
    /// The guest's programs.
    pub programs: Programs,
}

impl Tools {
    /// Finds or gets QEMU and builds the guest's programs.
    ///
    /// # Errors
    /// When either cannot be obtained.
    pub fn get(workspace: &Workspace) -> Result<Tools> {
        let sh = Shell::new().context(|| "cannot start a shell".into())?;
        let mut programs = build(&sh, &workspace.sources)?;
        if let Some(other) = std::env::var_os(TRACER_VAR).filter(|path| !path.is_empty()) {
            programs.snaptrace = other.into();
            workspace.host.ui.say(format!("guests have {} as their tracer", programs.snaptrace.display()));
        }
        Ok(Tools { qemu: tools::qemu(&workspace.host)?, programs })
    }
}

/// How a guest differs from the usual one.
#[derive(Clone, Debug)]
pub struct GuestOptions {
    /// Words added to the kernel command line.
    pub append: Vec<String>,
    /// Files and folders of the host to put into the guest.
    pub put: Vec<Put>,
    /// Environment variables of commands and shells.
    pub env: Vec<(String, String)>,
    /// Put a busybox into the guest.
    pub busybox: bool,
    /// CPUs; with more than one, runs are not bit-exact.
    pub cpus: u32,
    /// CPU slots, empty ones included; when `None`, no slot is empty.
    pub max_cpus: Option<u32>,
    /// MiB of memory.
    pub memory: u32,
    /// Wait for a debugger there.
    pub gdb: Option<Gdb>,
    /// Connect the console to the terminal.
    pub interactive: bool,
    /// Give the guest a port that receives this process's standard input.
    pub input: bool,
    /// Boot the bzImage instead of the vmlinux.
    pub bzimage: bool,
    /// Its purpose, which decides on the accelerator if none was asked for.
    pub purpose: Purpose,
    /// The accelerator, if one was asked for.
    pub accel: Option<Accel>,
    /// Whether the run is to be bit-exact.
    pub exact: Exactness,
    /// Whether the boot skips work that only takes time.
    pub boot: Boot,
    /// A source of noise enabled on purpose, for tests.
    pub noise: Option<Noise>,
    /// Seconds until init has to have started; what the accelerator usually takes when `None`.
    pub boot_timeout: Option<u64>,
}

impl Default for GuestOptions {
    fn default() -> GuestOptions {
        GuestOptions {
            append: Vec::new(),
            put: Vec::new(),
            env: Vec::new(),
            busybox: false,
            cpus: 1,
            max_cpus: None,
            memory: 512,
            gdb: None,
            interactive: false,
            input: false,
            bzimage: false,
            purpose: Purpose::default(),
            accel: None,
            exact: Exactness::default(),
            boot: Boot::default(),
            noise: None,
            boot_timeout: None,
        }
    }
}

/// A kernel that is ready to boot, any number of times.
#[derive(Clone)]
pub struct Guest {
    /// The kernel.
    pub kernel: Kernel,
    /// The accelerator.
    pub accel: Accel,
    record: Record,
    qemu: Qemu,
    ui: Ui,
    base: Arc<Vec<u8>>,
    image_digest: String,
    programs_digest: String,
    guest_options: GuestOptions,
}

/// A digest of our programs and the user's files, with their names.
fn digest_of(files: &[PathBuf], archive: &Archive) -> Result<String> {
    let mut digest = Keyed::new();
    for file in files {
        let bytes = fs::read(file).context(|| format!("cannot read {}", file.display()))?;
        digest.add(file.file_name().unwrap_or_default().as_encoded_bytes(), bytes);
    }
    for (name, bytes) in archive.users_files() {
        digest.add(name, bytes);
    }
    Ok(digest.finish())
}

/// How to boot. The options that make one CPU boot faster can stall a second one.
fn boot_of(guest_options: &GuestOptions) -> Boot {
    if guest_options.cpus == 1 { guest_options.boot } else { Boot::Untuned }
}

/// Checks that a guest's memory can hold the kernel and the initramfs.
fn check_memory(
    kernel: &Kernel,
    config: &str,
    guest_options: &GuestOptions,
    initrd: u64,
    unpacked: u64,
) -> Result<()> {
    // Nothing is known of a file that is not an image; its boot will fail.
    let Some(image) = memory::segments(&kernel.vmlinux) else { return Ok(()) };
    let tmpfs = config.lines().any(|line| line == "CONFIG_TMPFS=y");
    let needed = MemoryDemand { kernel: image, initrd, unpacked, tmpfs }.needed();
    if needed <= u64::from(guest_options.memory) * MIB {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(MIB);
    Err(Error::new(format!("{}M of memory are too little for {}", guest_options.memory, kernel.name))
        .because(format!(
            "the kernel reaches up to {}M, the initramfs has {}M, and unpacked as much again",
            mib(image.end),
            mib(initrd)
        ))
        .help(format!("give it more: --memory {}M", (mib(needed) + SPARE).next_multiple_of(32)))
        .verdict(Verdict::OutOfMemory))
}

impl Guest {
    /// Packs the initramfs, checks the configuration and tests the accelerator.
    ///
    /// # Errors
    /// `config-unmet` for a kernel that lacks a requested symbol or module; errors of files and of QEMU.
    pub fn prepare(
        workspace: &Workspace,
        tools: &Tools,
        record: &Record,
        kernel: Kernel,
        guest_options: GuestOptions,
    ) -> Result<Guest> {
        let bzimage = guest_options.bzimage || record.bzimage;
        let guest_options = GuestOptions { bzimage, ..guest_options };
        Machine::check_cpus(guest_options.cpus, guest_options.max_cpus)?;
        if guest_options.exact == Exactness::Demanded {
            // Report errors that do not depend on the accelerator before doing anything.
            let accel = guest_options.accel.unwrap_or(Accel::Tcg);
            let (gdb, interactive) = (guest_options.gdb.is_some(), guest_options.interactive);
            Machine::can_be_exact(accel, guest_options.cpus, gdb, interactive)?;
        }
        let config = fs::read_to_string(&kernel.config)
            .context(|| format!("cannot read the configuration {}", kernel.config.display()))?;
        kernel::config::prove(&kernel::wanted_symbols(workspace, record)?, &config)?;
        vm::check_command_line(
            boot_of(&guest_options),
            &kernel::config::command_line(&config),
            &record.append,
            &guest_options.append,
        )?;
        kernel::check_modules(record, &kernel)?;
        let modules = [&record.boot_modules[..], &record.case_modules[..]].concat();
        let mut archive = Archive::base(&tools.programs, &kernel.modules, &modules)?;
        let Programs { init, workload, snaptrace, .. } = &tools.programs;
        let mut ours = vec![init.clone(), workload.clone(), snaptrace.clone()];
        if guest_options.busybox {
            let busybox = tools::busybox(&workspace.host)?;
            archive.add("bin/busybox", &busybox)?;
            ours.push(busybox);
        }
        for put in &guest_options.put {
            archive.put(put, u64::from(guest_options.memory) * MIB)?;
        }
        let base = archive.pack()?;
        check_memory(&kernel, &config, &guest_options, base.len() as u64, archive.unpacked())?;
        let mut guest = Guest {
            accel: Accel::Tcg,
            record: record.clone(),
            qemu: tools.qemu.clone(),
            ui: workspace.host.ui.clone(),
            base: Arc::new(base),
            programs_digest: digest_of(&ours, &archive)?,
            image_digest: kernel.vmlinux_sha256.clone(),
            guest_options,
            kernel,
        };
        if guest.guest_options.bzimage {
            let path = &guest.kernel.bzimage;
            guest.image_digest =
                sha256(&fs::read(path).context(|| format!("cannot read {}", path.display()))?);
        }
        guest.accel = guest.prove_accelerator(workspace)?;
        if guest.guest_options.exact == Exactness::Demanded {
            guest.can_be_exact()?;
        }
        Ok(guest)
    }

    fn prove_accelerator(&self, workspace: &Workspace) -> Result<Accel> {
        let GuestOptions { accel, purpose, exact, .. } = self.guest_options;
        Choice::of(accel, purpose, exact, self.guest_options.gdb.is_some()).settle(|| {
            let folder = folders::scratch(&workspace.root)?;
            accel::proved(&self.usual(folder.path())?, &self.qemu, &workspace.host.cache, &workspace.host.ui)
        })
    }

    /// Boots this guest under KVM even if a result is stored, and returns the new result.
    ///
    /// # Errors
    /// When files cannot be written or QEMU cannot be started.
    pub fn prove_kvm(&self, workspace: &Workspace) -> Result<(Kvm, String)> {
        let folder = folders::scratch(&workspace.root)?;
        accel::prove(&self.usual(folder.path())?, &self.qemu, &workspace.host.cache, &workspace.host.ui)
    }

    /// The machine without most of the user's options, so that a test with it is valid for other guests.
    fn usual(&self, folder: &Path) -> Result<Machine> {
        let (machine, _) = self.ready(&self.job(), folder)?;
        let usual = GuestOptions::default();
        Ok(Machine {
            append: vm::command_line(usual.boot, &self.record.append, &usual.append),
            cpus: usual.cpus,
            memory: usual.memory.max(self.guest_options.memory),
            gdb: usual.gdb,
            // No user works in this guest.
            interactive: false,
            input: false,
            boot: usual.boot,
            noise: usual.noise,
            ..machine
        })
    }

    /// The advice after a long run, if another accelerator would have been faster.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub fn advice(&self, workspace: &Workspace, took: Duration) -> Result<Option<String>> {
        // A user who waits for a debugger, or asked for TCG, needs no advice.
        if self.accel == Accel::Kvm || self.guest_options.accel.is_some() || self.guest_options.gdb.is_some()
        {
            return Ok(None);
        }
        Ok(accel::advice(took, &accel::known(&self.qemu, &workspace.host.cache)?))
    }

    fn can_be_exact(&self) -> Result<()> {
        Machine::can_be_exact(
            self.accel,
            self.guest_options.cpus,
            self.guest_options.gdb.is_some(),
            self.guest_options.interactive,
        )
    }

    /// The shift of the instruction-count clock, if the guest uses it.
    pub fn icount_shift(&self) -> Option<u8> {
        let exact = self.guest_options.exact != Exactness::Off && self.can_be_exact().is_ok();
        exact.then_some(self.record.icount_shift)
    }

    /// The guest with the CPUs that a case asks for.
    ///
    /// # Errors
    /// A bit-exact run is demanded, but not possible on the case's machine.
    pub fn for_case(&self, case: &Case) -> Result<Guest> {
        let mut guest = self.clone();
        guest.guest_options.cpus = case.cpus.unwrap_or(self.guest_options.cpus);
        guest.guest_options.max_cpus = case.max_cpus.or(self.guest_options.max_cpus);
        if guest.guest_options.exact == Exactness::Demanded {
            guest.can_be_exact().map_err(|error| error.help(format!("leave out {}", case.name)))?;
        }
        Ok(guest)
    }

    /// Whether a busybox was put into the guest.
    pub fn has_busybox(&self) -> bool {
        self.guest_options.busybox
    }

    /// A job that starts with the modules this kernel's results port needs.
    pub fn job(&self) -> Job {
        Job {
            boot_modules: self.record.boot_modules.clone(),
            env: self.guest_options.env.clone(),
            ..Job::default()
        }
    }

    /// The deadlines for the boot, and for a job that takes `job` on real hardware.
    pub fn deadlines(&self, job: Option<Duration>) -> Deadlines {
        let usual = Deadlines::of(self.accel, job);
        Deadlines { boot: self.guest_options.boot_timeout.map_or(usual.boot, Duration::from_secs), ..usual }
    }

    /// What to type to debug this guest, and what gdb will lack; `None` if it waits for no debugger.
    pub fn debugger(&self) -> Option<String> {
        let gdb = self.guest_options.gdb.as_ref()?;
        let (image, about) = self.kernel.symbols();
        let line =
            ["gdb", &image.display().to_string(), "-ex", &format!("target remote {gdb}")].map(str::to_owned);
        let line = shlex::try_join(line.iter().map(String::as_str)).unwrap_or_else(|_| line.join(" "));
        Some(format!(
            "waiting for a debugger: {line}{}",
            about.map_or(String::new(), |about| format!("\n  {about}"))
        ))
    }

    /// The command-line options of `run` and `test-vm` for this guest.
    pub fn options(&self) -> Vec<String> {
        let usual = GuestOptions::default();
        let mut words = vec!["--kernel".to_owned(), self.kernel.name.clone()];
        let mut pair = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        for word in &self.guest_options.append {
            // A word may begin with a dash.
            pair("--append", word.clone());
        }
        for put in &self.guest_options.put {
            pair("--put", put.to_string());
        }
        for (name, value) in &self.guest_options.env {
            pair("--env", format!("{name}={value}"));
        }
        if self.guest_options.cpus != usual.cpus {
            pair("--cpus", self.guest_options.cpus.to_string());
        }
        if let Some(slots) = self.guest_options.max_cpus {
            pair("--max-cpus", slots.to_string());
        }
        if self.guest_options.memory != usual.memory {
            pair("--memory", format!("{}M", self.guest_options.memory));
        }
        if let Some(accel) = self.guest_options.accel {
            pair("--accel", accel.name().to_owned());
        }
        if let Some(seconds) = self.guest_options.boot_timeout {
            pair("--boot-timeout", seconds.to_string());
        }
        match self.guest_options.exact {
            Exactness::WherePossible => {}
            Exactness::Demanded => words.push("--exact".to_owned()),
            Exactness::Off => words.push("--no-exact".to_owned()),
        }
        words
    }

    /// The kernel's identity for reviews of snapshots: version, compiler's major version, configuration.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub fn identity(&self) -> Result<String> {
        let config = &self.kernel.config;
        let bytes = fs::read(config).context(|| format!("cannot read {}", config.display()))?;
        let compiler = self.kernel.compiler.split('.').next().unwrap_or_default();
        Ok(format!("{}, {compiler}, config {}", self.kernel.version, &sha256(&bytes)[..12]))
    }

    /// The inputs of a boot with a job; does not boot.
    ///
    /// # Errors
    /// When the job cannot be packed.
    pub fn fingerprint(&self, job: &Job) -> Result<Fingerprint> {
        let initrd = self.initrd(job)?;
        Ok(self.fingerprint_of(&self.machine(Path::new("")), &initrd, job))
    }

    fn fingerprint_of(&self, machine: &Machine, initrd: &[u8], job: &Job) -> Fingerprint {
        Fingerprint {
            image: self.image_digest.clone(),
            initrd: sha256(initrd),
            append: machine.append.clone(),
            qemu: self.qemu.version.clone(),
            options: machine.options(&self.qemu),
            programs: self.programs_digest.clone(),
            stdin: job.stdin.as_deref().map(sha256).unwrap_or_default(),
        }
    }

    fn initrd(&self, job: &Job) -> Result<Vec<u8>> {
        Ok([&self.base[..], &Archive::job(job)?.pack()?].concat())
    }

    fn machine(&self, folder: &Path) -> Machine {
        let mut words = self.guest_options.append.clone();
        if self.guest_options.noise == Some(Noise::HostTime) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            words.push(format!("noise={}", now.as_nanos()));
        }
        let boot = boot_of(&self.guest_options);
        let image = if self.guest_options.bzimage { &self.kernel.bzimage } else { &self.kernel.vmlinux };
        Machine {
            image: image.clone(),
            initrd: folder.join(INITRD),
            append: vm::command_line(boot, &self.record.append, &words),
            accel: self.accel,
            icount_shift: self.icount_shift(),
            cpus: self.guest_options.cpus,
            max_cpus: self.guest_options.max_cpus,
            memory: self.guest_options.memory,
            gdb: self.guest_options.gdb.clone(),
            interactive: self.guest_options.interactive,
            input: self.guest_options.input,
            boot,
            noise: self.guest_options.noise,
            dir: folder.to_path_buf(),
            sockets: folder.to_path_buf(),
        }
    }

    /// Writes the initramfs for a job; returns the machine and the inputs of its run.
    fn ready(&self, job: &Job, folder: &Path) -> Result<(Machine, Fingerprint)> {
        let machine = self.machine(folder);
        let initrd = self.initrd(job)?;
        fs::write(&machine.initrd, &initrd)
            .map_err(|e| cache::denied("cannot write", &machine.initrd, &e))?;
        let fingerprint = self.fingerprint_of(&machine, &initrd, job);
        Ok((machine, fingerprint))
    }

    /// Boots with a job. Channels and QEMU's command line are stored in `folder`. Returns how the guest
    /// ended, and the inputs of the run.
    ///
    /// # Errors
    /// When files cannot be written or QEMU cannot be started.
    pub fn boot(
        &self,
        job: &Job,
        folder: &Path,
        deadlines: Deadlines,
        take: &mut dyn FnMut(Frame) -> Taken,
    ) -> Result<(Ended, Fingerprint)> {
        let (machine, fingerprint) = self.ready(job, folder)?;
        self.note_command(&machine)?;
        let ended = vm::boot(&machine, &self.qemu, deadlines, &self.ui, take)?;
        if !ended.greeted {
            self.check_image(&machine)?;
        }
        Ok((ended, fingerprint))
    }

    /// Compares the image with the digest it had when it was cached. This takes too long before each boot, so
    /// it is done only if init did not start: a damaged image must not count as a failure of the guest.
    fn check_image(&self, machine: &Machine) -> Result<()> {
        let found = download::digest(&machine.image)?;
        if found == self.image_digest {
            return Ok(());
        }
        let name = &self.kernel.name;
        Err(Error::new(format!("the kernel image {} is damaged", machine.image.display()))
            .because(format!("\n    expected SHA-256 {}\n    found    SHA-256 {found}", self.image_digest))
            .help(format!(
                "`cargo xtask kernel --clean {name}` removes it, `cargo xtask kernel {name}` renews it"
            ))
            .verdict(Verdict::ChecksumMismatch))
    }

    /// Boots with the console on the terminal; passes the frames to `take` at the end.
    ///
    /// # Errors
    /// When files cannot be written, QEMU cannot be started, or the terminal is gone.
    pub fn boot_interactive(
        &self,
        job: &Job,
        folder: &Path,
        take: &mut dyn FnMut(Frame) -> Taken,
    ) -> Result<TerminalEnd> {
        let (machine, _) = self.ready(job, folder)?;
        vm::boot_interactive(&machine, &self.qemu, take)
    }

    /// A plain QEMU command for a job, which nothing watches.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn bare_command(&self, job: &Job, folder: &Path) -> Result<std::process::Command> {
        let (machine, _) = self.ready(job, folder)?;
        let mut command = std::process::Command::new(&self.qemu.program);
        command.args(machine.arguments(&self.qemu));
        if let Some(path) = &self.qemu.library_path {
            command.env("LD_LIBRARY_PATH", path);
        }
        Ok(command)
    }

    fn note_command(&self, machine: &Machine) -> Result<()> {
        let mut words = Vec::new();
        if let Some(path) = &self.qemu.library_path {
            words.push(format!("LD_LIBRARY_PATH={path}"));
        }
        words.push(self.qemu.program.display().to_string());
        for word in machine.arguments(&self.qemu) {
            let word = word.to_string_lossy().into_owned();
            words.push(shlex::try_quote(&word).map(|word| word.into_owned()).unwrap_or(word));
        }
        let path = machine.dir.join(COMMAND);
        fs::write(&path, words.join(" ") + "\n").map_err(|e| cache::denied("cannot write", &path, &e))
    }

    /// Repeats the configuration check in the guest: with its own configuration, and its tracers.
    ///
    /// `config` is `/proc/config.gz`, empty for a kernel that has none.
    ///
    /// # Errors
    /// `config-unmet`, naming what is missing.
    pub fn prove(&self, workspace: &Workspace, hello: &Hello, config: &[u8]) -> Result<()> {
        let unmet = |what: String| Error::new(what).verdict(Verdict::ConfigUnmet);
        if hello.release != self.kernel.release {
            return Err(unmet(format!(
                "the guest runs {} where {} was booted",
                hello.release, self.kernel.release
            )));
        }
        for tracer in ["function", "function_graph", "nop"] {
            if !hello.tracers.iter().any(|has| has == tracer) {
                return Err(unmet(format!("the guest's available_tracers lack {tracer}"))
                    .help(format!("they are: {}", hello.tracers.join(" "))));
            }
        }
        if config.is_empty() {
            // Debian builds without IKCONFIG; its package's config file was checked instead.
            return match self.record.is_ready_made() {
                true => Ok(()),
                false => Err(unmet("the guest has no /proc/config.gz".into())),
            };
        }
        let mut text = String::new();
        let read = std::io::Read::read_to_string(
            &mut std::io::Read::take(GzDecoder::new(config), CONFIG_LIMIT),
            &mut text,
        );
        read.context(|| "cannot unpack the guest's /proc/config.gz".into())?;
        kernel::config::prove(&kernel::wanted_symbols(workspace, &self.record)?, &text)
    }
}
