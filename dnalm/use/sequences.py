"""Sequences that a user gives as strings, checked, and the windows that a model reads of them.

Shapes used below
    L  letters of a sequence         B  windows of a batch
    W  tokens of a window
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.dna import AMBIGUOUS, BASES
from dnalm.errors import InputError

LETTERS = frozenset(BASES + AMBIGUOUS + (BASES + AMBIGUOUS).lower())


def check_sequences(sequences: Sequence[str], longest: int | None = None) -> None:
    """Refuse what is not a list of DNA sequences.

    Args:
        sequences: in IUPAC letters, upper or lower case.
        longest: the most letters of one; None for any number.

    Raises:
        InputError: naming the first sequence that is wrong, by its index from 0.
    """
    if isinstance(sequences, str):
        raise InputError("expected a list of sequences, got one string; give [sequence]")
    for index, sequence in enumerate(sequences):
        if not isinstance(sequence, str):
            raise InputError(f"sequence {index}: expected a string, got {type(sequence).__name__}")
        if not sequence:
            raise InputError(f"sequence {index} is empty; leave it out")
        if wrong := next((letter for letter in sequence if letter not in LETTERS), None):
            raise InputError(
                f"sequence {index} has {wrong!r} at position {sequence.index(wrong) + 1}; expected the "
                "letters of DNA, A C G T, or N and other IUPAC codes"
            )
        if longest is not None and len(sequence) > longest:
            raise InputError(
                f"sequence {index} has {len(sequence):,} bases, and this model reads at most {longest:,}; "
                "cut it into windows"
            )


class Window(NamedTuple):
    """A stretch of one sequence that a model reads at once."""

    sequence: int
    """Index of the sequence."""
    start: int
    """First letter, from 0."""
    end: int
    """Behind the last letter."""
    context: int
    """Letters at its start that only give context: a window before it covers them."""


def tile(readable: npt.NDArray[np.bool_], sequence: int, longest: int, overlap: int) -> Iterator[Window]:
    """Yield the windows that cover each unbroken run of readable letters.

    Args:
        readable: bool, [L]; a letter that is not breaks the sequence: no window holds it.
        sequence: index of the sequence.
        longest: the most letters in a window.
        overlap: letters that a window shares with the one before it, at least 0 and below `longest`.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], readable.view(np.int8), [0]])))
    for first, last in edges.reshape(-1, 2).tolist():
        start, context = first, 0
        while True:
            end = min(start + longest, last)
            yield Window(sequence, start, end, context)
            if end == last:
                break
            start, context = end - overlap, overlap


def batches(
    windows: Sequence[Window], ids: Sequence[npt.NDArray[np.uint8]], size: int
) -> Iterator[tuple[list[Window], Tensor, Tensor]]:
    """Yield windows of like lengths together, their tokens [B, W], and bool [B, W], False at padding.

    Args:
        windows: in any order.
        ids: the tokens of each sequence, [L].
        size: B of a batch; the last one may be smaller.
    """
    order = sorted(windows, key=lambda window: window.end - window.start, reverse=True)
    for first in range(0, len(order), size):
        some = order[first : first + size]
        lengths = np.array([window.end - window.start for window in some])
        tokens = np.zeros((len(some), lengths.max()), dtype=np.uint8)
        for row, window in enumerate(some):
            tokens[row, : lengths[row]] = ids[window.sequence][window.start : window.end]
        real = np.arange(lengths.max()) < lengths[:, None]
        yield some, torch.from_numpy(tokens), torch.from_numpy(real)
