#!/bin/sh
# Runs each fuzz target for some minutes, one after the other: run.sh [MINUTES] [TARGET]…
# Needs `cargo install cargo-fuzz` and a nightly toolchain. Ends with 1 when there was a finding,
# which is then under artifacts/; fixed, it is kept as seeds/TARGET/found-WHAT.
set -eu
cd "$(dirname "$0")"
minutes=${1:-10}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- recording event_format event_filter sub_buffer kallsyms protocol apt_index kernel_image
found=0
for target; do
    # The others are built without the harness.
    case $target in
        protocol | apt_index | kernel_image) features=harness ;;
        *) features= ;;
    esac
    mkdir -p "corpus/$target"
    echo "== $target, $minutes min"
    # What is read is safe Rust, or C that is not instrumented: no sanitizer finds more, and all
    # would cost half of the executions. Arithmetic is checked for overflow.
    nice -n 19 cargo +nightly fuzz run --fuzz-dir . --sanitizer none --features "$features" "$target" \
        "corpus/$target" "seeds/$target" -- -max_total_time=$((minutes * 60)) -timeout=300 \
        -rss_limit_mb=2048 -print_final_stats=1 || found=1
done
exit $found
