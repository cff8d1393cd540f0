#!/usr/bin/env python3
"""Fills a folder with the same bytes each time: FOLDER MIB. Files of 2 MiB, in turn incompressible, text, and mixed,
with their checksums in SHA256SUMS."""

import hashlib
import pathlib
import random
import sys

FILE = 2 << 20
BLOCK = 64 << 10
WORDS = "server volume disk block extent image job run stage point time source store page pack guest boot".split()


def text(numbers: random.Random, length: int) -> bytes:
    """Log lines, as compressible as logs are."""
    lines, size = [], 0
    while size < length:
        words = " ".join(numbers.choices(WORDS, k=12))
        line = f"2026-11-{numbers.randint(1, 30):02} {numbers.getrandbits(32):08x} {words}\n"
        lines.append(line)
        size += len(line)
    return "".join(lines).encode()[:length]


def content(numbers: random.Random, kind: int, phrase: bytes) -> bytes:
    """One file. Text is cut from one long phrase at random places: making it anew for each file would take minutes."""
    blocks = []
    for block in range(FILE // BLOCK):
        if kind == 0 or (kind == 2 and block % 2):
            blocks.append(numbers.randbytes(BLOCK))
        else:
            start = numbers.randrange(len(phrase) - BLOCK)
            # The number makes each block its own, so that nothing is found twice.
            blocks.append(numbers.randbytes(16).hex().encode() + phrase[start : start + BLOCK - 32])
    return b"".join(blocks)


def main() -> None:
    folder, mib = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    numbers = random.Random(20261123)
    phrase = text(numbers, 4 << 20)
    sums = []
    for n in range(mib * (1 << 20) // FILE):
        data = content(numbers, n % 3, phrase)
        (folder / f"{n:04}").write_bytes(data)
        sums.append(f"{hashlib.sha256(data).hexdigest()}  {n:04}\n")
    (folder / "SHA256SUMS").write_text("".join(sums))


main()
