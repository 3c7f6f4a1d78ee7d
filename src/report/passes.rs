//! Prints records that arrive in passes, as `stream` reads them. The lines are the same as those of
//! [`super::report`]; they do not depend on where a pass ends. The state that lines need (depths,
//! commands, the previous line) is kept between passes, so the cost of a pass depends on its new records
//! only.

use std::io::Write;

use super::config::Config;
use super::handler::Handler;
use super::line::Batch;
use super::lines::{Maker, leaf};
use super::plan::Plan;
use super::printer::Printer;
use crate::error::{Error, Result};
use trace_dat::Reader;
use trace_dat::live::{LiveRecords, Part};
use trace_dat::texts::cmdlines;

/// A recording and how its lines are printed; made once.
pub struct Prepared<'r>(Plan<'r>);

impl<'r> Prepared<'r> {
    /// Uses the recording's metadata only, not its records.
    ///
    /// Fails when a filter does not fit it.
    pub fn new(reader: &'r Reader, config: &'r Config) -> Result<Prepared<'r>> {
        Plan::new(reader, config).map(Prepared)
    }
}

/// Prints records as they arrive, in the order that [`LiveRecords`] returns them.
///
/// A call is printed once the next record shows whether it is a leaf. If none comes for two passes, it is
/// printed as a call that contains other calls.
pub struct Passes<'p> {
    plan: &'p Plan<'p>,
    maker: Maker<'p>,
    printer: Printer<'p>,
    batch: Batch,
    records: LiveRecords<'p>,
    /// The kernel's commands as last read.
    commands: Vec<u8>,
    begun: bool,
}

impl<'p> Passes<'p> {
    /// Begins without any records.
    pub fn new(prepared: &'p Prepared<'_>) -> Passes<'p> {
        let plan = &prepared.0;
        Passes {
            plan,
            maker: Maker::new(plan),
            printer: Printer::new(plan),
            batch: Batch::default(),
            records: LiveRecords::new(plan.reader),
            commands: Vec::new(),
            begun: false,
        }
    }

    /// Takes the kernel's `saved_cmdlines`, which later lines use.
    pub fn learn(&mut self, saved_cmdlines: Vec<u8>) {
        if self.commands != saved_cmdlines {
            self.plan.comms.update(cmdlines(&saved_cmdlines), self.maker.number);
            self.commands = saved_cmdlines;
        }
    }

    /// Whether there are records that are not printed yet.
    pub fn holds_any(&self) -> bool {
        !self.records.is_empty()
    }

    /// Takes new data of the CPUs, in the order in which they were read, and prints the records whose
    /// lines can no longer change.
    ///
    /// Fails when the output does. Damaged data end the records of their CPU; [`Passes::finish`] reports
    /// the damage.
    pub fn pass(&mut self, parts: &[Part<'_>], out: &mut (impl Write + ?Sized)) -> Result<()> {
        let cpus = &self.plan.config.cpus;
        let wanted = |part: &&Part<'_>| cpus.is_empty() || cpus.contains(&part.cpu);
        let parts: Vec<Part<'_>> = parts.iter().filter(wanted).copied().collect();
        self.records.pass(&parts);
        self.print(false, out)
    }

    /// Prints the lines that were held back and the summary.
    ///
    /// Fails when the output does, and with the first damage.
    pub fn finish(&mut self, out: &mut (impl Write + ?Sized)) -> Result<()> {
        self.records.end();
        self.print(true, out)?;
        out.write_all(self.maker.summary().as_bytes()).and_then(|()| out.flush()).map_err(Error::output)?;
        let of_lines = self.printer.damage.take().map(|damage| damage.error);
        self.records.finish()?;
        of_lines.map_or(Ok(()), Err)
    }

    /// Prints all lines that can no longer change; with `last` the heading too, even without records.
    fn print(&mut self, last: bool, out: &mut (impl Write + ?Sized)) -> Result<()> {
        let failed = Error::output;
        // The heading comes with the first records: printed earlier, it could land anywhere in the traced
        // command's own output.
        if !self.begun && (last || self.holds_any()) {
            self.begun = true;
            writeln!(out, "cpus={}", self.plan.reader.cpus()).map_err(failed)?;
        }
        let mut more = true;
        while more {
            self.maker.begin(&mut self.batch);
            while more && !self.batch.is_full() {
                more = self.line();
            }
            self.printer.print(&self.batch);
            out.write_all(&self.printer.out).map_err(failed)?;
        }
        out.flush().map_err(failed)
    }

    /// Takes the next record and makes its line if it is to be printed; false when there is none, or its
    /// line may still change.
    fn line(&mut self) -> bool {
        let plan = self.plan;
        let Some(next) = self.records.next() else { return false };
        let event = plan.reader.events().of(plan.context.order, next.record().data);
        let is_call = matches!(plan.handler(event), Handler::GraphEntry(_));
        if is_call && next.may_change() {
            return false;
        }
        let mut taken = 1;
        if let Some(call) = self.maker.line(&next.record(), &mut self.batch)
            && is_call
            && let Some(exit) = next.following().and_then(|following| leaf(plan, &call, &following))
        {
            self.batch.end_call(&exit);
            // The exit is part of this line.
            taken = 2;
        }
        self.records.take(taken);
        true
    }
}
