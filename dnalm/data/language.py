"""Windows of a prepared genome for training, and the fixed pieces for evaluation.

Shapes: B windows in the batch; L tokens per window. Positions are half-open: base numbers of a part (its
A/C/G/T bases counted from 0) in vocab4, token offsets in full.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnalm.data.epochs import Rows
from dnalm.data.region_weights import RegionWeights
from dnalm.dna import NOT_A_BASE
from dnalm.errors import InputError
from dnalm.genome.folder import Part, PreparedGenome

PIECE_BASES, SHORT_PIECE_BASES = 3001, 301  # of an evaluation piece: the first is context only
CHOSEN, MASKED, REPLACED = 0.15, 0.8, 0.1
"""Of bases: chosen to be predicted; of these the masked ones, and those replaced by a random base (Devlin et
al. 2019); the rest is left as it is."""
UNKNOWN = 0.1
"""Of windows: those of no named species, so that the vector of unknown ones is trained."""
FEW_PIECES = 30  # with fewer long pieces in a part, short ones are used: an interval resamples pieces


class LanguageBatch(NamedTuple):
    """One batch of windows and what each token is to predict."""

    tokens: Tensor  # uint8, [B, L]; the id of the mask is the number of tokens in the vocabulary
    targets: Tensor  # uint8, [B, L]: the token that follows, or of the masked objective the token itself
    weights: Tensor | None  # float, [B, L]: weight of each target in the loss; None when all are 1
    species: Tensor | None = None  # int64, [B]: row of `species_rows`; None for a model without species


class LanguageWindows:
    """Random windows of a genome's training part; the batch of step n depends on (seed, n) alone.

    Args:
        genome: a prepared folder.
        length: L.
        batch_size: B, over all processes.
        seed: of the batches.
        repeat_weight: weight in the loss of soft-masked bases, 0 to 1.
        regions: weights of further bases, multiplied with that one.
        masked: mask tokens, of which each is to predict itself, in place of predicting the next.
        rc_augment: half of the windows are read from the other strand; in full, those without a header.
        species: as of `species_rows`; batches name the genome of each window but a few, see `UNKNOWN`.

    `caution` is a message if the weight of repeats has no effect.

    Raises:
        InputError: if no window fits, or every base would weigh nothing.
    """

    def __init__(
        self,
        genome: PreparedGenome,
        length: int,
        batch_size: int,
        seed: int,
        repeat_weight: float = 1.0,
        *,
        regions: RegionWeights | None = None,
        masked: bool = False,
        rc_augment: bool = False,
        species: str = "",
    ) -> None:
        self.genome, self.length, self.seed, self.repeat_weight = genome, length, seed, repeat_weight
        self.regions, self.masked, self.rc_augment = regions, masked, rc_augment
        self.rows = species_rows(genome, species)
        self.smallest = batch_size  # all batches have equally many rows
        self.caution = _caution(genome, repeat_weight)
        self._tokens = genome.tokens("train")
        self._repeats = genome.repeats("train").reshape(-1) if repeat_weight != 1.0 else np.arange(0)
        if genome.mode == "full":  # one text: headers, line ends and N are tokens like others
            segments = np.array([[0, len(self._tokens)]])
        else:
            segments = genome.segments("train")[:, [3, 2]]
        windows = segments[:, 1] - length  # that begin in each segment
        if not (windows > 0).any():
            where = f"{genome.folder}: no unbroken stretch of train"
            raise InputError(f"{where} holds {length + 1} tokens; choose a smaller `block_size`")
        self._first = segments[windows > 0, 0]
        self._ends = np.cumsum(windows[windows > 0])

    def starts(self, step: int) -> Rows:
        """Return where the windows of batch `step` begin, [B]; each position is equally likely."""
        return self._starts(self._random(step))

    def _random(self, step: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=[self.seed, step]))

    def _starts(self, random: np.random.Generator) -> Rows:
        numbers = random.integers(self._ends[-1], size=self.smallest)
        segment = np.searchsorted(self._ends, numbers, side="right")
        starts: Rows = self._first[segment] + numbers - np.append(0, self._ends)[segment]
        return starts

    def batch(self, step: int, rank: int = 0, world: int = 1) -> LanguageBatch:
        """Return the rows rank, rank + world, ... of batch `step`."""
        random, rows = self._random(step), slice(rank, None, world)  # draws are of all rows, whoever asks
        starts = self._starts(random)
        at = starts[rows, None] + np.arange(self.length + 1)  # [B, L + 1]
        ids = self._tokens[at]
        weights = self._weights(ids, at)
        if self.rc_augment:
            turned = (random.random(self.smallest) < 0.5)[rows] & ~self._has_header(ids)
            ids[turned] = self.genome.tokenizer.complement[ids[turned, ::-1]]
            if weights is not None:
                weights[turned] = weights[turned, ::-1]
        if self.masked:
            draws = random.random((2, self.smallest, self.length))[:, rows]
            batch = self._mask(ids[:, :-1], None if weights is None else weights[:, :-1], draws)
        else:
            joint = torch.from_numpy(ids)
            after = None if weights is None else torch.from_numpy(weights[:, 1:])
            batch = LanguageBatch(joint[:, :-1], joint[:, 1:], after)
        if self.rows is None:
            return batch
        known = random.random(self.smallest) >= UNKNOWN
        species = np.where(known, self.rows[self.genome.genome_numbers("train", starts)], 0)[rows]
        return batch._replace(species=torch.from_numpy(species))

    def _mask(
        self,
        ids: npt.NDArray[np.uint8],
        weights: npt.NDArray[np.float32] | None,
        draws: npt.NDArray[np.float64],
    ) -> LanguageBatch:
        """Return the batch of the masked objective, of tokens [B, L] and two random numbers for each."""
        tokenizer = self.genome.tokenizer
        is_base = tokenizer.base_of_token < NOT_A_BASE  # [V]
        bases = np.flatnonzero(is_base).astype(np.uint8)  # in full of either case
        how = draws[0] / CHOSEN  # below 1 where chosen
        chosen = (how < 1) & is_base[ids] & self._in_sequence(ids)
        other = bases[(draws[1] * len(bases)).astype(np.int64)]
        tokens = np.where(chosen & (how < MASKED + REPLACED), other, ids)
        tokens = np.where(chosen & (how < MASKED), np.uint8(tokenizer.vocab_size), tokens)
        loss = chosen.astype(np.float32) if weights is None else np.where(chosen, weights, np.float32(0))
        return LanguageBatch(*map(torch.from_numpy, (tokens, np.ascontiguousarray(ids), loss)))

    def _weights(self, ids: npt.NDArray[np.uint8], at: Rows) -> npt.NDArray[np.float32] | None:
        """Return the weight of each token, [B, L + 1]; None where all are 1."""
        weights = None
        if self.repeat_weight != 1.0:
            weights = np.where(self._masked(ids, at), self.repeat_weight, 1.0).astype(np.float32)
        if self.regions is not None:
            own = self.regions.weights(at)
            weights = own if weights is None else weights * own
        return weights

    def _has_header(self, ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Return which windows hold the start of a header, [B]."""
        if self.genome.mode != "full":
            return np.zeros(len(ids), dtype=np.bool_)
        found: npt.NDArray[np.bool_] = (ids == self.genome.tokenizer.ids[ord(">")]).any(axis=1)
        return found

    def _masked(self, ids: npt.NDArray[np.uint8], at: Rows) -> npt.NDArray[np.bool_]:
        """Return which tokens are soft-masked bases, [B, L + 1]: not the c of a header's chr1."""
        if self.genome.mode != "full":  # inside a repeat as many begin before a token as end, and one more
            inside: npt.NDArray[np.bool_] = np.searchsorted(self._repeats, at, side="right") % 2 == 1
            return inside
        masked: npt.NDArray[np.bool_] = self.genome.tokenizer.soft_masked[ids] & self._in_sequence(ids)
        return masked

    def _in_sequence(self, ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Return which tokens are not in a header, [B, L].

        A header is recognised by its ">": where a window begins inside one, the rest counts as sequence.
        """
        if self.genome.mode != "full":
            return np.ones(ids.shape, dtype=np.bool_)
        tokenizer, position = self.genome.tokenizer, np.arange(ids.shape[1])
        header, line_end = (  # the last of each before every token
            np.maximum.accumulate(np.where(ids == tokenizer.ids[ord(mark)], position, -1), axis=1)
            for mark in ">\n"
        )
        outside: npt.NDArray[np.bool_] = header <= line_end
        return outside


def species_rows(genome: PreparedGenome, species: str) -> Rows | None:
    """Return the row of each genome in `SpeciesToken`, by its number; None for a model without species.

    `species` are names, separated by commas; genomes that are not among them are unknown, row 0.
    """
    names = species.split(",")
    rows = [names.index(name) + 1 if name in names else 0 for name in genome.genomes]
    return np.array(rows) if species else None


def _caution(genome: PreparedGenome, repeat_weight: float) -> str:
    """Return a message if the weight has no effect; InputError if it leaves nothing to learn."""
    masked = int(np.diff(genome.repeats("train")).sum())
    bases = int(genome.meta["counts"]["train_bases"])
    if repeat_weight == 1 or 0 < masked < bases:
        return ""
    which = f"{'all' if masked else 'none'} of the {bases:,} bases of train in {genome.folder}"
    if masked and not repeat_weight:
        raise InputError(
            f"`repeat_weight` 0 leaves nothing to learn: {which} are soft-masked (lower case); choose 1, or "
            "prepare a genome whose lower case marks repeats"
        )
    return f"a repeat weight of {repeat_weight:g} has no effect: {which} are soft-masked (lower case)"


def choose_pieces(genome: PreparedGenome, part: Part, bases: int) -> Rows:
    """Return the pieces of `part` on which models are scored, [pieces, 2] base numbers: always the same.

    Segments are cut into pieces of `PIECE_BASES` (of `SHORT_PIECE_BASES` in a small part), each beginning on
    the last base of the one before, so that every base but a segment's first is predicted once; pieces of a
    tenth of that or less are left out. When that is more than `bases` (0: never), evenly spread pieces are
    taken.
    """
    segments = genome.segments(part)
    is_small = segments[:, 2].sum() < FEW_PIECES * (PIECE_BASES - 1)
    step = (SHORT_PIECE_BASES if is_small else PIECE_BASES) - 1
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


def context_starts(genome: PreparedGenome, part: Part, pieces: Rows) -> list[int]:
    """Return where the context of each piece begins, [P]: the first base of its segment."""
    offsets = genome.segments(part)[:, 3]
    starts: list[int] = offsets[np.searchsorted(offsets, pieces[:, 0], side="right") - 1].tolist()
    return starts


class Tile(NamedTuple):
    """The position of a window."""

    piece: int  # Number of its piece
    begin: int  # Offset of its first token
    first: int  # Offset of the token before its first scored target; what lies to the left is context only
    last: int  # Offset of its last token, which is a target only


class FixedWindows(NamedTuple):
    """Windows that tile pieces of a genome: every base of a piece but its first is scored once, or some."""

    tokens: Tensor  # uint8, [B, L]; 0 at padding
    targets: Tensor  # uint8, [B, L]
    real: Tensor  # bool, [B, L]; False at padding, which is on the right
    scored: Tensor  # bool, [B, L]; False at padding, and at targets that are context only
    fixed: Tensor  # bool, [B, L]: which of these are at the positions by which masked models are scored
    piece: Tensor  # int64, [B]: the piece each window belongs to


def tile(genome: PreparedGenome, part: Part, pieces: Rows, length: int, batch_size: int) -> list[list[Tile]]:
    """Tile `pieces`, [P, 2] base numbers, with windows of `length` tokens, `batch_size` at a time.

    A window with fewer targets than that begins earlier, in its segment: what is before them is its context.
    """
    rows: list[Tile] = []
    segments = context_starts(genome, part, pieces)
    opens = {base: genome.text_span(part, base, base + 1)[0] for base in set(segments)}
    for number, ((start, end), segment) in enumerate(zip(pieces, segments, strict=True)):
        first, last = genome.text_span(part, int(start), int(end))
        for at in range(first, last - 1, length):
            stop = min(at + length, last - 1)
            rows.append(Tile(number, max(opens[segment], stop - length), at, stop))
    return [rows[begin : begin + batch_size] for begin in range(0, len(rows), batch_size)]


def fixed_windows(
    genome: PreparedGenome, part: Part, rows: Sequence[Tile], length: int, fixed: Rows
) -> FixedWindows:
    """Return the windows at the positions of `tile`, [B, L]; `fixed` are the offsets of fixed positions."""
    piece, begin, first, last = np.array(rows, dtype=np.int64).T[..., None]  # each [B, 1]
    at = begin + np.arange(length + 1)
    ids = torch.from_numpy(np.where(at <= last, genome.tokens(part)[np.minimum(at, last)], np.uint8(0)))
    real = torch.from_numpy(at[:, :-1] < last)
    scored = real & torch.from_numpy(at[:, :-1] >= first)
    tokens = ids[:, :-1].masked_fill(~real, 0)
    is_fixed = scored & torch.from_numpy(np.isin(at[:, 1:], fixed))
    return FixedWindows(tokens, ids[:, 1:], real, scored, is_fixed, torch.from_numpy(piece[:, 0]))
