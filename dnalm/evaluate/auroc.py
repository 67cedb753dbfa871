"""AUROC and average precision with their bootstrap by clusters of rows (Efron 1979), exact with ties.

Rows of one molecule are not independent, so whole molecules are drawn, or genes, or both, each by itself
(Owen 2007, The pigeonhole bootstrap). A draw only weighs the rows: the scores are sorted once, and every
resample is a cumulative sum of weights.

Shapes used below
    N  rows                          P  positive rows, Q negative ones: N = P + Q
    C  clusters                      R  resamples, all of them or those at hand
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import RESAMPLES, Estimate

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

AT_ONCE = 1_000_000
"""Weights held at a time: no result depends on it."""


class Areas(NamedTuple):
    """Areas under two curves, one of each for every set of weights."""

    auroc: Numbers
    """Under the receiver operating characteristic, [R]."""
    average_precision: Numbers
    """Precision at each threshold, weighted by the recall won there, [R]; no line is drawn between points."""


class Ranked:
    """Rows sorted once by their scores, to be weighed many times.

    Args:
        label: 0 or 1, [N].
        score: finite, high where a 1 is expected, [N].
    """

    def __init__(self, label: npt.NDArray[np.generic], score: npt.NDArray[np.floating]) -> None:
        hits, misses = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
        assert len(hits) + len(misses) == len(score)
        self._hits = hits[np.argsort(-score[hits], kind="stable")]  # [P], the highest score first
        self._misses = misses[np.argsort(score[misses], kind="stable")]  # [Q], the lowest first
        high, low = score[self._hits], score[self._misses]
        self._below = np.searchsorted(low, high, side="left")  # [P]: negatives below each positive
        self._upto = np.searchsorted(low, high, side="right")  # [P]: and with those tied
        self._found = np.searchsorted(-high, -high, side="right") - 1  # [P]: the last positive tied with it

    def areas(self, weights: Numbers) -> Areas:
        """Return both areas under every column of `weights`, [N, R]; NaN where a class weighs nothing."""
        hits = weights[self._hits]  # [P, R]
        misses = np.zeros((len(self._misses) + 1, weights.shape[1]))
        np.cumsum(weights[self._misses], axis=0, out=misses[1:])  # [Q + 1, R]: of the lowest 0, 1, 2 ...
        below, all_misses, all_hits = misses[self._below], misses[-1], hits.sum(axis=0)
        won = np.einsum("pr,pr->r", hits, below + misses[self._upto])
        found = np.cumsum(hits, axis=0)[self._found]
        drawn = found + all_misses - below
        precision = np.divide(found, drawn, out=np.zeros_like(found), where=drawn > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            auroc = won / (2 * all_hits * all_misses)
            average = np.einsum("pr,pr->r", hits, precision) / all_hits
        return Areas(auroc, np.where(all_misses > 0, average, np.nan))


def areas(
    label: npt.NDArray[np.generic], score: npt.NDArray[np.floating], weights: Numbers | None = None
) -> tuple[float, float]:
    """Return AUROC and average precision, rows weighed by `weights` [N]; NaN where there is one class."""
    weighed = np.ones(len(score)) if weights is None else weights
    found = Ranked(label, score).areas(weighed[:, None])
    return float(found.auroc[0]), float(found.average_precision[0])


def auroc(label: npt.NDArray[np.uint8], score: Numbers) -> float:
    """Return the area under the ROC curve, ties counted half; NaN if a score is not finite.

    It is Mann and Whitney's U (1947) over its largest value: torchmetrics computes it in float32, and of
    scores outside 0 to 1 after a sigmoid that makes ties of large logits.
    """
    if not np.isfinite(score).all():
        return math.nan
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # from 1; tied scores share the mean of theirs
    positives = int(label.sum())
    won = rank[label == 1].sum() - positives * (positives + 1) / 2
    return float(won / (positives * (len(label) - positives)))


def resampled_areas(
    label: npt.NDArray[np.generic],
    scores: Sequence[npt.NDArray[np.floating]],
    clusters: Sequence[Rows],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Areas]:
    """Return the areas of each of `scores` in resamples of whole clusters, the same resamples for all.

    Args:
        label: 0 or 1, [N].
        scores: each [N].
        clusters: each [N]: which cluster a row is of. Of several kinds each is drawn by itself, and a row
            counts as often as all of its clusters together: the product.
        seed: of the draws.
        resamples: R.

    Returns:
        One for each of `scores`, of R values; NaN in a resample that holds one class only.
    """
    ranked = [Ranked(label, score) for score in scores]
    parts: list[list[Areas]] = [[] for _ in scores]
    for weights in _weights(clusters, seed, resamples):
        for each, kept in zip(ranked, parts, strict=True):
            kept.append(each.areas(weights))
    return [Areas(*(np.concatenate(column) for column in zip(*kept, strict=True))) for kept in parts]


def estimate(value: float, resampled: Numbers, clusters: int) -> Estimate:
    """Return `value` with the 95 % interval of its resamples [R]; none from fewer than two clusters."""
    kept = resampled[np.isfinite(resampled)]
    if clusters < 2 or not len(kept) or not np.isfinite(value):
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.quantile(kept, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def _weights(clusters: Sequence[Rows], seed: int, resamples: int) -> Iterator[Numbers]:
    """Yield how often each row is in each resample, [N, R], some resamples at a time."""
    kinds = [np.unique(cluster, return_inverse=True) for cluster in clusters]
    draws = [np.random.default_rng([seed, kind] if kind else seed) for kind in range(len(kinds))]
    step = max(1, AT_ONCE // max(1, len(clusters[0])))
    for start in range(0, resamples, step):
        taken = min(step, resamples - start)
        weights = np.ones((1, taken))
        for (names, place), drawing in zip(kinds, draws, strict=True):
            count = len(names)
            drawn = drawing.integers(0, count, (taken, count)) * taken + np.arange(taken)[:, None]  # [R, C]
            often = np.bincount(drawn.ravel(), minlength=count * taken).reshape(count, taken)  # [C, R]
            weights = weights * often.astype(np.float64)[place]
        yield weights
