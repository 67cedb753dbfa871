"""One part of a genome (train, val, or both until they are cut) as it streams to disk.

Shapes used below
    L  characters of a block without its newlines        B  bases of a block
"""

from array import array
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from dnalm.genome.runs import Runs, runs_of
from dnalm.genome.text import STRIDE

SOFT = 4
"""Bit of a code that marks a lower-case base."""
BREAK = 0x80
"""Bit of a code that marks all else; the rest of the code is the character."""


def code_table(soft_masked: bool) -> bytes:
    """Return the code of each byte: base code, plus `SOFT` in lower case; else `BREAK` and the character.

    Args:
        soft_masked: whether lower-case bases are bases.
    """
    table = bytearray(BREAK | min(byte, 0x7F) for byte in range(256))
    for code, base in enumerate(b"ACGT"):
        table[base] = code
        if soft_masked:
            table[base + 32] = SOFT | code
    return bytes(table)


CODES = code_table(True)


class Part:
    """Writes text and bases block by block and notes where runs begin and end.

    Args:
        folder: where runs are kept until they are asked for.
        text: file for the text as it comes, if wanted.
        bases: file for the base codes, if wanted.
        codes: a `code_table`.
    """

    def __init__(
        self, folder: Path, text: BinaryIO | None, bases: BinaryIO | None, codes: bytes = CODES
    ) -> None:
        self._text, self._bases, self._codes = text, bases, codes
        self.text_length = 0
        self.bases = 0
        self.soft_masked = 0
        self.segments = Runs(folder)  # in positions given by the caller
        self.repeats = Runs(folder)  # in base numbers
        self._index = array("q")

    @property
    def index_so_far(self) -> npt.NDArray[np.int64]:
        """Token offsets of base numbers 0, STRIDE, 2 STRIDE, ..."""
        return np.array(self._index, dtype=np.int64)

    def add_header(self, line: bytes) -> None:
        """Append a header line: text without bases."""
        if self._text:
            self._text.write(line)
        self.text_length += len(line)

    def add(self, text: bytes, position: int) -> tuple[int, npt.NDArray[np.uint8]]:
        """Append sequence lines.

        Args:
            text: the lines.
            position: where the first character lies, in the numbering of `segments`; newlines do not count.

        Returns:
            L, and the codes of the characters that are no bases, [L - B].
        """
        codes = np.frombuffer(text.translate(self._codes, b"\n"), dtype=np.uint8)  # [L]
        left_out = codes[:0]
        is_base = None
        bases = codes  # [B]
        if len(codes) and codes.max() >= BREAK:
            is_base = codes < BREAK
            bases, left_out = codes[is_base], codes[~is_base]
            self.segments.add(runs_of(is_base, position))
        elif len(codes):
            self.segments.add(np.array([[position, position + len(codes)]]))
        if len(bases) and bases.max() >= SOFT:
            soft = (bases >> 2).view(np.bool_)  # 4 to 7 become 1
            self.soft_masked += int(np.count_nonzero(soft))
            self.repeats.add(runs_of(soft, self.bases))
        if self._text:
            self._add_index(text, is_base, len(bases))
            self._text.write(text)
        if self._bases:
            self._bases.write((bases & 3).data)
        self.text_length += len(text)
        self.bases += len(bases)
        return len(codes), left_out

    def _add_index(self, text: bytes, is_base: npt.NDArray[np.bool_] | None, count: int) -> None:
        wanted = np.arange(-self.bases % STRIDE, count, STRIDE)  # bases of this block, counted from 0
        if not len(wanted):
            return
        places = wanted if is_base is None else np.flatnonzero(is_base)[wanted]  # newlines not counted
        newlines = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
        before = newlines - np.arange(len(newlines))  # characters before each newline
        places = places + np.searchsorted(before, places, side="right") + self.text_length
        self._index.frombytes(places.astype(np.int64).tobytes())
