//! One line on the terminal while a recording runs: time, events, bytes, events lost.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::capture::output;
use crate::tracefs::Instance;

/// Short enough to look alive, long enough not to disturb a recording.
const INTERVAL: Duration = Duration::from_millis(500);
/// Moves to the start of the line and erases it.
const EMPTY_LINE: &str = "\r\x1b[K";

/// Keeps the line up to date until it is dropped; then the line is erased.
#[derive(Debug)]
pub(crate) struct Progress {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts it if standard error is a terminal. `taken` counts the bytes.
    pub(crate) fn start(instance: &Instance, taken: &Arc<AtomicU64>) -> Option<Progress> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let (stop, stopped) = mpsc::channel();
        let (instance, taken, begun) = (instance.clone(), Arc::clone(taken), Instant::now());
        let show = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
                // A recording does not fail because its progress cannot be shown.
                let Ok(counts) = output::counts(&instance) else { continue };
                let line = line(begun.elapsed(), counts, taken.load(Ordering::Relaxed));
                let _ = write!(io::stderr(), "{EMPTY_LINE}{line}");
            }
            let _ = write!(io::stderr(), "{EMPTY_LINE}");
        };
        let thread = thread::Builder::new().name("progress".into()).spawn(show).ok()?;
        Some(Progress { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // If the thread has ended already, there is no line to remove.
            let _ = thread.join();
        }
    }
}

fn line(elapsed: Duration, counts: output::Counts, bytes: u64) -> String {
    let lost = match counts.lost {
        0 => "none lost".to_string(),
        lost => format!("{} lost", grouped(lost)),
    };
    let (size, unit) = match bytes {
        0..1_048_576 => (bytes as f64 / 1024.0, "KiB"),
        1_048_576..1_073_741_824 => (bytes as f64 / 1_048_576.0, "MiB"),
        _ => (bytes as f64 / 1_073_741_824.0, "GiB"),
    };
    let seconds = elapsed.as_secs();
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!("{minutes}:{seconds:02}  {} events  {size:.1} {unit}  {lost}", grouped(counts.events))
}

/// A number with its thousands separated by commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_shows_time_events_bytes_and_loss() {
        let counts = output::Counts { events: 1_234_567, lost: 0 };
        assert_eq!(line(Duration::from_secs(75), counts, 512), "1:15  1,234,567 events  0.5 KiB  none lost");
        let counts = output::Counts { events: 12, lost: 1000 };
        assert_eq!(line(Duration::ZERO, counts, 3 << 20), "0:00  12 events  3.0 MiB  1,000 lost");
    }
}
