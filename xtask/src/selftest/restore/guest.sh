#!/bin/sh
# The guest's part of `cargo xtask restore`, called once per step:
#   begin STATE             makes the starting state, prints it, and lists the control files
#   cell ACTION OUT WORDS…  runs WORDS, ends it by ACTION, and prints the differences from before;
#                           then ends with 1, so that the next cell gets its own guest
set -u
tracing=/sys/kernel/tracing
sysctls='kptr_restrict ftrace_enabled stack_tracer_enabled tracepoint_printk traceoff_on_warning
    ftrace_dump_on_oops'

control_files() {
    (cd $tracing && find . -type f -perm -0200 | sed 's,^\./,,' | grep -v -E -f /extra/exempt)
}

# The names of running processes with these names.
running() {
    grep -h -o -E "^[0-9]+ \(($1)\) [^ZX]" /proc/[0-9]*/stat 2> /dev/null | sed 's/.*(\(.*\)).*/\1/'
}

# Everything that a tracer must restore, as FILE:LINE.
state() {
    cd $tracing
    ls instances > /tmp/instances.now
    files=/tmp/files
    if ! cmp -s /tmp/instances /tmp/instances.now; then
        files=/tmp/files.now
        control_files > $files
    fi
    xargs grep -H '' < $files 2>&1
    for snapshot in snapshot instances/*/snapshot; do
        # Only an empty snapshot says whether it is freed; one that holds a trace is allocated.
        [ ! -e $snapshot ] || if grep -q '^# \* Snapshot is freed' $snapshot; then
            echo $snapshot:freed
        else
            echo $snapshot:allocated
        fi
    done
    (cd /proc/sys/kernel && grep -H '' $sysctls 2> /dev/null | sed 's/^/kernel./')
    ls -A /out | sed 's/^/left in the output folder:/'
    ls -A /run | sed 's/^/left in run:/'
    running 'snaptrace|trace-cmd|ld-linux[^)]*|lasts' | sed 's/^/left running:/'
}

put() {
    echo "$1" > "$2" || echo "cannot write $1 to $2"
}

add() {
    echo "$1" >> "$2" || echo "cannot add $1 to $2"
}

# The settings of another user who is tracing.
users_own() {
    cd $tracing
    put 64 buffer_size_kb
    put mono trace_clock
    put 1 options/sym-offset
    put 1 options/stacktrace
    put 0 options/overwrite
    put 7 max_graph_depth
    put 256 saved_cmdlines_size
    put 1 /proc/sys/kernel/kptr_restrict
    put vfs_read set_ftrace_filter
    add kfree set_ftrace_filter
    add 'write*:mod:nosuchmodule' set_ftrace_filter
    add kernel_halt:traceoff set_ftrace_filter
    put vfs_write set_ftrace_notrace
    put vfs_open set_graph_function
    put vfs_fsync set_graph_notrace
    put 1 set_ftrace_pid
    put 1 set_event_pid
    put 'pid > 100000' events/sched/sched_wakeup/filter
    put 'bytes_req > 100' events/kmem/kmalloc/filter
    put sched:sched_wakeup set_event
    add irq:softirq_entry set_event
    put 'stacktrace if prev_pid == 99999' events/sched/sched_switch/trigger
    if [ -e kprobe_events ]; then
        put 'p:mine/probe vfs_unlink' kprobe_events
        put 1 events/mine/probe/enable
    fi
    put function current_tracer
    mkdir instances/mine
    cd instances/mine
    put 32 buffer_size_kb
    put global trace_clock
    put 0 options/overwrite
    put 'next_pid > 100000' events/sched/sched_switch/filter
    put sched:sched_waking set_event
    put vfs_write set_ftrace_filter
    put function current_tracer
}

begin() {
    mkdir -p /out /full /run
    mount -t tmpfs -o size=16k none /full
    cat /dev/zero > /full/fill 2> /dev/null
    printf '#!/bin/sh\nexec /extra/ld-linux-x86-64.so.2 --library-path /extra /extra/trace-cmd "$@"\n' \
        > /tmp/trace-cmd
    printf '#!/bin/sh\ncat /proc/uptime /proc/self/maps\n' > /tmp/works
    printf '#!/bin/sh\nexit 3\n' > /tmp/fails
    printf '#!/bin/sh\n: > /tmp/running\nuntil [ -e /tmp/stop ]; do sleep 1; done\n' > /tmp/lasts
    chmod 755 /tmp/trace-cmd /tmp/works /tmp/fails /tmp/lasts
    # The first use of a buffer expands it, and the kernel cannot undo that.
    put "$(sed 's/.*expanded: \([0-9]*\)).*/\1/' $tracing/buffer_size_kb)" $tracing/buffer_size_kb
    [ "$1" = pristine ] || users_own
    ls $tracing/instances > /tmp/instances
    control_files > /tmp/files
    state > /tmp/before
    cat /tmp/before
}

# Waits until a file matches one of some patterns; false after two minutes.
pause=10000
there() {
    tries=0
    while [ $tries -lt $((120000000 / pause)) ]; do
        for pattern; do
            for file in $pattern; do
                [ ! -e "$file" ] || return 0
            done
        done
        usleep $pause
        tries=$((tries + 1))
    done
    return 1
}

# Ends the command by an action, or after two minutes; then it counts as hung.
end() {
    action=$1
    shift
    there /tmp/pid
    pid=$(cat /tmp/pid)
    case $action in
    run) ;;
    INT)
        there /tmp/running /tmp/ended
        kill -INT -$pid
        ;;
    *-0)
        pause=1000
        there '/run/snaptrace-*.journal' '/out/*.cpu0' /tmp/ended
        kill -${action%-0} $pid
        ;;
    twice)
        there /tmp/running /tmp/ended
        "$@" > /tmp/second 2>&1 < /dev/null &
        second=$!
        usleep 10000000
        if kill -0 $second 2> /dev/null; then
            echo 'second runs'
        else
            wait $second
            echo "second $?"
        fi
        kill -TERM $pid
        ;;
    *)
        there /tmp/running /tmp/ended
        kill -$action $pid
        ;;
    esac
    there /tmp/ended || {
        echo hung
        kill -KILL $pid
    }
}

cell() {
    action=$1 out=$2
    shift 2
    rm -f /tmp/running /tmp/stop /tmp/pid /tmp/ended
    # Run the code that ends it in the background, not the command: the shell makes background
    # commands ignore SIGINT and SIGQUIT. The command gets its own process group, as on a terminal.
    end "$action" "$@" &
    # A command to be ended early has low priority, else it could finish before its first file is seen.
    case $action in
    *-0) nice=19 ;;
    *) nice=0 ;;
    esac
    setsid sh -c 'renice $1 -p $$; shift; echo $$ > /tmp/pid.new; mv /tmp/pid.new /tmp/pid; exec "$@"' \
        sh $nice "$@" > "$out" 2> /tmp/said < /dev/null
    code=$?
    : > /tmp/ended
    wait
    echo "code $code"
    : > /tmp/stop
    tries=0
    while [ -n "$(running lasts)" ] && [ $tries -lt 100 ]; do
        usleep 100000
        tries=$((tries + 1))
    done
    case $action in
    KILL | KILL-0) "$1" stat > /dev/null 2>> /tmp/said ;;
    esac
    [ ! -e /out/a.dat ] || wc -c < /out/a.dat | sed 's/^/file /'
    rm -f /out/a.dat
    head -n 4 /tmp/said | sed 's/^/said /'
    state > /tmp/now
    if cmp -s /tmp/before /tmp/now; then
        echo same
        exit 0
    fi
    echo state
    cat /tmp/now
    exit 1
}

"$@"
