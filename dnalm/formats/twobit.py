"""The .2bit format of UCSC, read with py2bit in blocks of bounded size."""

from collections.abc import Iterator

import numpy as np

from dnalm.formats.source import Block, Source

MAGIC = (b"\x43\x27\x41\x1a", b"\x1a\x41\x27\x43")
"""The first bytes, in either byte order (UCSC, twoBit format)."""
LINE = 60
"""Bases in a line of text."""
CHUNK = LINE << 14
"""Bases read at a time."""


def read_twobit(source: Source) -> Iterator[Block]:
    """Yield the sequences of a .2bit file as FASTA blocks, in lines of 60, soft-masked bases in lower case.

    Raises:
        ValueError: if py2bit is not installed, or the file is damaged.
    """
    try:
        import py2bit  # type: ignore[import-not-found]
    except ImportError as error:
        raise ValueError(
            f'{source.path}: .2bit needs py2bit, which is not installed; run: pip install "dnalm[tracks]"'
        ) from error
    try:
        file = py2bit.open(str(source.path), True)
        lengths = {str(name): int(length) for name, length in file.chroms().items()}
    except RuntimeError as error:
        raise ValueError(
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
        raise ValueError(f"{source.path}: the .2bit file is damaged at {name!r} ({error})") from error
    finally:
        file.close()


def _lines(sequence: str) -> bytes:
    letters = np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)
    whole = len(letters) // LINE * LINE
    lines = np.full((whole // LINE, LINE + 1), ord("\n"), dtype=np.uint8)
    lines[:, :LINE] = letters[:whole].reshape(-1, LINE)
    rest = letters[whole:].tobytes()
    return lines.tobytes() + (rest + b"\n" if rest else b"")
