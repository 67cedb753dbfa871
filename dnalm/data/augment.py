"""More windows out of those there are: copies shifted by a few bases, and reverse complements.

Shapes used below
    N  windows                       L  bases in a window
    M  copies, at most N
"""

import numpy as np
import numpy.typing as npt

from dnalm.dna import COMPLEMENT
from dnalm.errors import InputError

Letters = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

N = ord("N")


def shifted_copies(
    letters: Letters, scores: Scores, *, max_shift: int, seed: int
) -> tuple[Letters, Scores, Indices]:
    """Return each window once more, its bases moved left or right by 1 to `max_shift` places.

    The freed end holds N with a score of 0. Bases whose score is not 0 never leave the window, so that no
    site is cut off; a window with no room on either side gets no copy. The shifts that are possible are
    equally likely. How a window moves depends on `seed` and on its own letters and scores, not on the others.

    Args:
        letters: [N, L], upper-case ASCII.
        scores: [N, L].
        max_shift: bases, at least 1 and fewer than L.
        seed: another seed, other shifts.

    Returns:
        The copies' letters [M, L] and scores [M, L], and which window each was made of, [M], rising.

    Raises:
        InputError: if `max_shift` is out of range.
    """
    assert letters.shape == scores.shape
    length = letters.shape[1]
    if not 1 <= max_shift < length:
        raise InputError(
            f"max_shift must be at least 1 and less than the windows' {length} bases, got {max_shift}"
        )
    scored = scores != 0  # [N, L]
    some = scored.any(axis=1)
    left = np.where(some, scored.argmax(axis=1), length).clip(max=max_shift)  # bases that may leave there
    right = np.where(some, scored[:, ::-1].argmax(axis=1), length).clip(max=max_shift)
    kept = np.flatnonzero(left + right > 0)
    left, right = left[kept], right[kept]
    draw = _draws(letters[kept], scores[kept], seed) % (left + right).astype(np.uint64)
    shift = draw.astype(np.int64) - left  # [M], to the right: from -left to -1, and from 0 on ...
    shift += shift >= 0  # ... one more, since 0 is no shift
    source = np.arange(length) - shift[:, None]  # [M, L]
    inside = (source >= 0) & (source < length)
    source = source.clip(0, length - 1)
    rows = kept[:, None]
    moved = np.where(inside, letters[rows, source], np.uint8(N))
    return moved, np.where(inside, scores[rows, source], scores.dtype.type(0)), kept


def reverse_complements(letters: Letters, scores: Scores) -> tuple[Letters, Scores]:
    """Return the other strand of each window, read along it, with the scores of the same bases.

    Args:
        letters: [N, L], upper-case IUPAC letters in ASCII: R becomes Y, N stays N.
        scores: [N, L].

    Returns:
        The same shapes.
    """
    assert letters.shape == scores.shape
    return np.ascontiguousarray(COMPLEMENT[letters][:, ::-1]), np.ascontiguousarray(scores[:, ::-1])


def _draws(letters: Letters, scores: Scores, seed: int) -> npt.NDArray[np.uint64]:
    """Return a random number for each window, [N], made of its content and the seed alone."""
    keys = np.random.Generator(np.random.PCG64(seed)).integers(
        0, 1 << 64, size=2 * letters.shape[1] + 1, dtype=np.uint64
    )
    bits = scores.astype(np.float32).view(np.uint32)
    content = np.concatenate([letters.astype(np.uint64), bits.astype(np.uint64)], axis=1)  # [N, 2 L]
    x = (content * (keys[:-1] | np.uint64(1))).sum(axis=1) + keys[-1]
    x = (x ^ x >> np.uint64(32)) * np.uint64(0xD6E8FEB86659FD93)  # odd: spreads low bits over the high ones
    mixed: npt.NDArray[np.uint64] = x ^ x >> np.uint64(32)
    return mixed
