//! `trace`: prints the kernel's own lines live, coloured on a terminal.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::args::traced::TraceArgs;
use super::interface::{Kernel, Subcommand};
use crate::capture::live::{self, Feed};
use crate::error::{Error, Result};
use crate::tracefs::Instance;

const PIPE: &str = "trace_pipe";

const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[1;31m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// Trace a command, print it live, then restore the kernel's settings
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "snaptrace trace [OPTIONS] [CMD]...",
    after_help = "The lines are the kernel's own. On a terminal they are coloured, unless the
environment variable NO_COLOR is set. With CMD, only CMD and its children are
traced, unless --all or -P is given. Without CMD, everything is traced until
Ctrl-C. At the end all settings of the kernel are restored.

Example:
  snaptrace trace -p function -l __kmalloc ls /
  snaptrace trace -p function_graph -g vfs_open --max-graph-depth 3 ls /
  snaptrace trace -e sched:sched_switch --all sleep 1"
)]
pub(super) struct Args {
    #[command(flatten)]
    what: TraceArgs,
    /// Trace all processes, not only CMD and its children
    #[arg(long, conflicts_with = "only_command")]
    all: bool,
    /// Use this instance; if it has to be created, it is deleted at the end
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// Command to trace; its exit status is passed on
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Subcommand for Args {
    const NAME: &'static str = "trace";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        let mut start = self.what.config(self.instance, self.command);
        if !start.command.is_empty() && !self.all && start.pids.is_empty() && !start.only_command {
            (start.only_command, start.children) = (true, true);
        }
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let out = &mut io::stdout();
        let colours = wanted && out.is_terminal();
        live::follow(&kernel.tracefs()?, &start, |instance| Pipe::open(instance, colours, out))
    }
}

/// Reads `trace_pipe`, which returns each line once.
struct Pipe<'o> {
    pipe: File,
    instance: Instance,
    colours: bool,
    /// The beginning of a line whose end was not read yet.
    line: Vec<u8>,
    out: &'o mut dyn Write,
}

impl<'o> Pipe<'o> {
    fn open(instance: &Instance, colours: bool, out: &'o mut dyn Write) -> Result<Pipe<'o>> {
        let pipe = instance.open(PIPE)?;
        fcntl_getfl(&pipe)
            .and_then(|flags| fcntl_setfl(&pipe, flags | OFlags::NONBLOCK))
            .map_err(|error| Error::io("open without waiting", &instance.file(PIPE), error))?;
        Ok(Pipe { pipe, instance: instance.clone(), colours, line: Vec::new(), out })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.line.extend_from_slice(bytes);
        let end = self.line.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.line.drain(..end).collect();
        let written = match self.colours {
            true => coloured(&String::from_utf8_lossy(&lines)).into_bytes(),
            false => lines,
        };
        self.out.write_all(&written).and_then(|()| self.out.flush()).map_err(Error::output)
    }
}

impl Feed for Pipe<'_> {
    fn pass_on(&mut self, last: bool) -> Result<()> {
        let mut piece = vec![0; 64 << 10];
        loop {
            match self.pipe.read(&mut piece) {
                // The kernel reports the end of the file only while tracing is off.
                Ok(0) => break,
                Ok(length) => self.write(&piece[..length])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.instance.file(PIPE), error)),
            }
            if !last {
                // Return now and then, however much there is to read, so that signals are noticed.
                break;
            }
        }
        if last && !self.line.is_empty() {
            self.write(b"\n")?;
        }
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        let longest = Timespec { tv_sec: 0, tv_nsec: live::PAUSE.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(&longest)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(Error::io("wait for", &self.instance.file(PIPE), error)),
        }
    }
}

/// Adds colours to lines: to names of functions and events, and to long durations in graphs.
fn coloured(lines: &str) -> String {
    lines.split_inclusive('\n').map(coloured_line).collect()
}

fn coloured_line(line: &str) -> String {
    let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
    let mark = |colour: &str, text: &str| {
        if text.is_empty() { String::new() } else { format!("{colour}{text}{PLAIN}") }
    };
    if text.trim_start().starts_with(['#', '-', '=']) || text.starts_with(" =>") {
        return mark(DIM, text) + end;
    }
    // A graph: " 0) + 12.345 us   |  name() {"
    if let Some((head, call)) = text.split_once('|')
        && head.contains(") ")
    {
        let colour = match head {
            head if head.contains(['!', '#', '*', '@', '$']) => RED,
            head if head.contains('+') => YELLOW,
            _ => DIM,
        };
        let name = call.trim_start();
        let blanks = &call[..call.len() - name.len()];
        let colour_of_name = if name.starts_with("/*") {
            CYAN
        } else if name.starts_with('}') {
            DIM
        } else {
            GREEN
        };
        return format!(
            "{}{}{blanks}{}{end}",
            mark(colour, head),
            mark(DIM, "|"),
            mark(colour_of_name, name)
        );
    }
    // "  cat-69  [000] ....  7.904297: name <-parent" or "...: event: text"
    let Some((head, what)) = text.split_once(": ") else { return line.to_string() };
    let (name, rest, colour) = match (what.find(" <-"), what.find(": ")) {
        (Some(at), _) => (&what[..at], &what[at..], GREEN),
        (None, Some(at)) => (&what[..at], &what[at..], CYAN),
        (None, None) => (what, "", GREEN),
    };
    let rest = if colour == GREEN { mark(DIM, rest) } else { rest.to_string() };
    format!("{}: {}{rest}{end}", mark(DIM, head), mark(colour, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replaces colours by letters, so that the tests are readable.
    fn shown(line: &str) -> String {
        let letters =
            [(DIM, "{d}"), (GREEN, "{g}"), (YELLOW, "{y}"), (RED, "{r}"), (CYAN, "{c}"), (PLAIN, "{}")];
        letters.iter().fold(coloured(line), |text, (code, letter)| text.replace(code, letter))
    }

    #[test]
    fn names_stand_out_and_the_text_stays() {
        assert_eq!(
            shown("  cat-69  [000] ....  7.904297: __kmalloc <-load_elf_phdrs\n"),
            "{d}  cat-69  [000] ....  7.904297{}: {g}__kmalloc{}{d} <-load_elf_phdrs{}\n"
        );
        assert_eq!(
            shown("  sh-1  [000] d...  7.9: sched_switch: prev_comm=sh\n"),
            "{d}  sh-1  [000] d...  7.9{}: {c}sched_switch{}: prev_comm=sh\n"
        );
        assert_eq!(shown(" 0)   0.7 us    |    f();\n"), "{d} 0)   0.7 us    {}{d}|{}    {g}f();{}\n");
        assert_eq!(shown(" 0) + 12.5 us   |  }\n"), "{y} 0) + 12.5 us   {}{d}|{}  {d}}{}\n");
        assert_eq!(shown(" 0) ! 112.5 us  |  g();"), "{r} 0) ! 112.5 us  {}{d}|{}  {g}g();{}");
        assert_eq!(shown(" => do_syscall_64\n"), "{d} => do_syscall_64{}\n");
        assert_eq!(shown("something else\n"), "something else\n");
    }
}
