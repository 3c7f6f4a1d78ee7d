//! Kernel configuration: fragments, the check that every requested symbol has its value, and why one does
//! not. Pure, except for the search in a source tree's Kconfig files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::base::error::{Context, Error, Result};
use crate::base::verdict::Verdict;

/// A line of a fragment: a symbol and the value that it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The symbol without `CONFIG_`.
    pub symbol: String,
    /// `y`, `m`, a number or a quoted string as in `.config`; `n` for a symbol that is off.
    pub value: String,
    /// The fragment that asks for it.
    pub fragment: String,
    /// The comment above the line: why the symbol is needed.
    pub reason: String,
}

/// Reads a fragment.
///
/// # Errors
/// A line is neither `CONFIG_X=value`, `# CONFIG_X is not set`, a comment nor empty.
pub fn parse_fragment(name: &str, text: &str) -> Result<Vec<Wanted>> {
    let mut wanted = Vec::new();
    let mut reason = String::new();
    for (number, line) in text.lines().enumerate() {
        if let Some((symbol, value)) = setting(line) {
            wanted.push(Wanted {
                symbol: symbol.to_owned(),
                value: value.to_owned(),
                fragment: name.to_owned(),
                reason: std::mem::take(&mut reason),
            });
        } else if let Some(comment) = line.strip_prefix('#') {
            reason = format!("{reason} {}", comment.trim()).trim().to_owned();
        } else if line.trim().is_empty() {
            reason.clear();
        } else {
            return Err(Error::new(format!("cannot understand line {} of {name}", number + 1))
                .because(format!("{line:?}"))
                .help("a fragment consists of `CONFIG_X=value`, `# CONFIG_X is not set` and comments"));
        }
    }
    Ok(wanted)
}

/// Joins fragments; of two lines for one symbol, the later one counts.
pub fn merge(fragments: impl IntoIterator<Item = Vec<Wanted>>) -> Vec<Wanted> {
    let mut merged: Vec<Wanted> = Vec::new();
    for wanted in fragments.into_iter().flatten() {
        merged.retain(|earlier| earlier.symbol != wanted.symbol);
        merged.push(wanted);
    }
    merged
}

/// Replaces values in a `.config` by the wanted ones.
pub fn apply(config_text: &str, wanted: &[Wanted]) -> String {
    let mut text = String::new();
    for line in config_text.lines() {
        let replaced =
            setting(line).is_some_and(|(symbol, _)| wanted.iter().any(|wanted| wanted.symbol == symbol));
        if !replaced {
            text += line;
            text.push('\n');
        }
    }
    for wanted in wanted {
        text += &assignment(&wanted.symbol, &wanted.value);
        text.push('\n');
    }
    text
}

/// Checks that a configuration gives every wanted symbol its value.
///
/// # Errors
/// Some have another value; the error names each, with its reason. The verdict is `config-unmet`.
pub fn prove(wanted: &[Wanted], config_text: &str) -> Result<()> {
    let unmet = unmet(wanted, config_text);
    if unmet.is_empty() { Ok(()) } else { Err(unmet_error(&unmet, config_text)) }
}

/// The wanted symbols that have another value in a configuration.
pub fn unmet<'a>(wanted: &'a [Wanted], config_text: &str) -> Vec<&'a Wanted> {
    let values = values(config_text);
    wanted.iter().filter(|wanted| value(&values, &wanted.symbol) != wanted.value).collect()
}

/// The error for a failed check.
pub fn unmet_error(unmet: &[&Wanted], config_text: &str) -> Error {
    let values = values(config_text);
    let mut cause = String::new();
    for wanted in unmet {
        let is = assignment(&wanted.symbol, value(&values, &wanted.symbol));
        let asked = assignment(&wanted.symbol, &wanted.value);
        // Writing to a string cannot fail.
        let _ = write!(cause, "\n    {} asks for `{asked}`, it has `{is}`", wanted.fragment);
        if !wanted.reason.is_empty() {
            let _ = write!(cause, " ({})", wanted.reason);
        }
    }
    let symbols = if unmet.len() == 1 { "1 symbol".to_owned() } else { format!("{} symbols", unmet.len()) };
    Error::new(format!("the kernel's configuration lacks {symbols}"))
        .because(cause)
        .verdict(Verdict::ConfigUnmet)
}

/// The dependencies of a symbol in the Kconfig files of a source tree, with their current values.
///
/// Lines such as `VIRTIO_PCI depends on PCI [=n]`; empty if no file mentions the symbol.
///
/// # Errors
/// The tree cannot be read.
pub fn explain(tree: &Path, symbol: &str, config_text: &str) -> Result<Vec<String>> {
    let values = values(config_text);
    let mut lines = Vec::new();
    for item in walkdir::WalkDir::new(tree).sort_by_file_name() {
        let item = item.context(|| format!("cannot read {}", tree.display()))?;
        let name = item.file_name().to_string_lossy();
        if !item.file_type().is_file() || !name.starts_with("Kconfig") {
            continue;
        }
        // Kconfig files of other architectures define the same symbols again.
        let path = item.path().strip_prefix(tree).unwrap_or(item.path());
        if path.starts_with("arch") && !path.starts_with("arch/x86") && path != Path::new("arch/Kconfig") {
            continue;
        }
        let text = std::fs::read(item.path()).context(|| format!("cannot read {}", item.path().display()))?;
        for condition in conditions(&String::from_utf8_lossy(&text), symbol) {
            let line = format!("{symbol} depends on {}", annotate(&condition, &values));
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    Ok(lines)
}

/// The conditions of a symbol in a Kconfig file: its own `depends on` lines and those of the enclosing
/// `if` and `menu` blocks.
fn conditions(kconfig: &str, symbol: &str) -> Vec<String> {
    let mut blocks: Vec<Vec<String>> = Vec::new();
    let mut found = Vec::new();
    // Whether a `depends on` line belongs to the symbol or to a menu.
    let (mut in_symbol, mut in_menu) = (false, false);
    let joined = kconfig.replace("\\\n", " ");
    for line in joined.lines() {
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let (keyword, rest) = words.split_once(' ').unwrap_or((&words, ""));
        // Indented lines are an entry's attributes and its help text.
        let attribute = line.starts_with([' ', '\t']);
        match keyword {
            "depends" => {
                let condition = rest.trim_start_matches("on ").to_owned();
                if in_symbol {
                    found.push(condition);
                } else if in_menu && let Some(block) = blocks.last_mut() {
                    block.push(condition);
                }
            }
            _ if attribute => {}
            "config" | "menuconfig" => {
                (in_symbol, in_menu) = (rest == symbol, false);
                if in_symbol {
                    found.extend(blocks.iter().flatten().cloned());
                }
            }
            "if" => {
                blocks.push(vec![rest.to_owned()]);
                (in_symbol, in_menu) = (false, false);
            }
            "menu" | "choice" => {
                blocks.push(Vec::new());
                (in_symbol, in_menu) = (false, true);
            }
            "endif" | "endmenu" | "endchoice" => {
                blocks.pop();
                (in_symbol, in_menu) = (false, false);
            }
            "comment" | "source" => (in_symbol, in_menu) = (false, false),
            _ => {}
        }
    }
    found
}

/// Appends the current value to every symbol of an expression.
fn annotate(expression: &str, values: &BTreeMap<&str, &str>) -> String {
    let mut text = String::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| c.is_ascii_uppercase()) {
        let end = rest[start..]
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .map_or(rest.len(), |length| start + length);
        let symbol = &rest[start..end];
        text += &format!("{}{symbol} [={}]", &rest[..start], value(values, symbol));
        rest = &rest[end..];
    }
    text + rest
}

/// The fragment that turns one configuration into another.
pub fn difference(before: &str, after: &str) -> String {
    let (before, after) = (values(before), values(after));
    let mut text = String::new();
    let mut symbols: Vec<&str> = before.keys().chain(after.keys()).copied().collect();
    symbols.sort_unstable();
    symbols.dedup();
    for symbol in symbols {
        if value(&before, symbol) != value(&after, symbol) {
            text += &assignment(symbol, value(&after, symbol));
            text.push('\n');
        }
    }
    text
}

/// The values that a configuration sets, by symbol.
fn values(config_text: &str) -> BTreeMap<&str, &str> {
    config_text.lines().filter_map(setting).collect()
}

fn value<'a>(values: &BTreeMap<&str, &'a str>, symbol: &str) -> &'a str {
    values.get(symbol).copied().unwrap_or("n")
}

/// The value of a symbol in a configuration: `y`, `m`, `n`, or what else it is set to.
pub fn state<'a>(config_text: &'a str, symbol: &str) -> &'a str {
    value(&values(config_text), symbol)
}

/// The string value of a symbol in a configuration, without its quotes.
pub fn string<'a>(config_text: &'a str, symbol: &str) -> Option<&'a str> {
    let (_, value) = config_text.lines().filter_map(setting).find(|(name, _)| *name == symbol)?;
    value.strip_prefix('"')?.strip_suffix('"')
}

/// Symbol and value of a line that sets one.
fn setting(line: &str) -> Option<(&str, &str)> {
    if let Some(off) = line.strip_prefix("# CONFIG_") {
        return Some((off.strip_suffix(" is not set")?, "n"));
    }
    line.strip_prefix("CONFIG_")?.split_once('=').map(|(symbol, value)| (symbol, value.trim_end()))
}

fn assignment(symbol: &str, value: &str) -> String {
    match value {
        "n" => format!("# CONFIG_{symbol} is not set"),
        value => format!("CONFIG_{symbol}={value}"),
    }
}

/// The words of the built-in command line, which the kernel puts before the one it is given.
pub fn command_line(config: &str) -> String {
    let is_set = |symbol: &str| config.lines().any(|line| line.strip_suffix("=y") == Some(symbol));
    // With an override the kernel ignores the given command line, so nothing has to fit.
    if !is_set("CONFIG_CMDLINE_BOOL") || is_set("CONFIG_CMDLINE_OVERRIDE") {
        return String::new();
    }
    let value = config.lines().find_map(|line| line.strip_prefix("CONFIG_CMDLINE=\""));
    let value = value.and_then(|value| value.strip_suffix('"')).unwrap_or_default();
    value.replace("\\\"", "\"").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAGMENT: &str = "# About the file.\n\n# The bus.\nCONFIG_PCI=y\n# No debugging,\n# it is slow.\n# CONFIG_SLUB_DEBUG is not set\nCONFIG_LSM=\"apparmor\"\n";

    #[test]
    fn a_fragment_is_settings_with_reasons() {
        let wanted = parse_fragment("a.config", FRAGMENT).unwrap();
        let seen: Vec<_> =
            wanted.iter().map(|w| (w.symbol.as_str(), w.value.as_str(), w.reason.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("PCI", "y", "The bus."),
                ("SLUB_DEBUG", "n", "No debugging, it is slow."),
                ("LSM", "\"apparmor\"", "")
            ]
        );
        let error = parse_fragment("a.config", "PCI=y").unwrap_err().to_string();
        assert!(error.contains("line 1 of a.config"), "{error}");
    }

    #[test]
    fn every_line_of_our_fragments_has_its_reason() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-configs");
        for path in crate::base::cache::read_dir(&folder).unwrap() {
            if path.extension().is_some_and(|extension| extension == "config") {
                let text = std::fs::read_to_string(&path).unwrap();
                for wanted in parse_fragment("f", &text).unwrap() {
                    assert!(!wanted.reason.is_empty(), "{}: {}", path.display(), wanted.symbol);
                }
            }
        }
    }

    #[test]
    fn what_is_applied_is_proved() {
        let wanted = parse_fragment("a.config", FRAGMENT).unwrap();
        let config = apply("CONFIG_SLUB_DEBUG=y\nCONFIG_X=m\n", &wanted);
        assert_eq!(
            config,
            "CONFIG_X=m\nCONFIG_PCI=y\n# CONFIG_SLUB_DEBUG is not set\nCONFIG_LSM=\"apparmor\"\n"
        );
        prove(&wanted, &config).unwrap();
        // A symbol that is off may be missing.
        prove(&wanted, &config.replace("# CONFIG_SLUB_DEBUG is not set\n", "")).unwrap();
    }

    #[test]
    fn what_did_not_survive_is_named() {
        let wanted = parse_fragment("a.config", FRAGMENT).unwrap();
        let error = prove(&wanted, "CONFIG_SLUB_DEBUG=y\nCONFIG_LSM=\"apparmor\"\n").unwrap_err();
        assert_eq!(error.verdict_given(), Some(Verdict::ConfigUnmet));
        let text = error.to_string();
        assert!(text.contains("asks for `CONFIG_PCI=y`, it has `# CONFIG_PCI is not set`"), "{text}");
        assert!(text.contains("asks for `# CONFIG_SLUB_DEBUG is not set`, it has `CONFIG_SLUB_DEBUG=y`"));
        assert!(!text.contains("LSM"));
    }

    #[test]
    fn a_later_fragment_overrides_an_earlier_one() {
        let one = parse_fragment("a", "CONFIG_X=y\nCONFIG_Y=y\n").unwrap();
        let two = parse_fragment("b", "CONFIG_X=m\n").unwrap();
        let merged = merge([one, two]);
        assert_eq!(merged.len(), 2);
        assert!(merged.iter().any(|w| w.symbol == "X" && w.value == "m"));
    }

    #[test]
    fn conditions_are_a_symbols_own_and_those_around_it() {
        let kconfig = "menu \"a\"\n\tdepends on HAS_IO\nconfig OTHER\n\tdepends on FOO\n\
            if MENU\nconfig WANTED\n\tbool\n\tdepends on PCI && \\\n\t\t!S390\n\thelp\n\t  x\n\
            endif\nconfig LATER\n\tdepends on BAR\nendmenu\n";
        assert_eq!(conditions(kconfig, "WANTED"), ["HAS_IO", "MENU", "PCI && !S390"]);
        assert_eq!(conditions(kconfig, "LATER"), ["HAS_IO", "BAR"]);
        let values = values("CONFIG_PCI=y\n");
        assert_eq!(annotate("PCI && !S390", &values), "PCI [=y] && !S390 [=n]");
    }

    #[test]
    fn a_difference_is_a_fragment() {
        let before = "CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\n";
        let after = "CONFIG_A=y\nCONFIG_C=y\nCONFIG_D=4\n";
        let fragment = difference(before, after);
        assert_eq!(fragment, "# CONFIG_B is not set\nCONFIG_C=y\nCONFIG_D=4\n");
        let applied = apply(before, &parse_fragment("f", &fragment).unwrap());
        assert_eq!(difference(&applied, after), "");
    }

    #[test]
    fn strings_lose_their_quotes() {
        assert_eq!(
            string("CONFIG_CC_VERSION_TEXT=\"gcc-12 (D) 12.2.0\"\n", "CC_VERSION_TEXT"),
            Some("gcc-12 (D) 12.2.0")
        );
        assert_eq!(string("CONFIG_A=y\n", "A"), None);
    }

    #[test]
    fn a_built_in_command_line_counts_where_it_is_put_before_others() {
        let set = "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"a=1 b=\\\"c\\\"\"\n";
        assert_eq!(command_line(set), "a=1 b=\"c\"");
        assert_eq!(command_line(&format!("{set}CONFIG_CMDLINE_OVERRIDE=y\n")), "");
        assert_eq!(command_line("# CONFIG_CMDLINE_BOOL is not set\n"), "");
    }
}
