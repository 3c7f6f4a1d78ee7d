//! The terminal of this process, given to a guest and restored however that ends.
//!
//! Three put it back: [`Raw`] when it is dropped, [`restore`] before a signal ends this process,
//! and, where neither can, a second process that waits for the end of this one.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard};

use rustix::process::setsid;
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::error::{Context, Error, Result};

/// The hidden command of this program that [`keep`] answers.
pub const KEEPER: &str = "keep-terminal";

/// What the keeper says once it knows the settings.
const READY: &[u8] = b"ready\n";

/// The settings to restore, while they are changed.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

fn before() -> MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Standard input's terminal without a line discipline of its own: each key comes as it is. As it
/// was again when this is dropped.
#[derive(Debug)]
pub struct Raw {
    raw: Termios,
    keeper: Child,
    /// The keeper acts when this end of the pipe is gone.
    alive: Option<ChildStdin>,
}

impl Raw {
    /// Takes the terminal.
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

    /// Makes it raw again after this process was stopped and another one used the terminal.
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
        // It sets what is set already; nothing of it is to come later.
        let _ = self.keeper.wait();
    }
}

/// Puts the terminal back where it is changed: what a signal does before it ends this process.
pub fn restore() {
    if let Some(settings) = &*before() {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), OptionalActions::Now, settings);
    }
}

/// Rows and columns of standard input's terminal, where it has a size.
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

/// What the second process does: notes the settings of the terminal that is its standard error, waits
/// until its standard input ends, and puts them back.
///
/// # Errors
/// There is no such terminal.
pub fn keep() -> io::Result<()> {
    // What is sent to the terminal's processes is not for this one, and a process of another session may
    // change a terminal without being stopped for it.
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
