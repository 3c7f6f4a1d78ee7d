//! The text of kallsyms: parsed, and asked for the addresses in it and those around.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trace_dat::event::Symbols;

fuzz_target!(|data: &[u8]| {
    let symbols = Symbols::parse(String::from_utf8_lossy(data).into_owned());
    let all: Vec<(u64, String)> =
        symbols.iter().map(|symbol| (symbol.address, symbol.name.to_owned())).collect();
    assert!(all.is_sorted_by_key(|(address, _)| *address));
    for (address, name) in &all {
        let found = symbols.find(*address).expect("an address of the list is in it");
        assert_eq!(found.address, *address);
        assert!(symbols.address_of(name).is_some());
        for near in [address.wrapping_sub(1), address.wrapping_add(1)] {
            assert!(symbols.find(near).is_none_or(|found| found.address <= near));
        }
    }
});
