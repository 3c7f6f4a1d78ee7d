//! Passes this process's input on to a guest; and makes the sockets that QEMU connects to.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::stdio::stdin;

use super::machine::Machine;
use crate::base::error::{Context, Result};

/// A machine whose sockets have short paths: a socket's address holds 108 bytes, and the folder's path may be
/// longer. The descriptor has to stay open until QEMU has connected.
pub fn with_short_names(machine: &Machine) -> Result<(Machine, OwnedFd)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(&machine.dir, flags, Mode::empty())
        .context(|| format!("cannot open {}", machine.dir.display()))?;
    let short = format!("/proc/{}/fd/{}", std::process::id(), folder.as_raw_fd());
    Ok((Machine { sockets: short.into(), ..machine.clone() }, folder))
}

/// A socket that QEMU connects to.
pub fn listen(path: &Path) -> Result<UnixListener> {
    UnixListener::bind(path).context(|| format!("cannot listen on {}", path.display()))
}

/// Passes standard input on to the guest's input port, as fast as the guest reads it, in a thread that nobody
/// joins: a guest may end before the input does.
pub fn feed(machine: &Machine) -> Result<()> {
    let listener = listen(&machine.input_socket())?;
    thread::spawn(move || -> io::Result<()> {
        let (mut guest, _) = listener.accept()?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match rustix::io::read(stdin(), &mut buffer[..]) {
                Ok(0) | Err(Errno::IO) => break,
                Ok(count) => guest.write_all(&buffer[..count])?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Shut down only our sending side: QEMU then passes on the rest and the end of input. If the socket
        // were closed both ways, QEMU would drop what it has not read yet.
        guest.shutdown(Shutdown::Write)?;
        io::copy(&mut guest, &mut io::sink()).map(drop)
    });
    Ok(())
}
