//! The lines of a build's log that say why it failed.
//!
//! make's last lines say that a command failed and where, but not why; the command said why before. The
//! output of parallel jobs is mixed, so the first line that reports a failure counts.

use std::sync::LazyLock;

use regex::Regex;

use crate::base::ui::printable;

/// The most lines that are shown; the log has all of them.
const SHOWN: usize = 6;
/// The longest line that is shown, in characters.
const WIDTH: usize = 400;

/// Lines that appear only after a failure: of compilers, linkers, Kconfig, modpost, scripts, the shell, the
/// system, and of make itself.
static CAUSE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?x)
        # compilers, assemblers, linkers, objtool, modpost
        (?i: \b error (\[E\d+\])? :\s ) | ^FATAL: | ^ERROR: | \b (?i: fatal) :\s (?-i: modpost)
        | undefined\ (reference|symbol) | multiple\ definition\ of | undefined!$
        | cannot\ find\ -l | relocation\ truncated | will\ not\ fit\ in | \bregion\ .*\ overflowed
        | assertion\ fail | final\ link\ failed | overlaps\ section | unrecognized\ (command|option|argument)
        # Kconfig, and what else names a place
        | ^\S*Kconfig[^\s:]*:\d+:
        | ^\S+:\d+:\ \*\*\*
        | (?i: syntax\ error)
        # BTF
        | ^FAILED\b
        # Python, Perl, shells and their tools
        | ^\w+(\.\w+)*(Error|Exception)(:|$)
        | ^Can't\ (locate|open|exec)\b | \ at\ \S+\ line\ \d+[.,]
        | \bline\ \d+:\ \S+:\ | ^\S*sh:\ (line\ )?\d+:
        | ^(\S*/)?(sed|awk|gawk|mawk|bc|perl|python3?|cpio|tar|gzip|bzip2|xz|zstd|lz4|lzop|openssl|pahole|resolve_btfids
                 |objcopy|strip|ar|nm|flex|bison|rustc|bindgen|depmod|sign-file):\s
        | (?i: command\ not\ found) | :\ not\ found$
        # the system
        | No\ space\ left\ on\ device | (?i: quota\ exceeded) | Read-only\ file\ system | Input/output\ error
        | Too\ many\ open\ files | Argument\ list\ too\ long | Exec\ format\ error | Permission\ denied
        | Cannot\ allocate\ memory | (?i: \bout\ of\ memory\b | memory\ exhausted ) | bad_alloc
        | Resource\ temporarily\ unavailable
        | ^(\S.*\s)?Killed\b | Segmentation\ fault | Bus\ error | Illegal\ instruction | ^(\S.*\s)?Aborted\b
        "#,
    )
});

/// Lines that may report a failure, but are also common without one.
static HINT: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?xi)
        \b(cannot|can't|could\ not|couldn't|unable\ to|fail(ed|ure)?|no\ such\ file|not\ found|not\ available
        |not\ installed|please|missing|lacks|too\ old|unsupported|not\ supported|invalid|inconsistent|required
        |fatal|abort(ed)?|refus\w+|undefined|unknown|not\ clean)\b",
    )
});

/// A line of make itself; `rest` is the text after its name.
static MAKE: LazyLock<Regex> = LazyLock::new(|| regex(r"^(\S*/)?g?make(\[\d+\])?: (\*\*\* )?(?<rest>.*)$"));

/// Messages of make that do not say why a build failed: its folder, and that a command failed.
static CHATTER: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?x) ^(Entering|Leaving)\ directory | ^Nothing\ to\ be\ done | is\ up\ to\ date
        | ^Waiting\ for\ unfinished | ^\[.*\]\ Error\ \d+ | not\ remade\ because | (?i: ^warning: )
        | ^Deleting\ | ^Removing\ | ^rm\ | ^Circular\ ",
    )
});

/// A process that was killed, as happens when memory runs out, by its exit status in a shell.
static ENDED: LazyLock<Regex> = LazyLock::new(|| regex(r"^\[.*\] Error 1(37|39|34)\b"));

/// Lines of a compiler that are no errors: warnings, notes, source lines, and chains of includes.
static BESIDE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?x) (?i: \bwarning\b[:(] ) | \ deprecated\ syntax$ | :\ note:\  | ^\s*\d*\s*\|  | ^In\ file\ included\ from
        | ^\S+:\ (?i: in\ function | at\ top\ level ) | ^\s+from\s\S+:\d+
        | ^(\S*/)?git: | ^fatal:\ (not\ a\ git|detected\ dubious|No\ names\ found|No\ annotated)",
    )
});

#[expect(clippy::expect_used, reason = "the expressions stand above")]
fn regex(text: &str) -> Regex {
    Regex::new(text).expect("a regular expression")
}

/// The kind of a line in a build's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineKind {
    /// It says why something failed.
    Cause,
    /// A line of make that a command failed.
    Complaint,
    /// A line without information.
    Chatter,
    /// A line of a compiler that is no error.
    Beside,
    /// Any other output of a command.
    Other,
}

fn kind(line: &str) -> LineKind {
    if let Some(rest) = MAKE.captures(line).and_then(|found| found.name("rest")) {
        return match rest.as_str() {
            rest if ENDED.is_match(rest) => LineKind::Cause,
            rest if !CHATTER.is_match(rest) => LineKind::Cause,
            rest if rest.starts_with('[') && !rest.ends_with("(ignored)") => LineKind::Complaint,
            _ => LineKind::Chatter,
        };
    }
    let line = line.trim_end();
    if line.trim_matches(['*', ' ', '\t', '^', '~']).is_empty() || is_step(line.as_bytes()) {
        return LineKind::Chatter;
    }
    if BESIDE.is_match(line) {
        return LineKind::Beside;
    }
    if CAUSE.is_match(line) { LineKind::Cause } else { LineKind::Other }
}

/// The lines that say why a build failed, in their order; empty if there are none.
pub fn causes(log: &str) -> Vec<String> {
    let lines: Vec<(&str, LineKind)> = log.lines().map(|line| (line, kind(line))).collect();
    let of = |wanted: LineKind| lines.iter().filter(move |(_, kind)| *kind == wanted).map(|(line, _)| *line);
    let mut shown: Vec<&str> = of(LineKind::Cause).take(SHOWN).collect();
    if shown.is_empty() {
        // The last lines of the first command that failed.
        let failed = lines.iter().position(|(_, kind)| *kind == LineKind::Complaint).unwrap_or(lines.len());
        let said = lines[..failed].iter().rev().filter(|(_, kind)| *kind != LineKind::Chatter);
        shown = said
            .take_while(|(_, kind)| *kind == LineKind::Other)
            .take(SHOWN)
            .map(|(line, _)| *line)
            .collect();
        shown.reverse();
        shown.drain(..shown.iter().position(|line| HINT.is_match(line)).unwrap_or(0));
    }
    if shown.is_empty() {
        shown = of(LineKind::Complaint).take(1).collect();
    }
    let shown = shown.into_iter().map(|line| printable(line.trim()).chars().take(WIDTH).collect());
    let mut shown: Vec<String> = shown.collect();
    shown.dedup();
    shown
}

/// Whether a tool says that the disk or the quota is full.
pub fn is_disk_full(causes: &[String]) -> bool {
    causes.iter().any(|line| line.contains("No space left on device") || line.contains("uota exceeded"))
}

/// Advice on a cause, if there is any.
pub fn help(causes: &[String]) -> Option<String> {
    let says = |words: &[&str]| causes.iter().any(|line| words.iter().any(|word| line.contains(word)));
    if is_disk_full(causes) {
        return Some("free some space, or set SNAPTRACE_CACHE to a folder on another disk".to_owned());
    }
    let memory =
        ["Killed", "Cannot allocate memory", "ut of memory", "emory exhausted", "bad_alloc", "Error 137"];
    if says(&memory) {
        return Some(
            "memory ran out, most likely: end other programs, or add swap, and build again".to_owned(),
        );
    }
    let packages = [
        ("openssl/", "libssl-dev"),
        ("-lcrypto", "libssl-dev"),
        ("libelf", "libelf-dev"),
        ("gelf.h", "libelf-dev"),
        ("-lelf", "libelf-dev"),
        ("curses", "libncurses-dev"),
        ("pahole", "dwarves"),
    ];
    if let Some((_, package)) = packages.iter().find(|(word, _)| says(&[word])) {
        return Some(format!("install {package}"));
    }
    let program = causes.first()?.trim_end();
    let program = ["command not found", "Command not found", "not found", "No such file or directory"]
        .iter()
        .find_map(|words| program.strip_suffix(words))?
        .trim_end_matches([':', ' ']);
    let program = program.rsplit([' ', ':']).next().filter(|word| !word.is_empty() && !word.contains('/'))?;
    let is_program = program.chars().all(|c| c.is_ascii_alphanumeric() || "-_+".contains(c));
    is_program.then(|| format!("install {program}"))
}

/// Whether a line of kbuild reports that it makes a file: `  CC      kernel/fork.o`, or with `[M]` in
/// between.
pub fn is_step(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"  ") else { return false };
    let length = rest.iter().take_while(|byte| byte.is_ascii_uppercase() || b"_-".contains(byte)).count();
    length >= 2 && rest.get(length) == Some(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log around a cause: steps of kbuild and warnings before it, make's lines after it.
    fn log(said: &str) -> String {
        format!(
            "make: Entering directory '/src'\nmake[1]: Entering directory '/objects'\n  GEN     Makefile\n\
             \x20 CC      lib/error-inject.o\nlib/a.c: In function 'f':\n\
             lib/a.c:7:9: warning: 'x' may be used uninitialized [-Wmaybe-uninitialized]\n\
             \x20   7 |         pr_err(\"error: cannot do it\");\n      |         ^~~~~~\n\
             lib/a.c:3:5: note: 'x' was declared here: error: no\n\
             {said}\n\
             make[2]: *** [/src/scripts/Makefile.build:262: kernel/fork.o] Error 1\n\
             \x20 CC      fs/open.o\nmake[2]: *** Waiting for unfinished jobs....\n\
             make[1]: *** [/src/Makefile:1729: kernel] Error 2\nmake[1]: Leaving directory '/objects'\n\
             make: *** [Makefile:179: sub-make] Error 2\nmake: Leaving directory '/src'\n"
        )
    }

    #[test]
    fn the_first_line_that_says_why_is_shown_first() {
        let cases = [
            // The output, and the index of the line that is the cause.
            ("init/Kconfig:244: can't open file \"drivers/none/Kconfig\"", 0),
            ("drivers/x/Kconfig:12: syntax error\ndrivers/x/Kconfig:11: invalid option", 0),
            ("drivers/x/Kconfig:3:error: recursive dependency detected!", 0),
            ("kernel/fork.c: In function 'g':\nkernel/fork.c:9:2: error: unknown type name 'no'", 1),
            (
                "In file included from a.h:1,\n                 from a.c:2:\na.h:1:10: fatal error: b.h: No such file or directory",
                2,
            ),
            ("kernel/x.c:3:2: error: #error no such thing", 0),
            ("entry.S: Assembler messages:\nentry.S:4: Error: no such instruction: `foo'", 1),
            ("ld: kernel/fork.o: in function `f':\nfork.c:(.text+0x5): undefined reference to `g'", 1),
            ("/usr/bin/ld: b.o:(.bss+0x0): multiple definition of `yylloc'; a.o: first defined here", 0),
            ("/usr/bin/ld: cannot find -lelf: No such file or directory", 0),
            ("ld: .tmp_vmlinux.lds:12: syntax error", 0),
            ("ld: x.o: relocation truncated to fit: R_X86_64_32S against `.text'", 0),
            ("make[3]: *** No rule to make target 'kernel/no.o', needed by 'kernel/built-in.a'.  Stop.", 0),
            ("/src/Makefile:12: *** missing separator.  Stop.", 0),
            ("Makefile:979: *** \"Cannot generate ORC metadata, please install libelf-dev\".  Stop.", 0),
            ("gcc: fatal error: Killed signal terminated program cc1\ncompilation terminated.", 0),
            ("Killed", 0),
            ("/bin/sh: line 1: 4711 Killed                  ld -m elf_x86_64 -o vmlinux", 0),
            ("make[3]: *** [scripts/Makefile.build:262: kernel/x.o] Killed", 0),
            ("make[3]: *** [scripts/Makefile.build:262: kernel/x.o] Error 137", 0),
            ("gcc: internal compiler error: Segmentation fault signal terminated program cc1", 0),
            ("cc1: out of memory allocating 65536 bytes after a total of 1 bytes", 0),
            ("virtual memory exhausted: Cannot allocate memory", 0),
            ("/bin/sh: 1: fork: Resource temporarily unavailable", 0),
            ("kernel/x.c:1:1: fatal error: error writing to /tmp/ccx.s: No space left on device", 0),
            ("objcopy: vmlinux.bin: No space left on device", 0),
            ("/bin/sh: 1: bc: not found", 0),
            ("/bin/sh: line 1: flex: command not found", 0),
            ("make[2]: flex: No such file or directory", 0),
            ("make[2]: bison: Permission denied", 0),
            ("certs/extract-cert.c:21:10: fatal error: openssl/bio.h: No such file or directory", 0),
            ("ERROR: modpost: \"no_such\" [drivers/x.ko] undefined!", 0),
            (
                "WARNING: modpost: vmlinux.o: section mismatch\nFATAL: modpost: section mismatches detected.",
                1,
            ),
            ("kernel/fork.o: error: objtool: can't find starting instruction", 0),
            ("FAILED: load BTF from vmlinux: No such file or directory", 0),
            (
                "BTF: .tmp_vmlinux.btf: pahole (pahole) is not available\nTry to disable CONFIG_DEBUG_INFO_BTF",
                0,
            ),
            ("Failed to generate BTF for vmlinux\nTry to disable CONFIG_DEBUG_INFO_BTF", 0),
            (
                "Traceback (most recent call last):\n  File \"/src/x.py\", line 3, in <module>\n    import no\nModuleNotFoundError: No module named 'no'",
                3,
            ),
            ("Can't locate No/Such.pm in @INC (you may need to install the No::Such module)", 0),
            ("no such table at /src/scripts/x.pl line 12, <STDIN> line 4.", 0),
            ("/src/scripts/x.sh: line 5: x: unbound variable", 0),
            ("/src/scripts/x.sh: 5: Syntax error: \"(\" unexpected", 0),
            ("sed: -e expression #1, char 3: unterminated `s' command", 0),
            ("error[E0425]: cannot find value `x` in this scope\n --> rust/kernel/lib.rs:3:5", 0),
            ("***\n*** The source tree is not clean, please run 'make ARCH=x86_64 mrproper'\n***", 1),
            ("Compiler lacks asm-goto support.", 0),
            ("what nobody has ever said before", 0),
            ("gcc: error: unrecognized command-line option '-mno-such'", 0),
        ];
        for (said, at) in cases {
            let expected = said.lines().nth(at).unwrap().trim();
            let found = causes(&log(said));
            assert_eq!(found.first().map(String::as_str), Some(expected), "{said}\n{found:#?}");
            let own = |line: &String| line.contains("Waiting for") || line.contains("] Error 2");
            assert!(!found.iter().any(own), "{found:#?}");
        }
    }

    #[test]
    fn of_several_jobs_the_first_that_failed_is_shown_and_the_others_behind() {
        let mixed = "  CC      a.o\n  CC      b.o\nb.c:1:1: error: first\nmake[2]: *** [Makefile:1: b.o] Error 1\n\
                     make[2]: *** Waiting for unfinished jobs....\na.c:2:2: error: second\n\
                     make[2]: *** [Makefile:1: a.o] Error 1\nmake: *** [Makefile:2: all] Error 2\n";
        assert_eq!(causes(mixed), ["b.c:1:1: error: first", "a.c:2:2: error: second"]);
    }

    #[test]
    fn where_nothing_tells_why_make_does() {
        let silent =
            "  CC      a.o\nmake[1]: *** [Makefile:1: a.o] Error 1\nmake: *** [Makefile:2: all] Error 2\n";
        assert_eq!(causes(silent), ["make[1]: *** [Makefile:1: a.o] Error 1"]);
        assert_eq!(causes(""), Vec::<String>::new());
        assert_eq!(causes("make[1]: [Makefile:1: x] Error 1 (ignored)\n"), Vec::<String>::new());
    }

    #[test]
    fn lines_of_a_log_neither_drive_a_terminal_nor_fill_it() {
        let found = causes(&format!("a.c:1:1: error: \u{1b}[2J{}\n", "x".repeat(10_000)));
        assert!(found[0].starts_with("a.c:1:1: error: ?[2J") && found[0].len() == WIDTH, "{found:?}");
    }

    #[test]
    fn what_helps_is_said() {
        for (said, expected) in [
            ("x.c:1:1: fatal error: error writing to /tmp/x: No space left on device", "free some space"),
            ("gcc: fatal error: Killed signal terminated program cc1", "memory ran out"),
            (
                "certs/extract-cert.c:21:10: fatal error: openssl/bio.h: No such file or directory",
                "libssl-dev",
            ),
            ("/bin/sh: 1: bc: not found", "install bc"),
            ("/bin/sh: line 1: flex: command not found", "install flex"),
            ("make[2]: bison: No such file or directory", "install bison"),
        ] {
            let found = help(&causes(&log(said))).unwrap_or_default();
            assert!(found.contains(expected), "{said}: {found}");
        }
        assert_eq!(help(&["a.c:1:1: error: x".to_owned()]), None);
        assert_eq!(help(&["a.c:1:1: fatal error: x.h: No such file or directory".to_owned()]), None);
    }
}
