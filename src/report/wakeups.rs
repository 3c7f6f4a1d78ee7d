//! How long processes that were woken waited for a CPU.

use std::collections::HashMap;

use super::plan::Plan;
use trace_dat::Record;
use trace_dat::event::Event;

/// Priorities below this are real-time.
const REAL_TIME: u64 = 100;

/// Follows wakeups and switches, in the order of time.
#[derive(Debug, Default)]
pub(super) struct Wakeups {
    /// When a process was last woken, by its pid.
    woken: HashMap<u64, u64>,
    all: Latencies,
    /// Latencies of real-time processes; `all` includes them.
    real_time: Latencies,
}

/// Statistics of latencies, in nanoseconds.
#[derive(Debug, Default)]
struct Latencies {
    count: u64,
    total: u64,
    /// The longest and the shortest latency, each with the time of its end; of equal ones the first.
    longest: (u64, u64),
    shortest: (u64, u64),
}

impl Wakeups {
    /// Processes a record; returns the latency that ends with it, in nanoseconds.
    pub fn see(&mut self, plan: &Plan<'_>, event: &Event, record: &Record<'_>) -> Option<u64> {
        let value = |name: &str| event.field(name)?.number(plan.context.order, record.data);
        if event.system != "sched" {
            return None;
        }
        match event.name.as_str() {
            // Kernels since 4.6 lack the field: they record successful wake-ups only.
            "sched_wakeup" | "sched_wakeup_new" if value("success") != Some(0) => {
                self.woken.insert(value("pid")?, record.time);
                None
            }
            "sched_switch" => {
                let start = self.woken.remove(&value("next_pid")?)?;
                let latency = record.time.saturating_sub(start);
                let is_real_time = value("next_prio").is_some_and(|priority| priority < REAL_TIME);
                let end = plan.reader.shown_time(record.time);
                self.all.add(latency, end);
                if is_real_time {
                    self.real_time.add(latency, end);
                }
                Some(latency)
            }
            _ => None,
        }
    }

    /// The summary at the end; empty when no latency was measured.
    pub fn summary(&self) -> String {
        let real_time = self.real_time.summary();
        let title = if real_time.is_empty() { "" } else { "\nRT task timings:\n" };
        let end = if self.all.count > 0 { "\n" } else { "" };
        format!("{}{title}{real_time}{end}", self.all.summary())
    }
}

impl Latencies {
    fn add(&mut self, latency: u64, end: u64) {
        if self.count == 0 || latency > self.longest.0 {
            self.longest = (latency, end);
        }
        if self.count == 0 || latency < self.shortest.0 {
            self.shortest = (latency, end);
        }
        self.count += 1;
        self.total = self.total.saturating_add(latency);
    }

    fn summary(&self) -> String {
        let Some(average) = self.total.checked_div(self.count) else { return String::new() };
        let place = |name: &str, (latency, end): (u64, u64)| {
            let end = end.saturating_add(500) / 1000;
            let (seconds, fraction) = (end / 1_000_000, end % 1_000_000);
            format!("{name} Latency: {} usecs at timestamp: {seconds}.{fraction:06}\n", microseconds(latency))
        };
        format!(
            "\nAverage wakeup latency: {} usecs\n{}{}",
            microseconds(average),
            place("Maximum", self.longest),
            place("Minimum", self.shortest)
        )
    }
}

/// Nanoseconds as microseconds with three digits after the point.
pub(super) fn microseconds(nanoseconds: u64) -> String {
    format!("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000)
}
