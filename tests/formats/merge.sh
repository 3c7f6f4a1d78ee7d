#!/bin/sh
# Puts the formats of several kernels together, each but once; see README.md.
#
# usage: merge.sh KERNEL.formats... > formats.txt
#
# What is left out is the same for all or says nothing: the event's number, and its common fields.
for file; do
    # A line for each format: event, text, kernel.
    awk -v kernel="$(basename "$file" .formats)" '
        function flush() { if (open) print "\2" kernel }
        /^=== / { flush(); open = 1; print_format = 0; printf "%s\1", $2; next }
        /^print fmt:/ { print_format = 1 }
        !print_format && /^(name|ID):|^format:|^\tfield:[^;]* common_|^$/ { next }
        { printf "\3%s", $0 }
        END { flush() }
    ' "$file"
done | LC_ALL=C sort | awk -F'\2' '
    function flush() {
        if (format == "") return
        split(format, part, "\1"); gsub("\3", "\n", part[2])
        print "=== " part[1] ":" kernels part[2]
    }
    $1 != format { flush(); format = $1; kernels = "" }
    { kernels = kernels " " $2 }
    END { flush() }
'
