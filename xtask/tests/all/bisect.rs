//! `cargo xtask bisect` on a small history made of a real kernel's source: a planted commit is
//! named, and what does not build is skipped.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use xtask::base::cache::Cache;
use xtask::base::workspace::Workspace;
use xtask::commands::test::BISECTED;
use xtask::kernel;

use crate::common::root;

trials! {
    ; ignored:
    // A kernel is built, which takes minutes; `cargo xtask test --full` runs it.
    a_planted_commit_is_named_and_what_does_not_build_is_skipped,
}

const CASE: &str = "function-graph";

/// Folders that the guests' kernel does not need, and that make git slow. Kconfig files are kept, since
/// Kconfig reads all.
const LEFT_OUT: &str = "\
/Documentation/**/*.rst
/Documentation/**/*.yaml
/arch/arm*/**/*.[chS]
/arch/arm*/**/*.dts*
/arch/mips/**/*.[chS]
/arch/powerpc/**/*.[chS]
/drivers/gpu/**/*.[ch]
/drivers/infiniband/**/*.[ch]
/drivers/media/**/*.[ch]
/drivers/net/ethernet/**/*.[ch]
/drivers/net/wireless/**/*.[ch]
/drivers/scsi/**/*.[ch]
/drivers/staging/**/*.[ch]
/sound/**/*.[ch]
/tools/perf/
/tools/testing/
";

/// A change of one file: subject, file, old text, new text.
type Change = (&'static str, &'static str, &'static str, &'static str);

const FAILSLAB: &str = "\tif (should_failslab(s, flags))\n\t\treturn NULL;\n\n";
const PLANTED: &str = "mm: allocations do not fail on purpose";

/// The history after the first commit. Only one changes what the case says.
const HISTORY: [Change; 12] = [
    ("lib: a comment", "lib/ctype.c", "", "/* 1 */\n"),
    ("lib: another comment", "lib/sort.c", "", "/* 2 */\n"),
    ("fs: a comment", "fs/readdir.c", "", "/* 3 */\n"),
    ("mm: a comment", "mm/util.c", "", "/* 4 */\n"),
    ("kernel: a comment", "kernel/utsname.c", "", "/* 5 */\n"),
    ("lib: a slip", "lib/ctype.c", "/* 1 */\n", "/* 1 */\n#error \"does not build\"\n"),
    ("lib: the slip is undone", "lib/ctype.c", "#error \"does not build\"\n", ""),
    (PLANTED, "mm/slab.h", FAILSLAB, ""),
    ("lib: a third comment", "lib/ctype.c", "/* 1 */\n", "/* 9 */\n"),
    ("fs: another comment", "fs/readdir.c", "/* 3 */\n", "/* 10 */\n"),
    ("mm: another comment", "mm/util.c", "/* 4 */\n", "/* 11 */\n"),
    ("kernel: another comment", "kernel/utsname.c", "/* 5 */\n", "/* 12 */\n"),
];

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        // The same commits each time: what was built of one is not built again.
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "core.compression=0"])
        .args(arguments)
        .envs([("GIT_AUTHOR_DATE", "2020-01-01T00:00:00Z"), ("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z")])
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Makes a tree a repository with the history; returns the planted commit.
fn plant(tree: &Path) -> String {
    git(tree, &["init", "--quiet"]);
    fs::write(tree.join(".git/info/exclude"), LEFT_OUT).unwrap();
    // Debian's makes git ignore everything.
    fs::remove_file(tree.join(".gitignore")).unwrap();
    git(tree, &["add", "."]);
    git(tree, &["commit", "--quiet", "-m", "the source as it is"]);
    git(tree, &["tag", "good"]);
    let mut planted = None;
    for (subject, file, from, to) in HISTORY {
        let path = tree.join(file);
        let text = fs::read_to_string(&path).unwrap();
        // What replaces nothing comes first.
        assert!(text.contains(from), "{file} has no {from:?}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        git(tree, &["commit", "--quiet", "-am", subject]);
        if subject == PLANTED {
            planted = Some(git(tree, &["rev-parse", "HEAD"]));
        }
    }
    planted.unwrap()
}

fn bisect(tree: &Path, good: &str, bad: &str) -> (Output, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["bisect", "--good", good, "--bad", bad, "--case", CASE, "--kernel", BISECTED])
        .arg(tree)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    eprintln!("{stdout}\n{stderr}");
    (output, stdout, stderr)
}

fn a_planted_commit_is_named_and_what_does_not_build_is_skipped() {
    let h = Workspace::new(root(), Cache::open().unwrap(), false);
    let matrix = h.matrix().unwrap();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let tree = kernel::unpack(&h, matrix.find(BISECTED).unwrap(), &folder.path().join("source")).unwrap();
    let planted = plant(&tree);
    let before = (git(&tree, &["status", "--porcelain"]), git(&tree, &["rev-parse", "HEAD"]));

    let (output, stdout, stderr) = bisect(&tree, "good", "HEAD");
    assert!(output.status.success(), "{}", output.status);
    assert!(stdout.starts_with("first bad commit: ") && stdout.contains(PLANTED), "{stdout}");
    assert!(stdout.contains(&format!("\n  {planted}\n")), "{planted} is not named: {stdout}");
    // What the commit took away is what the case no longer says, and that alone.
    let changed = |sign: char| {
        let lines = stdout.lines().filter(move |line| line.starts_with(sign));
        lines.filter(|line| !line.starts_with("---") && !line.starts_with("+++"))
    };
    assert!(changed('-').count() > 0 && changed('-').all(|line| line.contains("should_failslab();")));
    assert_eq!(changed('+').count(), 0);
    assert!(stderr.contains(": skip (") && stderr.contains("does not build"), "nothing was skipped");
    assert!(stderr.contains("step 1 of about "), "no progress");

    // In a range without the commit there is nothing to find.
    let (output, _, stderr) = bisect(&tree, &planted, "HEAD");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("the case prints the same on both revisions"));

    // The repository and its checkout are as they were.
    let after = (git(&tree, &["status", "--porcelain"]), git(&tree, &["rev-parse", "HEAD"]));
    assert_eq!(after, before);
    assert_eq!(git(&tree, &["worktree", "list"]).lines().count(), 1);
    assert_eq!(git(&tree, &["for-each-ref", "refs/bisect"]), "");
}
