"""Sequences that a user gives as strings, checked, and the windows that a model reads of them.

Shapes: L letters of a sequence; B windows of a batch; W tokens of a window.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.dna import AMBIGUOUS, BASES
from dnalm.errors import InputError, counted

LETTERS = frozenset(BASES + AMBIGUOUS + (BASES + AMBIGUOUS).lower())


def computing(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return a context in which a model computes in `precision`: fp32, bf16 or fp16."""
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return torch.autocast(device.type, dtype=kinds[precision], enabled=precision != "fp32")


def check_sequences(sequences: Sequence[str], longest: int | None = None) -> None:
    """Refuse what is not a list of DNA sequences in IUPAC letters, of either case, at most `longest` long.

    Raises:
        InputError: naming the first sequence that is wrong, by its index from 0.
    """
    if isinstance(sequences, str):
        raise InputError("expected a list of sequences, got one string; give [sequence]")
    for index, sequence in enumerate(sequences):
        if not isinstance(sequence, str) or not sequence:
            raise InputError(f"sequence {index}: expected letters of DNA, got {sequence!r}; leave it out")
        if wrong := next((letter for letter in sequence if letter not in LETTERS), None):
            found = f"{wrong!r} at position {sequence.index(wrong) + 1}"
            raise InputError(f"sequence {index}: expected A C G T, N or other IUPAC codes, got {found}")
        if longest is not None and len(sequence) > longest:
            limit = f"this model reads at most {longest:,}; cut it into windows"
            raise InputError(f"sequence {index} has {counted(len(sequence), 'base')}, and {limit}")


class Window(NamedTuple):
    """A stretch of one sequence that a model reads at once; positions count from 0, half-open."""

    sequence: int  # Index of the sequence
    start: int
    end: int
    context: int  # Letters at its start that only give context: a window before it covers them
    shared: int = 0  # Letters at its end that the window after it covers too

    def answers(self, two_sided: bool) -> tuple[int, int]:
        """Return for which letters of the sequence its answers count, so that each has them once.

        Of a model of both sides each of two windows has half of the letters that both cover.
        """
        if not two_sided:
            return self.start + self.context, self.end
        return self.start + self.context // 2, self.end - (self.shared - self.shared // 2)


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
        for start in range(first, max(last - overlap, first + 1), longest - overlap):
            end = min(start + longest, last)
            yield Window(sequence, start, end, overlap if start > first else 0, overlap if end < last else 0)


def batches(
    windows: Sequence[Window], ids: Sequence[npt.NDArray[np.uint8]], size: int
) -> Iterator[tuple[list[Window], Tensor, Tensor]]:
    """Yield windows of like lengths together, their tokens [B, W], and bool [B, W], False at padding.

    `ids` are the tokens of each sequence, [L]; `size` is B of a batch, the last one may be smaller.
    """
    order = sorted(windows, key=lambda window: window.end - window.start, reverse=True)
    for first in range(0, len(order), size):
        some = order[first : first + size]
        lengths = np.array([window.end - window.start for window in some])
        real = np.arange(lengths.max()) < lengths[:, None]
        tokens = np.zeros(real.shape, dtype=np.uint8)
        tokens[real] = np.concatenate([ids[window.sequence][window.start : window.end] for window in some])
        yield some, torch.from_numpy(tokens), torch.from_numpy(real)
