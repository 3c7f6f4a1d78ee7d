//! The terminal of this process, given to a guest and restored however that ends.
//!
//! Three things restore it: [`Raw`] when it is dropped, [`restore`] before a signal ends this process, and,
//! after SIGKILL, a second process that waits for the end of this one.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard};

use rustix::process::setsid;
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::error::{Context, Error, Result};

/// The hidden command of this program that runs [`keep`].
pub const KEEPER: &str = "keep-terminal";

/// What the keeper prints once it has read the settings.
const READY: &[u8] = b"ready\n";

/// The settings to restore, while they are changed.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

fn before() -> MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Standard input's terminal in raw mode: each key is passed on unchanged. Dropping this restores the
/// terminal.
#[derive(Debug)]
pub struct Raw {
    raw: Termios,
    keeper: Child,
    /// The keeper restores the terminal when this end of the pipe is closed.
    alive: Option<ChildStdin>,
}

impl Raw {
    /// Makes the terminal raw.
    ///
    /// # Errors
    /// Standard input is not a terminal, or the process that restores it cannot be started.
    pub fn take() -> Result<Raw> {
        let settings = tcgetattr(stdin()).context(|| "cannot read the terminal's settings".into())?;
        let (keeper, alive) = start_keeper()?;
        let mut raw = settings.clone();
        raw.make_raw();
        *before() = Some(settings);
        let taken = Raw { raw, keeper, alive: Some(alive) };
        taken.again()?;
        Ok(taken)
    }

    /// Makes it raw again, after this process was stopped and another process used the terminal.
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn again(&self) -> Result<()> {
        tcsetattr(stdin(), OptionalActions::Now, &self.raw)
            .context(|| "cannot change the terminal's settings".into())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
        *before() = None;
        drop(self.alive.take());
        // The keeper sets the same settings again; wait, so that this does not happen later.
        let _ = self.keeper.wait();
    }
}

/// Restores the terminal if it was changed; called before a signal ends this process.
pub fn restore() {
    if let Some(settings) = &*before() {
        // A closed terminal needs no restore.
        let _ = tcsetattr(stdin(), OptionalActions::Now, settings);
    }
}

/// Rows and columns of standard input's terminal, if it has a size.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(stdin()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

fn start_keeper() -> Result<(Child, ChildStdin)> {
    let failed = || "cannot start the process that puts the terminal back".to_owned();
    let terminal = rustix::io::fcntl_dupfd_cloexec(stdin(), 3).context(failed)?;
    let program = std::env::current_exe().context(failed)?;
    let mut keeper = Command::new(program)
        .arg(KEEPER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(terminal)
        .spawn()
        .context(failed)?;
    let (Some(alive), Some(mut said)) = (keeper.stdin.take(), keeper.stdout.take()) else {
        return Err(Error::new(failed()));
    };
    let mut word = Vec::new();
    said.read_to_end(&mut word).context(failed)?;
    if word != READY {
        return Err(Error::new(failed()).because("it ended at once"));
    }
    Ok((keeper, alive))
}

/// The work of the second process: reads the settings of the terminal on its standard error, waits until its
/// standard input ends, and restores them.
///
/// # Errors
/// There is no such terminal.
pub fn keep() -> io::Result<()> {
    // In its own session it does not get the terminal's signals, and may change the terminal without being
    // stopped.
    let _ = setsid();
    let terminal = rustix::stdio::stderr();
    let settings = tcgetattr(terminal)?;
    io::stdout().write_all(READY)?;
    io::stdout().flush()?;
    // The other side reads to the end.
    rustix::stdio::dup2_stdout(terminal)?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(tcsetattr(terminal, OptionalActions::Now, &settings)?)
}
