//! Functions that a later kernel calls by another name: old name, new name, and why; pure.

/// Each old name with the new one, and since when and why.
const KNOWN: [(&str, &str, &str); 6] = [
    ("__kmalloc", "__kmalloc_noprof", "since 6.10: memory allocation profiling"),
    ("_cond_resched", "__cond_resched", "since 5.12: preemption is chosen at boot"),
    ("_do_fork", "kernel_clone", "since 5.10: also for kernel threads"),
    ("do_sys_open", "do_sys_openat2", "since 5.6: openat2"),
    ("kmem_cache_alloc", "kmem_cache_alloc_noprof", "since 6.10: memory allocation profiling"),
    ("kvmalloc_node", "__kvmalloc_node_noprof", "since 6.10: memory allocation profiling"),
];

/// Why one name is known to have become the other, in whichever direction the kernels are compared.
pub fn known(old: &str, new: &str) -> Option<&'static str> {
    old_or_new(old).find(|(name, _)| *name == new).map(|(_, why)| why)
}

/// The names that one is known to have had or got, with the reasons.
pub fn old_or_new(name: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    KNOWN.iter().filter_map(move |(from, to, why)| match name {
        _ if name == *from => Some((*to, *why)),
        _ if name == *to => Some((*from, *why)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_is_known_in_both_directions() {
        assert!(known("_do_fork", "kernel_clone").is_some_and(|why| why.contains("5.10")));
        assert_eq!(known("kernel_clone", "_do_fork"), known("_do_fork", "kernel_clone"));
        assert_eq!(known("_do_fork", "_do_fork"), None);
        assert_eq!(known("kfree", "kernel_clone"), None);
    }
}
