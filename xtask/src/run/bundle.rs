//! Failure bundles: the files of a failed guest under `target/vm/`, for people.
//!
//! `<run>/<kernel>/<case>/` holds QEMU's command line, the console, QEMU's own output, the frames as received
//! and as text, the initramfs, and a page that says what failed, on which kernel, and how to repeat it.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use initramfs::protocol::{Frame, Receiver};

use crate::base::cache;
use crate::base::error::{Context, Result};
use crate::base::ui::printable;
use crate::base::verdict::Verdict;
use crate::base::workspace::Workspace;
use crate::guest::fingerprint::Fingerprint;
use crate::guest::prepared::{COMMAND, Guest};
use crate::vm::{self, console};

/// The page for people.
pub const PAGE: &str = "failure.txt";
/// The guest's frames, as text.
pub const SENT: &str = "sent.txt";
/// The guest's standard input.
pub const STDIN: &str = "stdin";

/// The most lines shown of the console, and of QEMU's own output.
const SHOWN_LINES: usize = 8;
/// The most bytes of a frame that are written as text.
const WORDS: usize = 16 << 10;
/// The most bytes of the frames that are read.
const READ: u64 = 64 << 20;
/// The most bytes of text for all frames together.
const ALL_WORDS: usize = 8 << 20;

/// The failure of a guest.
pub struct GuestFailure<'a> {
    /// What failed: a case, or `run`.
    pub case: &'a str,
    /// The guest.
    pub guest: &'a Guest,
    /// The inputs of the run.
    pub inputs: &'a Fingerprint,
    /// The verdict.
    pub verdict: Verdict,
    /// One sentence on it.
    pub why: &'a str,
    /// The command that repeats it.
    pub again: &'a str,
}

impl GuestFailure<'_> {
    /// Completes the bundle in `folder`, which already has the channels.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let kernel = &self.guest.kernel;
        let page = format!(
            "{case} on {name}: {verdict}: {why}\n\n\
             kernel   {release} ({provenance})\n\
             image    SHA-256 {image}\n\
             initrd   SHA-256 {initrd}\n\
             append   {append}\n\
             QEMU     {qemu}\n\
             again    {again}\n\n\
             {COMMAND}  QEMU's command line\n\
             console.log   the guest's console\n\
             qemu.log      QEMU's own words\n\
             results.bin   the frames that the guest sent\n\
             {SENT}      the same in words\n{stdin}",
            stdin = match self.inputs.stdin.as_str() {
                "" => String::new(),
                sha256 => format!("{STDIN}         what was passed as standard input, SHA-256 {sha256}\n"),
            },
            case = self.case,
            name = kernel.name,
            verdict = self.verdict,
            why = self.why,
            release = kernel.release,
            provenance = kernel.provenance,
            image = self.inputs.image,
            initrd = self.inputs.initrd,
            append = self.inputs.append,
            qemu = self.inputs.qemu,
            again = self.again,
        );
        // It may contain output of the guest.
        write(folder, PAGE, &printable(&page))?;
        let results = folder.join(vm::RESULTS);
        let mut bytes = Vec::new();
        let read = File::open(&results).and_then(|file| file.take(READ).read_to_end(&mut bytes));
        read.context(|| format!("cannot read {}", results.display()))?;
        write(folder, SENT, &in_words(&bytes))
    }

    /// The lines to show: the end of the console and of QEMU's output, the folder of the bundle, and the
    /// command that repeats the run.
    pub fn shown(&self, workspace: &Workspace, folder: &Path) -> Vec<String> {
        shown(workspace, folder, self.again)
    }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|e| cache::denied("cannot write", &path, &e))
}

/// A command's words, quoted for a shell.
pub fn quoted(words: &[String]) -> String {
    let quoted =
        words.iter().map(|word| shlex::try_quote(word).map_or(word.clone(), |word| word.into_owned()));
    quoted.collect::<Vec<_>>().join(" ")
}

/// The lines to show of a bundle, made safe for a terminal.
pub fn shown(workspace: &Workspace, folder: &Path, again: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, file) in [("console", vm::CONSOLE), ("QEMU", vm::QEMU_LOG)] {
        // A missing file shows nothing.
        let said = fs::read(folder.join(file)).unwrap_or_default();
        lines.extend(console::last_lines(&said, SHOWN_LINES).iter().map(|line| format!("  {name}: {line}")));
    }
    let place = folder.strip_prefix(&workspace.root).unwrap_or(folder);
    lines.push(format!("  everything is in {}", place.display()));
    lines.push(format!("  again: {again}"));
    lines
}

/// The frames of a channel as text, one after another; damage is reported at the end.
fn in_words(bytes: &[u8]) -> String {
    let mut receiver = Receiver::new();
    receiver.push(bytes);
    let mut out = String::new();
    loop {
        let frame = match receiver.frame() {
            Ok(Some(frame)) => frame,
            Ok(None) if receiver.waiting() > 0 => {
                out += &format!("[{} bytes of a frame that is not whole]\n", receiver.waiting());
                return out;
            }
            Ok(None) => return out,
            Err(damage) => return out + &format!("[damaged: {damage}]\n"),
        };
        if out.len() > ALL_WORDS {
            return out + "[and more]\n";
        }
        out += &words(&frame);
    }
}

fn words(frame: &Frame) -> String {
    let text = |name: &str, bytes: &[u8]| {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(WORDS)]);
        let lines: Vec<String> = shown.lines().map(console::neutralise).collect();
        format!("[{name}, {} bytes]\n{}\n", bytes.len(), lines.join("\n"))
    };
    match frame {
        Frame::Hello(hello) => {
            let (release, tracers) = (console::neutralise(&hello.release), hello.tracers.join(" "));
            format!("[hello from {release}: {}]\n", console::neutralise(&tracers))
        }
        Frame::Config(part) => format!("[configuration, {} bytes]\n", part.len()),
        Frame::StepStart(index) => format!("[step {index}]\n"),
        Frame::Stdout(part) => text("standard output", part),
        Frame::Stderr(part) => text("standard error", part),
        Frame::StepEnd(status) => format!("[{status}]\n"),
        Frame::FileStart(name) => format!("[file {}]\n", console::neutralise(name)),
        Frame::FileData(part) => format!("[file, {} bytes]\n", part.len()),
        Frame::FileError(why) => format!("[no file: {}]\n", console::neutralise(why)),
        Frame::Fatal(why) => format!("[init: {}]\n", console::neutralise(why)),
        Frame::End => "[end]\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use initramfs::protocol::Sender;

    use super::*;

    fn sent(frames: &[Frame]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut sender = Sender::new(&mut bytes);
        for frame in frames {
            sender.send(frame).unwrap();
        }
        bytes
    }

    #[test]
    fn what_was_sent_reads_in_order_and_drives_no_terminal() {
        let bytes = sent(&[Frame::StepStart(0), Frame::Stdout(b"a\x1b[2J\nb\n".to_vec()), Frame::End]);
        let whole = "[step 0]\n[standard output, 8 bytes]\na?[2J\nb\n[end]\n";
        assert_eq!(in_words(&bytes), whole);
        let cut = in_words(&bytes[..bytes.len() - 1]);
        assert!(cut.ends_with("b\n[43 bytes of a frame that is not whole]\n"), "{cut}");
    }

    #[test]
    fn damage_is_said_where_it_is() {
        let mut bytes = sent(&[Frame::StepStart(0), Frame::End]);
        let at = bytes.len() - 1;
        bytes[at] ^= 1;
        assert_eq!(in_words(&bytes), "[step 0]\n[damaged: the digest of a frame of kind 11 does not fit]\n");
    }
}
