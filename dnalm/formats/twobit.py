"""The .2bit format of UCSC, read with py2bit in blocks of bounded size."""

import struct
from collections.abc import Iterator

from dnalm.errors import InputError, import_extra
from dnalm.formats.fasta import Block, Source, check_name
from dnalm.formats.text import AGAIN

MAGIC = {b"\x43\x27\x41\x1a": "<", b"\x1a\x41\x27\x43": ">"}
"""The first bytes, and the byte order (UCSC, twoBit format)."""
LINE = 60  # bases in a line of text
CHUNK = LINE << 14  # bases read at a time


def read_twobit(source: Source) -> Iterator[Block]:
    """Yield the sequences of a .2bit file as FASTA blocks, in lines of 60, soft-masked bases in lower case.

    Raises:
        InputError: if py2bit is not installed, the file is damaged or cut short, or a name is not ASCII.
    """
    py2bit = import_extra("py2bit", "tracks", f"{source.path}: .2bit")
    try:
        check_complete(source)
        file = py2bit.open(str(source.path), True)
        while source.read(1 << 20):  # for the digest
            pass
        try:
            for name, length in file.chroms().items():
                yield Block(name, b"")
                for start in range(0, length, CHUNK):
                    yield Block(None, _lines(file.sequence(name, start, min(length, start + CHUNK))))
        finally:
            file.close()
    except (RuntimeError, struct.error) as error:
        raise InputError(
            f"{source.path}: the .2bit file is damaged or was cut short ({error}); {AGAIN}"
        ) from error


def check_complete(source: Source) -> None:
    """Follow the file's own index to the end of every record: py2bit would read on past the end of the file.

    Layout (UCSC, twoBit format), in numbers of 32 bits: signature, version, count of records, reserved; for
    each record the size of its name (one byte), its name, its offset (64 bits in version 1). A record: bases,
    stretches of N, their starts and sizes, stretches in lower case, likewise, reserved, four bases a byte.
    """
    with source.path.open("rb") as file:
        order = MAGIC[file.read(4)]

        def read(letters: str) -> tuple[int, ...]:
            return struct.unpack(order + letters, file.read(struct.calcsize(order + letters)))

        version, count, _ = read("3I")
        offsets: list[int] = []
        for _ in range(count):
            name = file.read(read("B")[0])
            offsets += read("Q" if version else "I")
            check_name(name, source)
        for offset in offsets:
            file.seek(offset)
            bases, unknown = read("2I")
            file.seek(8 * unknown, 1)
            (masked,) = read("I")
            end = file.tell() + 8 * masked + 4 + -(-bases // 4)
            if end > source.path.stat().st_size:
                raise struct.error(f"its index leads past its end, to byte {end:,}")


def _lines(sequence: str) -> bytes:
    lines = [sequence[start : start + LINE] for start in range(0, len(sequence), LINE)]
    return "".join(f"{line}\n" for line in lines).encode("ascii")
