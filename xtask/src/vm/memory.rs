//! The least memory that a guest needs, computed from its kernel image and its initramfs.
//!
//! This is a lower bound for any kernel, so a size that works is never refused. A guest may need more, which
//! only a boot can show.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A MiB in bytes.
pub const MIB: u64 = 1 << 20;

/// An allowance for the part of an image that the kernel frees early, the rest of its early heap: at most
/// some hundred KiB.
const GIVEN_BACK: u64 = 2 * MIB;

/// What has to fit into a guest's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryDemand {
    /// The end of the kernel in physical memory, and its size.
    pub kernel: Segments,
    /// The size of the initramfs, as loaded by QEMU.
    pub initrd: u64,
    /// The size of its unpacked files, which are in memory at the same time.
    pub unpacked: u64,
    /// Whether it is unpacked into a tmpfs, which can use at most half of the free memory.
    pub tmpfs: bool,
}

/// The parts of an ELF image that are loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// The physical address where the last one ends.
    pub end: u64,
    /// The size of all of them, in bytes.
    pub size: u64,
}

impl MemoryDemand {
    /// The least memory, in bytes.
    pub fn needed(&self) -> u64 {
        // QEMU puts the initramfs at the top of memory without checking whether it overlaps the kernel.
        let side_by_side = self.kernel.end.saturating_add(self.initrd);
        let unpacked = if self.tmpfs { self.unpacked.saturating_mul(2) } else { self.unpacked };
        let at_once = self.kernel.size.saturating_add(self.initrd).saturating_add(unpacked);
        side_by_side.max(at_once).saturating_sub(GIVEN_BACK)
    }
}

/// The loaded parts of a kernel's ELF image; `None` if the file is not one.
pub fn segments(image: &Path) -> Option<Segments> {
    let file = File::open(image).ok()?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0).ok()?;
    // 64 bits, little-endian.
    if header[..6] != *b"\x7fELF\x02\x01" {
        return None;
    }
    let offset = u64::from_le_bytes(header[32..40].try_into().ok()?);
    let size = u64::from(u16::from_le_bytes(header[54..56].try_into().ok()?));
    let count = u64::from(u16::from_le_bytes(header[56..58].try_into().ok()?));
    let mut found = Segments::default();
    for number in 0..count {
        let mut part = [0; 56];
        file.read_exact_at(&mut part, offset.checked_add(number.checked_mul(size)?)?).ok()?;
        let field = |at: usize| Some(u64::from_le_bytes(part.get(at..at + 8)?.try_into().ok()?));
        let is_loaded = part[..4] == 1_u32.to_le_bytes();
        let (address, bytes) = (field(24)?, field(40)?);
        // In old images the per-CPU segment has address 0 and no place of its own.
        if is_loaded && bytes > 0 {
            found.end = found.end.max(address.checked_add(bytes)?);
            found.size = found.size.checked_add(bytes)?;
        }
    }
    (found.size > 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with segments (kind, physical address, bytes in memory).
    fn elf(segments: &[(u32, u64, u64)]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&(segments.len() as u16).to_le_bytes());
        for (kind, address, size) in segments {
            let mut part = [0; 56];
            part[..4].copy_from_slice(&kind.to_le_bytes());
            part[24..32].copy_from_slice(&address.to_le_bytes());
            part[40..48].copy_from_slice(&size.to_le_bytes());
            bytes.extend_from_slice(&part);
        }
        bytes
    }

    #[test]
    fn an_images_loaded_parts_are_read_and_anything_else_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            segments(&path)
        };
        let whole = elf(&[(1, 16 * MIB, 4 * MIB), (4, 90 * MIB, MIB), (1, 24 * MIB, 2 * MIB)]);
        assert_eq!(read(&whole), Some(Segments { end: 26 * MIB, size: 6 * MIB }));
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(read(&elf(&[(1, u64::MAX, 2)])), None);
        assert_eq!(read(&[7; 4096]), None);
        assert_eq!(segments(&folder.path().join("none")), None);
    }

    #[test]
    fn what_is_needed_is_the_larger_of_lying_side_by_side_and_being_unpacked() {
        let kernel = Segments { end: 60 * MIB, size: 40 * MIB };
        let small = MemoryDemand { kernel, initrd: 6 * MIB, unpacked: 6 * MIB, tmpfs: true };
        assert_eq!(small.needed(), 64 * MIB);
        let large = MemoryDemand { initrd: 50 * MIB, unpacked: 50 * MIB, ..small };
        assert_eq!(large.needed(), 188 * MIB);
        assert_eq!(MemoryDemand { tmpfs: false, ..large }.needed(), 138 * MIB);
        assert_eq!(MemoryDemand { initrd: u64::MAX, ..small }.needed(), u64::MAX - 2 * MIB);
    }
}
