#!/usr/bin/env python3
"""Cuts a kernel's BTF down to the functions named, with the types of their parameters.

btf.py FROM TO FUNCTION...; what structures consist of is left out. See README.md.
"""
import struct
import sys

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = range(1, 9)
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC = range(9, 16)
FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(16, 20)
REFERS = {PTR, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, TYPE_TAG}

data = open(sys.argv[1], "rb").read()
_, _, _, header, type_off, type_len, str_off, _ = struct.unpack_from("<HBBIIIII", data)
strings = data[header + str_off :]


def text(offset):
    return strings[offset : strings.index(b"\0", offset)]


types = [None]
at = header + type_off
while at < header + type_off + type_len:
    name, info, size = struct.unpack_from("<III", data, at)
    kind, count = info >> 24 & 31, info & 0xFFFF
    rest = {INT: 4, VAR: 4, DECL_TAG: 4, ARRAY: 12, ENUM: 8 * count, FUNC_PROTO: 8 * count}
    rest.update({of: 12 * count for of in (STRUCT, UNION, ENUM64, DATASEC)})
    end = at + 12 + rest.get(kind, 0)
    types.append((text(name), info, kind, size, data[at + 12 : end]))
    at = end

wanted = {name.encode() for name in sys.argv[3:]}
numbers, kept, names = {0: 0}, [], {b"": 0}
pool = bytearray(b"\0")


def offset(name):
    if name not in names:
        names[name] = len(pool)
        pool.extend(name + b"\0")
    return names[name]


def keep(number):
    if number in numbers:
        return numbers[number]
    kept.append(None)
    numbers[number] = len(kept)
    place = len(kept) - 1
    name, info, kind, size, rest = types[number]
    if kind in REFERS:
        size = keep(size)
    elif kind == FUNC_PROTO:
        pairs = struct.iter_unpack("<II", rest)
        rest = b"".join(struct.pack("<II", offset(text(of)), keep(one)) for of, one in pairs)
        size = keep(size)
    elif kind in (STRUCT, UNION, ENUM, ENUM64):
        info, rest = info & 0xFF000000, b""
    elif kind == ARRAY:
        one, index, count = struct.unpack("<III", rest)
        rest = struct.pack("<III", keep(one), keep(index), count)
    kept[place] = struct.pack("<III", offset(name), info, size) + rest
    return numbers[number]


for number, found in enumerate(types):
    if found and found[2] == FUNC and found[0] in wanted:
        wanted.discard(found[0])
        keep(number)
body = b"".join(kept)
head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(pool))
open(sys.argv[2], "wb").write(head + body + pool)
