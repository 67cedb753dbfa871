"""Windows of a prepared genome for next-token training, and the fixed pieces for evaluation.

Shapes: B windows in the batch; L tokens per window.

Positions are base numbers of a part (its A/C/G/T bases counted from 0) in vocab4, token offsets in full;
half-open.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.errors import InputError
from dnalm.genome.folder import Part, PreparedGenome

PIECE_BASES, SHORT_PIECE_BASES = 3001, 301
"""Bases in one evaluation piece: the first is context only, the others are predicted."""
FEW_PIECES = 30
"""With fewer long pieces than this in a part, short ones are used: an interval resamples pieces."""


class LanguageBatch(NamedTuple):
    """One batch of windows and what follows each token."""

    tokens: Tensor  # uint8, [B, L]
    targets: Tensor  # uint8, [B, L]: the token that follows
    weights: Tensor | None  # float, [B, L]: weight of each target in the loss; None when all are 1


class LanguageWindows:
    """Random windows of one part of a genome; the batch of step n depends on (seed, n) and nothing else.

    Args:
        genome: a prepared genome.
        part: train or val.
        length: L, tokens per window.
        batch_size: B, windows of the full batch, over all processes.
        seed: of the positions.
        repeat_weight: weight in the loss of soft-masked bases, 0 to 1.

    Raises:
        InputError: if no window fits.
    """

    def __init__(
        self,
        genome: PreparedGenome,
        part: Part,
        *,
        length: int,
        batch_size: int,
        seed: int,
        repeat_weight: float = 1.0,
    ) -> None:
        self.genome, self.part, self.length = genome, part, length
        self.batch_size, self.seed, self.repeat_weight = batch_size, seed, repeat_weight
        if genome.mode == "full":  # one text: headers, line ends and N are tokens like others
            segments = np.array([[0, len(genome.tokens(part))]])
        else:
            segments = genome.segments(part)[:, [3, 2]]
        windows = segments[:, 1] - length  # that begin in each segment
        if not (windows > 0).any():
            raise InputError(
                f"{genome.folder}: no unbroken stretch of {part} holds {length + 1} tokens; "
                "choose a smaller `block_size`, or another split when preparing"
            )
        self._first = segments[windows > 0, 0]
        self._ends = np.cumsum(windows[windows > 0])

    @cached_property
    def _repeats(self) -> npt.NDArray[np.int64]:
        return self.genome.repeats(self.part)

    def starts(self, step: int) -> npt.NDArray[np.int64]:
        """Return where the windows of batch `step` begin, [B]; each position is equally likely."""
        random = np.random.Generator(np.random.Philox(key=[self.seed, step]))
        numbers = random.integers(self._ends[-1], size=self.batch_size)
        segment = np.searchsorted(self._ends, numbers, side="right")
        before = np.where(segment > 0, self._ends[segment - 1], 0)
        starts: npt.NDArray[np.int64] = self._first[segment] + numbers - before
        return starts

    @property
    def smallest(self) -> int:
        """Rows of the smallest batch: all have equally many."""
        return self.batch_size

    def batch(self, step: int, rank: int = 0, world: int = 1) -> LanguageBatch:
        """Return part `rank` of `world` of batch `step`: rows rank, rank + world, ..."""
        at = self.starts(step)[rank::world, None] + np.arange(self.length + 1)  # [B, L + 1]
        ids = self.genome.tokens(self.part)[at]
        joint = torch.from_numpy(ids)
        weights = None
        if self.repeat_weight != 1.0:
            masked = torch.from_numpy(self._masked(ids, at)[:, 1:])
            weights = torch.where(masked, self.repeat_weight, 1.0)
        return LanguageBatch(joint[:, :-1], joint[:, 1:], weights)

    def _masked(self, ids: npt.NDArray[np.uint8], at: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return which tokens are soft-masked bases, [B, L + 1]."""
        if self.genome.mode == "full":
            return self._soft_masked_letters(ids)
        if not len(self._repeats):
            return np.zeros(at.shape, dtype=bool)
        # The last repeat that begins at or before each token.
        nearest = np.searchsorted(self._repeats[:, 0], at, side="right") - 1
        inside: npt.NDArray[np.bool_] = (nearest >= 0) & (at < self._repeats[np.maximum(nearest, 0), 1])
        return inside

    def _soft_masked_letters(self, ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Return which tokens of a FASTA text are lower-case bases: not the c of a header's chr1.

        A header is recognised by its ">": where a window begins inside one, the rest counts as sequence.
        """
        tokenizer = self.genome.tokenizer
        position = np.arange(ids.shape[1])
        header, line_end = (  # the last of each before every token
            np.maximum.accumulate(np.where(ids == tokenizer.ids[ord(mark)], position, -1), axis=1)
            for mark in ">\n"
        )
        masked: npt.NDArray[np.bool_] = tokenizer.soft_masked[ids] & (header <= line_end)
        return masked


def choose_pieces(genome: PreparedGenome, part: Part, bases: int) -> npt.NDArray[np.int64]:
    """Choose the pieces of `part` on which models are scored: the same for every model, vocabulary and run.

    Segments are cut into pieces of `PIECE_BASES` (of `SHORT_PIECE_BASES` in a small part), each beginning on
    the last base of the one before, so that every base but a segment's first is predicted once; pieces of a
    tenth of that or less are left out. When that is more than `bases` (0: never), evenly spread pieces are
    taken.

    Returns:
        Start and end in base numbers, int64, [number of pieces, 2].
    """
    segments = genome.segments(part)
    step = PIECE_BASES - 1
    if segments[:, 2].sum() < FEW_PIECES * step:
        step = SHORT_PIECE_BASES - 1
    cut = []
    for _contig, _start, length, offset in segments:
        starts = np.arange(offset, offset + length - 1, step)
        cut.append(np.stack([starts, np.minimum(starts + step + 1, offset + length)], axis=1))
    pieces = np.concatenate(cut)
    long = pieces[pieces[:, 1] - pieces[:, 0] > step // 10]  # pieces of a few bases are nearly all context
    pieces = long if len(long) else pieces
    wanted = -(-bases // step) if bases else len(pieces)
    if wanted >= len(pieces):
        return pieces
    return pieces[((np.arange(wanted) + 0.5) * len(pieces) / wanted).astype(np.int64)]


class Tile(NamedTuple):
    """The position of a window."""

    piece: int  # Number of its piece
    first: int  # Offset of its first token
    last: int  # Offset of its last token, which is a target only


class FixedWindows(NamedTuple):
    """Windows that tile pieces of a genome: every base of a piece but its first is a target once."""

    tokens: Tensor  # uint8, [B, L]; 0 at padding
    targets: Tensor  # uint8, [B, L]
    real: Tensor  # bool, [B, L]; False at padding, which is on the right
    piece: Tensor  # int64, [B]: the piece each window belongs to


def tile(
    genome: PreparedGenome, part: Part, pieces: npt.NDArray[np.int64], length: int, batch_size: int
) -> list[list[Tile]]:
    """Tile `pieces`, [P, 2] base numbers, with windows of `length` tokens, `batch_size` at a time."""
    rows: list[Tile] = []
    for number, (start, end) in enumerate(pieces):
        first, last = genome.text_span(part, int(start), int(end))
        rows += [Tile(number, at, min(at + length, last - 1)) for at in range(first, last - 1, length)]
    return [rows[begin : begin + batch_size] for begin in range(0, len(rows), batch_size)]


def fixed_windows(genome: PreparedGenome, part: Part, rows: Sequence[Tile], length: int) -> FixedWindows:
    """Return the windows at the positions of `tile`, [B, L], as tensors."""
    tokens = genome.tokens(part)
    joint = np.zeros((len(rows), length + 1), dtype=np.uint8)
    sizes = np.array([last - first for _piece, first, last in rows])
    for row, (_piece, first, last) in enumerate(rows):
        joint[row, : last - first + 1] = tokens[first : last + 1]
    ids = torch.from_numpy(joint)
    real = torch.from_numpy(np.arange(length) < sizes[:, None])
    return FixedWindows(
        ids[:, :-1].masked_fill(~real, 0),
        ids[:, 1:],
        real,
        torch.tensor([piece for piece, _first, _last in rows]),
    )
