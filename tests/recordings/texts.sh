#!/bin/sh
# Writes what trace-cmd 3.1.6 prints of each recording; see README.md. On any machine.
set -e
cd "$(dirname "$0")"
for file in *.dat; do
    case $file in
    *zlib.dat) continue ;; # trace-cmd is mostly built without zlib
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
