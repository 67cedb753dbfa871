"""How well predicted tracks match the truth: Pearson's R with its interval, and what the report draws.

Shapes used below
    N  windows                       L  bases in a window
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from dnalm.bootstrap import Numbers, moments, paired_difference, pearson, pearson_estimate

Tracks = npt.NDArray[np.float32]

PUBLISHED_BATCH = 64
"""Windows over which the published project computes an R, of which it then takes the mean."""
WINDOWS_DRAWN = 5
BINS = 60
"""Bins of an axis of the density."""


def binding_scores(truth: Tracks, predicted: Tracks) -> dict[str, Any]:
    """Score predicted tracks.

    Args:
        truth: [N, L]; a base whose score is not 0 is inside a site.
        predicted: [N, L].

    Returns:
        `pearson_r` over all bases, with the 95 % bootstrap interval over windows; `pearson_r_batches`, the
        published figure: the mean of R over batches of 64 windows, in their order; `mse`; `auroc` and
        `auprc` of "inside a site", and `site_share`, which is the AUPRC of guessing; `median_window_r`;
        `windows` and `bases`. NaN where it is not defined, as for an R of a prediction that never varies.
    """
    sums = moments(truth, predicted)
    estimate = pearson_estimate(sums)
    batches = [pearson(sums[at : at + PUBLISHED_BATCH].sum(0)) for at in range(0, len(sums), PUBLISHED_BATCH)]
    inside = truth != 0
    auroc, auprc = math.nan, math.nan
    if inside.any() and not inside.all():
        scores, labels = (
            torch.from_numpy(predicted.ravel()),
            torch.from_numpy(inside.ravel().astype(np.int64)),
        )
        scores = scores.double()  # torchmetrics squeezes what is outside 0 to 1 through a sigmoid
        low, high = scores.min(), scores.max()
        scores = (scores - low) / (high - low if high > low else 1.0)
        auroc, auprc = float(binary_auroc(scores, labels)), float(binary_average_precision(scores, labels))
    return {
        "pearson_r": {"value": estimate.value, "low": estimate.low, "high": estimate.high},
        "pearson_r_batches": _mean(batches),
        "mse": float(np.square(truth.astype(np.float64) - predicted).mean()),
        "auroc": auroc,
        "auprc": auprc,
        "site_share": float(inside.mean()),
        "median_window_r": _median(pearson(sums)),
        "windows": len(truth),
        "bases": truth.size,
    }


def binding_detail(names: Sequence[str], truth: Tracks, predicted: Tracks) -> dict[str, Any]:
    """Return what the report draws: five windows, density of predicted against true, error by position.

    Args:
        names: of the windows, N.
        truth: [N, L].
        predicted: [N, L].

    Returns:
        JSON values: `tracks`, `density`, `error_by_position` (root mean squared).
    """
    rows = ((np.arange(WINDOWS_DRAWN) + 0.5) * len(names) / WINDOWS_DRAWN).astype(int)
    tracks = [
        {
            "window": names[row],
            "truth": np.round(truth[row], 4).tolist(),
            "predicted": np.round(predicted[row].astype(np.float64), 4).tolist(),
        }
        for row in dict.fromkeys(rows.tolist())
    ]
    low = min(float(truth.min()), float(predicted.min()))
    high = max(float(truth.max()), float(predicted.max()))
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    counts, _, _ = np.histogram2d(truth.ravel(), predicted.ravel(), bins=[edges, edges])
    error = np.sqrt(np.square(truth.astype(np.float64) - predicted).mean(0))
    return {
        "tracks": tracks,
        "density": {"edges": edges.tolist(), "counts": counts.astype(int).tolist()},
        "error_by_position": error.tolist(),
    }


def paired_comparisons(sums: Mapping[str, Numbers]) -> list[dict[str, Any]]:
    """Return the difference in R of every two models on the same windows, with its 95 % paired interval.

    Args:
        sums: moments [N, 6] by model; one whose R is not defined is left out.
    """
    known = {name: each for name, each in sums.items() if np.isfinite(pearson(each.sum(0)))}
    names = list(known)
    return [
        {"one": one, "other": other, **paired_difference(known[one], known[other])._asdict()}
        for place, one in enumerate(names)
        for other in names[place + 1 :]
    ]


def _mean(values: Sequence[Numbers]) -> float:
    kept = [float(value) for value in values if np.isfinite(value)]
    return float(np.mean(kept)) if kept else math.nan


def _median(values: Numbers) -> float:
    kept = values[np.isfinite(values)]
    return float(np.median(kept)) if len(kept) else math.nan
