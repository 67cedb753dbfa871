"""Windows of a prepared genome for next-token training, and the fixed pieces it is judged on.

Shapes used below
    B  windows in the batch          L  tokens per window
    S  segments (unbroken stretches of A/C/G/T)

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
"""With fewer long pieces than this in a part, short ones are used: an interval needs pieces to resample."""


class LanguageBatch(NamedTuple):
    """One batch of windows and what follows each token."""

    tokens: Tensor
    """uint8, [B, L]."""
    targets: Tensor
    """uint8, [B, L]: the token that follows."""
    weights: Tensor | None
    """float, [B, L]: weight of each target in the loss; None when all weigh 1."""


class LanguageWindows:
    """Random windows of one part of a genome; the batch of step n depends on (seed, n) and nothing else.

    Args:
        genome: a prepared genome.
        part: train or val.
        length: L, tokens per window.
        batch_size: B, windows of a whole batch, over all processes.
        seed: of the draws.
        repeat_weight: weight in the loss of soft-masked bases, 0 to 1.

    Raises:
        InputError: if no window fits, or `repeat_weight` is outside 0 to 1.
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
        if not 0.0 <= repeat_weight <= 1.0:
            raise InputError(f"repeat_weight must be from 0 to 1, got {repeat_weight}")
        self.genome, self.part, self.length = genome, part, length
        self.batch_size, self.seed, self.repeat_weight = batch_size, seed, repeat_weight
        self.first, room = self._stretches()
        self._ends = np.cumsum(room)  # windows up to and including each stretch
        if not len(room):
            raise InputError(
                f"{genome.folder}: no unbroken stretch of {part} holds {length + 1} tokens; "
                "choose a smaller --block-size, or another split when preparing"
            )

    def _stretches(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return where each stretch with room for a window begins, and how many windows begin in it."""
        if self.genome.mode == "full":  # one text: headers, line ends and N are tokens like others
            segments = np.array([[0, len(self.genome.tokens(self.part))]])
        else:
            segments = self.genome.segments(self.part)[:, [3, 2]]
        room = segments[:, 1] - self.length
        return segments[room > 0, 0], room[room > 0]

    @cached_property
    def _repeats(self) -> npt.NDArray[np.int64]:
        return self.genome.repeats(self.part)

    def starts(self, step: int) -> npt.NDArray[np.int64]:
        """Return where the windows of batch `step` begin, [B]; each place is equally likely."""
        draws = np.random.Generator(np.random.Philox(key=[self.seed, step]))
        picks = draws.integers(self._ends[-1], size=self.batch_size)
        which = np.searchsorted(self._ends, picks, side="right")
        before = np.where(which > 0, self._ends[which - 1], 0)
        starts: npt.NDArray[np.int64] = self.first[which] + picks - before
        return starts

    @property
    def smallest(self) -> int:
        """Rows of the smallest batch: all are whole."""
        return self.batch_size

    def batch(self, step: int, rank: int = 0, world: int = 1) -> LanguageBatch:
        """Return rank's share of batch `step`: rows rank, rank + world, ..."""
        at = self.starts(step)[rank::world, None] + np.arange(self.length + 1)  # [B, L + 1]
        ids = self.genome.tokens(self.part)[at]
        joint = torch.from_numpy(ids)
        weights = None
        if self.repeat_weight != 1.0:
            weights = torch.from_numpy(
                np.where(self._masked(ids, at)[:, 1:], self.repeat_weight, 1.0)
            ).float()
        return LanguageBatch(joint[:, :-1], joint[:, 1:], weights)

    def _masked(self, ids: npt.NDArray[np.uint8], at: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Tell which tokens are soft-masked bases, [B, L + 1]."""
        if self.genome.mode == "full":
            return self._soft_masked_letters(ids)
        if not len(self._repeats):
            return np.zeros(at.shape, dtype=bool)
        nearest = (
            np.searchsorted(self._repeats[:, 0], at, side="right") - 1
        )  # last repeat that begins at or before
        inside: npt.NDArray[np.bool_] = (nearest >= 0) & (at < self._repeats[np.maximum(nearest, 0), 1])
        return inside

    def _soft_masked_letters(self, ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Tell which tokens of a FASTA text are lower-case bases: not the c of a header's chr1.

        A header is known by its ">": of one that a window begins inside, the rest counts as sequence.
        """
        tokenizer = self.genome.tokenizer
        place = np.arange(ids.shape[1])
        header, line_end = (
            np.maximum.accumulate(np.where(ids == tokenizer.ids[ord(mark)], place, -1), axis=1)
            for mark in ">\n"
        )
        masked: npt.NDArray[np.bool_] = tokenizer.soft_masked[ids] & (header <= line_end)
        return masked


def choose_pieces(genome: PreparedGenome, part: Part, bases: int) -> npt.NDArray[np.int64]:
    """Choose the pieces of `part` on which models are judged: the same for every model, vocabulary and run.

    Segments are cut into pieces of `PIECE_BASES` (of `SHORT_PIECE_BASES` in a small part), each beginning on
    the last base of the one before, so that every base but a segment's first is predicted once; segments of a
    tenth of that or less are left out. When that is more than `bases`, evenly spread pieces are taken.

    Args:
        genome: a prepared genome.
        part: train or val.
        bases: how many bases to predict, about; 0 for all.

    Returns:
        [P, 2] start and end in base numbers.
    """
    segments = genome.segments(part)
    step = PIECE_BASES - 1
    if segments[:, 2].sum() < FEW_PIECES * step:
        step = SHORT_PIECE_BASES - 1
    pieces = []
    for _contig, _start, length, offset in segments:
        starts = np.arange(offset, offset + length - 1, step)
        pieces.append(np.stack([starts, np.minimum(starts + step + 1, offset + length)], axis=1))
    every = np.concatenate(pieces)
    long = every[every[:, 1] - every[:, 0] > step // 10]  # scraps of a few bases are nearly all context
    every = long if len(long) else every
    wanted = -(-bases // step) if bases else len(every)
    if wanted >= len(every):
        return every
    return every[((np.arange(wanted) + 0.5) * len(every) / wanted).astype(np.int64)]


class Tile(NamedTuple):
    """Where a window lies."""

    piece: int
    """Its piece's number."""
    first: int
    """Its first token."""
    last: int
    """Its last token, which is a target only."""


class FixedWindows(NamedTuple):
    """Windows that tile pieces of a genome: every base of a piece but its first is a target once."""

    tokens: Tensor
    """uint8, [B, L]; 0 at padding."""
    targets: Tensor
    """uint8, [B, L]."""
    real: Tensor
    """bool, [B, L]; False at padding, which is on the right."""
    piece: Tensor
    """int64, [B]: the piece each window belongs to."""


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
    """Return the windows that lie where `tile` has put them, [B, L], as tensors."""
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
