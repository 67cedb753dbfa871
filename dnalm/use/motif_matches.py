"""Important stretches of a sequence, and the motifs of a library that they resemble.

Shapes: L letters of a sequence; W bases of a stretch.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from dnalm.errors import import_extra
from dnalm.formats.motif import read_motifs
from dnalm.results.use import Match, Stretch

Array = npt.NDArray[np.float32]
NARROWEST, WIDEST = 6, 25
"""Bases of a stretch: of the shortest motifs, and more than most."""
COST = 0.15
"""What a base must contribute to be worth having in a stretch, as a part of the highest attribution."""
CONTRAST = 4.0
"""Nats between the base that fits best and the others, at the position of a stretch where it matters most."""
SHOWN = 5  # motifs of a stretch


def important_stretches(attribution: Array, count: int = 3) -> Iterator[tuple[int, int, float]]:
    """Yield start, end and sum of the stretches with the highest attributions, [L], none overlapping.

    A stretch is the one with the highest sum of attributions less `COST` of the highest each (Kadane's
    algorithm), widened to `NARROWEST` bases where the sequence has them.
    """
    rest = np.nan_to_num(attribution).astype(np.float64)
    highest = rest.max(initial=0.0)
    for _ in range(count):
        start, end = _best(rest - COST * highest)
        if end == start or rest[start:end].max() <= COST * highest:
            return
        while end - start < min(NARROWEST, len(rest)):
            left, right = (rest[at] if 0 <= at < len(rest) else -np.inf for at in (start - 1, end))
            start, end = (start - 1, end) if left > right else (start, end + 1)
        yield start, end, float(np.nansum(attribution[start:end]))
        rest[start:end] = -np.inf


def _best(gains: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Return the run of at most `WIDEST` gains with the highest sum; empty if none is above 0."""
    best, found, total, start = 0.0, (0, 0), 0.0, 0
    for at, gain in enumerate(gains.tolist()):
        if total <= 0 or at - start == WIDEST:
            total, start = 0.0, at
        total += gain
        if total > best:
            best, found = total, (start, at + 1)
    return found


def effect_matrix(effects: Array) -> npt.NDArray[np.float64]:
    """Return probabilities of bases, [W, 4], of which each is the more likely the more it adds to the output.

    Args:
        effects: [W, 4]: change of the output with each base.
    """
    relative = np.nan_to_num(effects - effects.mean(axis=1, keepdims=True)).astype(np.float64)
    scale = np.ptp(relative, axis=1).max(initial=0.0)
    weights = np.exp(CONTRAST * relative / scale) if scale else np.ones_like(relative)
    matrix: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return matrix


class MotifLibrary:
    """Motifs that stretches are compared with, by Tomtom.

    Args:
        path: of a file in MEME's, HOMER's or JASPAR's format.

    Raises:
        InputError: if the file has no motif or is damaged, or memelite is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tomtom = import_extra("memelite.tomtom", "explain", "`motifs`").tomtom
        motifs = list(read_motifs(path))
        self.names = [motif.name for motif in motifs]
        self._matrices = [np.ascontiguousarray(motif.probabilities.T) for motif in motifs]

    def matches(self, matrices: Sequence[npt.NDArray[np.float64]]) -> list[list[Match]]:
        """Return the motifs nearest to each matrix, [W, 4], the lowest p-value first."""
        if not matrices:
            return []
        threads = torch.get_num_threads()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a library of few motifs
            queries = [np.ascontiguousarray(each.T) for each in matrices]
            p, _, _, overlaps, strands, nearest = self._tomtom(
                queries, self._matrices, n_nearest=min(SHOWN, len(self.names)), n_jobs=1
            )
        torch.set_num_threads(threads)  # numba's start has changed OpenMP's number, for torch too
        rows = zip(p, overlaps, strands, nearest, strict=True)
        return [
            [
                Match(
                    self.names[int(motif)],
                    float(value),
                    float(value) * len(self.names),
                    "-" if turned else "+",
                    int(overlap),
                )
                for value, overlap, turned, motif in zip(*row, strict=True)
            ]
            for row in rows
        ]


def stretches(
    attribution: Array, matrix: npt.NDArray[np.float64], library: MotifLibrary | None
) -> list[Stretch]:
    """Return the important stretches of a sequence, each with the motifs that it resembles.

    Args:
        attribution: [L].
        matrix: probabilities of bases, [L, 4], as a model wants or expects them.
        library: None for stretches alone.
    """
    found = list(important_stretches(attribution))
    matches = [[] for _ in found] if library is None else library.matches([matrix[a:b] for a, b, _ in found])
    return [Stretch(*each, named) for each, named in zip(found, matches, strict=True)]
