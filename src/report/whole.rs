//! Output in whole blocks.

use std::io::{self, IoSlice, Write};

/// Writes start and end at multiples of this, in bytes from where the output began. A file system
/// then has a few large pieces of page cache to fill, where small ones take it half as long again.
const BLOCK: usize = 128 << 10;

/// Passes texts on without copying them, up to the last whole block; the rest waits for what comes
/// next.
pub(super) struct Whole<W> {
    out: W,
    /// A text of which a part is left.
    kept: Vec<u8>,
    /// Where that part begins.
    from: usize,
}

impl<W: Write> Whole<W> {
    pub fn new(out: W) -> Whole<W> {
        Whole { out, kept: Vec::new(), from: 0 }
    }

    /// Writes what was kept and as much of `text` as ends a block. Leaves another vector in its
    /// place, whose content is of no use.
    ///
    /// Fails when the output does.
    pub fn write(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        let kept = &self.kept[self.from..];
        let all = kept.len() + text.len();
        let end = all - all % BLOCK;
        if end <= kept.len() {
            // Not even that ends with it: two short texts become one.
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
    // Of empty pieces nothing can be written.
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

    /// Takes at most so many bytes at once, and notes where writes end.
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
