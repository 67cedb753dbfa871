"""Masked tokens: those that training chooses, and the fixed ones by which masked models are scored.

Shapes: B windows in the batch; L tokens per window; P evaluation pieces; F fixed positions. Positions are
0-based and half-open: base numbers of a part, or token offsets in its text.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from dnalm.data.epochs import Rows
from dnalm.data.language import FixedWindows, context_starts
from dnalm.dna import NOT_A_BASE
from dnalm.genome.folder import Part, PreparedGenome

STRIDE = 20
"""One base in so many is a fixed position, so that its neighbours are seen."""


class FixedPositions(NamedTuple):
    """The bases by which masked models are scored, in the order of the text: always the same."""

    offsets: Rows  # Of their tokens, [F]
    numbers: Rows  # Their base numbers, [F]
    piece: Rows  # The piece that each is in, [F]


def is_fixed(numbers: Rows) -> npt.NDArray[np.bool_]:
    """Return which base numbers are fixed positions: those that leave `STRIDE` / 2 when divided by it."""
    fixed: npt.NDArray[np.bool_] = numbers % STRIDE == STRIDE // 2
    return fixed


def fixed_positions(genome: PreparedGenome, part: Part, pieces: Rows) -> FixedPositions:
    """Return the fixed positions in `pieces`, [P, 2] base numbers; not the first base of each: it is context.

    In full they are the same bases as in vocab4.
    """
    offsets, numbers = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for start, end in pieces.tolist():
        inside = np.arange(start + 1, end)
        numbers.append(inside[is_fixed(inside)])
        first, last = genome.text_span(part, start, end)
        is_base = genome.tokenizer.base_of_token[genome.tokens(part)[first:last]] != NOT_A_BASE
        offsets.append(first + np.flatnonzero(is_base)[numbers[-1] - start])
    counts = [len(each) for each in numbers[1:]]
    piece = np.repeat(np.arange(len(pieces)), counts)
    return FixedPositions(np.concatenate(offsets), np.concatenate(numbers), piece)


class MaskedTile(NamedTuple):
    """A window, and the tokens of it that are masked and scored."""

    piece: int  # Number of its piece
    begin: int  # Offset of its first token
    end: int  # Offset after its last one
    masked: Rows  # Offsets of the masked tokens


def tile_masked(
    genome: PreparedGenome,
    part: Part,
    pieces: Rows,
    positions: FixedPositions,
    length: int,
    batch_size: int,
) -> list[list[MaskedTile]]:
    """Tile `pieces` with windows of `length` tokens, so that each of their fixed positions is scored once.

    Windows begin half a window apart: a position has a quarter of a window on either side, or more, or the
    end of its segment.
    """
    rows: list[MaskedTile] = []
    segments = genome.segments(part)
    starts = context_starts(genome, part, pieces)
    ends = dict(zip(segments[:, 3].tolist(), (segments[:, 3] + segments[:, 2]).tolist(), strict=True))
    spans = {start: genome.text_span(part, start, ends[start]) for start in set(starts)}
    step = max(1, length // 2)
    for number, (start, end) in enumerate(pieces.tolist()):
        first, last = genome.text_span(part, start, end)
        opens, closes = spans[starts[number]]
        own = positions.offsets[positions.piece == number]
        for at in range(first, last, step):
            masked = own[(own >= at) & (own < at + step)]
            if len(masked):
                begin = max(opens, min(at - (length - step) // 2, closes - length))
                rows.append(MaskedTile(number, begin, min(begin + length, closes), masked))
    return [rows[begin : begin + batch_size] for begin in range(0, len(rows), batch_size)]


def masked_windows(genome: PreparedGenome, part: Part, rows: Sequence[MaskedTile]) -> FixedWindows:
    """Return the windows at the positions of `tile_masked`: only what is masked is scored."""
    begin, end = (np.array(each, dtype=np.int64)[:, None] for each in list(zip(*rows, strict=True))[1:3])
    at = begin + np.arange(int((end - begin).max()))  # [B, L]
    text, real = genome.tokens(part), at < end
    targets = np.where(real, text[np.minimum(at, len(text) - 1)], np.uint8(0))
    scored = np.zeros(at.shape, dtype=np.bool_)
    for row, each in enumerate(rows):
        scored[row, each.masked - each.begin] = True
    tokens = np.where(scored, np.uint8(genome.tokenizer.vocab_size), targets)
    piece = np.array([each.piece for each in rows])
    return FixedWindows(*map(torch.from_numpy, (tokens, targets, real, scored, scored, piece)))
