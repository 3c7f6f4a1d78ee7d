//! Output in whole blocks.

use std::io::{self, IoSlice, Write};

/// Writes start and end at multiples of this many bytes from the start of the output. A file system then
/// fills a few large pieces of page cache; with small ones it takes half as long again.
const BLOCK: usize = 128 << 10;

/// Writes texts in whole blocks without copying them; the rest waits for the next text.
pub(super) struct Whole<W> {
    out: W,
    /// The last text; a part of it is not written yet.
    kept: Vec<u8>,
    /// Where that part begins.
    from: usize,
}

impl<W: Write> Whole<W> {
    pub fn new(out: W) -> Whole<W> {
        Whole { out, kept: Vec::new(), from: 0 }
    }

    /// Writes the kept rest and as much of `text` as completes a block. May replace `text` by another
    /// vector for reuse; its content is meaningless afterwards.
    ///
    /// Fails when the output does.
    pub fn write(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        let kept = &self.kept[self.from..];
        let all = kept.len() + text.len();
        let end = all - all % BLOCK;
        if end <= kept.len() {
            // No block is complete yet: append to the rest.
            self.kept.extend_from_slice(text);
            return Ok(());
        }
        let (now, later) = text.split_at(end - kept.len());
        write_all(&mut self.out, kept, now)?;
        self.from = text.len() - later.len();
        std::mem::swap(&mut self.kept, text);
        Ok(())
    }

    /// Writes all that is left.
    ///
    /// Fails when the output does.
    pub fn finish(&mut self) -> io::Result<()> {
        self.out.write_all(&self.kept[self.from..])?;
        self.kept.clear();
        self.from = 0;
        self.out.flush()
    }
}

/// Writes two pieces in as few calls as the output takes.
fn write_all(out: &mut impl Write, first: &[u8], second: &[u8]) -> io::Result<()> {
    let mut pieces = [IoSlice::new(first), IoSlice::new(second)];
    let mut pieces = pieces.as_mut_slice();
    // Drops empty pieces: writing them would return 0, which means failure.
    IoSlice::advance_slices(&mut pieces, 0);
    while !pieces.is_empty() {
        match out.write_vectored(pieces) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut pieces, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at most `most` bytes at once, and notes where writes end.
    struct Narrow {
        most: usize,
        taken: Vec<u8>,
        ends: Vec<usize>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.most);
            self.taken.extend_from_slice(&bytes[..count]);
            self.ends.push(self.taken.len());
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_arrives_in_order_and_in_whole_blocks() {
        for most in [1000, BLOCK, usize::MAX] {
            let mut whole = Whole::new(Narrow { most, taken: Vec::new(), ends: Vec::new() });
            let mut expected = Vec::new();
            for (number, size) in [7, 200_000, 0, 3, BLOCK, 1, 500_000, 90].into_iter().enumerate() {
                let mut text = vec![number as u8; size];
                expected.extend_from_slice(&text);
                whole.write(&mut text).unwrap();
                assert!(expected.len() - whole.out.taken.len() < BLOCK, "{size}");
                assert_eq!(whole.out.taken.len() % BLOCK, 0);
            }
            whole.finish().unwrap();
            assert!(whole.out.taken == expected);
            whole.finish().unwrap();
            assert!(whole.out.taken == expected);
        }
    }
}
