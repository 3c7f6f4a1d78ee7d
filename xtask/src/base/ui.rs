//! Output: results on standard output, messages and progress on standard error. Progress is shown as bars on
//! a terminal, and as plain lines elsewhere.
//!
//! A reader of either may stop at any time (`… | head -1`, `2>&-`). A command then continues, and its exit
//! code does not change. So all output goes through this file: `println!` and the like would panic, and the
//! lints `print_stdout` and `print_stderr` forbid them.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

/// The first error of standard output, other than a missing reader.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Prints to standard output; `outln!` is short for it within this crate.
pub fn print(text: fmt::Arguments<'_>) {
    // In one write, so that lines of other threads do not come in between.
    if let Err(error) = io::stdout().write_all(text.to_string().as_bytes()) {
        note(error);
    }
}

/// Prints to standard error; errors are ignored.
pub fn print_error(text: fmt::Arguments<'_>) {
    let _ = io::stderr().write_all(text.to_string().as_bytes());
}

fn note(error: io::Error) {
    if error.kind() != io::ErrorKind::BrokenPipe {
        FAILED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
    }
}

/// Flushes standard output, and returns the error if output was lost (a full disk). A reader that stopped is
/// no error.
pub fn lost_output() -> Option<io::Error> {
    if let Err(error) = io::stdout().flush() {
        note(error);
    }
    FAILED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
}

/// Like `print!`, but does not panic if nobody reads.
macro_rules! out {
    ($($words:tt)*) => { $crate::base::ui::print(format_args!($($words)*)) };
}

/// Like `println!`, but does not panic if nobody reads.
macro_rules! outln {
    ($($words:tt)*) => { $crate::base::ui::print(format_args!("{}\n", format_args!($($words)*))) };
}

/// Like `eprint!`, but does not panic if nobody reads.
macro_rules! err {
    ($($words:tt)*) => { $crate::base::ui::print_error(format_args!($($words)*)) };
}

/// Like `eprintln!`, but does not panic if nobody reads.
macro_rules! errln {
    ($($words:tt)*) => { $crate::base::ui::print_error(format_args!("{}\n", format_args!($($words)*))) };
}

pub(crate) use {err, out, outln};

/// How often progress is printed without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Standard error, shared by messages and progress bars.
#[derive(Clone, Debug)]
pub struct Ui {
    bars: MultiProgress,
    terminal: bool,
}

/// The progress of one job, in steps or in bytes.
#[derive(Debug)]
pub struct Bar(Kind);

#[derive(Debug)]
enum Kind {
    Drawn(ProgressBar),
    Lines(Mutex<Lines>),
}

/// Progress as plain lines, a line at most every few seconds.
#[derive(Debug)]
struct Lines {
    what: String,
    bytes: bool,
    done: u64,
    total: Option<u64>,
    printed: Instant,
}

impl Default for Ui {
    fn default() -> Ui {
        Ui::new()
    }
}

impl Ui {
    /// Shows bars if standard error is a terminal.
    pub fn new() -> Ui {
        Ui { bars: MultiProgress::new(), terminal: io::stderr().is_terminal() }
    }

    /// Writes a line, above any bars, and made safe for a terminal.
    pub fn say(&self, line: impl AsRef<str>) {
        let line = printable(line.as_ref());
        // Nothing can be done about a standard error that is closed.
        if !self.terminal || self.bars.println(&line).is_err() {
            errln!("{line}");
        }
    }

    /// Starts the progress of a job with `total` steps, if known.
    pub fn bar(&self, what: &str, total: Option<u64>) -> Bar {
        let style = match total {
            Some(_) => "{msg} [{wide_bar}] {pos}/{len} {eta}",
            None => "{msg} {spinner} {pos}",
        };
        self.start(what, total, style, false)
    }

    /// Starts the progress of a job with `total` bytes, if known.
    pub fn bytes(&self, what: &str, total: Option<u64>) -> Bar {
        let style = match total {
            Some(_) => "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{msg} {spinner} {bytes} {bytes_per_sec}",
        };
        self.start(what, total, style, true)
    }

    fn start(&self, what: &str, total: Option<u64>, style: &str, bytes: bool) -> Bar {
        if !self.terminal {
            let printed = Instant::now();
            // Plain lines need no spaces for alignment.
            let lines = Lines { what: what.trim_end().to_owned(), bytes, done: 0, total, printed };
            return Bar(Kind::Lines(Mutex::new(lines)));
        }
        // Add it before it draws: a bar that draws before it is added is never cleared.
        let bar = self.bars.add(match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        });
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        Bar(Kind::Drawn(bar))
    }
}

/// Makes a text safe for a terminal: control characters other than newlines and tabs become `?`. Messages may
/// contain text of guests, mirrors and tools, which must not control the terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '?' } else { c }).collect()
}

impl Bar {
    /// Sets how much is done.
    pub fn set(&self, done: u64) {
        match &self.0 {
            Kind::Drawn(bar) => bar.set_position(done),
            Kind::Lines(lines) => Bar::advance(lines, |_| done),
        }
    }

    /// Adds to what is done.
    pub fn inc(&self, more: u64) {
        match &self.0 {
            Kind::Drawn(bar) => bar.inc(more),
            Kind::Lines(lines) => Bar::advance(lines, |done| done + more),
        }
    }

    /// Ends the job; a bar disappears.
    pub fn finish(&self) {
        if let Kind::Drawn(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }

    fn advance(lines: &Mutex<Lines>, change: impl FnOnce(u64) -> u64) {
        let Ok(mut lines) = lines.lock() else { return };
        let before = lines.done;
        lines.done = change(before);
        if lines.done != before && lines.printed.elapsed() >= LINE_EVERY {
            lines.printed = Instant::now();
            errln!("{lines}");
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |n: u64| if self.bytes { HumanBytes(n).to_string() } else { n.to_string() };
        write!(f, "{}: {}", self.what, amount(self.done))?;
        match self.total {
            Some(total) => write!(f, " of {}", amount(total)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_drives_a_terminal() {
        assert_eq!(printable("a\x1b[2J\tb\r\nü\u{9b}1m\x07"), "a?[2J\tb?\nü?1m?");
    }

    #[test]
    fn a_plain_line_says_how_much_of_how_much() {
        let mut lines = Lines {
            what: "building 5.4".to_owned(),
            bytes: false,
            done: 7,
            total: Some(9),
            printed: Instant::now(),
        };
        assert_eq!(lines.to_string(), "building 5.4: 7 of 9");
        (lines.bytes, lines.done, lines.total) = (true, 2048, None);
        assert_eq!(lines.to_string(), "building 5.4: 2.00 KiB");
    }
}
