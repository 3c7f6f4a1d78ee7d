//! The time that counts towards a deadline: only while this process could run.
//!
//! A process can be stopped: by Ctrl-Z or SIGSTOP, with its container, or with the whole machine. Such time
//! must not count towards a deadline. A thread that waits sleeps for short times and reads the clock after
//! each: if much more time has passed than it slept, the process was stopped. Time in which it waited for a
//! processor is known from the kernel's statistics, and does count.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How much longer than requested a sleep may take, besides waits for a processor.
const SLACK: Duration = Duration::from_millis(10);
/// How often to check for stops while another thread blocks.
const TICK: Duration = Duration::from_millis(100);
/// The shortest stop that may end a connection.
const STOP: Duration = Duration::from_secs(1);

/// Measures the time since a start, without the time in which this process was stopped. For one thread only.
#[derive(Debug)]
pub struct Running {
    last: Instant,
    busy: Duration,
    counted: Duration,
}

impl Running {
    /// A clock that starts now.
    pub fn start() -> Running {
        Running { last: Instant::now(), busy: busy(), counted: Duration::ZERO }
    }

    /// Reads the clock. Since the last call, the thread slept for up to `slept`, and otherwise computed.
    /// Returns how much of the time in between counts.
    pub fn look(&mut self, slept: Duration) -> Duration {
        let (now, busy) = (Instant::now(), busy());
        let part = counting(now - self.last, slept, busy.saturating_sub(self.busy));
        (self.last, self.busy) = (now, busy);
        self.counted += part;
        part
    }

    /// The time that counted up to the last call of [`Running::look`].
    pub fn counted(&self) -> Duration {
        self.counted
    }
}

/// How much of the time `passed` counts, for a thread that slept for `slept` and was busy for `busy`.
fn counting(passed: Duration, slept: Duration, busy: Duration) -> Duration {
    passed.min(slept + SLACK + busy)
}

/// How long this thread has run or waited for a processor in total; zero if the kernel does not provide it.
fn busy() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let numbers = text.split_whitespace().take(2).map(|number| number.parse().unwrap_or(0));
    Duration::from_nanos(numbers.sum())
}

/// Detects stops of this process while one of its threads blocks.
#[derive(Debug)]
pub struct Stops {
    seen: Arc<AtomicU32>,
    over: Arc<AtomicBool>,
}

impl Stops {
    /// Starts to watch for stops.
    pub fn watch() -> Stops {
        let stops = Stops { seen: Arc::default(), over: Arc::default() };
        let (seen, over) = (stops.seen.clone(), stops.over.clone());
        thread::spawn(move || {
            let mut clock = Running::start();
            while !over.load(Ordering::Relaxed) {
                let before = Instant::now();
                thread::sleep(TICK);
                let counted = clock.look(TICK);
                if before.elapsed().saturating_sub(counted) > STOP {
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        stops
    }

    /// How many stops were seen so far. First waits long enough to detect one that has just ended.
    pub fn seen(&self) -> u32 {
        thread::sleep(TICK * 2);
        self.seen.load(Ordering::Relaxed)
    }
}

impl Drop for Stops {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    fn sum(ticks: &[(Duration, Duration)]) -> Duration {
        ticks.iter().map(|&(passed, busy)| counting(passed, TICK, busy)).sum()
    }

    #[test]
    fn a_stop_counts_for_no_more_than_a_tick() {
        let ms = Duration::from_millis;
        let usual = (ms(10), ms(0));
        assert_eq!(sum(&[usual; 100]), ms(1000));
        // However long, and however often.
        let hour = (Duration::from_secs(3600), ms(1));
        assert_eq!(sum(&[usual, hour, usual]), ms(10 + 21 + 10));
        assert!(sum(&[hour; 100]) < ms(2200));
        let short = (ms(500), ms(0));
        assert_eq!(sum(&[short; 10]), ms(200));
    }

    #[test]
    fn a_wait_for_a_processor_counts() {
        let ms = Duration::from_millis;
        assert_eq!(sum(&[(ms(3010), ms(3000))]), ms(3010));
        // A stop in addition does not count.
        assert_eq!(sum(&[(ms(60_000), ms(3000))]), ms(3020));
    }

    #[test]
    fn a_clock_goes_on_with_the_process() {
        let mut clock = Running::start();
        thread::sleep(TICK);
        let part = clock.look(TICK);
        assert!(part >= TICK);
        assert_eq!(clock.counted(), part);
    }
}
