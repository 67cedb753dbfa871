"""The .2bit format of UCSC, read with py2bit in blocks of bounded size."""

import struct
from collections.abc import Iterator

import numpy as np

from dnalm.errors import InputError
from dnalm.formats.fasta import name_of
from dnalm.formats.text import Block, Source

MAGIC = (b"\x43\x27\x41\x1a", b"\x1a\x41\x27\x43")
"""The first bytes, in either byte order (UCSC, twoBit format)."""
LINE = 60
"""Bases in a line of text."""
CHUNK = LINE << 14
"""Bases read at a time."""


def read_twobit(source: Source) -> Iterator[Block]:
    """Yield the sequences of a .2bit file as FASTA blocks, in lines of 60, soft-masked bases in lower case.

    Raises:
        InputError: if py2bit is not installed, the file is damaged or cut short, or a name is not ASCII.
    """
    try:
        import py2bit  # type: ignore[import-not-found]
    except ImportError as error:
        raise InputError(
            f'{source.path}: .2bit needs py2bit, which is not installed; run: pip install "dnalm[tracks]"'
        ) from error
    check_whole(source)
    try:
        file = py2bit.open(str(source.path), True)
        lengths = {str(name): int(length) for name, length in file.chroms().items()}
    except RuntimeError as error:
        raise InputError(
            f"{source.path}: the .2bit file is damaged ({error}); copy or download it again"
        ) from error
    while source.read(1 << 20):  # for the digest
        pass
    try:
        for name, length in lengths.items():
            yield Block(name, b"")
            for start in range(0, length, CHUNK):
                yield Block(None, _lines(file.sequence(name, start, min(length, start + CHUNK))))
    except RuntimeError as error:
        raise InputError(f"{source.path}: the .2bit file is damaged at {name!r} ({error})") from error
    finally:
        file.close()


def check_whole(source: Source) -> None:
    """Follow the file's own index to the end of every record: py2bit would read on past the end of the file.

    Layout (UCSC, twoBit format), in numbers of 32 bits: signature, version, count of records, reserved; for
    each record the size of its name (one byte), its name, its offset (64 bits in version 1). A record: bases,
    stretches of N, their starts and sizes, stretches in lower case, likewise, reserved, four bases a byte.

    Raises:
        InputError: if it leads past the end, or a name is not printable ASCII.
    """
    size = source.path.stat().st_size
    with source.path.open("rb") as file:
        order = "<" if file.read(4) == MAGIC[0] else ">"

        def read(letters: str, at: int | None = None) -> tuple[int, ...]:
            if at is not None:
                file.seek(at)
            data = file.read(struct.calcsize(order + letters))
            if len(data) < struct.calcsize(order + letters):
                raise InputError(_cut_short(source, size))
            return struct.unpack(order + letters, data)

        version, count, _ = read("3I")
        offsets = []
        for _ in range(count):
            name = file.read(read("B")[0])
            offsets.append(read("Q" if version else "I")[0])
            name_of(name, source)
        for offset in offsets:
            bases, unknown = read("2I", offset)
            at = offset + 8 + 8 * unknown
            end = at + 4 + 8 * read("I", at)[0] + 4 + -(-bases // 4)
            if end > size:
                raise InputError(_cut_short(source, size))


def _cut_short(source: Source, size: int) -> str:
    return (
        f"{source.path}: the .2bit file is damaged or was cut short: "
        f"its index leads past its {size:,} bytes; copy or download it again"
    )


def _lines(sequence: str) -> bytes:
    letters = np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)
    whole = len(letters) // LINE * LINE
    lines = np.full((whole // LINE, LINE + 1), ord("\n"), dtype=np.uint8)
    lines[:, :LINE] = letters[:whole].reshape(-1, LINE)
    rest = letters[whole:].tobytes()
    return lines.tobytes() + (rest + b"\n" if rest else b"")
