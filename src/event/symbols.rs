//! Functions by address, from the text of kallsyms.

/// A function: where it starts, its name, and its module if it is in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// The address of its first byte.
    pub address: u64,
    /// Its name.
    pub name: &'a str,
}

/// All functions of a kernel.
#[derive(Debug, Default)]
pub struct Symbols {
    text: String,
    /// Address, and where the name stands in `text`.
    map: Vec<(u64, u32, u32)>,
}

impl Symbols {
    /// Reads the text of kallsyms: `ADDRESS TYPE NAME [MODULE]` per line, up to the first line of
    /// another form. Absolute symbols and names starting with `$` are no functions.
    ///
    /// ```
    /// use snaptrace::event::Symbols;
    /// let symbols = Symbols::parse("ff10 T open\nff80 t close\n".to_string());
    /// assert_eq!(symbols.find(0xff14).unwrap().name, "open");
    /// ```
    pub fn parse(text: String) -> Symbols {
        let mut map = Vec::with_capacity(text.len() / 48);
        let mut start = 0;
        // Bytes, not characters: there are a few hundred thousand lines.
        for line in text.as_bytes().split(|byte| *byte == b'\n') {
            let at = start;
            start += line.len() + 1;
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let (address, rest) = line.split_at(digits);
            let [b' ', kind, b' ', name @ ..] = rest else { break };
            if !(1..=16).contains(&digits) || name.is_empty() {
                break;
            }
            if matches!(kind, b'A' | b'a') || name[0] == b'$' {
                continue;
            }
            let digit = |sum: u64, byte: &u8| sum << 4 | u64::from((*byte as char).to_digit(16).unwrap_or(0));
            let length = name.iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
            map.push((address.iter().fold(0, digit), (at + digits + 3) as u32, length as u32));
        }
        // trace-cmd's choice among several names of one address depends on this very order.
        map.reverse();
        map.sort_by_key(|entry| entry.0);
        Symbols { text, map }
    }

    /// The function that an address lies in: the nearest at or below it. Nothing lies behind the
    /// start of the last one, whose end is not known.
    pub fn find(&self, address: u64) -> Option<Symbol<'_>> {
        let (mut low, mut high) = (0, self.map.len());
        // Not `binary_search`: of several equal addresses the one that trace-cmd meets first.
        while low < high {
            let middle = (low + high) / 2;
            let (start, ..) = self.map[middle];
            if address == start {
                return self.symbol(middle);
            } else if address < start {
                high = middle;
            } else if self.map.get(middle + 1).is_some_and(|next| address < next.0) {
                return self.symbol(middle);
            } else {
                low = middle + 1;
            }
        }
        None
    }

    /// All functions by address, with their types left out.
    pub fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        (0..self.map.len()).filter_map(|index| self.symbol(index))
    }

    /// The address of the symbol of a name; of several, the highest.
    pub fn address_of(&self, name: &str) -> Option<u64> {
        self.iter().filter(|symbol| symbol.name == name).last().map(|symbol| symbol.address)
    }

    fn symbol(&self, index: usize) -> Option<Symbol<'_>> {
        let (address, start, len) = *self.map.get(index)?;
        let name = self.text.get(start as usize..(start + len) as usize)?;
        Some(Symbol { address, name })
    }
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
