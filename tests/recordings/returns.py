#!/usr/bin/env python3
"""Makes up returns.dat: a graph with return values and addresses, which kernels here are built without.

The layout of the events is that of Linux 6.16; see README.md.
"""
import struct
import sys

COMMON = [("unsigned short common_type", 2, 0), ("unsigned char common_flags", 1, 0)]
COMMON += [("unsigned char common_preempt_count", 1, 0), ("int common_pid", 4, 1)]


def form(name, number, fields, text):
    lines, offset = [f"name: {name}\nID: {number}\nformat:\n"], 0
    for index, (field, size, signed) in enumerate(COMMON + fields):
        if index == len(COMMON):
            lines.append("\n")
        lines.append(f"\tfield:{field};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n")
        offset += size
    return "".join(lines) + f"\nprint fmt: {text}\n"


LONG = "unsigned long "
formats = [
    form("funcgraph_entry", 11, [(LONG + "func", 8, 0), (LONG + "depth", 8, 0), (LONG + "args[]", 0, 0)],
         '"--> %ps (%lu)", (void *)REC->func, REC->depth'),
    form("fgraph_retaddr_entry", 19,
         [(LONG + "func", 8, 0), (LONG + "depth", 8, 0), (LONG + "retaddr", 8, 0), (LONG + "args[]", 0, 0)],
         '"--> %ps (%lu) <- %ps", (void *)REC->func, REC->depth, (void *)REC->retaddr'),
    form("funcgraph_exit", 10,
         [(LONG + "func", 8, 0), (LONG + "retval", 8, 0), ("unsigned int depth", 4, 0),
          ("unsigned int overrun", 4, 0), ("unsigned long long calltime", 8, 0),
          ("unsigned long long rettime", 8, 0)],
         '"<-- %ps (%u) (start: %llx  end: %llx) over: %u retval: %lx", (void *)REC->func, REC->depth, '
         'REC->calltime, REC->rettime, REC->depth, REC->retval'),
]
SYMBOLS = "1000 T vfs_open\n1100 T do_dentry_open\n1200 T path_get\n1300 T path_openat\n1400 T last\n"


def sized(size, text):
    return len(text).to_bytes(size, "little") + text.encode()


file = b"\x17\x08\x44tracing6\0" + bytes([0, 8]) + struct.pack("<I", 4096)
page = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
page += "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
page += "\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
page += "\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n"
file += b"header_page\0" + sized(8, page) + b"header_event\0" + sized(8, "# compressed entry header\n")
file += struct.pack("<I", len(formats)) + b"".join(sized(8, text) for text in formats)
file += struct.pack("<I", 0) + sized(4, SYMBOLS) + struct.pack("<I", 0) + sized(8, "7 cat\n")
file += struct.pack("<I", 1) + b"options  \0" + struct.pack("<H", 0)
file += b"flyrecord\0" + struct.pack("<QQ", 4096, 4096)
assert len(file) <= 4096
file = file.ljust(4096, b"\0")

events = b""


def event(number, *words):
    global events
    body = struct.pack("<HBBi", number, 0, 0, 7) + b"".join(words)
    events += struct.pack("<I", len(body) // 4 | 1000 << 5) + body


def entry(func, depth, *args):
    event(11, struct.pack(f"<{2 + len(args)}Q", func, depth, *args))


def returning(func, depth, to, *args):
    event(19, struct.pack(f"<{3 + len(args)}Q", func, depth, to, *args))


def end(func, depth, value, duration=1500):
    value &= (1 << 64) - 1
    event(10, struct.pack("<QQIIQQ", func, value, depth, 0, 5000, 5000 + duration))


registers = (0xFFFF888000001000, 0x1234, 0, 1, 2, 3)
returning(0x1000, 0, 0x1310, *registers)
returning(0x1100, 1, 0x1020)
end(0x1100, 1, 0)
returning(0x1200, 1, 0x1030, *registers)
end(0x1200, 1, -2)
returning(0x1200, 1, 0x30)
end(0x1200, 1, 0xFFFFFFFE)  # An int in the lower half of a register.
entry(0x1200, 1)
end(0x1200, 1, 0xFFFF888000002000, 12_345)
end(0x1000, 0, -13, 234_567)
# What has no symbol.
entry(0x10, 0, *registers)
returning(0x20, 1, 0x1310, *registers)
returning(0x20, 2, 0x30)
end(0x20, 2, 5)
end(0x20, 1, -4096)
end(0x10, 0, -4095)
file += struct.pack("<QQ", 2_000_000_000, len(events)) + events.ljust(4080, b"\0")
open(sys.argv[1], "wb").write(file)
