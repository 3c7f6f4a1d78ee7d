//! `stream`: the lines of `report`, live and without a file.

use std::io::{self, Cursor, Write};

use crate::drain::Raw;
use crate::error::{Error, Result};
use crate::live::{self, Feed};
use crate::report;
use crate::start::Start;
use crate::trace_dat::Reader;
use crate::trace_dat::write::{Compression, CpuData, Metadata, Version, write};
use crate::tracefs::{Instance, Tracefs};
use crate::{drain, metadata, output};

/// Traces until the command ends, or without one until SIGINT, and gives the exit code.
///
/// Lines go to `out` several times a second, as `report` prints them; those of one time are in
/// order. Afterwards all control files are as they were before.
///
/// # Errors
/// As of `record`; or `out` fails.
pub fn stream(
    tracefs: &Tracefs,
    start: &Start,
    config: &report::Config,
    out: &mut (dyn Write + Send),
) -> Result<u8> {
    // The formats of all other events could be read for nothing.
    let events = crate::events::choose(tracefs.top(), &start.events, start.ignore_missing)?;
    let systems: Vec<String> =
        events.iter().filter_map(|event| Some(event.name.split_once(':')?.0.to_string())).collect();
    let metadata = metadata::gather(tracefs, |system| systems.iter().any(|wanted| wanted == system))?;
    live::follow(tracefs, start, |instance| Buffers::open(tracefs, instance, metadata, config, out))
}

/// The buffers of an instance, and what turns their content into lines.
struct Buffers<'o> {
    tracefs: Tracefs,
    cpus: Vec<Raw>,
    metadata: Metadata,
    config: &'o report::Config,
    out: Lines<'o>,
}

impl<'o> Buffers<'o> {
    fn open(
        tracefs: &Tracefs,
        instance: &Instance,
        gathered: Metadata,
        config: &'o report::Config,
        out: &'o mut (dyn Write + Send),
    ) -> Result<Buffers<'o>> {
        let raw = |cpu| Raw::open(instance, cpu, "trace_pipe_raw");
        let cpus = drain::cpus(instance)?.into_iter().map(raw).collect::<Result<_>>()?;
        let passing = output::passing(tracefs, instance)?;
        let metadata = Metadata {
            clock: passing.clock,
            trace_clock: passing.trace_clock,
            cpu_count: passing.cpu_count,
            ..gathered
        };
        let out = Lines { out, begun: false, in_head: true };
        Ok(Buffers { tracefs: tracefs.clone(), cpus, metadata, config, out })
    }

    /// Takes what a CPU has recorded, but no more than fits its buffer.
    fn take(&mut self, index: usize) -> Result<Vec<u8>> {
        let raw = &mut self.cpus[index];
        let mut taken = Vec::new();
        let mut sub_buffer = vec![0; self.metadata.sub_buffer_size as usize];
        // Whatever is not whole could not be read again either.
        while taken.len() < MOST_AT_ONCE && raw.read(&mut sub_buffer)?.is_some() {
            taken.extend_from_slice(&sub_buffer);
            sub_buffer.fill(0);
        }
        Ok(taken)
    }
}

/// Bytes of a CPU that are turned into lines at once.
const MOST_AT_ONCE: usize = 4 << 20;

impl Feed for Buffers<'_> {
    fn pass_on(&mut self, last: bool) -> Result<()> {
        loop {
            let mut taken = Vec::new();
            for index in 0..self.cpus.len() {
                taken.push((self.cpus[index].cpu(), self.take(index)?));
            }
            if taken.iter().all(|(_, data)| data.is_empty()) {
                return Ok(());
            }
            // Commands that began since then have names, too.
            self.metadata.cmdlines = self.tracefs.top().read_bytes("saved_cmdlines")?;
            let mut slices: Vec<(u32, &[u8])> =
                taken.iter().map(|(cpu, data)| (*cpu, data.as_slice())).collect();
            let mut cpus: Vec<CpuData<'_>> = slices
                .iter_mut()
                .map(|(cpu, data)| CpuData { cpu: *cpu, size: data.len() as u64, data })
                .collect();
            let mut file = Cursor::new(Vec::new());
            write(&mut file, Version::V7, Compression::None, &self.metadata, &mut cpus).map_err(|cause| {
                Error::new("cannot arrange what was recorded").because(&cause).help("trace fewer events")
            })?;
            let reader = Reader::new("the buffers", file.into_inner())?;
            self.out.in_head = true;
            report::report(&reader, self.config, &mut self.out)?;
            if !last {
                return Ok(());
            }
        }
    }

    fn wait(&self) -> Result<()> {
        // A signal ends this early, too.
        let longest = rustix::event::Timespec { tv_sec: 0, tv_nsec: live::PAUSE.subsec_nanos().into() };
        match rustix::event::poll(&mut [], Some(&longest)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(Error::new("cannot wait for the buffers").because(&error.into())),
        }
    }
}

/// Lets the first line of a report, the number of CPUs, through once only.
struct Lines<'o> {
    out: &'o mut (dyn Write + Send),
    begun: bool,
    in_head: bool,
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.in_head {
            return self.out.write(bytes);
        }
        let head = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        if !self.begun {
            self.out.write_all(&bytes[..head])?;
        }
        if bytes[..head].ends_with(b"\n") {
            (self.begun, self.in_head) = (true, false);
        }
        Ok(head)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_cpus_is_told_once() {
        let mut told = Vec::new();
        let mut lines = Lines { out: &mut told, begun: false, in_head: true };
        for part in ["cp", "us=1\na\n", "b\n"] {
            lines.write_all(part.as_bytes()).unwrap();
        }
        lines.in_head = true;
        lines.write_all(b"cpus=1\nc\n").unwrap();
        assert_eq!(told, b"cpus=1\na\nb\nc\n");
    }
}
