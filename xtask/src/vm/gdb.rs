//! Where a guest waits for a debugger.

use std::fmt;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::str::FromStr;

use crate::base::error::{Context, Result};

/// gdb's usual port for QEMU.
const USUAL: u16 = 1234;
/// The longest path of a socket, in bytes: `sun_path` without its final NUL.
const LONGEST_SOCKET: usize = 107;

/// The address at which QEMU waits for gdb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gdb {
    /// A TCP port of the loopback device, open to every user of this host; 0 for a free one.
    Port(u16),
    /// A socket in the file system, open to those who may write it.
    Socket(PathBuf),
}

impl FromStr for Gdb {
    type Err = String;

    /// `PORT` or `unix:PATH`; nothing for the usual port.
    fn from_str(text: &str) -> Result<Gdb, String> {
        let Some(path) = text.strip_prefix("unix:") else {
            let port = if text.is_empty() { Ok(USUAL) } else { text.parse() };
            return port.map(Gdb::Port).map_err(|_| format!("{text} is neither a port nor unix:PATH"));
        };
        match path.len() {
            0 => Err("unix: needs the path of a socket".to_owned()),
            length if length > LONGEST_SOCKET => {
                Err(format!("the path of a socket has at most {LONGEST_SOCKET} bytes, not {length}"))
            }
            _ => Ok(Gdb::Socket(path.into())),
        }
    }
}

impl Gdb {
    /// The same with a free port in place of port 0.
    ///
    /// # Errors
    /// No port is free.
    pub fn with_free_port(self) -> Result<Gdb> {
        if self != Gdb::Port(0) {
            return Ok(self);
        }
        let failed = || "cannot find a free port for gdb".to_owned();
        // QEMU takes it a moment later; if another program is faster, QEMU says so.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context(failed)?;
        Ok(Gdb::Port(listener.local_addr().context(failed)?.port()))
    }

    /// QEMU's `-gdb`. A comma in a path is written twice.
    pub(super) fn device(&self) -> String {
        match self {
            Gdb::Port(port) => format!("tcp:127.0.0.1:{port}"),
            Gdb::Socket(path) => {
                format!("unix:{},server=on,wait=off", path.display().to_string().replace(',', ",,"))
            }
        }
    }
}

/// What gdb's `target remote` takes.
impl fmt::Display for Gdb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gdb::Port(port) => write!(f, "127.0.0.1:{port}"),
            Gdb::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_ports_or_sockets() {
        let gdb = |text: &str| text.parse::<Gdb>();
        assert_eq!(gdb(""), Ok(Gdb::Port(1234)));
        assert_eq!(gdb("4711").unwrap().device(), "tcp:127.0.0.1:4711");
        let socket = gdb("unix:/tmp/a,b").unwrap();
        assert_eq!(socket.device(), "unix:/tmp/a,,b,server=on,wait=off");
        assert_eq!(socket.to_string(), "/tmp/a,b");
        for text in ["70000", "x", "unix:", &format!("unix:/{}", "x".repeat(107))] {
            assert!(gdb(text).is_err(), "{text}");
        }
    }

    #[test]
    fn port_0_becomes_a_free_one() {
        let Gdb::Port(port) = Gdb::Port(0).with_free_port().unwrap() else { panic!() };
        assert_ne!(port, 0);
        assert_eq!(Gdb::Port(7).with_free_port().unwrap(), Gdb::Port(7));
    }
}
