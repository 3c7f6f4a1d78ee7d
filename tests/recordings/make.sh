#!/bin/sh
# Makes the recordings of one kernel; see README.md. For a guest: it hides most events and
# symbols from the programs that record, so that the files stay small.
set -e
tracing=/sys/kernel/tracing
trace_cmd="/extra/ld-linux-x86-64.so.2 --library-path /extra /extra/trace-cmd"

for system in $tracing/events/*/; do
    case $system in
    */ftrace/ | */sched/ | */kmem/) ;;
    *) mount -t tmpfs none "$system" ;;
    esac
done
# With the functions that are chosen below, and what calls them.
grep -E ' [tT] (vfs_|__vfs_|ksys_|kmalloc|__kmalloc|kfree|do_|__do_|_do_|__x64_sys_|entry_SYSCALL|security_|path_|prepare_|copy_|load_elf|exec_|bprm_|kernel_|seq_|single_|proc_reg_|rw_verify|__fsnotify|fput|dput|mutex_)' \
    /proc/kallsyms > /tmp/kallsyms
mount --bind /tmp/kallsyms /proc/kallsyms

cat > /tmp/workload <<'END'
#!/bin/sh
cat /proc/uptime /etc/hostname > /dev/null 2>&1 &
echo hi | cat > /dev/null
wait
END
chmod 755 /tmp/workload

record() {
    file=$1
    shift
    "$@" -o "/tmp/$file.dat" /tmp/workload || {
        echo "cannot make $file"
        exit 1
    }
}
record function snaptrace record -q -p function -l 'vfs_*' -F -c
record stack snaptrace record -q -p function -l __kmalloc --func-stack -F -c
record graph snaptrace record -q -p function_graph -g vfs_read --max-graph-depth 3 --compression none
record events snaptrace record -q -e sched -e kmem:kmalloc -C mono
record zlib snaptrace record -q -p function -l 'vfs_*' --compression zlib -F -c
record v6 snaptrace record -q --file-version 6 -p function -l 'vfs_*' -e sched:sched_switch
record instance snaptrace record -q -B other -e sched
record trace-cmd $trace_cmd record -q -p function -l 'vfs_*' -e sched:sched_switch
record trace-cmd-v6 $trace_cmd record -q --file-version 6 -p function_graph -g vfs_read
record trace-cmd-instance $trace_cmd record -q -e sched:sched_switch -B other -e kmem:kmalloc
