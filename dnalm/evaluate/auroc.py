"""AUROC and average precision with a bootstrap by clusters of rows (Efron 1979), exact with ties.

Rows of one molecule are not independent, so complete molecules are resampled, or genes, or both independently
(Owen 2007, The pigeonhole bootstrap). A resample only changes the weights of rows: the scores are sorted
once, and every resample is a cumulative sum of weights.

Shapes: N rows; P positive rows, Q negative ones: N = P + Q; C clusters; R resamples, all of them or those of
a batch.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import RESAMPLES, Estimate, Numbers
from dnalm.data.pairs import Rows

Labels = npt.NDArray[np.generic]
Scores = npt.NDArray[np.floating]

MAX_WEIGHTS = 1_000_000
"""Weights in memory at a time; no result depends on it."""


class Areas(NamedTuple):
    """Areas under two curves, one of each for every set of weights."""

    auroc: Numbers  # under the receiver operating characteristic, [R]
    average_precision: Numbers  # precision at each threshold, weighted by the increase in recall, [R]


class RankedRows:
    """Rows, label 0 or 1 and finite score [N], sorted once by their scores, to be weighted many times."""

    def __init__(self, label: Labels, score: Scores) -> None:
        positives, negatives = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
        assert len(positives) + len(negatives) == len(score)
        self._positives = positives[np.argsort(-score[positives], kind="stable")]  # [P], highest score first
        self._negatives = negatives[np.argsort(score[negatives], kind="stable")]  # [Q], lowest first
        high, low = score[self._positives], score[self._negatives]
        self._below = np.searchsorted(low, high, side="left")  # [P]: negatives below each positive
        self._not_above = np.searchsorted(low, high, side="right")  # [P]: and with those tied
        self._last_tied = np.searchsorted(-high, -high, side="right") - 1  # [P]: last positive of its score

    def areas(self, weights: Numbers) -> Areas:
        """Return both areas under every column of `weights`, [N, R]; NaN where a class has no weight."""
        positives = weights[self._positives]  # [P, R]
        negatives = np.zeros((len(self._negatives) + 1, weights.shape[1]))
        np.cumsum(weights[self._negatives], axis=0, out=negatives[1:])  # [Q + 1, R]: of 0, 1, 2 ...
        below, all_negatives, all_positives = negatives[self._below], negatives[-1], positives.sum(axis=0)
        ordered = np.einsum("pr,pr->r", positives, below + negatives[self._not_above])
        recalled = np.cumsum(positives, axis=0)[self._last_tied]
        retrieved = recalled + all_negatives - below
        precision = np.divide(recalled, retrieved, out=np.zeros_like(recalled), where=retrieved > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            auroc = ordered / (2 * all_positives * all_negatives)
            average = np.einsum("pr,pr->r", positives, precision) / all_positives
        return Areas(auroc, np.where(all_negatives > 0, average, np.nan))


def areas(label: Labels, score: Scores, weights: Numbers | None = None) -> tuple[float, float]:
    """Return AUROC and average precision, of rows weighted by `weights` [N]; NaN for one class.

    Both are NaN if a score is not finite.
    """
    if not np.isfinite(score).all():
        return float("nan"), float("nan")
    weights = np.ones(len(score)) if weights is None else weights
    auroc, average = RankedRows(label, score).areas(weights[:, None])
    return float(auroc[0]), float(average[0])


def auroc(label: Labels, score: Scores) -> float:
    """Return the area under the ROC curve, ties counted half; NaN for one class or non-finite scores."""
    return areas(label, score)[0]


def resampled_areas(
    label: Labels,
    scores: Sequence[Scores],
    clusters: Sequence[Rows],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Areas]:
    """Return the areas of each of `scores` [N] in resamples of complete clusters, the same resamples for all.

    `clusters`, each [N], are the cluster of a row. Several kinds of clusters are resampled independently, and
    the weight of a row is the product of its clusters' counts. The areas are of R values each, NaN in a
    resample of one class.
    """
    ranked = [RankedRows(label, score) for score in scores]
    parts: list[list[Areas]] = [[] for _ in scores]
    for weights in _weights(clusters, seed, resamples):
        for each, part in zip(ranked, parts, strict=True):
            part.append(each.areas(weights))
    return [Areas(*(np.concatenate(column) for column in zip(*part, strict=True))) for part in parts]


def area_estimates(
    label: Labels, score: Scores, clusters: Sequence[Rows], seed: int = 0
) -> tuple[Estimate, Estimate]:
    """Return AUROC and average precision with their 95 % intervals; see `resampled_areas`."""
    if not len(label):
        return _NONE, _NONE
    (resampled,) = resampled_areas(label, [score], clusters, seed=seed)
    auroc, average = areas(label, score)
    precision = _estimate(average, resampled.average_precision, clusters)
    return _estimate(auroc, resampled.auroc, clusters), precision


def paired_auroc(
    label: Labels, one: Scores, other: Scores, clusters: Sequence[Rows], seed: int = 0
) -> Estimate:
    """Return AUROC of `one` minus AUROC of `other` on the same rows, with its 95 % paired interval.

    The resamples are the same for both; `clusters` as in `resampled_areas`.
    """
    if not len(label):
        return _NONE
    first, second = resampled_areas(label, [one, other], clusters, seed=seed)
    return _estimate(auroc(label, one) - auroc(label, other), first.auroc - second.auroc, clusters)


_NONE = Estimate(float("nan"), float("nan"), float("nan"))


def _estimate(value: float, resampled: Numbers, clusters: Sequence[Rows]) -> Estimate:
    """Return `value` with the 95 % interval of its resamples [R]; without one for a kind of one cluster."""
    finite = resampled[np.isfinite(resampled)]
    if min(len(np.unique(each)) for each in clusters) < 2 or not len(finite) or not np.isfinite(value):
        return _NONE._replace(value=value)
    low, high = np.quantile(finite, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def _weights(clusters: Sequence[Rows], seed: int, resamples: int) -> Iterator[Numbers]:
    """Yield how often each row is in each resample, [N, R], some resamples at a time."""
    kinds = [np.unique(cluster, return_inverse=True) for cluster in clusters]
    generators = [np.random.default_rng([seed, kind] if kind else seed) for kind in range(len(kinds))]
    step = max(1, MAX_WEIGHTS // max(1, len(clusters[0])))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        weights = np.ones((1, size))
        for (names, row), generator in zip(kinds, generators, strict=True):
            count = len(names)
            sampled = generator.integers(0, count, (size, count)) * size + np.arange(size)[:, None]  # [R, C]
            times = np.bincount(sampled.ravel(), minlength=count * size).reshape(count, size)  # [C, R]
            weights = weights * times.astype(np.float64)[row]
        yield weights
