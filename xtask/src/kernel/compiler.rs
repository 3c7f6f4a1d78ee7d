//! The compiler that built a kernel, read from its version text.

/// Compiler and version from its first line: `gcc-12 (Debian 12.2.0-14) 12.2.0` gives
/// `gcc 12.2.0`, `Debian clang version 14.0.6` gives `clang 14.0.6`.
pub fn short_name(line: &str) -> String {
    let mut words = line.split_whitespace();
    if line.contains("clang") {
        let version = words.skip_while(|word| *word != "version").nth(1).unwrap_or("?");
        return format!("clang {version}");
    }
    let name = words.next().unwrap_or("?");
    let name = name.rsplit('/').next().unwrap_or(name);
    let name = if name.contains("gcc") || name == "cc" { "gcc" } else { name };
    // The version follows the vendor's words in parentheses.
    let rest = line.rsplit(')').next().unwrap_or(line);
    let version = rest.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    format!("{name} {}", version.map_or("?", |version| version.trim_end_matches(',')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_are_named_shortly() {
        assert_eq!(short_name("gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"), "gcc 12.2.0");
        assert_eq!(short_name("x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0, GNU ld"), "gcc 14.2.0");
        assert_eq!(short_name("Debian clang version 14.0.6"), "clang 14.0.6");
        assert_eq!(short_name("gcc (GCC) 12.2.1 20221121"), "gcc 12.2.1");
    }
}
