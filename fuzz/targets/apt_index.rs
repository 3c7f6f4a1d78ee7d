//! What apt says of packages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xtask::fetch::apt;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for package in apt::parse_packages(&text) {
        // It becomes a file in a folder of ours.
        let name = package.file();
        assert!(!name.contains('/'), "{name} leaves its folder");
        assert!(!name.starts_with('-'), "{name} looks like an option");
    }
});
