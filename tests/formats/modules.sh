#!/bin/sh
# Packs the modules of a kernel that define events, with those they depend on, for take.sh; see
# README.md.
#
# usage: modules.sh FOLDER TAR    FOLDER holds the modules of one kernel, as in its package
set -e
from=$1
into=$(mktemp -d)
trap 'rm -rf "$into"' EXIT
mkdir "$into/all" "$into/modules"

find "$from" -name '*.ko' -o -name '*.ko.xz' -o -name '*.ko.zst' | while read -r file; do
    name=$(basename "${file%.ko*}.ko" | tr - _)
    case $file in
    *.xz) xz -dc "$file" > "$into/all/$name" ;;
    *.zst) zstd -dqc "$file" > "$into/all/$name" ;;
    *) cp "$file" "$into/all/$name" ;;
    esac
done

# Those it depends on, then itself; each once.
take() {
    [ ! -e "$into/modules/$1.ko" ] || return 0
    for needed in $(tr '\0' '\n' < "$into/all/$1.ko" | sed -n 's/^depends=//p' | tr ',-' ' _'); do
        (take "$needed")
    done
    # A module that knows no init of its own is loaded with its events and asks for no hardware.
    objcopy --remove-relocations=.gnu.linkonce.this_module "$into/all/$1.ko" "$into/modules/$1.ko"
    echo "$1" >> "$into/modules/order"
}
touch "$into/modules/order"
for file in $(grep -l _ftrace_events "$into"/all/*.ko); do
    take "$(basename "$file" .ko)"
done
tar -C "$into" -cf "$2" modules
echo "$(wc -l < "$into/modules/order") modules, $(wc -c < "$2") bytes"
