//! Kernels from a local HTTP server and from local trees, with a tiny stand-in for Linux.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};
use xtask::base::cache::Cache;
use xtask::base::error::Result;
use xtask::base::verdict::Verdict;
use xtask::base::workspace::Workspace;
use xtask::kernel::{self, Kernel, Request};
use xtask::matrix::Record;
use xtask::selftest::faults::server::{Reply, Seen, Server};
use xtask::selftest::faults::stand_in::{self, Flaw};

trials! {
    a_downloaded_tarball_is_built_and_used_again_without_the_network,
    a_transfer_that_was_cut_is_resumed_where_it_ended,
    a_server_that_knows_no_ranges_sends_it_all_again,
    a_part_of_another_file_is_not_held_against_the_mirror,
    a_file_that_lies_there_with_another_digest_is_not_used,
    mirrors_are_tried_in_turn,
    a_wrong_digest_sets_the_file_aside,
    a_local_tree_is_built_untouched_and_the_name_then_stands_for_it,
    a_source_of_its_own_takes_no_name_over,
    the_command_with_no_way_to_the_mirrors_says_so_and_exits_as_documented,
    results_are_where_cargo_is_told_to_put_its_products,
    changed_fragments_make_a_kernel_stale,
    a_change_that_git_does_not_show_is_built,
    of_two_equal_trees_the_name_remembers_the_one_it_was_given,
    a_name_of_an_older_harness_has_its_tree_from_the_entry,
    a_tree_that_changes_while_it_is_built_gives_no_kernel,
    what_no_build_can_use_is_said_before_it,
    local_tarballs_are_taken_in_every_compression,
    a_dropped_symbol_is_named_with_what_it_depends_on,
    a_build_that_fails_shows_its_first_error_and_keeps_its_log,
    of_several_commands_at_once_one_builds_and_the_others_wait,
    cleaning_a_name_removes_its_kernel,
    a_build_that_nobody_listens_to_goes_on,
    no_command_panics_where_nobody_reads,
}

/// A folder with a workspace, a cache and a stand-in for Linux; it is removed when dropped.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { folder: tempfile::tempdir().unwrap() };
        bench.tree("tree", Flaw::None);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The workspace for one command.
    fn harness(&self) -> Workspace {
        Workspace::new(self.folder.path().to_owned(), Cache::at(self.path("cache")), false)
    }

    /// A source tree that builds at once and records each build in `builds`.
    fn tree(&self, name: &str, flaw: Flaw) -> PathBuf {
        let tree = self.path(name);
        stand_in::tree(&tree, &self.path("builds"), flaw).unwrap();
        tree
    }

    fn builds(&self) -> usize {
        fs::read_to_string(self.path("builds")).map_or(0, |text| text.lines().count())
    }

    /// The tree as a tarball with one folder at its top.
    fn tarball(&self) -> Vec<u8> {
        stand_in::tarball(&self.path("tree")).unwrap()
    }

    /// A record that takes `linux.tar.xz` with a digest from mirrors.
    fn record(&self, sha256: &str, mirrors: &[&str]) -> Record {
        stand_in::matrix(&self.path("kernel-configs"), sha256, mirrors).unwrap();
        self.harness().matrix().unwrap().find("tiny").unwrap().clone()
    }

    /// A record whose own source is unavailable.
    fn record_without_mirrors(&self) -> Record {
        self.record(&"0".repeat(64), &[])
    }

    fn obtain(&self, record: &Record) -> Result<Kernel> {
        kernel::obtain(&self.harness(), record, &Request::default())
    }

    fn obtain_from(&self, record: &Record, source: &Path) -> Result<Kernel> {
        let request = Request { source: Some(source.to_owned()), ..Request::default() };
        kernel::obtain(&self.harness(), record, &request)
    }

    fn at_hand(&self, record: &Record) -> Option<Kernel> {
        kernel::cached(&self.harness(), record).unwrap()
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A server whose replies `reply` makes.
fn server(reply: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(reply).unwrap()
}

fn a_downloaded_tarball_is_built_and_used_again_without_the_network() {
    let bench = Bench::new();
    let tarball = bench.tarball();
    let sha256 = digest(&tarball);
    let server = server(move |_, _| Reply::whole(&tarball));
    let record = bench.record(&sha256, &[&server.address]);

    let kernel = bench.obtain(&record).unwrap();
    assert_eq!((kernel.release.as_str(), kernel.version.as_str()), ("5.4.7", "5.4.7"));
    assert_eq!(kernel.provenance, "kernel.org 5.4.7");
    assert_eq!(fs::read_to_string(&kernel.vmlinux).unwrap(), "int main;\n");
    assert_eq!(kernel.vmlinux_sha256, digest(b"int main;\n"));
    assert_eq!(fs::read_to_string(&kernel.config).unwrap(), "CONFIG_PCI=y\n");
    let log = fs::read_to_string(kernel.dir.join("build.log")).unwrap();
    assert!(log.contains("CC      kernel.o"), "{log}");
    assert_eq!(server.seen()[0].path, "/pub/linux.tar.xz");

    assert_eq!(bench.obtain(&record).unwrap().dir, kernel.dir);
    assert_eq!(bench.at_hand(&record).unwrap().dir, kernel.dir);
    assert_eq!((server.seen().len(), bench.builds()), (1, 1));
}

fn a_transfer_that_was_cut_is_resumed_where_it_ended() {
    let bench = Bench::new();
    let tarball = bench.tarball();
    let (sha256, half) = (digest(&tarball), tarball.len() / 2);
    let server = server(move |number, seen| match (number, seen.from) {
        (0, None) => Reply::cut(&tarball, half),
        (1, Some(from)) => Reply::rest(&tarball, from),
        _ => Reply::new("500 Unexpected", "", 0, b""),
    });
    let record = bench.record(&sha256, &[&server.address]);
    bench.obtain(&record).unwrap();
    let from: Vec<_> = server.seen().iter().map(|seen| seen.from).collect();
    assert_eq!(from, [None, Some(half)]);
}

fn a_server_that_knows_no_ranges_sends_it_all_again() {
    let bench = Bench::new();
    let tarball = bench.tarball();
    let (sha256, half) = (digest(&tarball), tarball.len() / 2);
    let server = server(move |number, _| match number {
        0 => Reply::cut(&tarball, half),
        _ => Reply::whole(&tarball),
    });
    let record = bench.record(&sha256, &[&server.address]);
    bench.obtain(&record).unwrap();
    assert_eq!(server.seen().len(), 2);
}

fn a_part_of_another_file_is_not_held_against_the_mirror() {
    let bench = Bench::new();
    let tarball = bench.tarball();
    let sha256 = digest(&tarball);
    fs::create_dir_all(bench.path("cache")).unwrap();
    let downloads = bench.harness().host.cache.folder("downloads").unwrap();
    fs::write(downloads.join("linux.tar.xz.partial"), "of another file").unwrap();
    let server = server(move |_, seen| match seen.from {
        Some(from) => Reply::rest(&tarball, from),
        None => Reply::whole(&tarball),
    });
    let record = bench.record(&sha256, &[&server.address]);
    bench.obtain(&record).unwrap();
    let from: Vec<_> = server.seen().iter().map(|seen| seen.from).collect();
    assert_eq!(from, [Some("of another file".len()), None]);
}

fn a_file_that_lies_there_with_another_digest_is_not_used() {
    let bench = Bench::new();
    let tarball = bench.tarball();
    let sha256 = digest(&tarball);
    fs::create_dir_all(bench.path("cache")).unwrap();
    let downloads = bench.harness().host.cache.folder("downloads").unwrap();
    fs::write(downloads.join("linux.tar.xz"), "of another day").unwrap();
    let server = server(move |_, _| Reply::whole(&tarball));
    let record = bench.record(&sha256, &[&server.address]);
    bench.obtain(&record).unwrap();
    assert_eq!(server.seen().len(), 1);
}

fn mirrors_are_tried_in_turn() {
    let bench = Bench::new();
    let tarball = bench.tarball();
    let sha256 = digest(&tarball);
    // Nothing listens on a port that was closed again.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = format!("http://{gone}");
    let empty = server(|_, _| Reply::not_found());
    let good = server(move |_, _| Reply::whole(&tarball));

    let record = bench.record(&sha256, &[&refused, &empty.address]);
    let none = bench.obtain(&record).unwrap_err();
    assert_eq!(none.verdict_given(), Some(Verdict::Unavailable));
    let text = none.to_string();
    assert!(text.contains(&format!("404 Not Found, at {}", empty.address)), "{text}");
    assert!(text.contains("refused") && text.contains("--source PATH"), "{text}");

    let record = bench.record(&sha256, &[&refused, &empty.address, &good.address]);
    bench.obtain(&record).unwrap();
    assert_eq!((empty.seen().len(), good.seen().len()), (2, 1));
}

fn a_wrong_digest_sets_the_file_aside() {
    const PAGE: &[u8] = b"<html>log in first</html>";
    let bench = Bench::new();
    let tarball = bench.tarball();
    let sha256 = digest(&tarball);
    let wrong = server(|_, _| Reply::whole(PAGE));
    let error = bench.obtain(&bench.record(&sha256, &[&wrong.address])).unwrap_err();
    assert_eq!(error.verdict_given(), Some(Verdict::ChecksumMismatch));
    let text = error.to_string();
    assert!(text.contains(&sha256) && text.contains(&digest(PAGE)), "{text}");
    let rejected = bench.path("cache/downloads/linux.tar.xz.rejected");
    assert_eq!(fs::read(rejected).unwrap(), PAGE);

    // The rejected file does not prevent a new download.
    let good = server(move |_, _| Reply::whole(&tarball));
    bench.obtain(&bench.record(&sha256, &[&good.address])).unwrap();
    assert_eq!(good.seen()[0].from, None);
}

fn a_local_tree_is_built_untouched_and_the_name_then_stands_for_it() {
    let bench = Bench::new();
    let record = bench.record_without_mirrors();
    let tree = bench.path("tree");
    let before = listing(&tree);
    let kernel = bench.obtain_from(&record, &tree).unwrap();
    assert_eq!(listing(&tree), before);
    let from = "Linux 5.4.7 from the tree ";
    assert!(kernel.provenance.starts_with(from), "{}", kernel.provenance);
    // Without network and source: the last build.
    assert_eq!(bench.obtain(&record).unwrap().dir, kernel.dir);

    // The same tree gives the same entry, a changed one another.
    assert_eq!(bench.obtain_from(&record, &tree).unwrap().dir, kernel.dir);
    assert_eq!(bench.builds(), 1);
    fs::write(tree.join("kernel.c"), "int changed;\n").unwrap();
    let changed = bench.obtain_from(&record, &tree).unwrap();
    assert_ne!(changed.dir, kernel.dir);
    assert_eq!(fs::read_to_string(&changed.vmlinux).unwrap(), "int changed;\n");
    // Object trees and logs are removed after the build.
    assert_eq!(fs::read_dir(bench.path("cache/build")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(bench.path("cache/logs")).unwrap().count(), 0);
}

fn a_source_of_its_own_takes_no_name_over() {
    let bench = Bench::new();
    let record = bench.record_without_mirrors();
    let kernel = bench.obtain_from(&record, &bench.path("tree")).unwrap();
    let patched = bench.tree("patched", Flaw::None);
    fs::write(patched.join("patch"), "another\n").unwrap();

    let of_source = |path: &Path| {
        let taken = kernel::record_of(&bench.harness(), path.to_str().unwrap())?;
        kernel::obtain(&bench.harness(), &taken, &Request::default()).map(|kernel| (taken, kernel))
    };
    let (built_as, other) = of_source(&patched).unwrap();
    assert_eq!((&built_as.fragments, other.version.as_str()), (&record.fragments, "5.4.7"));
    assert_eq!(built_as.name, other.name);
    assert!(other.name.starts_with("patched@") && other.name.len() == 15, "{}", other.name);
    assert_ne!(other.dir, kernel.dir);
    assert_eq!(bench.at_hand(&record).unwrap().dir, kernel.dir);
    assert_eq!(bench.builds(), 2);
    // The same source gives the same kernel under any name.
    assert_eq!(of_source(&bench.path("tree")).unwrap().1.dir, kernel.dir);
    assert_eq!(bench.builds(), 2);
    // The version of a tarball comes from its Makefile.
    fs::write(bench.path("tiny.tar"), bench.tarball()).unwrap();
    assert_eq!(of_source(&bench.path("tiny.tar")).unwrap().1.version, "5.4.7");
    let error = of_source(&bench.path("kernel-configs")).unwrap_err().to_string();
    assert!(error.contains("is no kernel") && error.contains("nor the Makefile and Kconfig"), "{error}");
}

fn the_command_with_no_way_to_the_mirrors_says_so_and_exits_as_documented() {
    let bench = Bench::new();
    let empty = server(|_, _| Reply::not_found());
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["kernel", "5.4"])
        .env("SNAPTRACE_CACHE", bench.path("cache"))
        .env("SNAPTRACE_MIRRORS", &empty.address)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let code = i32::from(Verdict::Unavailable.exit_code());
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains("cannot download linux-5.4"), "{text}");
    assert!(text.contains(&format!("404 Not Found, at {}", empty.address)), "{text}");
    assert!(text.contains("--source PATH") && text.contains("debian-6.1"), "{text}");
    assert!(empty.seen()[0].path.starts_with("/pub/linux/kernel/v5.x/linux-5.4."));
}

fn results_are_where_cargo_is_told_to_put_its_products() {
    let folder = tempfile::tempdir().unwrap();
    let said = |variable: &str, workspace: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["test-vm", "--stored"]).current_dir(folder.path());
        command.env_remove("CARGO_TARGET_DIR").env(variable, folder.path().join("out"));
        if workspace {
            command.env("SNAPTRACE_WORKSPACE", folder.path().join("work"));
        }
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    let at = |place: &str| format!("stored results at {}/latest", folder.path().join(place).display());
    for variable in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"] {
        let text = said(variable, false);
        assert!(text.contains(&at("out/vm")), "{variable}: {text}");
    }
    // Another workspace has its own.
    let text = said("CARGO_TARGET_DIR", true);
    assert!(text.contains(&at("work/target/vm")), "{text}");
}

fn changed_fragments_make_a_kernel_stale() {
    let bench = Bench::new();
    let record = bench.record_without_mirrors();
    let kernel = bench.obtain_from(&record, &bench.path("tree")).unwrap();
    let fragment = bench.path("kernel-configs/a.config");
    fs::write(&fragment, "# Why.\nCONFIG_PCI=y\nCONFIG_X=m\n").unwrap();
    let stale = bench.at_hand(&record).unwrap();
    assert_eq!(stale.dir, kernel.dir);
    assert!(stale.notes[0].contains("other settings"), "{:?}", stale.notes);

    // It is built from the same tree again.
    let renewed = bench.obtain(&record).unwrap();
    assert_ne!(renewed.dir, kernel.dir);
    assert_eq!(fs::read_to_string(&renewed.config).unwrap(), "CONFIG_PCI=y\nCONFIG_X=m\n");
    assert!(renewed.notes.is_empty() && bench.at_hand(&record).unwrap().notes.is_empty());
}

/// Makes a folder a git repository with all its files.
fn repository(folder: &Path) {
    for args in [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "first"]] {
        let mut git = Command::new("git");
        git.arg("-C").arg(folder).args(["-c", "user.name=a", "-c", "user.email=a@localhost"]).args(args);
        assert!(git.status().unwrap().success(), "git {args:?}");
    }
}

fn a_change_that_git_does_not_show_is_built() {
    let bench = Bench::new();
    let record = bench.record_without_mirrors();
    let tree = bench.path("tree");
    let driver = tree.join("drivers/mine");
    fs::create_dir_all(&driver).unwrap();
    fs::write(driver.join("x.c"), "int first;\n").unwrap();
    repository(&driver);
    fs::write(tree.join(".gitignore"), "ignored.c\n*.o\n").unwrap();
    repository(&tree);
    fs::write(tree.join(".git/info/exclude"), "excluded\n").unwrap();
    let mut seen = vec![bench.obtain_from(&record, &tree).unwrap().dir];
    for file in ["drivers/mine/x.c", "excluded", "ignored.c"] {
        fs::write(tree.join(file), "int second;\n").unwrap();
        let kernel = bench.obtain_from(&record, &tree).unwrap();
        assert!(!seen.contains(&kernel.dir), "{file}: the old kernel");
        seen.push(kernel.dir);
    }
    fs::write(tree.join("kernel.o"), "").unwrap();
    assert_eq!(bench.obtain_from(&record, &tree).unwrap().dir, seen[3]);
    assert_eq!(bench.builds(), 4);
}

fn of_two_equal_trees_the_name_remembers_the_one_it_was_given() {
    let bench = Bench::new();
    let record = bench.record_without_mirrors();
    let (one, other) = (bench.path("tree"), bench.tree("other", Flaw::None));
    let kernel = bench.obtain_from(&record, &one).unwrap();
    let again = bench.obtain_from(&record, &other).unwrap();
    assert_eq!((&again.dir, bench.builds()), (&kernel.dir, 1));
    for provenance in [&again.provenance, &bench.at_hand(&record).unwrap().provenance] {
        assert!(provenance.contains(&format!("{},", other.display())), "{provenance}");
    }
    // Built again, it is built from that one.
    let fragment = bench.path("kernel-configs/a.config");
    fs::write(&fragment, "# Why.\nCONFIG_PCI=y\nCONFIG_X=m\n").unwrap();
    fs::remove_dir_all(&one).unwrap();
    bench.obtain(&record).unwrap();
    assert_eq!(bench.builds(), 2);

    // One that is gone is not replaced by another source.
    fs::write(&fragment, "# Why.\nCONFIG_PCI=y\nCONFIG_Y=m\n").unwrap();
    fs::remove_dir_all(&other).unwrap();
    let error = bench.obtain(&record).unwrap_err();
    assert_eq!(error.verdict_given(), Some(Verdict::Unavailable));
    let text = error.to_string();
    assert!(text.contains(&format!("{}, which it was built from, is gone", other.display())), "{text}");
    assert!(text.contains("kernel tiny --source PATH"), "{text}");
    let notes = bench.at_hand(&record).unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("is gone")), "{notes:?}");
    // Other names keep the entry; the last one takes it away.
    kernel::clean(&bench.harness(), &["tiny".to_owned()]).unwrap();
    assert!(bench.at_hand(&record).is_none());
}

fn a_name_of_an_older_harness_has_its_tree_from_the_entry() {
    let bench = Bench::new();
    let record = bench.record_without_mirrors();
    let kernel = bench.obtain_from(&record, &bench.path("tree")).unwrap();
    let name = bench.path("cache/names/tiny");
    let key = fs::read_to_string(&name).unwrap().lines().next().unwrap().to_owned();
    fs::write(&name, format!("{key}\n")).unwrap();
    let manifest = kernel.dir.join("kernel.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let source = format!("{{ \"source\": {:?},", bench.path("tree"));
    fs::write(&manifest, text.replacen('{', &source, 1)).unwrap();
    fs::write(bench.path("kernel-configs/a.config"), "# Why.\nCONFIG_PCI=y\nCONFIG_X=m\n").unwrap();
    bench.obtain(&record).unwrap();
    assert_eq!(bench.builds(), 2);
}

fn a_tree_that_changes_while_it_is_built_gives_no_kernel() {
    let bench = Bench::new();
    let record = bench.record_without_mirrors();
    let makefile = bench.path("tree/Makefile");
    let text = fs::read_to_string(&makefile).unwrap();
    fs::write(&makefile, text.replace("modules:\n\t@true", "modules:\n\t@date +%N >>added.c")).unwrap();
    let error = bench.obtain_from(&record, &bench.path("tree")).unwrap_err();
    assert_eq!(error.verdict_given(), Some(Verdict::BuildFailed));
    assert!(error.to_string().contains("changed while it was built"), "{error}");
    assert!(bench.at_hand(&record).is_none());
    assert_eq!(fs::read_dir(bench.path("cache/kernels")).unwrap().count(), 0);
}

fn what_no_build_can_use_is_said_before_it() {
    let bench = Bench::new();
    let record = bench.record_without_mirrors();
    let refused = |source: &Path| bench.obtain_from(&record, source).unwrap_err().to_string();
    for (name, why) in
        [("my tree", "no space"), ("a:b", "`:`"), ("a$b", "`$`"), ("a#b", "`#`"), ("a'b", "`'`")]
    {
        let text = refused(&bench.tree(name, Flaw::None));
        assert!(text.contains("cannot build in") && text.contains(why), "{text}");
    }
    let tree = bench.tree("special", Flaw::None);
    let pipe = tree.join("pipe");
    let fifo = || {
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    };
    fifo();
    assert!(refused(&tree).contains("a FIFO in it"));
    // Not as the tree itself, nor in place of a file that is always read.
    assert!(refused(&pipe).contains("neither a folder nor a regular file"));
    assert!(refused(Path::new("/dev/zero")).contains("neither a folder nor a regular file"));
    fs::rename(&pipe, tree.join("Makefile")).unwrap();
    assert!(refused(&tree).contains("it has no Makefile"));
    // Opening a pipe would wait for ever.
    for path in [&tree, &tree.join("Makefile"), Path::new("/dev/zero")] {
        assert!(kernel::record_of(&bench.harness(), path.to_str().unwrap()).is_err());
    }

    let at =
        |cache: &str| Workspace::new(bench.folder.path().to_owned(), Cache::at(bench.path(cache)), false);
    let request = Request { source: Some(bench.path("tree")), ..Request::default() };
    let text = kernel::obtain(&at("a cache"), &record, &request).unwrap_err().to_string();
    assert!(text.contains("no space") && text.contains("SNAPTRACE_CACHE"), "{text}");
    // Nor is anything downloaded for it.
    let text = kernel::obtain(&at("a cache"), &record, &Request::default()).unwrap_err().to_string();
    assert!(text.contains("no space"), "{text}");
    assert_eq!(bench.builds(), 0);
}

fn listing(folder: &Path) -> Vec<(PathBuf, u64)> {
    let items = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter();
    items.map(Result::unwrap).map(|i| (i.path().into(), i.metadata().unwrap().len())).collect()
}

fn local_tarballs_are_taken_in_every_compression() {
    let bench = Bench::new();
    let record = bench.record_without_mirrors();
    let xz = bench.tarball();
    let mut tar = Vec::new();
    liblzma::read::XzDecoder::new(xz.as_slice()).read_to_end(&mut tar).unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&tar).unwrap();
    let gz = gz.finish().unwrap();
    let zst = zstd::encode_all(tar.as_slice(), 1).unwrap();
    for (name, bytes) in [("a.tar", tar), ("b.gz", gz), ("c.xz", xz), ("d", zst)] {
        let path = bench.path(name);
        fs::write(&path, bytes).unwrap();
        let kernel = bench.obtain_from(&record, &path).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(kernel.version, "5.4.7", "{name}");
    }
    assert_eq!(bench.builds(), 4);
    fs::write(bench.path("e.zip"), "PK").unwrap();
    let error = bench.obtain_from(&record, &bench.path("e.zip")).unwrap_err().to_string();
    assert!(error.contains("neither a tar archive nor"), "{error}");
    // The one that failed left nothing behind.
    assert_eq!(fs::read_dir(bench.path("cache/kernels")).unwrap().count(), 4);
}

fn a_dropped_symbol_is_named_with_what_it_depends_on() {
    let bench = Bench::new();
    let record = bench.record_without_mirrors();
    let tree = bench.tree("dropping", Flaw::DropsPci);
    let error = bench.obtain_from(&record, &tree).unwrap_err();
    assert_eq!(error.verdict_given(), Some(Verdict::ConfigUnmet));
    let text = error.to_string();
    assert!(text.contains("a.config asks for `CONFIG_PCI=y`"), "{text}");
    assert!(text.contains("PCI depends on HAS_BUS [=n]"), "{text}");
    assert!(text.contains("PCI depends on MMU [=n]"), "{text}");
    assert_eq!(bench.builds(), 0);
    assert!(bench.at_hand(&record).is_none());
}

fn a_build_that_fails_shows_its_first_error_and_keeps_its_log() {
    let bench = Bench::new();
    let record = bench.record_without_mirrors();
    let makefile = bench.path("tree/Makefile");
    let good = fs::read_to_string(&makefile).unwrap();
    let bad = "modules:\n\t@echo 'a.c:1: error: no such thing'; exit 1";
    fs::write(&makefile, good.replace("modules:\n\t@true", bad)).unwrap();
    let error = bench.obtain_from(&record, &bench.path("tree")).unwrap_err();
    assert_eq!(error.verdict_given(), Some(Verdict::BuildFailed));
    let text = error.to_string();
    assert!(
        text.contains("does not build (make -j") && text.contains("): a.c:1: error: no such thing\n"),
        "{text}"
    );
    assert!(!text.contains("***") && error.summary().ends_with("a.c:1: error: no such thing"), "{text}");
    let (_, log) = text.lines().find_map(|line| line.split_once("the full log is ")).unwrap();
    assert!(fs::read_to_string(log).unwrap().contains("no such thing"));

    fs::write(&makefile, good).unwrap();
    bench.obtain_from(&record, &bench.path("tree")).unwrap();
}

fn of_several_commands_at_once_one_builds_and_the_others_wait() {
    let bench = Bench::new();
    let tarball = bench.tarball();
    let sha256 = digest(&tarball);
    let server = server(move |_, _| Reply::whole(&tarball));
    let record = bench.record(&sha256, &[&server.address]);
    let folders: Vec<PathBuf> = std::thread::scope(|scope| {
        let commands: Vec<_> = (0..3).map(|_| scope.spawn(|| bench.obtain(&record))).collect();
        commands.into_iter().map(|command| command.join().unwrap().unwrap().dir).collect()
    });
    assert!(folders.iter().all(|folder| *folder == folders[0]), "{folders:?}");
    assert_eq!((server.seen().len(), bench.builds()), (1, 1));
}

fn cleaning_a_name_removes_its_kernel() {
    let bench = Bench::new();
    let record = bench.record_without_mirrors();
    let kernel = bench.obtain_from(&record, &bench.path("tree")).unwrap();
    let h = bench.harness();
    assert!(kernel::clean(&h, &["unknown".to_owned()]).is_err());
    assert!(kernel.vmlinux.exists());
    kernel::clean(&h, &["tiny".to_owned()]).unwrap();
    assert!(!kernel.dir.exists());
    assert!(bench.at_hand(&record).is_none());
}

/// Runs the harness in the workspace of a bench, with outputs that nobody reads.
fn unread(bench: &Bench, arguments: &[&str]) -> Option<i32> {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(arguments)
        .env("SNAPTRACE_WORKSPACE", bench.folder.path())
        .env("SNAPTRACE_CACHE", bench.path("cache"))
        .current_dir(bench.folder.path())
        .stdin(Stdio::null())
        .stdout(writer.try_clone().unwrap())
        .stderr(writer);
    command.status().unwrap().code()
}

fn a_build_that_nobody_listens_to_goes_on() {
    let bench = Bench::new();
    let record = bench.record_without_mirrors();
    let tree = bench.path("tree").display().to_string();
    assert_eq!(unread(&bench, &["kernel", "tiny", "--source", &tree]), Some(0));
    assert!(bench.at_hand(&record).is_some());
    let broken = bench.tree("broken", Flaw::Error).display().to_string();
    assert_eq!(unread(&bench, &["kernel", "tiny", "--source", &broken]), Some(215));
    let left: Vec<_> = fs::read_dir(bench.path("cache/kernels"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

fn no_command_panics_where_nobody_reads() {
    let bench = Bench::new();
    bench.record_without_mirrors();
    let help = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() > 12 && names.contains(&"restore") && !names.contains(&"put-back"), "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        assert_eq!(unread(&bench, &[name, "--help"]), Some(0), "{name}");
    }
    for (line, code) in [
        ("kernel --list", 0),
        ("kernel --list --format json", 0),
        ("faults --list", 0),
        // Commands that print to standard error.
        ("kernel nosuch", 2),
        ("run --get x:nosuch/x -- true", 2),
        ("test-vm --nosuch", 2),
    ] {
        assert_eq!(unread(&bench, &line.split(' ').collect::<Vec<_>>()), Some(code), "{line}");
    }
    assert_ne!(unread(&bench, &["doctor"]), Some(101));
}
