"""A language model on sequences and regions of a genome: bits of each base.

A causal model reads to one side of a base, so that both strands are read and their bits averaged. What lies
beside a region in the genome is its context.

Shapes: L bases of a piece.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm import process
from dnalm.dna import encode, other_strand
from dnalm.errors import InputError
from dnalm.evaluate.annotation import BLOCK
from dnalm.evaluate.baselines.markov import HIGHEST_ORDER, MarkovModel
from dnalm.formats.indexed import IndexedGenome
from dnalm.use.regions import Region, Regions

if TYPE_CHECKING:
    from dnalm.use.language import LanguageModel

AT_ONCE = 4 * BLOCK
"""Bases that one process computes at a time."""
ROUND = 4
"""Computations of each process before their results are collected."""
TO_BITS = np.float32(-1 / np.log(2))
"""Bits of a base for each nat of its log-probability."""
Bits = npt.NDArray[np.float32]


class Piece(NamedTuple):
    """A part of a region that is computed at once, on its contig from `start` to before `end`, 0-based."""

    region: Region
    number: int  # Of the region
    start: int
    end: int


class ScoredPiece(NamedTuple):
    """Bits of each base of a piece, [L] each; NaN where a base or its prediction is missing."""

    piece: Piece
    model: Bits
    markov: Bits  # NaN too where the model has none; all NaN without a Markov model


class RegionScore(NamedTuple):
    """How well the bases of a region are predicted."""

    region: Region
    bases: int  # That were scored
    model: float  # Bits per base; NaN where no base was scored
    markov: float  # The same, NaN without a Markov model


class Scoring:
    """Scores of the regions of a genome, with flat memory; several processes divide the pieces among them.

    Args:
        model: a language model.
        genome: what is scored, or where the regions are.
        regions: those to score, see `Regions`.
        markov: beside it; None for none.
        held_out: where given, regions are cut to what lies on these contigs from these bases on.
        bases: about how many to score, in pieces that are spread evenly; 0 for all.

    Raises:
        InputError: if `bases` is negative, or nothing is left to score.
    """

    def __init__(
        self,
        model: "LanguageModel",
        genome: IndexedGenome,
        regions: Regions,
        *,
        markov: MarkovModel | None = None,
        held_out: Mapping[str, int] | None = None,
        bases: int = 0,
    ) -> None:
        if bases < 0:
            raise InputError(f"`bases` must be at least 0, got {bases}")
        self.model, self.genome, self.markov = model, genome, markov
        self._regions, self._held_out, self._share = regions, held_out, 1.0
        self._context = max(model.block_size // 2, HIGHEST_ORDER)
        self.training = 0
        """Regions that are left out because they lie in the training part."""
        last, total, self._is_sorted = (-1, 0), 0, True
        order = {contig: rank for rank, contig in enumerate(genome.lengths)}
        for region in self._cut():
            total += region.end - region.start
            here = (order[region.contig], region.start)
            self._is_sorted &= last <= here
            last = here
        if not total:
            raise InputError("every region lies in the training part of the model; `part` all scores it too")
        self._share = min(1.0, bases / total) if bases else 1.0
        self.total = round(total * self._share)
        """About how many bases are scored."""

    def check_sorted(self, parameter: str) -> None:
        """Raise InputError, which names a parameter, unless the regions are in the order of the genome."""
        if not self._is_sorted:
            raise InputError(f"`{parameter}` needs `regions` in the order of the genome's contigs and starts")

    def pieces(self, advance: Callable[[int], None] = lambda _count: None) -> Iterator[ScoredPiece]:
        """Yield the scored pieces in the order of the regions, in every process.

        Args:
            advance: called with each number of bases that are done.
        """
        batches = _batched(self._sampled())
        while some := list(itertools.islice(batches, ROUND * process.current().world_size)):
            for scored in process.map_over_ranks(some, self._score, together=True):
                for each in scored:
                    yield each
                    advance(each.piece.end - each.piece.start)

    def _cut(self) -> Iterator[Region]:
        """Yield the regions, or the part of each that was held out in training."""
        self.training = 0
        for region in self._regions:
            first = 0 if self._held_out is None else self._held_out.get(region.contig, region.end)
            if first < region.end:
                yield region._replace(start=max(region.start, first))
            else:
                self.training += 1

    def _sampled(self) -> Iterator[Piece]:
        """Yield the pieces that are scored: all, or so many that they add up to the sample, evenly spread."""
        quota = 0.0
        for number, region in enumerate(self._cut()):
            edges = [region.start, *range((region.start // BLOCK + 1) * BLOCK, region.end, BLOCK), region.end]
            for start, end in itertools.pairwise(edges):
                quota += (end - start) * self._share
                if self._share == 1.0 or quota >= (end - start) / 2:
                    quota -= end - start
                    yield Piece(region, number, start, end)

    def _score(self, pieces: Sequence[Piece]) -> list[ScoredPiece]:
        """Score some pieces."""
        length, beside = self.genome.lengths, self._context
        spans = [
            (p.region.contig, max(0, p.start - beside), min(length[p.region.contig], p.end + beside))
            for p in pieces
        ]
        texts = [self.genome.letters(*span) for span in spans]
        scored = []
        for piece, (_, begin, _), (model, markov) in zip(
            pieces, spans, strand_bits(self.model, self.markov, texts), strict=True
        ):
            inside = slice(piece.start - begin, piece.end - begin)
            scored.append(ScoredPiece(piece, _mean(model[:, inside]), _mean(markov[:, inside])))
        return scored


def strand_bits(
    model: "LanguageModel", markov: MarkovModel | None, texts: Sequence[str]
) -> Iterator[tuple[Bits, Bits]]:
    """Yield of each text the bits of its bases on both strands, [2, L], of a model and of a Markov model.

    NaN where the model has no prediction, in both; all NaN without a Markov model.
    """
    codes = [encode(text) for text in texts]
    counted = markov_bits(markov, texts) if markov is not None else None
    for row, (code, log_p) in enumerate(zip(codes, model.both_strands(texts), strict=True)):
        picked = code.clip(max=3).astype(np.int64)[None, :, None]
        bits = np.take_along_axis(log_p, np.repeat(picked, 2, axis=0), axis=2)[..., 0] / -np.log(
            np.float32(2)
        )
        bits[:, code > 3] = np.nan
        beside = np.full(bits.shape, np.nan, dtype=np.float32)
        if counted is not None:
            beside[:] = counted[row]
            beside[np.isnan(bits)] = np.nan
        yield bits, beside


def markov_bits(markov: MarkovModel, texts: Sequence[str]) -> list[npt.NDArray[np.float64]]:
    """Return of each text the bits of its bases on both strands by a Markov model, [2, L]."""
    found = markov.bits([encode(each) for text in texts for each in (text, other_strand(text))])
    return [np.stack([one, other[::-1]]) for one, other in zip(found[::2], found[1::2], strict=True)]


def _mean(bits: Bits) -> Bits:
    """Return the mean of both strands, [L], of [2, L]: of one where the other has no prediction."""
    known = np.isfinite(bits)
    sums, counts = np.where(known, bits, 0).sum(axis=0), known.sum(axis=0)
    mean = np.full(bits.shape[1], np.nan, dtype=np.float32)
    np.divide(sums, counts, out=mean, where=counts > 0, casting="same_kind")
    return mean


class RegionSums:
    """Adds up the pieces of each region."""

    def __init__(self) -> None:
        self.bases, self.sums = 0, np.zeros(2)
        """Over all regions: bases that were scored, and their bits by both models."""
        self._region: Region | None = None
        self._number, self._bases, self._sums = -1, 0, np.zeros(2)

    def add(self, scored: ScoredPiece) -> list[RegionScore]:
        """Add a piece; return the region before it, if the piece begins another one."""
        done = self.end() if scored.piece.number != self._number else []
        self._region, self._number = scored.piece.region, scored.piece.number
        known = np.isfinite(scored.model)
        bits = (scored.model[known].sum(dtype=np.float64), scored.markov[known].sum(dtype=np.float64))
        self._bases += int(np.count_nonzero(known))
        self._sums = self._sums + bits
        return done

    def end(self) -> list[RegionScore]:
        """Return the last region, if there is one that was not returned."""
        if self._region is None:
            return []
        means = self._sums / self._bases if self._bases else np.full(2, np.nan)
        done = RegionScore(self._region, self._bases, float(means[0]), float(means[1]))
        self.bases, self.sums = self.bases + self._bases, self.sums + self._sums
        self._region, self._bases, self._sums = None, 0, np.zeros(2)
        return [done]


def region_scores(pieces: Iterable[ScoredPiece]) -> Iterator[RegionScore]:
    """Yield the score of each region from its pieces."""
    sums = RegionSums()
    for scored in pieces:
        yield from sums.add(scored)
    yield from sums.end()


def without_overlaps(pieces: Iterable[ScoredPiece]) -> Iterator[ScoredPiece]:
    """Yield pieces of sorted regions without the bases that an earlier region holds."""
    contig, last = "", 0
    for piece, model, markov in pieces:
        last = last if piece.region.contig == contig else 0
        contig, skipped = piece.region.contig, max(0, last - piece.start)
        last = max(last, piece.end)
        if skipped < piece.end - piece.start:
            fresh = piece._replace(start=piece.start + skipped)
            yield ScoredPiece(fresh, model[skipped:], markov[skipped:])


def _batched(pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
    """Yield pieces together that have about `AT_ONCE` bases."""
    some, size = list[Piece](), 0
    for piece in pieces:
        some.append(piece)
        size += piece.end - piece.start
        if size >= AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some
