#!/bin/sh
# Takes the formats of a kernel, with those of the modules that modules.sh packed; for a guest, see
# README.md.
cd /tmp
[ ! -e /extra/modules.tar ] || tar -xf /extra/modules.tar
for name in $(cat modules/order 2> /dev/null); do
    [ -d "/sys/module/$name" ] || insmod "modules/$name.ko" || echo "$name cannot be loaded"
done
cd /sys/kernel/tracing/events
for file in */*/format; do
    echo "=== ${file%/format}"
    cat "$file"
done > /tmp/formats
grep -c '^===' /tmp/formats
