//! A byte that chooses, and a kernel image, its payload alone, or a module.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xtask::kernel::image::{module, vmlinux};

/// An image of one setup sector, whose payload begins 16 bytes into the rest.
fn image(payload: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 1024 + 16];
    image[0x1f1] = 1;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.extend_from_slice(payload);
    image
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let unpacked = match choice % 6 {
        0 => vmlinux(data),
        1 => vmlinux(&image(data)),
        2 => module("a.ko.gz", data),
        3 => module("a.ko.xz", data),
        4 => module("a.ko.zst", data),
        _ => module("a.ko", data),
    };
    if let Ok(bytes) = unpacked
        && *choice % 6 < 2
    {
        assert!(bytes.starts_with(b"\x7fELF"));
    }
});
