//! The second pass: turns a record into a line of text, independently of other lines.

use std::io::Write;

use super::columns;
use super::config::Style;
use super::handler::{self, Handler};
use super::line::{Around, Batch, Line};
use super::text::{HEAD, HEADS, Head};
use super::wakeups::microseconds;
use trace_dat::Record;
use trace_dat::event::Event;
use trace_dat::print_fmt::{Run, Way};
use trace_dat::ring_buffer::Missed;

pub(super) use super::text::{MalformedRecord, Printer};

impl Printer<'_> {
    /// Replaces the contents of `out` by the text of a batch.
    pub fn print(&mut self, batch: &Batch) {
        self.out.clear();
        for (number, line) in (batch.first..).zip(&batch.lines) {
            self.number = number;
            let record = batch.record(line);
            let event = line.event.and_then(|index| self.plan.reader.events().get(index as usize));
            self.line_head(line, &record, event);
            self.text(line, &record, event);
            if let Around::Latency(latency) = line.around {
                let _ = write!(self.out, " Latency: {} usecs", microseconds(latency));
            }
            // The text of an event may already end with a newline.
            if self.out.last() != Some(&b'\n') {
                self.out.push(b'\n');
            }
        }
    }

    fn fields_way(&self) -> Way {
        match self.config.style {
            Style::Snaptrace => Way::Ours,
            style if style.is_later() => Way::LaterTraceCmd,
            _ => Way::TraceCmd,
        }
    }

    /// Appends everything before an event's text.
    fn line_head(&mut self, line: &Line, record: &Record<'_>, event: Option<&Event>) {
        let config = self.config;
        let pid = self.plan.pid(record);
        let time = self.plan.shown_time(line.time);
        // Two branches, because divisions by constants are fast.
        let (digits, second, rest) = match config.nanoseconds {
            true => (9, time / 1_000_000_000, time % 1_000_000_000),
            false => (6, time / 1_000_000, time % 1_000_000),
        };
        let steady = self.plan.seconds && line.missed == Missed::No && !self.plan.varies;
        let of = (pid, line.cpu, line.event, record.buffer, second);
        let slot = (line.event.unwrap_or(0) as usize + 3 * line.cpu as usize) % HEADS;
        let head = &self.heads[slot];
        if steady && head.of == Some(of) && self.plan.comms.are_as_at(head.number) {
            let start = self.out.len();
            self.out.extend_from_slice(&head.text);
            self.out.truncate(start + head.size);
            let at = start + head.fraction;
            columns::digits(rest, &mut self.out[at..at + digits]);
            return;
        }
        let out = &mut self.out;
        let start = out.len();
        if self.plan.name_width > 0 {
            let name = self.plan.name(record.buffer);
            let width = self.plan.name_width;
            let _ = if name.is_empty() {
                write!(out, "{:width$}  ", "")
            } else {
                write!(out, "{name:>width$}: ")
            };
        }
        let _ = match record.missed {
            Missed::No => Ok(()),
            Missed::Some => writeln!(out, "CPU:{} [EVENTS DROPPED]", record.cpu),
            Missed::Count(count) => writeln!(out, "CPU:{} [{count} EVENTS DROPPED]", record.cpu),
        };
        let (events, order) = (self.plan.reader.events(), self.context.order);
        let mut comm = Vec::with_capacity(16);
        self.plan.comms.find(pid, self.number, &mut comm);
        if config.latency {
            columns::right(&comm[..comm.len().min(8)], 8, out);
            columns::pid(pid, out);
            let _ = write!(out, " {:3}", record.cpu);
            if config.raw_fields && config.style != Style::Snaptrace {
                let _ = write!(out, "-0x{:x}", events.flags(order, record.data));
            } else {
                events.latency(order, record.data, out);
            }
        } else {
            columns::right(&comm, 16, out);
            columns::pid(pid, out);
            columns::cpu(record.cpu, out);
            if config.style.is_later() && config.raw_fields {
                let _ = write!(out, "-0x{:x}", events.flags(order, record.data));
            } else if config.style.is_later() {
                out.push(b' ');
                events.latency(order, record.data, out);
            }
        }
        columns::time(time, self.plan.seconds, config, out);
        out.push(b':');
        // The time is followed by a colon.
        let fraction = (out.len() - start).saturating_sub(digits + 1);
        if config.time_difference {
            self.time_difference(line);
        }
        let name = event.map_or("(NULL)", |event| &event.name);
        let out = &mut self.out;
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        columns::blanks(20usize.saturating_sub(name.len()), out);
        let size = out.len() - start;
        if steady && size <= HEAD {
            let head = &mut self.heads[slot];
            *head = Head { of: Some(of), number: self.number, size, fraction, ..Head::NONE };
            head.text[..size].copy_from_slice(&out[start..]);
        }
    }

    /// Appends the time since the previous line. trace-cmd shows none if that line was at time 0.
    fn time_difference(&mut self, line: &Line) {
        let before = line.before.filter(|before| *before != 0 || !self.trace_cmd());
        let time = self.plan.difference_time(line.time);
        let difference = before.map(|before| format!("(+{})", time.wrapping_sub(before) as i64));
        let _ = write!(self.out, " {:<8}", difference.unwrap_or_default());
    }

    /// Appends an event's text.
    fn text(&mut self, line: &Line, record: &Record<'_>, event: Option<&Event>) {
        let Some(event) = event else {
            self.out.extend_from_slice(b"[UNKNOWN EVENT]");
            self.note(record, "no format tells what it is");
            return;
        };
        if record.data.len() < event.least_size() {
            let what = format!(
                "'{}' has {} bytes of at least {}",
                event.name,
                record.data.len(),
                event.least_size()
            );
            self.note(record, &what);
        }
        let handler = self.plan.handler(Some(event));
        if *handler != Handler::None && self.handle(handler, line, record, event) {
            return;
        }
        let run = Run::new(event, record.data, self.context);
        let program = event.print(self.trace_cmd());
        match program {
            _ if self.config.raw_fields => {
                // The print format of trace_printk is a placeholder.
                let program = program.filter(|_| handler::kernel_format(event) == Handler::None);
                run.fields(program, self.fields_way(), &mut self.out);
            }
            Some(program) => run.print(program, &mut self.out),
            None => {
                self.out.extend_from_slice(b"[FAILED TO PARSE]");
                // Even later versions of trace-cmd print no addresses here.
                let way = if self.trace_cmd() { Way::TraceCmd } else { Way::Ours };
                run.fields(None, way, &mut self.out);
            }
        }
        if run.is_short() {
            self.note(record, &format!("'{}' refers to bytes behind its end", event.name));
        }
    }
}
