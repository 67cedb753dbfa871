"""The .2bit format of UCSC, of both versions and byte orders, read in blocks of bounded size.

Layout (UCSC, twoBit format), in numbers of 32 bits: signature, version, count of records, reserved; for each
record the size of its name (one byte), its name, its offset (64 bits in version 1). A record: bases, runs of
N, their starts and sizes, runs in lower case, likewise, reserved, four bases a byte.

Shapes used below
    R  runs of N or of lower case
"""

import itertools
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.errors import InputError
from dnalm.formats.fasta import Block, Source, check_name
from dnalm.formats.text import AGAIN

MAGIC = {b"\x43\x27\x41\x1a": "<", b"\x1a\x41\x27\x43": ">"}
"""The first bytes, and the byte order."""
LINE = 60  # bases in a line of text
CHUNK = LINE << 14  # bases read at a time
LETTERS = np.array(list(itertools.product(b"TCAG", repeat=4)), dtype=np.uint8)
"""The bases of each byte, [256, 4]."""
UNKNOWN, MASKED = ord("N"), 0x20  # what runs make of a base: N, and lower case by a bit

Bytes = npt.NDArray[np.uint8]
Read = Callable[[str], tuple[int, ...]]
"""Returns the next numbers of a file; they are given as letters of `struct`."""


class Record(NamedTuple):
    """Where a sequence is in a file."""

    name: str
    bases: int
    runs: dict[int, npt.NDArray[np.int64]]  # UNKNOWN and MASKED: half-open, [R, 2]
    offset: int  # of its first base, in bytes


def read_twobit(source: Source) -> Iterator[Block]:
    """Yield the sequences of a .2bit file as FASTA blocks, in lines of 60, soft-masked bases in lower case.

    Raises:
        InputError: if the file is damaged or cut short, or a name is not ASCII.
    """
    try:
        for _ in _records(source):  # the first block comes only if the file is complete
            pass
        buffer = bytearray(1 << 20)
        while source.readinto(buffer):  # for the digest
            pass
        packed = np.memmap(source.path, dtype=np.uint8, mode="r")
        for record in _records(source):
            yield Block(record.name, b"")
            for start in range(0, record.bases, CHUNK):
                yield Block(None, _lines(packed, record, start))
    except struct.error as error:
        raise InputError(
            f"{source.path}: the .2bit file is damaged or was cut short ({error}); {AGAIN}"
        ) from error


def read_index(file: BinaryIO) -> tuple[Read, int, Iterator[tuple[bytes, int]]]:
    """Return a function that reads numbers, the number of records, and their names and offsets.

    Raises:
        struct.error: if the file is cut short or of another version.
    """
    order = MAGIC[file.read(4)]

    def read(letters: str) -> tuple[int, ...]:
        return struct.unpack(order + letters, file.read(struct.calcsize(order + letters)))

    version, count, _ = read("3I")
    if version > 1:
        raise struct.error(f"version {version:,}, expected 0 or 1")
    offset = "Q" if version else "I"
    return read, count, ((file.read(read("B")[0]), read(offset)[0]) for _ in range(count))


def _records(source: Source) -> Iterator[Record]:
    """Yield the records of a file, each checked to end inside it."""
    size = source.path.stat().st_size
    with source.path.open("rb") as file:
        read, _, index = read_index(file)
        for name, offset in list(index):
            file.seek(min(offset, size))
            (bases,) = read("I")
            runs = {}
            for what in (UNKNOWN, MASKED):
                (count,) = read("I")
                if 8 * count > size:
                    raise struct.error(f"{count:,} runs in a record")
                starts, sizes = np.array(read(f"{2 * count}I"), dtype=np.int64).reshape(2, count)
                runs[what] = np.stack([starts, starts + sizes], axis=1)
            record = Record(check_name(name, source), bases, runs, file.tell() + 4)
            if (end := record.offset + -(-bases // 4)) > size:
                raise struct.error(f"its index leads past its end, to byte {end:,}")
            yield record


def _lines(packed: Bytes, record: Record, start: int) -> bytes:
    """Return at most `CHUNK` bases of a record from `start` on, a multiple of 4, in lines of text."""
    end = min(record.bases, start + CHUNK)
    text = LETTERS[packed[record.offset + start // 4 : record.offset - (-end // 4)]].ravel()[: end - start]
    for what, runs in record.runs.items():
        inside = runs[(runs[:, 0] < end) & (runs[:, 1] > start)] - start
        for first, last in inside.clip(min=0).tolist():
            text[first:last] = what if what == UNKNOWN else text[first:last] | what
    full = len(text) // LINE
    lines = np.full((full, LINE + 1), ord("\n"), dtype=np.uint8)
    lines[:, :LINE] = text[: full * LINE].reshape(full, LINE)
    rest = text[full * LINE :].tobytes()
    return lines.tobytes() + (rest + b"\n" if rest else b"")
