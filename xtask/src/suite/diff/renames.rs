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
    let either = |&&(from, to, _): &&(&str, &str, &str)| [(from, to), (to, from)].contains(&(old, new));
    KNOWN.iter().find(either).map(|(.., why)| *why)
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
