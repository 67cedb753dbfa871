"""What a predicted track holds, counted as it passes by, and how well it agrees with a known one.

Shapes: L bases of a piece; B blocks of the genome.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import moments, pearson_estimate
from dnalm.data.labels import Rename
from dnalm.errors import InputError
from dnalm.formats.bigwig import open_track
from dnalm.results.use import TrackExample, TruthMetrics
from dnalm.use.predict import Array, Part

EXAMPLE, EXAMPLES = 300, 4
"""Bases of an example, and how many there are at most: the stretches around the highest scores."""
BLOCK, BLOCKS = 10_000, 20_000
"""Bases of a block that is resampled; longer ones where there would be more blocks than these."""


class KnownTrack:
    """A known track, bigWig or bedGraph, 0 where it has no data, and the moments of both by block.

    Args:
        path: the file.
        lengths: bases of each contig of the genome.
        rename: how contigs of the genome are called in the file, see `dnalm.data.labels.rename_rule`.
        bases: that will be compared.

    Raises:
        InputError: if the file is no track, is damaged, or has no contig of the genome.
    """

    def __init__(self, path: Path, lengths: dict[str, int], rename: Rename, bases: int) -> None:
        self.path, self._track = path, open_track(path)
        self._names = {
            contig: name
            for contig in lengths
            for name in reversed(rename(contig))  # the likeliest is the first
            if name in self._track.contigs
        }
        if not self._names:
            theirs, own = (", ".join(list(each)[:3]) for each in (self._track.contigs, lengths))
            raise InputError(
                f"`truth` {path}: none of its contigs is in the genome: {theirs} in the file, {own} in the "
                "genome; `rename` chr or a file matches names"
            )
        self.block = max(BLOCK, bases // BLOCKS)
        self._sums: dict[tuple[str, int], npt.NDArray[np.float64]] = defaultdict(lambda: np.zeros(6))

    def values(self, contig: str, start: int, end: int) -> Array | None:
        """Return the track at bases of a contig of the genome, [L]; None if it lacks the contig."""
        name = self._names.get(contig)
        return None if name is None else self._track.values(name, start, end)

    def compare(self, contig: str, start: int, scores: Array) -> Array | None:
        """Add the scores of a piece, [L], NaN without one, to the moments; return the track there."""
        truth = self.values(contig, start, start + len(scores))
        if truth is None:
            return None
        end = start + len(scores)
        for first in range(start // self.block * self.block, end, self.block):
            part = slice(max(first, start) - start, min(first + self.block, end) - start)
            known = ~np.isnan(scores[part])
            if known.any():
                both = truth[part][known][None], scores[part][known][None]
                self._sums[contig, first] += moments(*both)[0]
        return truth

    def metrics(self) -> TruthMetrics:
        """Return how well all pieces agree."""
        sums = np.array([*self._sums.values(), *([] if self._sums else [np.zeros(6)])])
        r = pearson_estimate(sums)
        return TruthMetrics(self.path.name, int(sums[:, 0].sum()), r, len(self._sums), self.block)


class TrackSummary:
    """Counts of a predicted track."""

    def __init__(self, truth: KnownTrack | None = None) -> None:
        self.predicted, self._sum, self.truth = 0, 0.0, truth
        self.examples: list[TrackExample] = []
        """The highest scores with the bases around them, the highest first, at most one of a piece."""

    @property
    def mean(self) -> float:
        """The mean score."""
        return self._sum / self.predicted if self.predicted else float("nan")

    def passing(
        self, pieces: Iterable[tuple[Part, Array]], advance: Callable[[int], None]
    ) -> Iterator[tuple[str, int, Array]]:
        """Yield pieces as `write_track` takes them; `advance` gets the number of bases of each."""
        for part, scores in pieces:
            contig = part.region.contig
            truth = self.truth.compare(contig, part.start, scores) if self.truth else None
            if known := int((~np.isnan(scores)).sum()):
                self.predicted += known
                self._sum += float(np.nansum(scores, dtype=np.float64))
                self._show(part, scores, truth)
            yield contig, part.start, scores
            advance(len(scores))

    def _show(self, part: Part, scores: Array, truth: Array | None) -> None:
        at = int(np.nanargmax(scores))
        first = max(0, min(at - EXAMPLE // 2, len(scores) - EXAMPLE))
        some = slice(first, first + EXAMPLE)
        example = TrackExample(
            contig=part.region.contig,
            start=part.start + first,
            highest=float(scores[at]),
            values=_rounded(scores[some]),
            truth=None if truth is None else _rounded(truth[some]),
        )
        self.examples = sorted([*self.examples, example], key=lambda each: -each.highest)[:EXAMPLES]


def _rounded(values: Array) -> list[float]:
    return [round(value, 4) for value in values.tolist()]
