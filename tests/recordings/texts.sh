#!/bin/sh
# Writes what trace-cmd 3.1.6 prints of each recording; see README.md. On any machine. With
# TRACE_CMD_3_4=PROGRAM it writes what that, the real 3.4, prints.
set -e
cd "$(dirname "$0")"
if [ -n "$TRACE_CMD_3_4" ]; then
    for file in *.dat; do
        "$TRACE_CMD_3_4" report "$file" > "${file%.dat}.3.4.txt"
    done
    for base in debian-6.1-events debian-7-args-function debian-7-args-graph \
        debian-7-btf-function debian-7-no-args returns; do
        "$TRACE_CMD_3_4" report -l "$base.dat" > "$base.3.4.latency.txt"
        "$TRACE_CMD_3_4" report -R "$base.dat" > "$base.3.4.raw.txt"
        "$TRACE_CMD_3_4" report -N "$base.dat" > "$base.3.4.kernel.txt"
        "$TRACE_CMD_3_4" report -O parent -O offset "$base.dat" > "$base.3.4.parent.txt"
    done
    exit
fi
for file in *.dat; do
    case $file in
    *zlib.dat) continue ;; # trace-cmd is mostly built without zlib
    debian-7-* | returns.dat) continue ;; # 3.1.6 knows nothing of what these are for
    esac
    trace-cmd report "$file" > "${file%.dat}.txt"
done
for base in 5.4-stack debian-6.1-events; do
    trace-cmd report -t "$base.dat" > "$base.ns.txt"
    trace-cmd report -l "$base.dat" > "$base.latency.txt"
    # Of stacks with few frames it prints bytes that lie behind the record.
    [ $base = 5.4-stack ] || trace-cmd report -R "$base.dat" > "$base.raw.txt"
    trace-cmd report -N "$base.dat" > "$base.kernel.txt"
    trace-cmd report -O parent "$base.dat" > "$base.parent.txt"
done
for base in bprint_old bprint_new; do
    trace-cmd report -R "$base.dat" > "$base.raw.txt"
done
for base in 5.4-events debian-6.1-events; do
    trace-cmd report -w "$base.dat" > "$base.wakeups.txt"
    trace-cmd report -F 'sched_switch: prev_comm =~ "s" && next_pid & 1 || COMM != "sh"' "$base.dat" \
        > "$base.filter.txt"
done
