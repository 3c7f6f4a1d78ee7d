//! A web server on the loopback device that misbehaves like faulty mirrors.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::base::error::{Context, Result};

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What was asked for.
    pub path: String,
    /// The first byte asked for by a range header.
    pub from: Option<usize>,
}

/// A reply: bytes, and how they are sent.
#[derive(Clone, Debug)]
pub struct Reply {
    bytes: Vec<u8>,
    /// After this many bytes, the rest is sent one byte at a time, with a pause before each.
    slow: Option<(usize, Duration)>,
}

impl Reply {
    /// A reply with a status, headers and a body; the body may be shorter than the announced `length`.
    pub fn new(status: &str, headers: &str, length: usize, body: &[u8]) -> Reply {
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
        Reply { bytes: [head.as_bytes(), body].concat(), slow: None }
    }

    /// A whole body.
    pub fn whole(body: &[u8]) -> Reply {
        Reply::new("200 OK", "", body.len(), body)
    }

    /// The beginning of a body, as if the connection had been cut.
    pub fn cut(body: &[u8], at: usize) -> Reply {
        Reply::new("200 OK", "", body.len(), &body[..at.min(body.len())])
    }

    /// The rest of a body, from the requested position.
    pub fn rest(body: &[u8], from: usize) -> Reply {
        let range = format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
        Reply::new("206 Partial Content", &range, body.len() - from, &body[from..])
    }

    /// The reply that there is no such file.
    pub fn not_found() -> Reply {
        Reply::new("404 Not Found", "", 0, b"")
    }

    /// The same reply, but after `at` bytes one byte at a time, with a pause before each.
    #[must_use]
    pub fn slowly(self, at: usize, pause: Duration) -> Reply {
        Reply { slow: Some((at, pause)), ..self }
    }

    fn send(&self, mut to: &TcpStream) -> std::io::Result<()> {
        let Some((at, pause)) = self.slow else { return to.write_all(&self.bytes) };
        let (fast, slow) = self.bytes.split_at(at.min(self.bytes.len()));
        to.write_all(fast)?;
        for byte in slow.chunks(1) {
            thread::sleep(pause);
            to.write_all(byte)?;
        }
        Ok(())
    }
}

/// The server; it ends with this process.
pub struct Server {
    /// Its base address.
    pub address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Replies to the n-th request, counted from 0, with what `reply` says.
    ///
    /// # Errors
    /// When there is no loopback device.
    pub fn start(reply: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Result<Server> {
        let failed = || "cannot listen on the loopback device".to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").context(failed)?;
        let address = format!("http://{}", listener.local_addr().context(failed)?);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, reply) = (Arc::clone(&seen), Arc::new(reply));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, reply) = (Arc::clone(&log), Arc::clone(&reply));
                // A slow reply must not delay others.
                thread::spawn(move || {
                    let Some(request) = read_request(&stream) else { return };
                    let number = {
                        let mut log = lock(&log);
                        log.push(request.clone());
                        log.len() - 1
                    };
                    // Ignore a client that closes the connection early.
                    let _ = reply(number, &request).send(&stream);
                });
            }
        });
        Ok(Server { address, seen })
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }
}

fn lock(seen: &Mutex<Vec<Seen>>) -> MutexGuard<'_, Vec<Seen>> {
    seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn read_request(mut stream: &TcpStream) -> Option<Seen> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).ok()? == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let from = head
        .lines()
        .find_map(|line| line.strip_prefix("range: bytes=")?.trim().strip_suffix('-')?.parse().ok());
    Some(Seen { path: head.split(' ').nth(1)?.to_owned(), from })
}
