//! Functions that were renamed or removed in later kernels: old name, new name, first version, and reason;
//! pure.

use std::collections::BTreeSet;
use std::fmt;

use crate::base::error::{Error, Result};

/// A function that was renamed or removed.
#[derive(Clone, Copy, Debug)]
struct Rename {
    /// The old name.
    old: &'static str,
    /// The new name; `None` if the function was removed.
    new: Option<&'static str>,
    /// The first version with the change.
    since: (u32, u32),
    /// The reason, as the end of a sentence.
    why: &'static str,
}

const fn renamed(old: &'static str, new: &'static str, since: (u32, u32), why: &'static str) -> Rename {
    Rename { old, new: Some(new), since, why }
}

const fn gone(old: &'static str, since: (u32, u32), why: &'static str) -> Rename {
    Rename { old, new: None, since, why }
}

/// Why functions of the allocators end with `_noprof` from 6.10 on.
const NOPROF: &str = "the old name is a macro that accounts for each place that allocates";

/// The known renames. The new name of one may be the old name of another.
const RENAMES: [Rename; 10] = [
    renamed("_do_fork", "kernel_clone", (5, 10), "it is named as other helpers behind system calls are"),
    renamed(
        "_cond_resched",
        "__cond_resched",
        (5, 12),
        "which of several implementations is called is chosen at boot",
    ),
    gone("kmalloc_slab", (6, 8), "it is inlined since there is but one slab allocator"),
    renamed("__kmalloc", "__kmalloc_noprof", (6, 10), NOPROF),
    renamed("__kmalloc_node", "__kmalloc_node_noprof", (6, 10), NOPROF),
    renamed("kmem_cache_alloc", "kmem_cache_alloc_noprof", (6, 10), NOPROF),
    renamed("kvmalloc_node", "kvmalloc_node_noprof", (6, 10), NOPROF),
    renamed(
        "kvmalloc_node_noprof",
        "__kvmalloc_node_noprof",
        (6, 11),
        "it also takes the bucket that is allocated from",
    ),
    gone("should_failslab", (6, 11), "it is called only where CONFIG_FAILSLAB is set"),
    renamed("do_filp_open", "do_file_open", (7, 0), "it is named as its sibling do_file_open_root is"),
];

/// Opens a placeholder in a case: the old name of a function that some kernels renamed.
const OPEN: &str = "{fn:";

/// The name of a function on a kernel version such as `6.12.117-1`, given its old name.
pub fn name_on<'a>(name: &'a str, version: &str) -> &'a str {
    let version = major_and_minor(version);
    let mut name = name;
    let next = |name: &str| {
        let known = RENAMES.iter().find(|rename| rename.old == name && rename.since <= version);
        known.and_then(|rename| rename.new)
    };
    while let Some(new) = next(name) {
        name = new;
    }
    name
}

/// Whether a function is known to be removed in a kernel version.
pub fn is_gone(name: &str, version: &str) -> bool {
    let version = major_and_minor(version);
    RENAMES.iter().any(|rename| rename.old == name && rename.new.is_none() && rename.since <= version)
}

/// Replaces each `{fn:NAME}` in a text of a case by the function's name on a kernel version.
///
/// # Errors
/// A placeholder is not closed, or its function has no known rename: then the plain name is enough, or the
/// name is misspelled.
pub fn resolved(text: &str, version: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once(OPEN) {
        let wrong =
            |why: String| Err(Error::new(format!("cannot tell the function in `{text}`")).because(why));
        let Some((name, after)) = from.split_once('}') else {
            return wrong(format!("{OPEN} is not closed by }}"));
        };
        if !RENAMES.iter().any(|rename| rename.old == name && rename.new.is_some()) {
            return wrong(format!("xtask/src/kernel/renames.rs knows no other name of {name}"));
        }
        out.push_str(before);
        out.push_str(name_on(name, version));
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// A sentence for each rename that explains a name which only one of the texts has.
pub fn explained(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (names(old), names(new));
    let is_gone = |name: &str| old.contains(name) && !new.contains(name);
    let is_new = |name: &str| new.contains(name) && !old.contains(name);
    let explains = |rename: &&Rename| match rename.new {
        Some(new) => (is_gone(rename.old) && is_new(new)) || (is_new(rename.old) && is_gone(new)),
        None => is_gone(rename.old) || is_new(rename.old),
    };
    RENAMES.iter().filter(explains).map(sentence).collect()
}

/// A sentence for each function in a message of the tracer that was renamed or removed by a kernel version.
pub fn explained_on(message: &str, version: &str) -> Vec<String> {
    let (said, version) = (names(message), major_and_minor(version));
    let misses = |rename: &&Rename| match rename.since <= version {
        true => said.contains(rename.old),
        false => rename.new.is_some_and(|new| said.contains(new)),
    };
    RENAMES.iter().filter(misses).map(sentence).collect()
}

/// Since when and why a function was renamed: `since 6.10: …`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownRename {
    since: (u32, u32),
    why: &'static str,
}

impl fmt::Display for KnownRename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KnownRename { since: (major, minor), why } = self;
        write!(f, "since {major}.{minor}: {why}")
    }
}

/// The known rename between two names, in either direction.
pub fn known(old: &str, new: &str) -> Option<KnownRename> {
    other_names(old).into_iter().find(|(name, _)| *name == new).map(|(_, known)| known)
}

/// The earlier and later names of a function, the nearest first.
pub fn other_names(name: &str) -> Vec<(&'static str, KnownRename)> {
    let mut found: Vec<(&'static str, KnownRename)> = Vec::new();
    let mut at = 0;
    let mut of = name;
    loop {
        for Rename { old, new, since, why } in &RENAMES {
            let Some(new) = new else { continue };
            let other = match of {
                _ if of == *old => new,
                _ if of == *new => old,
                _ => continue,
            };
            if *other != name && !found.iter().any(|(known, _)| known == other) {
                found.push((other, KnownRename { since: *since, why }));
            }
        }
        let Some((next, _)) = found.get(at) else { return found };
        (of, at) = (next, at + 1);
    }
}

fn sentence(rename: &Rename) -> String {
    let Rename { old, new, since: (major, minor), why } = rename;
    match new {
        Some(new) => format!("`{old}` is `{new}` since {major}.{minor}: {why}"),
        None => format!("`{old}` is gone since {major}.{minor}: {why}"),
    }
}

/// The names in a text.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect()
}

/// The first two numbers of a version; a missing one is 0.
fn major_and_minor(version: &str) -> (u32, u32) {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_has_the_name_of_the_kernel() {
        for (name, version, expected) in [
            ("__kmalloc", "5.4.286", "__kmalloc"),
            ("__kmalloc", "6.1.176-1", "__kmalloc"),
            ("__kmalloc", "6.9.12", "__kmalloc"),
            ("__kmalloc", "6.10", "__kmalloc_noprof"),
            ("__kmalloc", "7.2.13-1", "__kmalloc_noprof"),
            ("_do_fork", "5.4.302", "_do_fork"),
            ("_do_fork", "5.10.223-1", "kernel_clone"),
            ("kvmalloc_node", "6.12.117-1", "__kvmalloc_node_noprof"),
            ("kfree", "7.2.13-1", "kfree"),
        ] {
            assert_eq!(name_on(name, version), expected, "{name} on {version}");
        }
    }

    #[test]
    fn a_function_is_gone_from_a_version_on() {
        assert!(!is_gone("should_failslab", "6.10.3"));
        assert!(is_gone("should_failslab", "6.11"));
        assert!(is_gone("kmalloc_slab", "7.2.13-1"));
        assert!(!is_gone("__kmalloc", "7.2.13-1"));
    }

    #[test]
    fn names_are_known_in_both_directions_and_over_several_steps() {
        let said = |old, new| known(old, new).map(|known| known.to_string());
        let since = "since 5.10: it is named as other helpers behind system calls are";
        assert_eq!(said("_do_fork", "kernel_clone").as_deref(), Some(since));
        assert_eq!(said("kernel_clone", "_do_fork").as_deref(), Some(since));
        assert!(said("kvmalloc_node", "__kvmalloc_node_noprof").unwrap().starts_with("since 6.11: "));
        assert_eq!(said("__kmalloc", "__kmalloc_node_noprof"), None);
        assert_eq!(said("_do_fork", "_do_fork"), None);
        assert_eq!(other_names("kmalloc_slab"), []);
    }

    #[test]
    fn words_of_a_case_become_names() {
        let text = "snaptrace start -l {fn:__kmalloc} -l kfree -g {fn:_do_fork} sh 'cat x'";
        let old = "snaptrace start -l __kmalloc -l kfree -g _do_fork sh 'cat x'";
        assert_eq!(resolved(text, "5.4.286").unwrap(), old);
        assert_eq!(resolved(old, "6.12").unwrap(), old);
        let new = "snaptrace start -l __kmalloc_noprof -l kfree -g kernel_clone sh 'cat x'";
        assert_eq!(resolved(text, "6.12.117-1").unwrap(), new);
        let error = resolved("-l {fn:kfree}", "5.4").unwrap_err().to_string();
        assert!(error.contains("no other name of kfree"), "{error}");
        assert!(resolved("-l {fn:__kmalloc", "5.4").unwrap_err().to_string().contains("not closed"));
    }

    #[test]
    fn a_difference_is_explained_in_both_directions() {
        let (old, new) = ("=> copy_process\n=> _do_fork\n", "=> copy_process\n=> kernel_clone\n");
        let expected =
            ["`_do_fork` is `kernel_clone` since 5.10: it is named as other helpers behind system calls are"];
        assert_eq!(explained(old, new), expected);
        assert_eq!(explained(new, old), expected);
        assert_eq!(explained(old, old), Vec::<String>::new());
        assert_eq!(explained(old, "=> copy_process\n"), Vec::<String>::new());
        let gone = explained("  kmalloc_slab();\n", "");
        assert_eq!(
            gone,
            ["`kmalloc_slab` is gone since 6.8: it is inlined since there is but one slab allocator"]
        );
        // A part of a longer name is another name.
        assert_eq!(explained("sys_do_fork", "kernel_clone"), Vec::<String>::new());
    }

    #[test]
    fn a_missing_function_is_explained() {
        let message = "error: no function matches '_do_fork'";
        assert_eq!(explained_on(message, "6.1.176-1").len(), 1);
        assert_eq!(explained_on(message, "5.4.286"), Vec::<String>::new());
        assert_eq!(explained_on("no function matches 'kernel_clone'", "5.4.286").len(), 1);
    }

    #[test]
    fn no_rename_leads_back() {
        for rename in RENAMES {
            // Following the renames ends, even for the newest version, at a name without a further rename.
            let last = name_on(rename.old, "999.0");
            assert!(!RENAMES.iter().any(|other| other.old == last && other.new.is_some()), "{last}");
        }
    }
}
