//! Functions by address, from the text of kallsyms.

use std::sync::{Arc, OnceLock};
use std::thread;

/// A function: where it starts, and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// The address of its first byte.
    pub address: u64,
    /// Its name.
    pub name: &'a str,
}

/// The values of hexadecimal digits; 16 for all other bytes.
const HEX: [u8; 256] = {
    let mut values = [16; 256];
    let mut digit = 0;
    while digit < 16 {
        values[b"0123456789abcdef"[digit] as usize] = digit as u8;
        values[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

/// All functions of a kernel.
#[derive(Debug, Default)]
pub struct Symbols(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    text: String,
    /// Built when the first function is looked up, or earlier by a separate thread.
    map: OnceLock<Vec<Entry>>,
}

/// A thread is started only for a text of at least this size: for a shorter one, building the table takes
/// less time than starting a thread.
const WORTH_A_THREAD: usize = 1 << 16;

/// Address, and the place of the name in the text: start and length.
type Entry = (u64, u32, u32);

impl Symbols {
    /// Reads the text of kallsyms: `ADDRESS TYPE NAME [MODULE]` per line, up to the first line that does
    /// not fit. Absolute symbols and names starting with `$` are not functions.
    ///
    /// ```
    /// use trace_dat::event::Symbols;
    /// let symbols = Symbols::parse("ff10 T open\nff80 t close\n".to_string());
    /// assert_eq!(symbols.find(0xff14).unwrap().name, "open");
    /// ```
    pub fn parse(text: String) -> Symbols {
        Symbols(Arc::new(Shared { text, map: OnceLock::new() }))
    }

    /// Starts a thread that builds the table of symbols, so that the first look-up need not build it.
    pub fn prepare(&self) {
        if self.0.text.len() < WORTH_A_THREAD {
            return;
        }
        let shared = Arc::clone(&self.0);
        // If no thread can be started, the first look-up builds the table.
        let _ = thread::Builder::new().name("symbols".into()).spawn(move || shared.map().len());
    }

    fn map(&self) -> &[Entry] {
        self.0.map()
    }

    /// The function that contains an address: the nearest one that starts at or below it. The end of the
    /// last function is unknown, so it is found by its first address only.
    pub fn find(&self, address: u64) -> Option<Symbol<'_>> {
        let map = self.map();
        let (mut low, mut high) = (0, map.len());
        // Not `binary_search`: of several equal addresses this finds the one that trace-cmd finds first.
        while low < high {
            let middle = (low + high) / 2;
            let (start, ..) = map[middle];
            if address == start {
                return self.symbol(middle);
            } else if address < start {
                high = middle;
            } else if map.get(middle + 1).is_some_and(|next| address < next.0) {
                return self.symbol(middle);
            } else {
                low = middle + 1;
            }
        }
        None
    }

    /// Where a function ends: at the start of the next one; `None` for the last.
    pub fn end_of(&self, symbol: Symbol<'_>) -> Option<u64> {
        let map = self.map();
        map.get(map.partition_point(|entry| entry.0 <= symbol.address)).map(|next| next.0)
    }

    /// All functions, sorted by address.
    pub fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        (0..self.map().len()).filter_map(|index| self.symbol(index))
    }

    /// All functions, sorted by address, each with its module if it has one.
    ///
    /// ```
    /// use trace_dat::event::Symbols;
    /// let symbols = Symbols::parse("ff10 T open\nff80 t close\t[ext4]\n".to_string());
    /// let modules: Vec<Option<&str>> = symbols.with_modules().map(|(_, module)| module).collect();
    /// assert_eq!(modules, [None, Some("ext4")]);
    /// ```
    pub fn with_modules(&self) -> impl Iterator<Item = (Symbol<'_>, Option<&str>)> {
        let text = self.0.text.as_str();
        let module = move |&(_, start, len): &Entry| {
            let line = text.get((start + len) as usize..)?.lines().next()?;
            line.split_whitespace().next()?.strip_prefix('[')?.strip_suffix(']')
        };
        self.iter().zip(self.map().iter().map(module))
    }

    /// The address of the symbol with a name; if there are several, the highest.
    pub fn address_of(&self, name: &str) -> Option<u64> {
        self.iter().filter(|symbol| symbol.name == name).last().map(|symbol| symbol.address)
    }

    fn symbol(&self, index: usize) -> Option<Symbol<'_>> {
        let (address, start, len) = *self.map().get(index)?;
        let name = self.0.text.get(start as usize..(start + len) as usize)?;
        Some(Symbol { address, name })
    }
}

impl Shared {
    fn map(&self) -> &[Entry] {
        self.map.get_or_init(|| map(self.text.as_bytes()))
    }
}

/// The functions in the text of kallsyms, sorted by address.
fn map(bytes: &[u8]) -> Vec<Entry> {
    let mut map: Vec<Entry> = Vec::with_capacity(bytes.len() / 48);
    let mut at = 0;
    // In a single pass over the bytes, for speed: there are a few hundred thousand lines.
    while let Some(line) = bytes.get(at..) {
        let digits = line.iter().take_while(|byte| HEX[usize::from(**byte)] < 16);
        let (count, address) = digits
            .fold((0, 0), |(count, sum), byte| (count + 1, sum << 4 | u64::from(HEX[usize::from(*byte)])));
        let [b' ', kind, b' ', name @ ..] = &line[count..] else { break };
        let length = name.iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
        if !(1..=16).contains(&count) || length == 0 {
            break;
        }
        if !matches!(kind, b'A' | b'a') && name[0] != b'$' {
            map.push((address, (at + count + 3) as u32, length as u32));
        }
        let end = name[length..].iter().position(|byte| *byte == b'\n');
        at += count + 3 + length + end.map_or(name.len() - length, |end| end + 1);
    }
    // trace-cmd's choice among several names of one address depends on exactly this order: by address,
    // and for the same address the last line first. Most of the text is sorted already, so sorting is fast.
    map.sort_by_key(|entry| entry.0);
    map.chunk_by_mut(|one, next| one.0 == next.0).for_each(<[Entry]>::reverse);
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(symbols: &Symbols, address: u64) -> Option<&str> {
        symbols.find(address).map(|symbol| symbol.name)
    }

    #[test]
    fn the_nearest_lower_function_is_found() {
        let text = "100 T a\n200 t b\t[mod]\n180 A percpu\n190 t $x\n300 T c\nnonsense\n400 T d\n";
        let symbols = Symbols::parse(text.to_string());
        assert_eq!(name(&symbols, 0xff), None);
        assert_eq!(name(&symbols, 0x1ff), Some("a"));
        assert_eq!(name(&symbols, 0x200), Some("b"));
        assert_eq!(name(&symbols, 0x300), Some("c"));
        assert_eq!(name(&symbols, 0x301), None);
    }

    #[test]
    fn of_equal_addresses_the_last_covers_what_follows() {
        let symbols = Symbols::parse("100 T a\n100 T b\n100 T c\n200 T d\n".to_string());
        assert_eq!(name(&symbols, 0x101), Some("a"));
        assert_eq!(name(&symbols, 0x100), Some("a"));
    }
}
