#!/bin/sh
# Makes the recordings of arguments on debian-7; see README.md. For a guest. A small BTF stands in for
# the kernel's in what trace-cmd records, and the symbols are few, so that the files stay small.
set -e
tracing=/sys/kernel/tracing
trace_cmd="/extra/ld-linux-x86-64.so.2 --library-path /extra /extra/trace-cmd"
for system in $tracing/events/*/; do
    case $system in
    */ftrace/) ;;
    *) mount -t tmpfs none "$system" ;;
    esac
done
grep -E ' [tT] (vfs_|rw_verify|ksys_|do_dentry|do_filp|path_|try_module|security_file|fsnotify_open|shmem_file|file_ra|seq_read|proc_reg_read|uptime_proc|filemap_read|__x64_sys_)' \
    /proc/kallsyms > /tmp/kallsyms
mount --bind /tmp/kallsyms /proc/kallsyms
cat > /tmp/workload <<'END'
#!/bin/sh
cat /proc/uptime /etc/nothing > /dev/null 2>&1
true
END
chmod 755 /tmp/workload

# The kernel's own text first: to take a buffer out empties it.
kernel() {
    echo 0 > $tracing/tracing_on
    cat $tracing/trace > "/tmp/$1.trace"
    snaptrace extract -q -o "/tmp/$1.dat"
    echo nop > $tracing/current_tracer
}
types=/sys/kernel/btf/vmlinux
mount --bind /dev/null $types
snaptrace record -q -p function_graph -g vfs_open --max-graph-depth 2 -O funcgraph-args -F -o /tmp/no-btf.dat /tmp/workload
umount $types
mount --bind /extra/debian-7.btf $types
snaptrace record -q -p function -l vfs_open -F -o /tmp/no-args.dat /tmp/workload
snaptrace start -p function -l vfs_open -l vfs_read -l vfs_statx -O func-args -F /tmp/workload
kernel args-function
snaptrace start -p function_graph -g vfs_open -g vfs_read --max-graph-depth 3 -O funcgraph-args -F /tmp/workload
kernel args-graph
snaptrace reset
$trace_cmd record -q -p function -l vfs_open -l vfs_read -O func-args -F -o /tmp/btf-function.dat /tmp/workload
