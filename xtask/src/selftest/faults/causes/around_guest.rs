//! Faults around a guest: in QEMU, the accelerator, the image and the initramfs.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::base::digest::sha256;
use crate::base::error::{Context, Error, Result};
use crate::base::verdict::Verdict;
use crate::selftest::faults::fault::{Expected, Fault, On, by_setup};
use crate::selftest::faults::fixture::{Fixture, demand};
use crate::selftest::faults::setup::{Act, Killed, Mount, Setup};

/// A script that starts QEMU with an unknown option.
const WITH_AN_UNKNOWN_OPTION: &str = r#"
LD_LIBRARY_PATH=$FAULT_LIBRARIES
export LD_LIBRARY_PATH
[ "$1" != --version ] || exec "$FAULT_QEMU" --version
exec "$FAULT_QEMU" "$@" -no-such-option
"#;

/// A QEMU that is too old for the harness.
const OLD: &str = "echo 'QEMU emulator version 5.2.0 (stand-in)'";

/// A QEMU whose guests hang under KVM.
const HANGS_UNDER_KVM: &str = r#"
case " $* " in
*" -accel kvm "*) exec sleep 600 ;;
esac
LD_LIBRARY_PATH=$FAULT_LIBRARIES
export LD_LIBRARY_PATH
[ "$1" != --version ] || exec "$FAULT_QEMU" --version
for folder in $FAULT_FIRMWARE; do set -- -L "$folder" "$@"; done
exec "$FAULT_QEMU" "$@"
"#;

/// No package can be fetched.
const NO_APT: &str = "echo 'E: Failed to fetch: the network is unreachable' >&2; exit 100";

/// The faults around a guest.
pub fn faults() -> Vec<Fault> {
    let fault = by_setup(On::One);
    let verdict = Expected::Verdict;
    vec![
        fault(
            "qemu-missing",
            "There is no QEMU, and none can be fetched.",
            verdict(Verdict::QemuFailed),
            10,
            true,
            qemu_missing,
        ),
        fault(
            "qemu-too-old",
            "QEMU is too old, and no other can be fetched.",
            verdict(Verdict::QemuFailed),
            10,
            true,
            qemu_too_old,
        ),
        fault(
            "qemu-refuses",
            "QEMU refuses an option.",
            verdict(Verdict::QemuFailed),
            10,
            true,
            qemu_refuses,
        ),
        fault(
            "qemu-killed",
            "QEMU is killed while the guest runs.",
            verdict(Verdict::QemuFailed),
            20,
            false,
            qemu_killed,
        ),
        fault(
            "accelerator-hangs",
            "KVM opens, but its guests hang: they are emulated instead.",
            verdict(Verdict::Pass),
            40,
            false,
            accelerator_hangs,
        ),
        fault(
            "image-random",
            "The kernel's image is random bytes.",
            verdict(Verdict::ChecksumMismatch),
            30,
            false,
            image_random,
        ),
        fault(
            "image-no-kernel",
            "The kernel's image is random bytes, and its digest is theirs.",
            verdict(Verdict::QemuFailed),
            20,
            false,
            image_no_kernel,
        ),
        fault(
            "initramfs-too-large",
            "The initramfs is larger than the guest's memory.",
            verdict(Verdict::OutOfMemory),
            10,
            false,
            initramfs_too_large,
        ),
        fault(
            "full-disk-initramfs",
            "The disk is full when the initramfs is written.",
            Expected::Error,
            20,
            false,
            full_disk_initramfs,
        ),
        fault(
            "full-disk-results",
            "The disk is full when the guest sends its results.",
            Expected::Error,
            40,
            false,
            full_disk_results,
        ),
        fault(
            "read-only-cache",
            "The cache holds everything and cannot be written.",
            verdict(Verdict::Pass),
            20,
            false,
            read_only_cache,
        ),
        fault(
            "interrupted-guest",
            "Ctrl-C while a guest runs.",
            Expected::Signal("SIGINT", 2),
            20,
            false,
            |fixture| disturbed(fixture, Act::Interrupt),
        ),
        fault(
            "terminated-guest",
            "SIGTERM while a guest runs.",
            Expected::Signal("SIGTERM", 15),
            20,
            true,
            |fixture| disturbed(fixture, Act::Terminate),
        ),
        fault(
            "killed-guest",
            "SIGKILL while a guest runs, and a usual run after it.",
            verdict(Verdict::Pass),
            20,
            false,
            killed,
        ),
    ]
}

/// `run` with the program of faults, under TCG as on machines without KVM.
fn run(fixture: &Fixture<'_>, options: &[&str], command: &[&str]) -> Result<Setup> {
    run_where_it_may(fixture, &[&["--accel", "tcg"], options].concat(), command)
}

/// The same, with the accelerator of this machine.
fn run_where_it_may(fixture: &Fixture<'_>, options: &[&str], command: &[&str]) -> Result<Setup> {
    let kernel = fixture.kernel()?;
    let program = fixture.tools.programs.fault.display().to_string();
    let usual = ["run", "--kernel", kernel, "--put", &program];
    Ok(Setup::of([&usual[..], options, &["--"], command].concat()))
}

fn run_true(fixture: &Fixture<'_>) -> Result<Setup> {
    fixture.with_guests()?;
    run(fixture, &[], &["/extra/fault", "nothing"])
}

/// A cache with kernels but without tools, on a machine that cannot fetch any.
fn without_tools(fixture: &Fixture<'_>) -> Result<Setup> {
    fixture.with_cache(&["kernels", "names"])?;
    for name in ["apt-get", "apt-cache"] {
        fixture.with_program(name, NO_APT)?;
    }
    Ok(run(fixture, &[], &["/extra/fault", "nothing"])?
        .saying(["apt-get install --no-remove qemu-system-x86"]))
}

fn qemu_missing(fixture: &Fixture<'_>) -> Result<Setup> {
    if which::which("qemu-system-x86_64").is_ok() {
        return Err(Error::new("this machine has a QEMU of its own").verdict(Verdict::Unavailable));
    }
    without_tools(fixture)
}

fn qemu_too_old(fixture: &Fixture<'_>) -> Result<Setup> {
    fixture.with_program("qemu-system-x86_64", OLD)?;
    Ok(without_tools(fixture)?.saying(["own QEMU 5.2.0 is too old"]))
}

fn qemu_refuses(fixture: &Fixture<'_>) -> Result<Setup> {
    fixture.with_program("qemu-system-x86_64", WITH_AN_UNKNOWN_OPTION)?;
    let setup = run_true(fixture)?.saying(["no-such-option: invalid option"]);
    Ok(Setup { bundle: Some("run"), ..setup })
}

fn qemu_killed(fixture: &Fixture<'_>) -> Result<Setup> {
    let setup = forever(fixture)?.with_act(Act::KillQemu, |fixture| fixture.guest_has_greeted());
    Ok(Setup { bundle: Some("run"), ..setup }.saying(["a signal ended QEMU"]))
}

fn forever(fixture: &Fixture<'_>) -> Result<Setup> {
    fixture.with_guests()?;
    run(fixture, &[], &["/extra/fault", "forever"])
}

fn accelerator_hangs(fixture: &Fixture<'_>) -> Result<Setup> {
    let opens = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm");
    if let Err(error) = opens {
        return Err(Error::new("/dev/kvm does not open")
            .because(error)
            .help("only where it does can it hang")
            .verdict(Verdict::Unavailable));
    }
    fixture.with_program("qemu-system-x86_64", HANGS_UNDER_KVM)?;
    fixture.with_guests()?;
    let setup = run_where_it_may(fixture, &[], &["/extra/fault", "nothing"])?
        .saying(["accelerator: tcg (tried KVM: boot-timeout"]);
    // Forget earlier results.
    fixture.cache().forget("accelerators")?;
    Ok(setup)
}

/// A cache whose kernel has random bytes for an image; `honest` has its digest in the manifest.
fn random_image(fixture: &Fixture<'_>, honest: bool) -> Result<Setup> {
    fixture.with_cache(&["tools"])?;
    let (record, kernel) = fixture.target()?;
    let failed = |path: &Path| format!("cannot prepare {}", path.display());
    let folder = fixture.cache().folder("kernels")?.join("random");
    fs::create_dir(&folder).context(|| failed(&folder))?;
    for name in ["bzImage", "config", "modules"] {
        let path = folder.join(name);
        symlink(kernel.dir.join(name), &path).context(|| failed(&path))?;
    }
    let mut bytes = vec![0; 4 << 20];
    let path = folder.join("vmlinux");
    let random = fs::File::open("/dev/urandom").and_then(|mut from| from.read_exact(&mut bytes));
    random.and_then(|()| fs::write(&path, &bytes)).context(|| failed(&path))?;
    let path = kernel.dir.join("kernel.json");
    let mut manifest = fs::read_to_string(&path).context(|| failed(&path))?;
    if honest {
        manifest = manifest.replace(&kernel.vmlinux_sha256, &sha256(&bytes));
    }
    let path = folder.join("kernel.json");
    fs::write(&path, manifest).context(|| failed(&path))?;
    fixture.cache().store(&format!("names/{}", record.name), "random\n")?;
    run(fixture, &["--boot-timeout", "15"], &["/extra/fault", "nothing"])
}

fn image_random(fixture: &Fixture<'_>) -> Result<Setup> {
    Ok(random_image(fixture, false)?.saying(["SHA-256", "cargo xtask kernel"]))
}

fn image_no_kernel(fixture: &Fixture<'_>) -> Result<Setup> {
    random_image(fixture, true)
}

fn initramfs_too_large(fixture: &Fixture<'_>) -> Result<Setup> {
    fixture.with_guests()?;
    let large = fixture.path("large");
    fs::File::create(&large)
        .and_then(|file| file.set_len(80 << 20))
        .context(|| format!("cannot create {}", large.display()))?;
    let large = large.display().to_string();
    let options = ["--memory", "128M", "--put", &large];
    // The error comes before anything boots.
    let setup = run(fixture, &options, &["/extra/fault", "nothing"])?.checked(nothing_is_left);
    Ok(setup.saying(["128M of memory are too little", "help: give it more: --memory "]))
}

fn on_small_disk(fixture: &Fixture<'_>, kib: u64, command: &[&str]) -> Result<Setup> {
    fixture.with_guests()?;
    let mount = Mount::Small { at: fixture.results(), kib };
    let setup = run(fixture, &[], command)?.with_mount(mount);
    Ok(setup.saying(["help: free some space"]))
}

fn full_disk_initramfs(fixture: &Fixture<'_>) -> Result<Setup> {
    on_small_disk(fixture, 1 << 10, &["/extra/fault", "nothing"])
}

/// Room for the initramfs and a little more.
fn full_disk_results(fixture: &Fixture<'_>) -> Result<Setup> {
    on_small_disk(fixture, 24 << 10, &["/extra/fault", "flood"])
}

fn read_only_cache(fixture: &Fixture<'_>) -> Result<Setup> {
    let setup = run_true(fixture)?;
    Ok(setup.with_mount(Mount::ReadOnly { at: fixture.path("cache") }))
}

/// Checks that an ended run left nothing in the folder of results.
fn nothing_is_left(fixture: &Fixture<'_>, _: &str) -> Result<()> {
    let left = crate::base::cache::read_dir(&fixture.results())?;
    demand(left.is_empty(), format!("left in the folder of results: {left:?}"))
}

fn disturbed(fixture: &Fixture<'_>, act: Act) -> Result<Setup> {
    Ok(forever(fixture)?.with_act(act, |fixture| fixture.guest_has_greeted()).checked(nothing_is_left))
}

fn killed(fixture: &Fixture<'_>) -> Result<Setup> {
    let arguments = forever(fixture)?.arguments;
    let setup = run(fixture, &[], &["/extra/fault", "nothing"])?.checked(nothing_is_left);
    let killed = Killed { arguments, when: Box::new(|fixture| fixture.guest_has_greeted()) };
    Ok(Setup { killed: Some(killed), ..setup })
}
