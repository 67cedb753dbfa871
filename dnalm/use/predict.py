"""Scores at each base of a genome, from windows that overlap: the tracks of `dnalm predict`.

Windows stand on a grid that begins with each contig, the last one at its end, so that the score of a base
depends on the genome, window and stride alone, never on which regions were wanted. Where windows overlap,
their scores are averaged with weights that fall to zero towards the edges of a window: no seam shows. Of a
model that sees only some bases around each, such as a CNN, edges that see beyond the window have no weight:
the scores are those of one window over the full contig. A letter that is no A, C, G or T has no score.

Shapes: L bases of a region; W bases of a window; n stretches of a contig.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from dnalm import process
from dnalm.dna import NOT_A_BASE, encode, other_strand
from dnalm.errors import InputError
from dnalm.formats.indexed import IndexedGenome
from dnalm.use.regions import Region

Array = npt.NDArray[np.float32]
T = TypeVar("T")
PIECE = 1 << 18
"""Bases that are held at a time; a region of more is computed in pieces."""
WINDOW = 512
"""W of a model that reads windows of any length, if it is not given."""


class Predictor(Protocol):
    """What is needed of a `BindingModel`."""

    batch_size: int
    longest: int | None
    reach: int | None

    def predict(self, sequences: Sequence[str]) -> list[Array]:
        """Return the score at each base of each sequence."""


@dataclass(frozen=True)
class Tiling:
    """Where windows of a contig stand, and the weight of each base of one."""

    window: int  # Bases
    stride: int  # Bases from a window to the next
    margin: int  # Bases at each edge without weight: their scores would see beyond the window

    def starts(self, length: int, start: int, end: int) -> list[int]:
        """Return where the windows begin that hold a base from `start` to before `end` of a contig."""
        last = max(0, length - self.window)
        first = max(0, (start - self.window) // self.stride + 1) * self.stride
        return [*range(first, min(end, last), self.stride), *([last] if last < end else [])]

    def weights(self, length: int, *, first: bool, last: bool) -> npt.NDArray[np.float64]:
        """Return the weight of each base of a window, [length]; `first` or `last` of its contig."""
        overlap = self.window - self.stride
        ramp = max(1, min(overlap - 2 * self.margin, self.window // 2 - self.margin))
        from_left = np.arange(length) + 0.5
        from_right = from_left[::-1]
        weights = np.ones(length)
        for distance, is_end in ((from_left, first), (from_right, last)):
            if not is_end:
                weights = np.minimum(weights, np.clip((distance - self.margin) / ramp, 0.0, 1.0))
        return weights


def tiling_of(model: Predictor, window: int | None = None, stride: int | None = None) -> Tiling:
    """Return where a model's windows stand.

    Args:
        model: that reads them.
        window: bases; unless given the most that the model reads at once, or 512 where it reads any number.
        stride: bases from a window to the next; unless given half a window, or where the model sees `reach`
            bases to either side as much as leaves twice that at each edge.

    Raises:
        InputError: if one of them is out of range.
    """
    reach = model.reach or 0
    if window is None:
        window = model.longest or max(WINDOW, 8 * reach)
    if not 2 * reach < window <= (model.longest or window):
        most = f"to {model.longest:,}" if model.longest else "or more"
        raise InputError(f"`window` must be {2 * reach + 1:,} {most} for this model, got {window:,}")
    most_stride = window - 2 * reach
    if stride is None:
        stride = max(window - 4 * reach, 1) if model.reach is not None else max(window // 2, 1)
    if not 1 <= stride <= most_stride:
        raise InputError(f"`stride` must be 1 to {most_stride:,} for windows of {window:,}, got {stride:,}")
    return Tiling(window, stride, reach)


@dataclass(frozen=True)
class Stretches:
    """The bases that regions hold, each once."""

    contigs: dict[str, npt.NDArray[np.int64]]  # Start and end, [n, 2], in the order of the genome
    overlapping: int  # Regions that hold a base of a region before them

    @property
    def bases(self) -> int:
        """Bases in all stretches."""
        return sum(int((each[:, 1] - each[:, 0]).sum()) for each in self.contigs.values())

    def __iter__(self) -> Iterator[Region]:
        """Yield the stretches in the order of the genome."""
        for contig, rows in self.contigs.items():
            for start, end in rows.tolist():
                yield Region(contig, start, end, contig)


def merged(regions: Iterable[Region], genome: IndexedGenome) -> Stretches:
    """Return the bases of regions in any order, each base once; 16 bytes a region are held."""
    found: dict[str, array[int]] = defaultdict(lambda: array("q"))
    for region in regions:
        found[region.contig].extend((region.start, region.end))
    contigs, overlapping = {}, 0
    for contig in genome.lengths:
        if contig in found:
            rows = np.array(found[contig], dtype=np.int64).reshape(-1, 2)
            rows = rows[rows[:, 0].argsort(kind="stable")]
            ends = np.maximum.accumulate(rows[:, 1])  # the furthest so far
            overlapping += int((rows[1:, 0] < ends[:-1]).sum())
            first = np.concatenate([[True], rows[1:, 0] > ends[:-1]])
            last = np.concatenate([first[1:], [True]])
            contigs[contig] = np.stack([rows[first, 0], ends[last]], axis=1)
    return Stretches(contigs, overlapping)


def predict_regions(
    model: Predictor,
    genome: IndexedGenome,
    regions: Iterable[Region],
    tiling: Tiling,
    *,
    both_strands: bool = False,
) -> Iterator[tuple[Region, Array]]:
    """Yield each region with its scores, float32 [L], NaN at letters that are no base.

    Several processes of a run call this together; each gets everything.
    """
    parts: list[Array] = []
    for piece, scores in predict_pieces(model, genome, regions, tiling, both_strands=both_strands):
        parts.append(scores)
        region = piece.region
        if piece.end == region.end:
            yield region, np.concatenate(parts) if len(parts) > 1 else scores
            parts = []


class Part(NamedTuple):
    """At most PIECE bases of a region."""

    region: Region
    start: int
    end: int


def predict_pieces(
    model: Predictor,
    genome: IndexedGenome,
    regions: Iterable[Region],
    tiling: Tiling,
    *,
    both_strands: bool = False,
) -> Iterator[tuple[Part, Array]]:
    """Yield the pieces of each region with their scores, as `predict_regions`."""
    weights: dict[tuple[int, bool, bool], npt.NDArray[np.float64]] = {}
    total = weight = np.zeros(0)
    for (part, at, is_last), scores in _scored(model, genome, regions, tiling, both_strands):
        if len(total) == 0:
            total, weight = np.zeros(part.end - part.start), np.zeros(part.end - part.start)
        key = len(scores), at == 0, at + len(scores) == genome.lengths[part.region.contig]
        if key not in weights:
            weights[key] = tiling.weights(key[0], first=key[1], last=key[2])
        first, end = max(at, part.start), min(at + len(scores), part.end)
        inside, target = slice(first - at, end - at), slice(first - part.start, end - part.start)
        total[target] += weights[key][inside] * scores[inside]
        weight[target] += weights[key][inside]
        if is_last:
            yield part, (total / weight).astype(np.float32)
            total = np.zeros(0)


def _scored(
    model: Predictor, genome: IndexedGenome, regions: Iterable[Region], tiling: Tiling, both_strands: bool
) -> Iterator[tuple[tuple[Part, int, bool], Array]]:
    """Yield the windows of each piece, its start and whether it is the last one, and its scores, [W]."""

    def windows() -> Iterator[tuple[Part, int, bool]]:
        for region in regions:
            for start in range(region.start, region.end, PIECE):
                part = Part(region, start, min(start + PIECE, region.end))
                starts = tiling.starts(genome.lengths[region.contig], part.start, part.end)
                yield from ((part, at, at == starts[-1]) for at in starts)

    def compute(batch: list[tuple[Part, int, bool]]) -> list[Array]:
        texts = []
        for part, at, _ in batch:
            contig = part.region.contig
            texts.append(genome.letters(contig, at, min(at + tiling.window, genome.lengths[contig])))
        return _masked(model, texts, both_strands)

    batches = _grouped(windows(), model.batch_size)
    for group in _grouped(batches, process.current().world_size):
        for batch, scores in zip(group, process.map_over_ranks(group, compute, together=True), strict=True):
            yield from zip(batch, scores, strict=True)


def _masked(model: Predictor, texts: list[str], both_strands: bool) -> list[Array]:
    """Return the scores of windows, NaN at letters that are no base; a window of none is not computed."""
    known = [encode(text) != NOT_A_BASE for text in texts]
    read = [index for index, each in enumerate(known) if each.any()]
    scores = [np.full(len(text), np.nan, dtype=np.float32) for text in texts]
    found = model.predict([texts[index] for index in read])
    if both_strands:
        turned = model.predict([other_strand(texts[index]) for index in read])
        found = [(one + other[::-1]) * np.float32(0.5) for one, other in zip(found, turned, strict=True)]
    for index, values in zip(read, found, strict=True):
        scores[index][known[index]] = values[known[index]]
    return scores


def _grouped(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """Yield `size` items at a time."""
    while some := list(islice(items, size)):
        yield some
