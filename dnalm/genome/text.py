"""Finding a base in the text of a FASTA: base numbers on one side, token offsets on the other.

Bases are counted from 0 over one part (train or val); a token is a character, so its offset is a byte's.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from dnalm.dna import BASE_CODES, NOT_A_BASE

STRIDE = 65_536
"""Bases between two entries of the index."""
PIECE = 1 << 16
"""Characters looked at in one step: more than any header."""

_IS_BASE = (BASE_CODES != NOT_A_BASE).tobytes()
Read = Callable[[int, int], npt.NDArray[np.uint8]]
"""Returns the characters of [start, end) of a text as bytes; fewer at its end."""


def base_mask(text: npt.NDArray[np.uint8], headers: bool) -> npt.NDArray[np.bool_]:
    """Tell the bases, either case, from all else.

    Args:
        text: characters, [L]; does not begin inside a header line.
        headers: whether header lines are told from sequence, so that no letter of theirs is a base.

    Returns:
        bool, [L].
    """
    mask = np.frombuffer(bytearray(text.tobytes().translate(_IS_BASE)), dtype=np.bool_)
    starts = np.flatnonzero(text == ord(">")) if headers else ()
    if len(starts):
        ends = np.append(np.flatnonzero(text == ord("\n")), len(text))
        for start, end in zip(starts, ends[np.searchsorted(ends, starts)], strict=True):
            mask[start:end] = False
    return mask


def masks(read: Read, start: int, headers: bool) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """Yield (offset, `base_mask` from there on) over a text from `start`, not inside a header, to its end."""
    while len(text := read(start, start + PIECE)):
        if headers and len(text) == PIECE:  # do not end inside a header line
            last = PIECE - 1 - int((text[::-1] == ord(">")).argmax())
            if text[last] == ord(">") and last > 0 and not (text[last:] == ord("\n")).any():
                text = text[:last]
        yield start, base_mask(text, headers)
        start += len(text)


def offset_of_base(read: Read, index: npt.NDArray[np.int64], base: int, headers: bool) -> int:
    """Return the token offset of base number `base`.

    Args:
        read: the text of the part.
        index: token offsets of base numbers 0, STRIDE, 2 STRIDE, ..., [M].
        base: a base number that the part has.
        headers: as for `base_mask`.
    """
    left = base % STRIDE
    for start, mask in masks(read, int(index[base // STRIDE]), headers):
        count = int(np.count_nonzero(mask))
        if left < count:
            return start + int(np.flatnonzero(mask)[left])
        left -= count
    raise AssertionError(f"base {base} is past the end of the text")


def base_at_offset(read: Read, index: npt.NDArray[np.int64], token: int, headers: bool) -> int:
    """Return how many bases come before the token at offset `token`; arguments as for `offset_of_base`."""
    row = int(np.searchsorted(index, token, side="right")) - 1
    if row < 0:
        return 0
    count = row * STRIDE
    for start, mask in masks(read, int(index[row]), headers):
        count += int(np.count_nonzero(mask[: max(0, token - start)]))
        if start + len(mask) >= token:
            break
    return count
