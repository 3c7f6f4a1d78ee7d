//! What a guest may send: raw bytes in pieces, and frames of any kind with digests that fit.

#![no_main]

use initramfs::protocol::{Frame, MAX_PAYLOAD, Receiver, Sender};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

/// Every frame up to the end or the first damage; whether there was damage.
fn received(bytes: &[u8], piece: usize) -> (Vec<Frame>, bool) {
    let mut receiver = Receiver::new();
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        receiver.push(piece);
        loop {
            match receiver.frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(damage) => {
                    assert_eq!(receiver.frame().unwrap_err(), damage, "damage stays");
                    return (frames, true);
                }
            }
        }
        assert!(receiver.waiting() <= MAX_PAYLOAD + 44, "memory is bounded by a frame");
    }
    (frames, false)
}

/// Frames of a kind, a length and a payload each, sealed as the guest would.
fn sealed(mut data: &[u8]) -> Vec<u8> {
    let (mut bytes, mut digest) = (Vec::new(), [0_u8; 32]);
    while let [kind, length, rest @ ..] = data {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        let mut head = *b"SNPT\0\0\0\0\0\0\0\0";
        head[4] = *kind;
        head[8] = payload.len() as u8;
        digest =
            Sha256::new().chain_update(digest).chain_update(head).chain_update(payload).finalize().into();
        bytes.extend([&head[..], payload, &digest].concat());
        data = rest;
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let bytes = if choice & 1 == 0 { data.to_vec() } else { sealed(data) };
    let whole = received(&bytes, bytes.len());
    assert_eq!(received(&bytes, usize::from(*choice)), whole, "pieces make no difference");
    let mut again = Vec::new();
    let mut sender = Sender::new(&mut again);
    for frame in &whole.0 {
        sender.send(frame).expect("what was received can be sent");
    }
    assert_eq!(received(&again, 7), (whole.0, false), "what was received is sent and received alike");
});
