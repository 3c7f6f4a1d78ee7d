//! Draining per-CPU buffers: a thread per CPU moves sub-buffers into an unnamed file.
//!
//! A CPU that was never online since the instance was created has no buffer. One more thread checks for
//! such CPUs to come online; the kernel then keeps their buffers even if they go offline again.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::mem;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use rustix::process::setpriority_process;

use crate::error::{Error, Result};
use crate::tracefs::Instance;

/// The nice value of the threads. They need little time, but must not wait on a busy system: events are
/// lost when they read too late.
const NICE: i32 = -20;
/// Sub-buffers moved at once: as many as a pipe holds pages.
const AT_ONCE: usize = 16;
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// A buffer of the default size takes longer than this to fill, even if every function is traced.
const LONGEST_PAUSE: Duration = Duration::from_millis(8);
/// The default size in KiB. A smaller buffer fills sooner.
const DEFAULT_BUFFER_KB: u32 = 1408;

/// The longest time between two checks for CPUs without a buffer, used while the other CPUs record little.
const LONGEST_ABSENCE: Duration = Duration::from_millis(100);
/// More bytes than this from the other CPUs between two checks are much.
const MUCH: u64 = 64 * 1024;

/// The data that one CPU's thread has moved.
#[derive(Debug)]
pub struct Drained {
    /// The CPU's number.
    pub cpu: u32,
    /// Its sub-buffers, one after the other; the file is at its start.
    pub file: File,
    /// Their length in bytes.
    pub size: u64,
}

/// How the buffers are drained.
#[derive(Clone, Debug, Default)]
pub struct DrainConfig {
    /// Bytes in a sub-buffer.
    pub sub_buffer_size: usize,
    /// The folder for the unnamed files.
    pub folder: PathBuf,
    /// How long to pause when the buffer is empty. Zero waits only for the kernel to report data; `None`
    /// chooses pauses that depend on how fast the buffer fills.
    pub interval: Option<Duration>,
    /// How many of the newest bytes are kept for each CPU. Once more was recorded, between half of this
    /// and all of it is kept.
    pub most: Option<u64>,
    /// Read the snapshots instead of the buffers.
    pub snapshot: bool,
    /// Counts the bytes that were read, for the progress line.
    pub taken: Arc<AtomicU64>,
}

/// The threads that drain an instance's buffers.
#[derive(Debug)]
pub struct Drain {
    stop: Arc<AtomicBool>,
    /// Closing it wakes the threads that wait.
    waker: Option<OwnedFd>,
    threads: Vec<JoinHandle<Result<Drained>>>,
    /// Starts a thread for each CPU that gets a buffer later.
    watcher: Option<JoinHandle<Vec<Result<Drained>>>>,
}

/// A CPU's buffer, opened to be read without waiting.
#[derive(Debug)]
pub(crate) struct RawBuffer {
    cpu: u32,
    file: File,
    path: PathBuf,
}

impl RawBuffer {
    /// Opens a CPU's buffer; `name` is `trace_pipe_raw` or `snapshot_raw`.
    ///
    /// This also works for a CPU that has no buffer.
    pub(crate) fn open(instance: &Instance, cpu: u32, name: &str) -> Result<RawBuffer> {
        let name = format!("per_cpu/cpu{cpu}/{name}");
        let (file, path) = (instance.open(&name)?, instance.file(&name));
        fcntl_getfl(&file)
            .and_then(|flags| fcntl_setfl(&file, flags | OFlags::NONBLOCK))
            .map_err(|error| Error::io("open without waiting", &path, error))?;
        Ok(RawBuffer { cpu, file, path })
    }

    /// The CPU's number.
    pub(crate) fn cpu(&self) -> u32 {
        self.cpu
    }

    /// Whether the CPU has a buffer. It has none before it is online for the first time: it may have been
    /// left offline at boot, or be an empty slot.
    pub(crate) fn has_buffer(&self) -> Result<bool> {
        let mut wanted = [PollFd::new(&self.file, PollFlags::IN)];
        loop {
            match poll(&mut wanted, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
                Ok(_) => return Ok(!wanted[0].revents().contains(PollFlags::ERR)),
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::io("wait for", &self.path, error)),
            }
        }
    }

    /// Reads the data up to the end of a sub-buffer and returns its length. `None` when there is none, or
    /// the CPU has no buffer.
    pub(crate) fn read(&mut self, sub_buffer: &mut [u8]) -> Result<Option<usize>> {
        loop {
            match self.file.read(sub_buffer) {
                Ok(0) => return Ok(None),
                Ok(length) => return Ok(Some(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => return Ok(None),
                Err(error) => return Err(Error::io("read", &self.path, error)),
            }
        }
    }
}

/// One CPU's buffer, and the file that its sub-buffers go to.
struct CpuDrain {
    raw: RawBuffer,
    file: File,
    size: u64,
    /// The file before `file`, and its size, if the recording is bounded.
    older: Option<(File, u64)>,
    config: DrainConfig,
    longest_pause: Duration,
    woken: Arc<OwnedFd>,
}

impl Drain {
    /// Opens every CPU's buffer and starts the threads. A thread that fails calls `on_failure`.
    ///
    /// Set the tracer first: the kernel does not change it while the buffers are open.
    ///
    /// # Errors
    /// A buffer cannot be opened, or no file can be created in the folder.
    pub fn start(
        instance: &Instance,
        config: &DrainConfig,
        on_failure: impl Fn() + Clone + Send + 'static,
    ) -> Result<Drain> {
        let (woken, waker) = pipe()?;
        let woken = Arc::new(woken);
        let (mut present, mut absent) = (Vec::new(), Vec::new());
        for cpu in cpus(instance)? {
            let name = if config.snapshot { "snapshot_raw" } else { "trace_pipe_raw" };
            let raw = RawBuffer::open(instance, cpu, name)?;
            let size = instance.read_value(&format!("per_cpu/cpu{cpu}/buffer_size_kb")).unwrap_or_default();
            let buffer = Buffer { raw, longest_pause: longest_pause(&size) };
            if buffer.raw.has_buffer()? { &mut present } else { &mut absent }.push(buffer);
        }
        let stop: Arc<AtomicBool> = Arc::default();
        let starter = Starter { config: config.clone(), woken, stop: Arc::clone(&stop), on_failure };
        let mut drain = Drain { stop, waker: Some(waker), threads: Vec::new(), watcher: None };
        for buffer in present {
            drain.threads.push(starter.start(buffer)?);
        }
        if !absent.is_empty() {
            let watcher = thread::Builder::new().name("absent".into());
            drain.watcher = Some(watcher.spawn(move || starter.watch(absent)).map_err(no_thread)?);
        }
        Ok(drain)
    }

    /// Lets the threads read the remaining data, and waits for them. Call it after recording is off. CPUs
    /// without a buffer are left out.
    ///
    /// # Errors
    /// The first failure of a thread.
    pub fn finish(mut self) -> Result<Vec<Drained>> {
        let mut drained: Vec<Drained> = self.end().into_iter().collect::<Result<_>>()?;
        drained.sort_by_key(|drained| drained.cpu);
        Ok(drained)
    }

    fn end(&mut self) -> Vec<Result<Drained>> {
        self.stop.store(true, Ordering::Release);
        self.waker = None;
        let mut ended: Vec<Result<Drained>> = self.threads.drain(..).map(joined).collect();
        if let Some(watcher) = self.watcher.take() {
            ended.extend(watcher.join().unwrap_or_else(|_| vec![Err(gone())]));
        }
        ended
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        // While a thread holds a buffer open, the tracer cannot be restored.
        self.end();
    }
}

fn joined(thread: JoinHandle<Result<Drained>>) -> Result<Drained> {
    thread.join().unwrap_or_else(|_| Err(gone()))
}

fn gone() -> Error {
    Error::new("the thread that reads a CPU's buffer has ended")
        .help("this is a bug in snaptrace: please report it")
}

fn no_thread(cause: io::Error) -> Error {
    Error::new("cannot start a thread for each CPU")
        .because(cause)
        .help("check the limit on processes (ulimit -u)")
}

/// A CPU's buffer that no thread drains yet.
struct Buffer {
    raw: RawBuffer,
    longest_pause: Duration,
}

/// Starts the threads.
struct Starter<F> {
    config: DrainConfig,
    woken: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
    on_failure: F,
}

impl<F: Fn() + Clone + Send + 'static> Starter<F> {
    /// Starts the thread of a CPU that has a buffer.
    fn start(&self, buffer: Buffer) -> Result<JoinHandle<Result<Drained>>> {
        let source = self.source(buffer)?;
        let (stop, on_failure) = (Arc::clone(&self.stop), self.on_failure.clone());
        let thread = thread::Builder::new().name(format!("cpu{}", source.raw.cpu));
        thread.spawn(move || source.drain(&stop).inspect_err(|_| on_failure())).map_err(no_thread)
    }

    fn source(&self, buffer: Buffer) -> Result<CpuDrain> {
        let Buffer { raw, longest_pause } = buffer;
        let (config, woken) = (self.config.clone(), Arc::clone(&self.woken));
        let file = unnamed_file(&self.config.folder)?;
        Ok(CpuDrain { raw, file, size: 0, older: None, config, longest_pause, woken })
    }

    /// Starts a thread for each of these CPUs that comes online; returns their results at the end.
    fn watch(self, mut absent: Vec<Buffer>) -> Vec<Result<Drained>> {
        let _ = setpriority_process(None, NICE);
        let mut threads = Vec::new();
        let mut failed = Vec::new();
        // A new buffer may fill as fast as those of the other CPUs do.
        let shortest = absent.iter().map(|buffer| buffer.longest_pause).min().unwrap_or(LONGEST_PAUSE);
        let mut pause = shortest;
        let mut taken = 0;
        loop {
            // Read before the buffers are checked, so that no CPU that came before the end is missed.
            let ending = self.stop.load(Ordering::Acquire);
            for buffer in mem::take(&mut absent) {
                match buffer.raw.has_buffer() {
                    Ok(false) => absent.push(buffer),
                    Ok(true) => match self.start(buffer) {
                        Ok(thread) => threads.push(thread),
                        Err(error) => failed.push(error),
                    },
                    Err(error) => failed.push(error),
                }
            }
            if !failed.is_empty() {
                (self.on_failure)();
            }
            if ending || absent.is_empty() || !failed.is_empty() {
                break;
            }
            let now = self.config.taken.load(Ordering::Relaxed);
            let is_much = now.saturating_sub(taken) > MUCH;
            taken = now;
            pause = if is_much { shortest } else { (pause * 2).min(LONGEST_ABSENCE) };
            let pause = pause.max(self.config.interval.unwrap_or_default());
            if let Err(error) = wait(&self.woken, None, Some(pause)) {
                failed.push(error);
            }
        }
        threads.into_iter().map(joined).chain(failed.into_iter().map(Err)).collect()
    }
}

/// The numbers of all CPUs that could ever have a buffer, in ascending order.
///
/// # Errors
/// The folder `per_cpu` cannot be read.
pub fn cpus(instance: &Instance) -> Result<Vec<u32>> {
    let folders = instance.folders("per_cpu")?;
    let mut cpus: Vec<u32> =
        folders.iter().filter_map(|name| name.strip_prefix("cpu")?.parse().ok()).collect();
    cpus.sort_unstable();
    Ok(cpus)
}

/// Creates a file without a name in this folder; it vanishes when it is closed.
///
/// # Errors
/// The folder does not exist, or no file can be created in it.
pub fn unnamed_file(folder: &Path) -> Result<File> {
    tempfile::tempfile_in(folder).map_err(|cause| {
        Error::io("create a file in", folder, cause).help("choose a folder that you can write to with -o")
    })
}

/// The longest pause between reads of a buffer of this size. A buffer of unknown size gets the shortest.
fn longest_pause(buffer_size_kb: &str) -> Duration {
    let size: u32 = buffer_size_kb.split(' ').next().and_then(|size| size.parse().ok()).unwrap_or(0);
    (LONGEST_PAUSE * size.min(DEFAULT_BUFFER_KB) / DEFAULT_BUFFER_KB).max(SHORTEST_PAUSE)
}

/// Waits until the recording ends, until `buffer` has data (if given), or for `longest` (if given).
fn wait(woken: &OwnedFd, buffer: Option<&RawBuffer>, longest: Option<Duration>) -> Result<()> {
    let longest = longest.map(|time| Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    let mut wanted = vec![PollFd::new(woken, PollFlags::IN)];
    wanted.extend(buffer.map(|raw| PollFd::new(&raw.file, PollFlags::IN)));
    match poll(&mut wanted, longest.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => {
            let path = buffer.map_or(Path::new("the end of the recording"), |raw| raw.path.as_path());
            Err(Error::io("wait for", path, error))
        }
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|error| {
        Error::new("cannot create a pipe")
            .because(io::Error::from(error))
            .help("check the limit on files (ulimit -n)")
    })
}

impl CpuDrain {
    fn drain(mut self, stop: &AtomicBool) -> Result<Drained> {
        // Changes this thread only. Without permission it keeps the normal priority.
        let _ = setpriority_process(None, NICE);
        let (pipe_out, pipe_in) = pipe()?;
        let mut pause = SHORTEST_PAUSE;
        let mut waited = false;
        loop {
            // Read before the buffer is, so that nothing recorded before the end is missed.
            let ending = stop.load(Ordering::Acquire);
            match self.splice(&pipe_in, &pipe_out)? {
                0 if ending => break,
                0 => match self.config.interval {
                    Some(Duration::ZERO) => self.wait(true, None)?,
                    Some(interval) => self.wait(false, Some(interval))?,
                    // The kernel wakes waiting readers when half of the buffer is full. For a buffer that
                    // fills within milliseconds this is too late.
                    None if self.longest_pause == SHORTEST_PAUSE => self.wait(false, Some(pause))?,
                    None if !waited => {
                        self.wait(true, None)?;
                        waited = true;
                    }
                    None => {
                        // Kernels before 6.1 end the wait at the first event, when no sub-buffer is full
                        // yet. A thread that wakes up too often fills the buffer with its own events.
                        self.wait(false, Some(pause))?;
                        pause = (pause * 2).min(self.longest_pause);
                        waited = false;
                    }
                },
                moved => {
                    self.took(moved)?;
                    pause = SHORTEST_PAUSE;
                    waited = false;
                }
            }
        }
        self.read_rest()?;
        self.into_drained()
    }

    /// Counts bytes that were written. In a bounded recording, begins a new file once this one holds half
    /// of the limit.
    fn took(&mut self, bytes: u64) -> Result<()> {
        self.size += bytes;
        self.config.taken.fetch_add(bytes, Ordering::Relaxed);
        let Some(most) = self.config.most else { return Ok(()) };
        let sub_buffer = self.config.sub_buffer_size as u64;
        if self.size < (most / 2).max(sub_buffer) {
            return Ok(());
        }
        let mut next = match self.older.take() {
            Some((file, _)) => file,
            None => unnamed_file(&self.config.folder)?,
        };
        next.set_len(0).and_then(|()| next.rewind()).map_err(|cause| self.writing(cause))?;
        self.older = Some((mem::replace(&mut self.file, next), mem::take(&mut self.size)));
        Ok(())
    }

    fn into_drained(mut self) -> Result<Drained> {
        let failed = |cause: io::Error| writing(&self.config.folder, cause);
        self.file.rewind().map_err(failed)?;
        let (mut file, mut size) = (self.file, self.size);
        if let Some((mut older, older_size)) = self.older.take() {
            io::copy(&mut file, &mut older).map_err(failed)?;
            older.rewind().map_err(failed)?;
            (file, size) = (older, older_size + size);
        }
        Ok(Drained { cpu: self.raw.cpu, file, size })
    }

    /// Waits until the recording ends, until the buffer has data (with `for_buffer`), or for `longest`.
    fn wait(&self, for_buffer: bool, longest: Option<Duration>) -> Result<()> {
        wait(&self.woken, for_buffer.then_some(&self.raw), longest)
    }

    /// Moves full sub-buffers without copying them; the one being written is left alone.
    fn splice(&mut self, pipe_in: &OwnedFd, pipe_out: &OwnedFd) -> Result<u64> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved =
            match splice(&self.raw.file, None, pipe_in, None, AT_ONCE * self.config.sub_buffer_size, flags) {
                Ok(moved) => moved,
                Err(Errno::AGAIN) => 0,
                // Not an end: the data are moved by the next call, or read with the rest.
                Err(Errno::INTR) => 0,
                Err(error) => return Err(Error::io("read", &self.raw.path, error)),
            };
        let mut left = moved;
        while left > 0 {
            match splice(pipe_out, None, &self.file, None, left, SpliceFlags::MOVE) {
                Ok(0) => return Err(self.writing(io::ErrorKind::WriteZero)),
                Ok(written) => left -= written,
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.writing(error)),
            }
        }
        Ok(moved as u64)
    }

    /// Reads the sub-buffers that are not full; the kernel fills the rest of each with zeros.
    fn read_rest(&mut self) -> Result<()> {
        let mut sub_buffer = vec![0; self.config.sub_buffer_size];
        while let Some(length) = self.raw.read(&mut sub_buffer)? {
            self.file.write_all(&sub_buffer[..length]).map_err(|cause| self.writing(cause))?;
            self.took(length as u64)?;
        }
        Ok(())
    }

    fn writing(&self, cause: impl Into<io::Error>) -> Error {
        writing(&self.config.folder, cause)
    }
}

fn writing(folder: &Path, cause: impl Into<io::Error>) -> Error {
    Error::io("write the recording to a file in", folder, cause)
        .help("make room there, or choose another folder with -o")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tracefs::Tracefs;

    #[test]
    fn cpus_come_by_number() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("current_tracer"), "nop\n").unwrap();
        for cpu in ["cpu10", "cpu2", "cpu0"] {
            fs::create_dir_all(folder.path().join("per_cpu").join(cpu)).unwrap();
        }
        assert_eq!(cpus(Tracefs::at(folder.path()).unwrap().top()).unwrap(), [0, 2, 10]);
    }

    #[test]
    fn a_small_buffer_is_looked_at_more_often() {
        assert_eq!(longest_pause("1408"), Duration::from_millis(8));
        assert_eq!(longest_pause("65536"), Duration::from_millis(8));
        assert_eq!(longest_pause("352"), Duration::from_millis(2));
        for unknown_or_tiny in ["64", "7 (expanded: 1408)", "X", ""] {
            assert_eq!(longest_pause(unknown_or_tiny), SHORTEST_PAUSE);
        }
    }

    fn config(folder: &Path) -> DrainConfig {
        DrainConfig { sub_buffer_size: 4096, folder: folder.to_path_buf(), ..DrainConfig::default() }
    }

    /// A tracing directory with this content in the buffer of each CPU.
    fn buffers(folder: &Path, contents: &[&[u8]]) -> Tracefs {
        fs::write(folder.join("current_tracer"), "nop\n").unwrap();
        for (cpu, content) in contents.iter().enumerate() {
            let path = folder.join("per_cpu").join(format!("cpu{cpu}"));
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("trace_pipe_raw"), content).unwrap();
        }
        Tracefs::at(folder).unwrap()
    }

    fn content() -> Vec<u8> {
        (0..20 * 4096_u32).map(|n| n.to_le_bytes()[1]).collect()
    }

    #[test]
    fn all_that_is_in_the_buffers_arrives() {
        let folder = tempfile::tempdir().unwrap();
        let content = content();
        let tracefs = buffers(folder.path(), &[&[], &content]);
        let config = config(folder.path());
        let drained = Drain::start(tracefs.top(), &config, || {}).unwrap().finish().unwrap();
        let sizes: Vec<(u32, u64)> = drained.iter().map(|drained| (drained.cpu, drained.size)).collect();
        assert_eq!(sizes, [(0, 0), (1, content.len() as u64)]);
        assert_eq!(config.taken.load(Ordering::Relaxed), content.len() as u64);
        let mut arrived = Vec::new();
        drained.into_iter().nth(1).unwrap().file.read_to_end(&mut arrived).unwrap();
        assert!(arrived == content);
    }

    #[test]
    fn of_a_bounded_recording_the_newest_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..7_u8).flat_map(|page| [page; 4096]).collect();
        let tracefs = buffers(folder.path(), &[&[]]);
        let config = DrainConfig { most: Some(4 * 4096), ..config(folder.path()) };
        // Page by page, as when a buffer is drained often.
        let mut source = CpuDrain {
            longest_pause: SHORTEST_PAUSE,
            raw: RawBuffer::open(tracefs.top(), 0, "trace_pipe_raw").unwrap(),
            file: unnamed_file(folder.path()).unwrap(),
            size: 0,
            older: None,
            config,
            woken: Arc::new(pipe().unwrap().0),
        };
        for page in content.chunks(4096) {
            source.file.write_all(page).unwrap();
            source.took(page.len() as u64).unwrap();
        }
        let mut drained = source.into_drained().unwrap();
        let mut kept = Vec::new();
        drained.file.read_to_end(&mut kept).unwrap();
        assert_eq!(drained.size, kept.len() as u64);
        assert!(kept == content[4 * 4096..], "two pages of the older half and one of the newer");
    }
}
