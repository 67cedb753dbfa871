"""Coding bases by rule: reading frames without a stop codon of the standard genetic code, no training.

Shapes: N sequences; L bases of each; K codons of a frame.
"""

import numpy as np
import numpy.typing as npt

from dnalm.formats.binding import Letters, Scores

STOPS = (b"TAA", b"TAG", b"TGA")
START = b"ATG"


def longest_frames(letters: Letters) -> Scores:
    """Return the codons of the longest stop-free frame of strand + that each base is in, [N, L].

    Nothing outside a sequence is seen: a frame goes on until the edge or a stop, whose bases are in the
    frame, but which is not counted. Bases of a codon that an edge cuts have the frame of the codon beside it.

    Args:
        letters: upper-case ASCII, [N, L], L at least 5.
    """
    is_stop, bases = _is_codon(letters, *STOPS), np.arange(letters.shape[1])
    longest = np.zeros(letters.shape, dtype=np.float32)
    for frame in range(3):
        stops = is_stop[:, frame::3]  # [N, K]
        codons = np.arange(stops.shape[1])
        last = np.maximum.accumulate(np.where(stops, codons, -1), axis=1)
        before = np.concatenate([np.full_like(last[:, :1], -1), last[:, :-1]], axis=1)  # the stop before
        after = np.minimum.accumulate(np.where(stops, codons, len(codons))[:, ::-1], axis=1)[:, ::-1]
        of_codon = (bases - frame) // 3  # of each base, [L]
        longest = np.maximum(longest, (after - before - 1)[:, of_codon.clip(0, len(codons) - 1)])
    return longest


def open_reading_frames(letters: Letters, least: int) -> npt.NDArray[np.bool_]:
    """Return which bases of a contig are in an open reading frame of strand +, [L] as `letters`.

    It goes from the first ATG behind a stop, or behind the contig's beginning, to the next stop, which it
    includes, and has at least `least` bases.
    """
    inside = np.zeros(len(letters), dtype=np.bool_)
    is_stop, is_start = (_is_codon(letters[None], *codons)[0] for codons in (STOPS, (START,)))
    for frame in range(3):
        stops, starts = np.flatnonzero(is_stop[frame::3]), np.flatnonzero(is_start[frame::3])
        first = np.searchsorted(starts, [0, *stops][:-1])  # ATG behind the stop before
        has_start = first < len(starts)
        for start, stop in zip(starts[first[has_start]], stops[has_start], strict=True):
            if 3 * (stop + 1 - start) >= least:
                inside[frame + 3 * start : frame + 3 * (stop + 1)] = True
    return inside


def _is_codon(letters: Letters, *codons: bytes) -> npt.NDArray[np.bool_]:
    """Return where one of some codons begins, [N, L - 2]."""
    found = np.zeros((len(letters), letters.shape[1] - 2), dtype=np.bool_)
    for first, second, third in codons:
        found |= (letters[:, :-2] == first) & (letters[:, 1:-1] == second) & (letters[:, 2:] == third)
    return found
