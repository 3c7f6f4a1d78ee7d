//! `stream`: prints the lines of `report` live, without a file.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::io::{self, Cursor, Write};

use super::args::traced::TraceArgs;
use super::interface::{Kernel, Subcommand};
use crate::capture::drain::RawBuffer;
use crate::capture::live::{self, Feed};
use crate::capture::{drain, metadata, output};
use crate::error::{Error, Result};
use crate::report;
use crate::report::passes::{Passes, Prepared};
use crate::setup::request::Request;
use crate::tracefs::{Instance, Tracefs};
use trace_dat::Reader;
use trace_dat::live::Part;
use trace_dat::write::{Compression, Metadata, Version, write};

/// Print records live, as 'report' prints them, without a file
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "snaptrace stream [OPTIONS] [CMD]...",
    after_help = "New lines are printed several times a second, in the order of time. A line is
printed once no earlier line can follow and it is known whether a call contains
other calls; that takes a fraction of a second at most. A process whose command
is not known yet is shown as '<...>'. At the end all settings of the kernel are
restored.

Example:
  snaptrace stream -e sched:sched_switch sleep 1
  snaptrace stream -p function -l __kmalloc -F ls /"
)]
pub(super) struct Args {
    #[command(flatten)]
    what: TraceArgs,
    /// Use this instance; if it has to be created, it is deleted at the end
    #[arg(short = 'B', value_name = "INSTANCE")]
    instance: Option<String>,
    /// Command to trace; its exit status is passed on
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Subcommand for Args {
    const NAME: &'static str = "stream";

    fn run(self, kernel: &Kernel) -> Result<u8> {
        let start = self.what.config(self.instance, self.command);
        stream(&kernel.tracefs()?, &start, &report::Config::default(), &mut io::stdout())
    }
}

/// Traces until the command ends, or without one until SIGINT, and returns the exit code.
///
/// Writes lines to `out` several times a second, ordered by time, as `report` prints them. Afterwards all
/// control files are restored.
///
/// # Errors
/// The same as for `record`; or `out` fails.
fn stream(
    tracefs: &Tracefs,
    start: &Request,
    config: &report::Config,
    out: &mut (dyn Write + Send),
) -> Result<u8> {
    // Only the formats of the chosen events are needed; reading all of them takes time.
    let events = crate::setup::events::choose(tracefs.top(), &start.events, start.ignore_missing)?;
    let systems: Vec<String> =
        events.iter().filter_map(|event| Some(event.name.split_once(':')?.0.to_string())).collect();
    let metadata = metadata::gather(tracefs, |system| systems.iter().any(|wanted| wanted == system))?;
    let sub_buffer_size = metadata.sub_buffer_size as usize;
    // Filled once everything is set up; they live as long as the feed that borrows them.
    let (reader, prepared) = (OnceCell::new(), OnceCell::new());
    live::follow(tracefs, start, |instance| {
        let made = recording(tracefs, instance, metadata)?;
        let made = Prepared::new(reader.get_or_init(|| made), config)?;
        let passes = Passes::new(prepared.get_or_init(|| made));
        Buffers::open(tracefs, instance, sub_buffer_size, passes, out)
    })
}

/// A recording without records: it holds the metadata, which does not change from now on.
fn recording(tracefs: &Tracefs, instance: &Instance, gathered: Metadata) -> Result<Reader> {
    let passing = output::passing(tracefs, instance)?;
    let metadata = Metadata {
        clock: passing.clock,
        trace_clock: passing.trace_clock,
        cpu_count: passing.cpu_count,
        btf: passing.btf,
        ..gathered
    };
    let mut file = Cursor::new(Vec::new());
    write(&mut file, Version::V7, Compression::None, &metadata, &mut [])
        .map_err(|cause| Error::new("cannot sort the records").because(cause).help("trace fewer events"))?;
    Ok(Reader::new("the buffers", file.into_inner())?)
}

/// The buffers of an instance, and the state for printing their contents.
struct Buffers<'o> {
    tracefs: Tracefs,
    cpus: Vec<RawBuffer>,
    sub_buffer_size: usize,
    passes: Passes<'o>,
    out: &'o mut (dyn Write + Send),
}

impl<'o> Buffers<'o> {
    fn open(
        tracefs: &Tracefs,
        instance: &Instance,
        sub_buffer_size: usize,
        passes: Passes<'o>,
        out: &'o mut (dyn Write + Send),
    ) -> Result<Buffers<'o>> {
        let raw = |cpu| RawBuffer::open(instance, cpu, "trace_pipe_raw");
        let cpus = drain::cpus(instance)?.into_iter().map(raw).collect::<Result<_>>()?;
        Ok(Buffers { tracefs: tracefs.clone(), cpus, sub_buffer_size, passes, out })
    }

    /// Reads what a CPU has recorded, in whole sub-buffers; stops at [`MOST_AT_ONCE`].
    fn take(&mut self, index: usize) -> Result<Vec<u8>> {
        let raw = &mut self.cpus[index];
        let mut taken = Vec::new();
        let mut sub_buffer = vec![0; self.sub_buffer_size];
        // Always whole sub-buffers: a short read could not be repeated, so the rest stays zero.
        while taken.len() < MOST_AT_ONCE && raw.read(&mut sub_buffer)?.is_some() {
            taken.extend_from_slice(&sub_buffer);
            sub_buffer.fill(0);
        }
        Ok(taken)
    }
}

/// The most bytes of a CPU that are read at once.
const MOST_AT_ONCE: usize = 4 << 20;

impl Feed for Buffers<'_> {
    fn pass_on(&mut self, last: bool) -> Result<()> {
        loop {
            let mut taken = Vec::new();
            for index in 0..self.cpus.len() {
                taken.push((self.cpus[index].cpu(), self.take(index)?));
            }
            let nothing = taken.iter().all(|(_, data)| data.is_empty());
            if !nothing || self.passes.holds_any() {
                // Also names commands that started since the last pass.
                self.passes.learn(self.tracefs.top().read_bytes("saved_cmdlines")?);
            }
            let parts: Vec<Part<'_>> = taken
                .iter()
                .map(|(cpu, data)| Part { buffer: 0, cpu: *cpu, data, whole: data.len() < MOST_AT_ONCE })
                .collect();
            self.passes.pass(&parts, self.out)?;
            if last && nothing {
                return self.passes.finish(self.out);
            }
            if !last {
                return Ok(());
            }
        }
    }

    fn wait(&self) -> Result<()> {
        // A signal ends the wait early.
        let longest = rustix::event::Timespec { tv_sec: 0, tv_nsec: live::PAUSE.subsec_nanos().into() };
        match rustix::event::poll(&mut [], Some(&longest)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(Error::new("cannot wait for the buffers").because(io::Error::from(error))),
        }
    }
}
