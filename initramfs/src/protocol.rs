//! Frames: how the guest sends results to the host, and how the host detects that some are missing.
//!
//! A frame is a 12-byte head, a payload and a 32-byte digest, little-endian:
//!
//! | bytes | meaning |
//! | --- | --- |
//! | 4 | magic `SNPT` |
//! | 1 | kind |
//! | 3 | zero |
//! | 4 | length of the payload, at most [`MAX_PAYLOAD`] |
//! | n | payload: JSON or raw bytes, by kind |
//! | 32 | SHA-256 over the digest of the frame before, this head and this payload |
//!
//! Each digest covers the previous one, so a lost, repeated or reordered frame is detected just like a
//! flipped bit. The last frame is [`Frame::End`]; a stream without it is incomplete.

use std::fmt;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The version of this protocol; host and guest are built together and must agree.
pub const VERSION: u32 = 1;
/// The largest payload of one frame, in bytes. Longer output is sent as several frames.
pub const MAX_PAYLOAD: usize = 1 << 20;

const MAGIC: [u8; 4] = *b"SNPT";
const HEAD: usize = 12;
const DIGEST: usize = 32;

/// What the guest sends when it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The guest's [`VERSION`].
    pub version: u32,
    /// `uname -r`.
    pub release: String,
    /// The tracing directory, empty when the kernel has none.
    pub tracing_dir: String,
    /// The names in `available_tracers`.
    pub tracers: Vec<String>,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
    /// It could not be started, with this errno.
    NotStarted(i32),
}

impl Status {
    /// The status that a shell would return: 128 + signal, 127 for a program that does not exist, 126 for
    /// one that cannot be executed.
    pub fn code(self) -> i32 {
        match self {
            Status::Exited(code) => code,
            Status::Signaled(signal) => 128 + signal,
            Status::NotStarted(2) => 127,
            Status::NotStarted(_) => 126,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Exited(code) => write!(f, "exit status {code}"),
            Status::Signaled(signal) => write!(f, "signal {signal}"),
            Status::NotStarted(errno) => write!(f, "not started: {}", io::Error::from_raw_os_error(*errno)),
        }
    }
}

/// One message from the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The guest is ready; always the first frame.
    Hello(Hello),
    /// A part of `/proc/config.gz`, if the kernel has it.
    Config(Vec<u8>),
    /// The step with this index starts.
    StepStart(u32),
    /// A part of the current step's standard output.
    Stdout(Vec<u8>),
    /// A part of the current step's standard error.
    Stderr(Vec<u8>),
    /// The current step ended.
    StepEnd(Status),
    /// A requested file follows; its name in the guest.
    FileStart(String),
    /// A part of the current file.
    FileData(Vec<u8>),
    /// The current file could not be read; the error of the guest's kernel.
    FileError(String),
    /// PID 1 has failed; the reason in one sentence.
    Fatal(String),
    /// Everything was sent.
    End,
}

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Frame::Hello(_) => 1,
            Frame::Config(_) => 2,
            Frame::StepStart(_) => 3,
            Frame::Stdout(_) => 4,
            Frame::Stderr(_) => 5,
            Frame::StepEnd(_) => 6,
            Frame::FileStart(_) => 7,
            Frame::FileData(_) => 8,
            Frame::FileError(_) => 9,
            Frame::Fatal(_) => 10,
            Frame::End => 11,
        }
    }

    fn payload(&self) -> io::Result<Vec<u8>> {
        Ok(match self {
            Frame::Hello(hello) => serde_json::to_vec(hello)?,
            Frame::StepEnd(status) => serde_json::to_vec(status)?,
            Frame::StepStart(index) => index.to_le_bytes().to_vec(),
            Frame::Config(bytes) | Frame::Stdout(bytes) | Frame::Stderr(bytes) | Frame::FileData(bytes) => {
                bytes.clone()
            }
            Frame::FileStart(text) | Frame::FileError(text) | Frame::Fatal(text) => text.clone().into_bytes(),
            Frame::End => Vec::new(),
        })
    }

    fn parse(kind: u8, payload: &[u8]) -> Result<Frame, Damage> {
        let text = || {
            String::from_utf8(payload.to_vec())
                .map_err(|_| Damage(format!("a frame of kind {kind} holds no UTF-8")))
        };
        let json =
            |error: serde_json::Error| Damage(format!("a frame of kind {kind} does not parse: {error}"));
        Ok(match kind {
            1 => Frame::Hello(serde_json::from_slice(payload).map_err(json)?),
            2 => Frame::Config(payload.to_vec()),
            3 => {
                let bytes = <[u8; 4]>::try_from(payload)
                    .map_err(|_| Damage("a step's index has another length than 4".into()))?;
                Frame::StepStart(u32::from_le_bytes(bytes))
            }
            4 => Frame::Stdout(payload.to_vec()),
            5 => Frame::Stderr(payload.to_vec()),
            6 => Frame::StepEnd(serde_json::from_slice(payload).map_err(json)?),
            7 => Frame::FileStart(text()?),
            8 => Frame::FileData(payload.to_vec()),
            9 => Frame::FileError(text()?),
            10 => Frame::Fatal(text()?),
            11 => Frame::End,
            _ => return Err(Damage(format!("a frame of the unknown kind {kind}"))),
        })
    }
}

/// How a stream differs from what the guest sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage(pub String);

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Damage {}

fn head(kind: u8, length: u32) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&MAGIC);
    head[4] = kind;
    head[8..].copy_from_slice(&length.to_le_bytes());
    head
}

fn chain(before: &[u8; DIGEST], head: &[u8], payload: &[u8]) -> [u8; DIGEST] {
    let mut hasher = Sha256::new();
    hasher.update(before);
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize().into()
}

/// Writes frames.
pub struct Sender<W> {
    to: W,
    digest: [u8; DIGEST],
}

impl<W: Write> Sender<W> {
    /// A sender at the beginning of a stream.
    pub fn new(to: W) -> Sender<W> {
        Sender { to, digest: [0; DIGEST] }
    }

    /// Writes one frame in a single `write_all`.
    ///
    /// # Errors
    /// The channel cannot be written, or the payload exceeds [`MAX_PAYLOAD`].
    pub fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let payload = frame.payload()?;
        if payload.len() > MAX_PAYLOAD {
            return Err(io::Error::other(format!("a payload of {} bytes is over the limit", payload.len())));
        }
        let head = head(frame.kind(), payload.len() as u32);
        self.digest = chain(&self.digest, &head, &payload);
        let mut bytes = Vec::with_capacity(HEAD + payload.len() + DIGEST);
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&payload);
        bytes.extend_from_slice(&self.digest);
        self.to.write_all(&bytes)
    }
}

/// Reads frames from bytes that arrive in pieces.
///
/// After the first damage no more frames are returned: nothing after it can be trusted.
#[derive(Default)]
pub struct Receiver {
    bytes: Vec<u8>,
    at: usize,
    digest: [u8; DIGEST],
    ended: bool,
    damage: Option<Damage>,
}

impl Receiver {
    /// A receiver at the beginning of a stream.
    pub fn new() -> Receiver {
        Receiver::default()
    }

    /// Takes bytes as they arrive.
    pub fn push(&mut self, bytes: &[u8]) {
        // Returned frames are dropped first, so memory is bounded by one frame and one piece.
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, `None` while none has arrived.
    ///
    /// # Errors
    /// The first damage; the same at each further call.
    pub fn frame(&mut self) -> Result<Option<Frame>, Damage> {
        if let Some(damage) = &self.damage {
            return Err(damage.clone());
        }
        let frame = self.try_frame();
        match &frame {
            Err(damage) => self.damage = Some(damage.clone()),
            Ok(Some(Frame::End)) => self.ended = true,
            Ok(_) => {}
        }
        frame
    }

    /// Whether the end marker was seen.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// How many bytes of an incomplete frame have arrived.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn try_frame(&mut self) -> Result<Option<Frame>, Damage> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        if self.ended {
            return Err(Damage(format!("{} bytes behind the end marker", rest.len())));
        }
        let Some((head, behind)) = rest.split_at_checked(HEAD) else { return Ok(None) };
        if head[..4] != MAGIC || head[5..8] != [0; 3] {
            return Err(Damage("bytes that are no frame".into()));
        }
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        if length > MAX_PAYLOAD {
            return Err(Damage(format!("a frame that claims {length} bytes")));
        }
        let Some((payload, behind)) = behind.split_at_checked(length) else { return Ok(None) };
        let Some((digest, _)) = behind.split_at_checked(DIGEST) else { return Ok(None) };
        let expected = chain(&self.digest, head, payload);
        if digest != expected {
            return Err(Damage(format!("the digest of a frame of kind {} does not fit", head[4])));
        }
        let frame = Frame::parse(head[4], payload)?;
        self.digest = expected;
        self.at += HEAD + length + DIGEST;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    fn any_frame() -> impl Strategy<Value = Frame> {
        let bytes = || vec(any::<u8>(), 0..300);
        let status = prop_oneof![
            any::<i32>().prop_map(Status::Exited),
            any::<i32>().prop_map(Status::Signaled),
            any::<i32>().prop_map(Status::NotStarted),
        ];
        prop_oneof![
            (any::<u32>(), any::<String>(), any::<String>(), vec(any::<String>(), 0..4)).prop_map(
                |(version, release, tracing_dir, tracers)| {
                    Frame::Hello(Hello { version, release, tracing_dir, tracers })
                }
            ),
            bytes().prop_map(Frame::Config),
            any::<u32>().prop_map(Frame::StepStart),
            bytes().prop_map(Frame::Stdout),
            bytes().prop_map(Frame::Stderr),
            status.prop_map(Frame::StepEnd),
            any::<String>().prop_map(Frame::FileStart),
            bytes().prop_map(Frame::FileData),
            any::<String>().prop_map(Frame::FileError),
            any::<String>().prop_map(Frame::Fatal),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 64, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Default::default()
        })]

        #[test]
        fn whatever_is_sent_is_received(frames in vec(any_frame(), 0..8), piece in 1_usize..400) {
            let mut bytes = Vec::new();
            let mut sender = Sender::new(&mut bytes);
            frames.iter().chain([&Frame::End]).for_each(|frame| sender.send(frame).unwrap());
            let mut receiver = Receiver::new();
            let mut received = Vec::new();
            for piece in bytes.chunks(piece) {
                receiver.push(piece);
                while let Some(frame) = receiver.frame().unwrap() {
                    received.push(frame);
                }
            }
            prop_assert!(receiver.ended());
            prop_assert_eq!(received.pop(), Some(Frame::End));
            prop_assert_eq!(received, frames);
        }

        #[test]
        fn whatever_is_changed_is_not_received(
            frames in vec(any_frame(), 1..4),
            (at, bit) in (any::<prop::sample::Index>(), 0..8_u8),
        ) {
            let mut bytes = Vec::new();
            let mut sender = Sender::new(&mut bytes);
            frames.iter().chain([&Frame::End]).for_each(|frame| sender.send(frame).unwrap());
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let (received, receiver, damage) = receive(&bytes);
            prop_assert!(damage.is_some() || !receiver.ended());
            prop_assert_eq!(&received[..], &frames[..received.len()]);
        }
    }

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Hello(Hello {
                version: VERSION,
                release: "5.4.302".into(),
                tracing_dir: "/sys/kernel/tracing".into(),
                tracers: vec!["function".into(), "nop".into()],
            }),
            Frame::Config(vec![0x1f, 0x8b]),
            Frame::StepStart(0),
            Frame::Stdout(b"# tracer: nop\n".to_vec()),
            Frame::Stderr(vec![0xff, 0]),
            Frame::StepEnd(Status::Signaled(9)),
            Frame::FileStart("/tmp/out.dat".into()),
            Frame::FileData(vec![7; 3000]),
            Frame::FileError("gone".into()),
            Frame::Fatal("no job".into()),
            Frame::End,
        ]
    }

    fn stream() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut sender = Sender::new(&mut bytes);
        for frame in frames() {
            sender.send(&frame).unwrap();
        }
        bytes
    }

    fn receive(bytes: &[u8]) -> (Vec<Frame>, Receiver, Option<Damage>) {
        let mut receiver = Receiver::new();
        receiver.push(bytes);
        let mut received = Vec::new();
        loop {
            match receiver.frame() {
                Ok(Some(frame)) => received.push(frame),
                Ok(None) => return (received, receiver, None),
                Err(damage) => return (received, receiver, Some(damage)),
            }
        }
    }

    #[test]
    fn what_is_sent_is_received_in_pieces_of_any_size() {
        let bytes = stream();
        for size in [1, 2, 11, 12, 13, 500, bytes.len()] {
            let mut receiver = Receiver::new();
            let mut received = Vec::new();
            for piece in bytes.chunks(size) {
                receiver.push(piece);
                while let Some(frame) = receiver.frame().unwrap() {
                    received.push(frame);
                }
            }
            assert_eq!(received, frames(), "pieces of {size}");
            assert!(receiver.ended());
            assert_eq!(receiver.waiting(), 0);
        }
    }

    #[test]
    fn a_stream_cut_anywhere_has_no_end() {
        let bytes = stream();
        for cut in 0..bytes.len() {
            let (received, receiver, damage) = receive(&bytes[..cut]);
            assert!(!receiver.ended(), "cut at {cut}");
            assert_eq!(damage, None, "cut at {cut}");
            assert_eq!(received[..], frames()[..received.len()]);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_damage_or_a_missing_end() {
        let bytes = stream();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            let (_, receiver, damage) = receive(&flipped);
            assert!(damage.is_some() || !receiver.ended(), "flipped at {at}");
        }
    }

    #[test]
    fn repeated_missing_and_foreign_frames_are_damage() {
        let bytes = stream();
        let first = {
            let mut one = Vec::new();
            Sender::new(&mut one).send(&frames()[0]).unwrap();
            one.len()
        };
        let repeated = [&bytes[..first], &bytes[..]].concat();
        assert!(receive(&repeated).2.is_some());
        assert!(receive(&bytes[first..]).2.is_some());
        let behind = [&bytes[..], b"x"].concat();
        assert_eq!(receive(&behind).2, Some(Damage("1 bytes behind the end marker".into())));
    }

    #[test]
    fn a_length_is_checked_before_anything_is_waited_for() {
        let huge = head(4, u32::MAX);
        assert_eq!(receive(&huge).2, Some(Damage(format!("a frame that claims {} bytes", u32::MAX))));
    }

    #[test]
    fn status_codes_are_those_of_a_shell() {
        assert_eq!(Status::Exited(7).code(), 7);
        assert_eq!(Status::Signaled(9).code(), 137);
        assert_eq!(Status::NotStarted(2).code(), 127);
        assert_eq!(Status::NotStarted(13).code(), 126);
    }
}
