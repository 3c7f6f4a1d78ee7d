//! Function filters: parsing them, matching them as the kernel does, and suggesting similar names.
//!
//! Pure: it works on the text of `available_filter_functions`, and opens no file.
//! The rules are those of `set_ftrace_filter`: a name, a glob, or a line number of
//! `available_filter_functions`, each optionally followed by `:mod:MODULE` to select one module.

use std::cmp::Ordering;

use crate::error::{Error, Result};

/// A function the kernel can trace: one line of `available_filter_functions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// Its name, as in `__kmalloc`.
    pub name: &'a str,
    /// The module it lives in; `None` for the kernel proper.
    pub module: Option<&'a str>,
}

impl Function<'_> {
    /// Newer kernels list replaced weak functions under this name. They cannot be traced, but they count
    /// as lines.
    fn is_placeholder(&self) -> bool {
        self.name.starts_with("__ftrace_invalid_address__")
    }
}

/// Functions in the kernel's order.
#[derive(Clone, Debug, Default)]
pub struct Functions<'a> {
    all: Vec<Function<'a>>,
}

impl<'a> Functions<'a> {
    /// Reads lines of the form `name` or `name [module]`; comments (`#`) are left out.
    ///
    /// ```
    /// use snaptrace::filter::Functions;
    /// let functions = Functions::parse("__kmalloc\next4_sync_fs [ext4]\n");
    /// assert_eq!(functions.iter().nth(1).unwrap().module, Some("ext4"));
    /// ```
    pub fn parse(text: &'a str) -> Functions<'a> {
        let all = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let mut words = line.split_ascii_whitespace();
                let name = words.next().unwrap_or_default();
                let module = words.find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
                Function { name, module }
            })
            .collect();
        Functions { all }
    }

    /// All functions that can be traced, in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = Function<'a>> + '_ {
        self.all.iter().copied().filter(|function| !function.is_placeholder())
    }

    /// How many functions the filter selects.
    pub fn count(&self, filter: &FunctionFilter) -> usize {
        (1..).zip(&self.all).filter(|(number, function)| filter.matches(*number, function)).count()
    }

    /// Checks that the filter selects something, or waits for a module that is not loaded.
    ///
    /// # Errors
    /// Nothing matches; the error names the nearest functions. Exit code 2.
    pub fn check(&self, filter: &FunctionFilter) -> Result<()> {
        if self.count(filter) > 0 {
            return Ok(());
        }
        let Some(module) = &filter.module else {
            return Err(self.no_match(filter, None));
        };
        let literal = !module.inverted && !module.pattern.is_glob() && !module.pattern.0.is_empty();
        let loaded =
            self.all.iter().any(|function| function.module.is_some_and(|name| module.pattern.matches(name)));
        match (literal, loaded) {
            // The kernel keeps such a filter and applies it when the module is loaded.
            (true, false) => Ok(()),
            (_, loaded) => Err(self.no_match(filter, loaded.then_some(module))),
        }
    }

    fn no_match(&self, filter: &FunctionFilter, module: Option<&ModuleFilter>) -> Error {
        let error = Error::usage(format!("no function matches '{}'", filter.text));
        let inside = |function: &Function<'a>| match (module, function.module) {
            (None, _) => true,
            (Some(module), Some(name)) => module.pattern.matches(name),
            (Some(_), None) => false,
        };
        let near =
            nearest(&filter.function.literal(), self.iter().filter(inside).map(|function| function.name));
        error.help(match near.is_empty() {
            true => "'snaptrace list -f PATTERN' searches the functions that can be traced".to_string(),
            false => format!("the nearest names: {}", near.join(", ")),
        })
    }
}

/// One pattern of a function filter, as the kernel's filter files take it.
///
/// ```
/// use snaptrace::filter::{FunctionFilter, Functions};
/// # fn main() -> snaptrace::Result<()> {
/// let functions = Functions::parse("dev_attr_show\ndev_attr_store\n__kmalloc\n");
/// let filter = FunctionFilter::parse("dev_attr_*")?;
/// assert_eq!(functions.count(&filter), 2);
/// let error = functions.check(&FunctionFilter::parse("kmallok")?).unwrap_err();
/// assert!(error.to_string().contains("the nearest names: __kmalloc"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FunctionFilter {
    text: String,
    function: Glob,
    module: Option<ModuleFilter>,
}

#[derive(Clone, Debug)]
struct ModuleFilter {
    pattern: Glob,
    inverted: bool,
}

impl FunctionFilter {
    /// Parses `PATTERN` or `PATTERN:mod:MODULE`.
    ///
    /// # Errors
    /// The pattern is empty, contains white space, begins with `!`, or carries a command other than
    /// `mod`. Exit code 2.
    pub fn parse(text: &str) -> Result<FunctionFilter> {
        let refuse =
            |why: &str, help: &str| Err(Error::usage(format!("function filter '{text}' {why}")).help(help));
        if text.is_empty() {
            return refuse("is empty", "name a function, or use a glob such as 'dev_attr_*'");
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return refuse("contains white space", "give each function as a separate argument");
        }
        if text.starts_with('!') {
            return refuse(
                "begins with '!'",
                "'snaptrace filter --remove' removes functions from a filter, '-n' excludes them from tracing",
            );
        }
        let mut parts = text.splitn(3, ':');
        let function = Glob(parts.next().unwrap_or_default().to_string());
        let module = match (parts.next(), parts.next()) {
            (None, _) => None,
            (Some("mod"), Some(module)) => {
                let (inverted, module) = match module.strip_prefix('!') {
                    Some(rest) => (true, rest),
                    None => (false, module),
                };
                Some(ModuleFilter { pattern: Glob(module.to_string()), inverted })
            }
            (Some("mod"), None) => return refuse("names no module", "write it as 'PATTERN:mod:MODULE'"),
            (Some(_), _) => {
                return refuse(
                    "has a command other than 'mod'",
                    "only 'PATTERN:mod:MODULE' selects functions; write other commands to set_ftrace_filter itself",
                );
            }
        };
        Ok(FunctionFilter { text: text.to_string(), function, module })
    }

    /// The text that is written to the kernel.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the filter selects a module. Such filters are written after the others.
    pub fn has_module(&self) -> bool {
        self.module.is_some()
    }

    /// Whether it is the number of a line of `available_filter_functions`.
    pub fn is_line_number(&self) -> bool {
        self.function.line_number().is_some()
    }

    /// Whether it selects the function on line `number` (from 1) of the list.
    fn matches(&self, number: usize, function: &Function<'_>) -> bool {
        if function.is_placeholder() {
            return false;
        }
        if let Some(module) = &self.module {
            let within = match function.module {
                // An empty module name matches all modules.
                name if module.pattern.0.is_empty() => name.is_some(),
                Some(name) => module.pattern.matches(name),
                None => false,
            };
            if within == module.inverted {
                return false;
            }
            if self.function.0.is_empty() {
                return true;
            }
        }
        match self.function.line_number() {
            Some(wanted) => wanted == number,
            None => self.function.matches(function.name),
        }
    }

    /// Whether `line` of a filter file is this filter or a function that it selects.
    pub fn covers(&self, line: &str) -> bool {
        // A line with a colon waits for its module: the kernel removes it only by its exact text.
        line == self.text
            || !line.contains(':')
                && !self.is_line_number()
                && Functions::parse(line).iter().any(|function| self.matches(0, &function))
    }
}

/// A pattern in the kernel's syntax (lib/glob.c): `*`, `?`, `[a-z]`, `[!a-z]`, `\` before a character.
#[derive(Clone, Debug)]
struct Glob(String);

impl Glob {
    fn is_glob(&self) -> bool {
        self.0.contains(['*', '?', '[', '\\'])
    }

    /// A pattern that begins with a digit is the number of a line of `available_filter_functions`.
    fn line_number(&self) -> Option<usize> {
        // If other characters follow the digits, it selects nothing, like line 0.
        self.0.starts_with(|c: char| c.is_ascii_digit()).then(|| self.0.parse().unwrap_or(0))
    }

    fn matches(&self, name: &str) -> bool {
        glob(self.0.as_bytes(), name.as_bytes())
    }

    /// The pattern without its wildcards, to look for similar names.
    fn literal(&self) -> String {
        self.0.chars().filter(|c| !"*?[]\\!".contains(*c)).collect()
    }
}

/// Whether the whole of `text` matches. On a mismatch, the last `*` is extended by one byte.
pub(crate) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                p += 1;
                retry = Some((p, t));
                continue;
            }
            (Some(_), Some(&byte)) => one(&pattern[p..], byte),
            _ => None,
        };
        match (step, retry) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, Some((after_star, from))) if from < text.len() => {
                retry = Some((after_star, from + 1));
                (p, t) = (after_star, from + 1);
            }
            _ => return false,
        }
    }
}

/// Matches the first element of a pattern (not `*`) with one byte; returns the element's length.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => match class(rest, byte) {
            Some((length, true)) => Some(1 + length),
            Some((_, false)) => None,
            // An opening bracket that is never closed matches itself.
            None => (byte == b'[').then_some(1),
        },
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// Reads a character class after its `[`: its length with the `]`, and whether `byte` is in it.
fn class(pattern: &[u8], byte: u8) -> Option<(usize, bool)> {
    let inverted = pattern.first() == Some(&b'!');
    let mut at = usize::from(inverted);
    let mut found = false;
    let mut low = *pattern.get(at)?; // the first may be ']' itself
    loop {
        at += 1;
        let mut high = low;
        if pattern.get(at) == Some(&b'-') && pattern.get(at + 1) != Some(&b']') {
            high = *pattern.get(at + 1)?;
            at += 2;
        }
        found |= (low..=high).contains(&byte);
        low = *pattern.get(at)?;
        if low == b']' {
            return Some((at + 1, found != inverted));
        }
    }
}

/// Up to five names similar to `wanted`: first those that contain it, the shortest first, then those with
/// a similar spelling. If there are none, names with a similar beginning.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    const MOST: usize = 5;
    const ALIKE: f64 = 0.82;
    let bare = wanted.trim_matches('_');
    if bare.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = names.collect();
    let mut near: Vec<(f64, &str)> = names
        .iter()
        .filter_map(|&name| {
            let score = if bare.len() >= 3 && name.contains(bare) {
                // Higher than every similarity; the shorter the name, the higher.
                1.0 + bare.len() as f64 / name.len() as f64
            } else {
                strsim::normalized_damerau_levenshtein(bare, name.trim_matches('_'))
                    .max(strsim::jaro_winkler(bare, name.trim_matches('_')) - 0.05)
            };
            (score >= ALIKE).then_some((score, name))
        })
        .collect();
    if near.is_empty() {
        // A kernel version may have added a suffix: __kmalloc is __kmalloc_noprof since 6.10.
        near.extend(names.iter().filter_map(|&name| {
            let alike = |wanted: &str, name: &str| {
                let beginning = name.get(..wanted.len());
                beginning.map_or(0.0, |name| strsim::normalized_damerau_levenshtein(wanted, name))
            };
            // A match including the given underscores scores higher.
            let score = alike(wanted, name).max(alike(bare, name.trim_matches('_')) - 0.05);
            (score >= ALIKE).then_some((score + 1.0 / name.len() as f64, name))
        }));
    }
    near.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal).then_with(|| a.1.cmp(b.1)));
    near.dedup_by_key(|(_, name)| *name);
    near.into_iter().take(MOST).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "dev_attr_show\ndev_attr_store\n__kmalloc\nkmalloc_slab\nkmalloc_order\n\
                        write_inode [ext4]\nwrite_end [ext4]\nfuse_init [fuse]\n";

    fn count(pattern: &str) -> usize {
        Functions::parse(LIST).count(&FunctionFilter::parse(pattern).unwrap())
    }

    #[test]
    fn globs_match_like_the_kernels() {
        // Pattern, text, whether they match, after lib/glob.c's rules.
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a", "aa", false),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("?", "", false),
            ("??", "a", false),
            ("??", "ab", true),
            ("*c", "abc", true),
            ("a*", "abc", true),
            ("*b*", "abc", true),
            ("*b*", "ac", false),
            ("a*b*c", "axxbxxc", true),
            ("*ab*cd", "abcabcd", true),
            ("*abcd*", "abcabcabcdef", true),
            ("*bb", "bbb", true),
            ("[a]", "a", true),
            ("[!a]", "a", false),
            ("[!a]", "b", true),
            ("[ab]", "b", true),
            ("[a-c]", "b", true),
            ("[a-c]", "d", false),
            ("[]b]", "]", true),
            ("[!]a-]", "b", true),
            ("[!]a-]", "-", false),
            ("[a-c-e]", "d", false),
            ("[a", "[a", true),
            ("[a", "a", false),
            ("[^a]", "^", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("{a,b}", "a", false),
            ("a**b", "ab", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "'{pattern}' and '{text}'");
        }
    }

    #[test]
    fn patterns_select_functions() {
        assert_eq!(count("__kmalloc"), 1);
        assert_eq!(count("kmalloc"), 0);
        assert_eq!(count("kmalloc*"), 2);
        assert_eq!(count("*kmalloc*"), 3);
        assert_eq!(count("dev_attr_s????"), 1);
        assert_eq!(count("*"), 8);
    }

    #[test]
    fn a_number_selects_a_line() {
        assert_eq!(count("3"), 1);
        assert_eq!(count("8"), 1);
        assert_eq!(count("9"), 0);
        assert_eq!(count("0"), 0);
        assert_eq!(count("3x"), 0);
    }

    #[test]
    fn a_placeholder_is_a_line_and_no_function() {
        let functions = Functions::parse("__ftrace_invalid_address___64\nkfree\n");
        let count = |pattern: &str| functions.count(&FunctionFilter::parse(pattern).unwrap());
        assert_eq!((count("__ftrace*"), count("1"), count("2"), count("*")), (0, 0, 1, 1));
        assert_eq!(functions.iter().map(|function| function.name).collect::<Vec<_>>(), ["kfree"]);
    }

    #[test]
    fn modules_narrow_a_pattern() {
        assert_eq!(count("write*:mod:ext4"), 2);
        assert_eq!(count("write*:mod:fuse"), 0);
        assert_eq!(count("*:mod:"), 3);
        assert_eq!(count(":mod:ext4"), 2);
        assert_eq!(count("*:mod:!ext4"), 6);
        assert_eq!(count("*:mod:e*"), 2);
    }

    #[test]
    fn only_a_module_that_is_not_loaded_may_match_nothing() {
        let functions = Functions::parse(LIST);
        let check = |pattern: &str| functions.check(&FunctionFilter::parse(pattern).unwrap());
        assert!(check("write*:mod:xfs").is_ok());
        assert!(check("write*:mod:ext4").is_ok());
        let error = check("writ_inode:mod:ext4").unwrap_err().to_string();
        assert!(error.contains("no function matches 'writ_inode:mod:ext4'"), "{error}");
        assert!(error.contains("the nearest names: write_inode"), "{error}");
        assert!(!error.contains("kmalloc"), "{error}");
        assert!(check("write*:mod:x*").is_err());
        assert!(check("write*").is_ok());
    }

    #[test]
    fn nothing_matched_names_the_nearest() {
        let functions = Functions::parse(LIST);
        let error = functions.check(&FunctionFilter::parse("kmalloc").unwrap()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(
            error.to_string(),
            "no function matches 'kmalloc'\n  help: the nearest names: __kmalloc, kmalloc_slab, kmalloc_order"
        );
        let error = functions.check(&FunctionFilter::parse("qqqqqqqq*").unwrap()).unwrap_err().to_string();
        assert!(error.contains("snaptrace list -f PATTERN"), "{error}");
    }

    #[test]
    fn a_name_that_got_an_ending_is_found() {
        let names = ["kmalloc_reserve", "__kmalloc_node_noprof", "__kmalloc_noprof", "kfree"];
        let near = |wanted| nearest(wanted, names.into_iter());
        assert_eq!(near("__kmallok"), ["__kmalloc_noprof", "__kmalloc_node_noprof"]);
        assert_eq!(near("kmallok_reser"), ["kmalloc_reserve"]);
    }

    #[test]
    fn a_pattern_the_kernel_would_misread_is_refused() {
        for pattern in ["", "a b", "!a", "a:mod", "a:traceoff", "a:traceoff:5", "a\n"] {
            let error = FunctionFilter::parse(pattern).unwrap_err();
            assert_eq!(error.exit_code(), 2, "'{pattern}'");
        }
    }

    #[test]
    fn a_filter_covers_lines_of_a_filter_file() {
        let covers = |pattern: &str, line: &str| FunctionFilter::parse(pattern).unwrap().covers(line);
        assert!(covers("write*:mod:ext4", "write*:mod:ext4"));
        assert!(covers("write*:mod:ext4", "write_end [ext4]"));
        assert!(!covers("write*:mod:ext4", "write_end"));
        assert!(covers("dev_*", "dev_attr_show"));
        assert!(!covers("write*", "write*:mod:ext4"));
        assert!(!covers("dev_*", "#### all functions enabled ####"));
    }
}
