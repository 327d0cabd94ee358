#!/usr/bin/env python3
"""A reader of snapshot files written from docs/FORMAT.md, sections 1 and 14, and nothing else.

    python3 decoder.py DIR...

Prints a line for each file of each directory whose name is a snapshot's: what it is, or `damaged`,
or `unsupported`. An empty line ends a directory. It only reads.
"""

import hashlib
import os
import re
import sys
import zlib

NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.snap")


class Damaged(Exception):
    pass


class Unsupported(Exception):
    pass


def demand(truth):
    if not truth:
        raise Damaged


def number(data, at, size):
    return int.from_bytes(data[at:at + size], "little")


def sealed(block, seed):
    """Whether the last four bytes are the checksum of what is before them."""
    return number(block, len(block) - 4, 4) == zlib.crc32(block[:-4], seed)


def header_of(data):
    demand(len(data) >= 128 and data[:8] == b"RFTSNAP\x01")
    length = number(data, 20, 4)
    demand(0 < length <= min(66048, len(data)) and length % 512 == 0)
    header = data[:length]
    demand(sealed(header, 0))
    if number(header, 8, 2) != 1 or number(header, 16, 4) != 0:
        raise Unsupported
    conf_len, chunk_len = number(header, 112, 4), number(header, 24, 4)
    demand(number(header, 116, 4) in (0, 1))
    demand(512 <= chunk_len <= 16777216 and conf_len <= 65536)
    demand(length == -(-(128 + conf_len + 4) // 512) * 512)
    return header


def chunks_of(data, header_len, chunk_len, salt, data_len):
    """The data of the chunks, in order."""
    at, n, left = header_len, 0, data_len
    while left:
        size = min(left, chunk_len)
        block = data[at:at + size + 8]
        demand(number(block, 0, 4) == size and sealed(block, salt ^ n))
        yield block[4:-4]
        at, n, left = at + size + 8, n + 1, left - size


def read(name, data):
    """The line of a file."""
    header = header_of(data)
    index, term = number(header, 32, 8), number(header, 40, 8)
    demand(NAME.fullmatch(name).groups() == (f"{term:016x}", f"{index:016x}"))

    chunk_len, salt = number(header, 24, 4), number(header, 28, 4)
    demand(len(data) >= len(header) + 96)
    footer = data[-96:]
    demand(footer[:8] == b"RFTSEND\x01" and sealed(footer, ~salt & 0xffffffff))
    demand(hashlib.sha256(header + footer[:56]).digest() == footer[56:88])
    chunks, data_len, data_hash = number(footer, 8, 4), number(footer, 16, 8), footer[24:56]
    demand(chunks == -(-data_len // chunk_len) and chunks <= 4294967294)
    demand(len(data) == len(header) + data_len + 8 * chunks + 96)
    if number(header, 116, 4) & 1:
        demand(number(header, 72, 8) == data_len and header[80:112] == data_hash)

    content = b"".join(chunks_of(data, len(header), chunk_len, salt, data_len))
    demand(hashlib.sha256(content).digest() == data_hash)
    conf = header[128:128 + number(header, 112, 4)]
    return (f"sound index {index} term {term} cluster {number(header, 48, 16):x} "
            f"node {number(header, 64, 8)} conf {conf.hex()} chunks {chunks} "
            f"data {data_len} {content.hex()} file {len(data)} {footer[56:88].hex()}")


def main():
    for directory in sys.argv[1:]:
        for name in sorted(os.listdir(directory)):
            if not NAME.fullmatch(name):
                continue
            with open(os.path.join(directory, name), "rb") as file:
                data = file.read()
            try:
                print(name, read(name, data))
            except Damaged:
                print(name, "damaged")
            except Unsupported:
                print(name, "unsupported")
        print()


if __name__ == "__main__":
    main()
