//! Exactness: recordings, costs and repeated runs give the same bytes, and enabled noise is found.

use std::fs;

use libtest_mimic::Failed;
use tempfile::TempDir;
use xtask::base::cache::Cache;
use xtask::base::verdict::Verdict;
use xtask::base::workspace::Workspace;
use xtask::guest::cases;
use xtask::guest::cases::CaseStep;
use xtask::guest::prepared::{Guest, GuestOptions, Tools};
use xtask::kernel;
use xtask::run::results::{self, Stored};
use xtask::run::{repeat, test_vm};
use xtask::vm::{Exactness, Noise};

use crate::common::{demand, expect, root};

pub fn same_recording(kernel: &str) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let record =
        ["snaptrace", "record", "-p", "function_graph", "-g", "__kmalloc*", "-o", "out.dat", "ls", "/"];
    for host in ["out.dat:one.dat", "out.dat:other.dat"] {
        let run = ["run", "--exact", "--kernel", kernel, "--get", host, "--"];
        expect(0, folder.path(), &[&run[..], &record].concat())?;
    }
    let (one, other) = (fs::read(folder.path().join("one.dat"))?, fs::read(folder.path().join("other.dat"))?);
    demand(one.len() > 10_000 && one == other, "the recordings differ", &format!("{} bytes", one.len()))
}

/// The table of function-graph, with an unused file, an unused word, and another case before it.
pub fn same_costs(kernel: &str) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let unused = folder.path().join("unused");
    fs::write(&unused, vec![b'x'; 123_457])?;
    let unused = unused.to_string_lossy().into_owned();
    let table = |arguments: &[&str]| -> Result<String, Failed> {
        let (stdout, _) = expect(0, &root(), &[&["cost", "--kernel", kernel], arguments].concat())?;
        let of_case = stdout.lines().skip_while(|line| !line.starts_with("function-graph on "));
        let table: Vec<&str> = of_case.take_while(|line| !line.starts_with("graph-depth on ")).collect();
        Ok(table.join("\n"))
    };
    let plain = table(&["function-graph"])?;
    demand(plain.lines().any(|line| line.starts_with("__kmalloc")), "no __kmalloc in the table", &plain)?;
    let inputs = ["--put", &unused, "--append", "snaptrace.unused=1"];
    let other = table(&[&["graph-depth", "function-graph"], &inputs[..]].concat())?;
    demand(other == plain, "a file, a word or a case before it changes the table", &format!("{plain}{other}"))
}

/// Runs a case several times on an exact machine with a source of noise; returns the result and the report on
/// a difference.
pub fn repeated(kernel: &str, noise: Option<Noise>, times: u32) -> Result<(Stored, String), Failed> {
    let h = Workspace::new(root(), Cache::open()?, false);
    let matrix = h.matrix()?;
    let record = matrix.find(kernel)?;
    let image = kernel::cached(&h, record)?.ok_or("the kernel is gone")?;
    let wish = GuestOptions { exact: Exactness::WherePossible, noise, ..GuestOptions::default() };
    let guest = Guest::prepare(&h, &Tools::get(&h)?, record, image, wish)?;
    let mut case = cases::select(cases::load(&h.root)?, &["function".into()])?.remove(0);
    // More than a socket buffers, so that a slow reader makes the guest wait.
    let step = |run: &str| CaseStep { run: run.into(), say: String::new(), expect: 0 };
    case.steps.insert(0, step("cat /bin/snaptrace"));
    // Long enough that the reader gets everything before the guest powers off.
    case.steps.push(step("repeat 300 cat /proc/sys/kernel/ostype"));
    let folder = TempDir::new()?;
    test_vm::run_case(&h, &guest, &case, folder.path(), times)?;
    Ok((results::load_one(folder.path())?, repeat::report(folder.path())))
}

pub fn equal_runs(kernel: &str) -> Result<(), Failed> {
    let (stored, report) = repeated(kernel, None, 3)?;
    demand(stored.verdict == Verdict::Pass && stored.runs == 3, &stored.why, &report)
}

/// Whether a kernel uses the processor's random numbers; old ones can be built without.
pub fn uses_rdrand(kernel: &str) -> Result<bool, Failed> {
    let h = Workspace::new(root(), Cache::open()?, false);
    let image = kernel::cached(&h, h.matrix()?.find(kernel)?)?.ok_or("the kernel is gone")?;
    Ok(!fs::read_to_string(image.config)?.contains("# CONFIG_ARCH_RANDOM is not set"))
}

pub fn noise(kernel: &str) -> Result<(), Failed> {
    for (noise, named) in [
        (Noise::Socket, "likely source: -chardev socket,id=results"),
        (Noise::HostTime, "likely source: the inputs are not the same: the command line (`noise="),
        (Noise::Rdrand, "likely source: -cpu qemu64,+rdrand: RDRAND"),
        (Noise::Ioeventfd, "likely source: -device virtio-serial-pci: without ioeventfd=off"),
    ] {
        let (stored, report) = repeated(kernel, Some(noise), 12)?;
        if noise == Noise::Rdrand && !uses_rdrand(kernel)? {
            demand(stored.verdict == Verdict::Pass, "noise that no one asked for", &report)?;
            continue;
        }
        let what = format!("{noise:?} was not found: {} {}", stored.verdict, stored.why);
        demand(stored.verdict == Verdict::NotRepeatable, &what, &report)?;
        demand(report.contains(named), &format!("{noise:?} is not named"), &report)?;
        demand(report.matches("likely source: ").count() == 1, "more than one source is named", &report)?;
        eprintln!("{kernel}: {noise:?}: {}\n{report}", stored.why);
    }
    Ok(())
}
