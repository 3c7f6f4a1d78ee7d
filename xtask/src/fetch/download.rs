//! Downloads: resumable, from mirrors in turn, accepted only with the pinned digest.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::base::cache;
use crate::base::clock::{Running, Stops};
use crate::base::error::{Context, Error, Result};
use crate::base::host::Host;
use crate::base::verdict::Verdict;

/// Base addresses that replace a record's mirrors, separated by white space.
pub const MIRRORS_VAR: &str = "SNAPTRACE_MIRRORS";

// With these, three mirrors that do not answer are given up within 15 seconds.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(2500);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// A transfer that takes longer is cut and resumed where it was.
const BODY_TIMEOUT: Duration = Duration::from_secs(600);
/// How often the clock is read while no data arrives.
const TICK: Duration = Duration::from_millis(100);
/// A mirror that sends less than [`LEAST`] in this time is abandoned.
const PATIENCE: Duration = Duration::from_secs(20);
const LEAST: u64 = 64 << 10;
/// How often a mirror may cut a transfer that brought less than [`LEAST`].
const SMALL_PIECES: u32 = 5;

/// A file to download.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its path below a mirror's base address.
    pub file: &'a str,
    /// Its SHA-256, in hexadecimal.
    pub sha256: &'a str,
    /// Base addresses, tried in turn.
    pub mirrors: &'a [String],
}

/// Why a mirror did not give the file.
enum Failure {
    /// Another mirror may do better.
    Mirror(String),
    /// The transfer was cut; a request for the rest may succeed.
    Cut(String),
    /// No other mirror helps: the disk or the digest is the cause.
    Final(Error),
}

/// The downloaded file in the cache, fetched if it is not there.
///
/// # Errors
/// No mirror gives it (verdict `unavailable`), what they give has another digest (verdict
/// `checksum-mismatch`; the file is set aside as `*.rejected`), or the disk is full.
pub fn fetch(host: &Host, wanted: Wanted<'_>) -> Result<PathBuf> {
    let name = wanted.file.rsplit('/').next().unwrap_or(wanted.file);
    let place = |ending: &str| host.cache.path().join("downloads").join(format!("{name}{ending}"));
    let done = place("");
    if is_verified(&done, wanted.sha256)? {
        return Ok(done);
    }
    host.cache.folder("downloads")?;
    let _lock = host.cache.lock(&host.ui, &format!("downloads-{name}"))?;
    if is_verified(&done, wanted.sha256)? {
        return Ok(done);
    }
    let agent: Agent = Agent::config_builder()
        .timeout_resolve(Some(RESOLVE_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(ANSWER_TIMEOUT))
        .timeout_recv_body(Some(BODY_TIMEOUT))
        .http_status_as_error(false)
        .user_agent(concat!("snaptrace/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let partial = place(".partial");
    let mut reasons = Vec::new();
    for mirror in wanted.mirrors {
        let base = mirror.trim_end_matches('/');
        let url = format!("{base}/{}", wanted.file);
        match from_mirror(host, &agent, &url, &partial, wanted.sha256) {
            Ok(()) => {
                fs::rename(&partial, &done).map_err(|e| cache::denied("cannot create", &done, &e))?;
                return Ok(done);
            }
            Err(Failure::Mirror(reason) | Failure::Cut(reason)) => {
                reasons.push((base, reason));
            }
            Err(Failure::Final(error)) => return Err(error),
        }
    }
    Err(Error::new(format!("cannot download {name}"))
        .because(all_failed(&reasons))
        .verdict(Verdict::Unavailable))
}

/// Whether a file exists with the pinned digest. It was checked before it got its name, but the disk may have
/// changed it since, or the pinned digest may have changed.
fn is_verified(path: &Path, sha256: &str) -> Result<bool> {
    Ok(path.is_file() && digest(path)? == sha256)
}

/// Why each mirror failed, on one line; a common reason is given once.
fn all_failed(reasons: &[(&str, String)]) -> String {
    let Some((_, first)) = reasons.first() else { return "there are no mirrors".to_owned() };
    if reasons.len() > 1 && reasons.iter().all(|(_, reason)| reason == first) {
        let bases: Vec<&str> = reasons.iter().map(|(base, _)| *base).collect();
        return format!("{first}, at each of {}", bases.join(", "));
    }
    let each = reasons.iter().map(|(base, reason)| format!("{reason}, at {base}"));
    each.collect::<Vec<_>>().join("; ")
}

/// The mirrors to use: those of [`MIRRORS_VAR`] if it is set, else the record's own.
pub fn mirrors(own: &[String]) -> Vec<String> {
    match std::env::var(MIRRORS_VAR) {
        Ok(list) if !list.trim().is_empty() => list.split_whitespace().map(str::to_owned).collect(),
        _ => own.to_vec(),
    }
}

/// Completes `partial` from where it ends, and checks the digest.
fn from_mirror(host: &Host, agent: &Agent, url: &str, partial: &Path, sha256: &str) -> Result<(), Failure> {
    let mut resumed = false;
    let mut small_pieces = 0;
    let stops = Stops::watch();
    let mut stopped = 0;
    loop {
        let before = length(partial);
        resumed |= before > 0;
        let done = transfer(host, agent, url, partial);
        if let Err(Failure::Cut(_) | Failure::Mirror(_)) = done {
            let seen = stops.seen();
            if seen > stopped {
                // A stop of this process causes timeouts and closed connections; do not blame the mirror.
                stopped = seen;
                continue;
            }
        }
        match done {
            Ok(()) => {}
            // Resume a transfer that was cut, as long as it makes progress.
            Err(Failure::Cut(reason)) => {
                let piece = length(partial).saturating_sub(before);
                small_pieces += u32::from(piece < LEAST);
                if piece == 0 || small_pieces > SMALL_PIECES {
                    return Err(Failure::Mirror(reason));
                }
                continue;
            }
            Err(failure) => return Err(failure),
        }
        let found = digest(partial).map_err(Failure::Final)?;
        if found == sha256 {
            return Ok(());
        }
        if resumed {
            // The first part may come from another file; only a complete transfer is judged by its digest.
            resumed = false;
            cache::remove(partial).map_err(Failure::Final)?;
            continue;
        }
        return Err(Failure::Final(reject(partial, url, sha256, &found)));
    }
}

fn reject(partial: &Path, url: &str, wanted: &str, found: &str) -> Error {
    let aside = partial.with_extension("rejected");
    let moved = match fs::rename(partial, &aside) {
        Ok(()) => format!("it was set aside as {}", aside.display()),
        Err(e) => format!("it could not be set aside: {e}"),
    };
    Error::new(format!("the digest of {url} is wrong"))
        .because(format!("\n    expected SHA-256 {wanted}\n    found    SHA-256 {found}"))
        .help(moved)
        .help("usually a proxy or mirror has sent something other than the requested file")
        .verdict(Verdict::ChecksumMismatch)
}

/// One request, from where `partial` ends to the end of the file.
fn transfer(host: &Host, agent: &Agent, url: &str, partial: &Path) -> Result<(), Failure> {
    let mirror = |reason: String| Failure::Mirror(reason);
    let start = length(partial);
    let mut request = agent.get(url);
    if start > 0 {
        request = request.header(header::RANGE, format!("bytes={start}-"));
    }
    let response = request.call().map_err(|e| match e {
        ureq::Error::Io(e) => mirror(e.to_string()),
        e => mirror(e.to_string()),
    })?;
    let (start, total) = match response.status() {
        StatusCode::OK => (0, content_length(&response)),
        StatusCode::PARTIAL_CONTENT => match content_range(&response) {
            Some((from, total)) if from == start => (start, Some(total)),
            _ => return Err(mirror("it sent another part than asked for".to_owned())),
        },
        // The file is already complete, or too long.
        StatusCode::RANGE_NOT_SATISFIABLE => return Ok(()),
        status => return Err(mirror(format!("HTTP status {status}"))),
    };
    let denied = |e: io::Error| Failure::Final(cache::denied("cannot write", partial, &e));
    let mut file =
        OpenOptions::new().create(true).truncate(false).write(true).open(partial).map_err(denied)?;
    // The server ignores the range and sends the whole file, so start over.
    file.set_len(start).map_err(denied)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(start)).map_err(denied)?;

    let name = url.rsplit('/').next().unwrap_or(url);
    let bar = host.ui.bytes(&format!("downloading {name}"), total);
    let mut done = start;
    let parts = parts(response.into_body());
    let (mut since, mut came) = (Running::start(), 0);
    loop {
        let received = parts.recv_timeout(PATIENCE.saturating_sub(since.counted()).min(TICK));
        since.look(TICK);
        let part = match received {
            Ok(part) => part.map_err(|e| Failure::Cut(format!("transfer cut: {e}")))?,
            Err(RecvTimeoutError::Timeout) if since.counted() < PATIENCE => continue,
            Err(RecvTimeoutError::Timeout) if came >= LEAST => {
                (since, came) = (Running::start(), 0);
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {
                let seconds = PATIENCE.as_secs();
                return Err(mirror(format!("it is too slow: {came} bytes came in {seconds} seconds")));
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        file.write_all(&part).map_err(denied)?;
        done += part.len() as u64;
        came += part.len() as u64;
        bar.set(done);
    }
    file.sync_all().map_err(denied)?;
    match total {
        Some(total) if done != total => {
            Err(Failure::Cut(format!("transfer cut: {done} of {total} bytes came")))
        }
        _ => Ok(()),
    }
}

/// The parts of a body, read by a separate thread, so that a missing part does not block the caller. The
/// thread ends with the body, or soon after the receiver is dropped.
fn parts(body: Body) -> Receiver<io::Result<Vec<u8>>> {
    let (send, parts) = mpsc::sync_channel(4);
    thread::spawn(move || {
        let mut body = body.into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let part = match body.read(&mut buffer) {
                Ok(0) => return,
                part => part.map(|length| buffer[..length].to_vec()),
            };
            let failed = part.is_err();
            if send.send(part).is_err() || failed {
                return;
            }
        }
    });
    parts
}

fn content_length(response: &Response<Body>) -> Option<u64> {
    response.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `bytes 5-9/10` gives the first position and the total.
fn content_range(response: &Response<Body>) -> Option<(u64, u64)> {
    let text = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()?))
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// The file cannot be read.
pub fn digest(path: &Path) -> Result<String> {
    let failed = || format!("cannot read {}", path.display());
    let mut file = File::open(path).context(failed)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer).context(failed)?;
        if read == 0 {
            return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        digest.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_all_mirrors_share_is_given_once() {
        let reasons = [("http://a", "no route".to_owned()), ("http://b", "no route".to_owned())];
        assert_eq!(all_failed(&reasons), "no route, at each of http://a, http://b");
        let reasons = [("http://a", "no route".to_owned()), ("http://b", "HTTP 404".to_owned())];
        assert_eq!(all_failed(&reasons), "no route, at http://a; HTTP 404, at http://b");
        assert_eq!(all_failed(&[]), "there are no mirrors");
    }
}
