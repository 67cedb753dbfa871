"""Pearson's R of predicted and true tracks, with bootstrap intervals over windows (Efron 1979).

R needs six sums a window and nothing else, so that resampling windows is a matrix product, a few resamples at
a time: all of them would be 32 kB a window.

Shapes used below
    N  windows                       L  bases in a window
    R  bootstrap resamples           B  resamples held in memory at a time
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.errors import InputError

Numbers = npt.NDArray[np.float64]

RESAMPLES = 2000
"""Bootstrap resamples of an interval."""
AT_ONCE = 40
"""Resamples in memory at a time; a multiple of 8, so that few sums round otherwise than all at once."""


class Estimate(NamedTuple):
    """A figure and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def moments(truth: npt.NDArray[np.floating], predicted: npt.NDArray[np.floating]) -> Numbers:
    """Return count, sums, sums of squares and sum of products of each window; both arguments are [N, L].

    Returns:
        [N, 6] float64: n, x, y, xx, yy, xy, where x is the truth.
    """
    x, y = truth.astype(np.float64), predicted.astype(np.float64)
    count = np.full(len(x), x.shape[1], dtype=np.float64)
    sums = [count, x.sum(1), y.sum(1), (x * x).sum(1), (y * y).sum(1), (x * y).sum(1)]
    return np.stack(sums, axis=1)


def pearson(sums: Numbers) -> Numbers:
    """Return Pearson's R from moments [..., 6]; NaN where truth or prediction is constant.

    Moments of windows may be summed first: `pearson(moments(...).sum(0))` is R over all bases.
    """
    n, x, y, xx, yy, xy = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    spread_x, spread_y = xx - x * x / n, yy - y * y / n
    # A spread below the rounding error of its own sums is none.
    flat = (spread_x <= 1e-12 * np.abs(xx)) | (spread_y <= 1e-12 * np.abs(yy))
    with np.errstate(divide="ignore", invalid="ignore"):
        r: Numbers = np.where(flat, np.nan, (xy - x * y / n) / np.sqrt(spread_x * spread_y))
    return r


def pearson_estimate(sums: Numbers, seed: int = 0) -> Estimate:
    """Return R over all bases and its interval, resampling windows; `sums` is [N, 6]."""
    resampled = np.concatenate([picks @ sums for picks in resamples(len(sums), seed)])  # [R, 6]
    return _estimate(pearson(sums.sum(0)), pearson(resampled))


def paired_difference(one: Numbers, other: Numbers, seed: int = 0) -> Estimate:
    """Return R of `one` minus R of `other`, resampled together; each is [N, 6], of the same windows."""
    if one.shape != other.shape or not np.allclose(one[:, [0, 1, 3]], other[:, [0, 1, 3]], rtol=1e-6):
        counts = f"{len(one):,} and {len(other):,} windows"
        raise InputError(f"expected moments of the same windows and truth, got {counts}")
    value = pearson(one.sum(0)) - pearson(other.sum(0))
    resampled = [pearson(picks @ one) - pearson(picks @ other) for picks in resamples(len(one), seed)]
    return _estimate(value, np.concatenate(resampled))


def resamples(count: int, seed: int) -> Iterator[Numbers]:
    """Yield the multiplicity of each of `count` windows in each resample, [B, N], `RESAMPLES` rows in all."""
    draws, chances = np.random.default_rng(seed), np.full(count, 1 / count)
    for first in range(0, RESAMPLES, AT_ONCE):
        size = min(AT_ONCE, RESAMPLES - first)
        yield draws.multinomial(count, chances, size=size).astype(np.float64)


def _estimate(value: Numbers, resampled: Numbers) -> Estimate:
    kept = resampled[np.isfinite(resampled)]
    low, high = np.quantile(kept, [0.025, 0.975]) if len(kept) else (np.nan, np.nan)
    return Estimate(float(value), float(low), float(high))
