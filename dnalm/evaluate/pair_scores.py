"""Scores of predicted interactions: ranking, enrichment and calibration.

All scores but Brier's and the calibration error depend on the order of the predictions alone. Scores that
need both classes are NaN if there is only one.

Shapes: N pairs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import Numbers
from dnalm.data.pairs import Rows
from dnalm.errors import InputError
from dnalm.evaluate.auroc import area_estimates, auroc

Labels = npt.NDArray[np.uint8]

BINS = 15
"""Bins of the calibration error, of equally many pairs, and of the reliability diagram, of equal width."""
COUNTS = (0, 1, 4, 16, 64, 256, 1024)
"""First counts of the bins of training pairs."""
TOP = 0.01
"""Fraction of the ranking that a screen would follow up, for the enrichment factor."""
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 100.0
"""Separated pairs would have a temperature of 0, wrongly ordered ones of infinity."""


def interaction_scores(
    label: Labels,
    score: Numbers,
    gene: Rows,
    molecule: Rows,
    clusters: Sequence[Rows] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Score predicted probabilities of interactions, [N]; return the JSON values of `results.PairScores`.

    `clusters` are the units of the bootstrap, each [N], see `resampled_areas`; molecules unless given. A
    score that is not defined is NaN.

    Raises:
        InputError: if a score is not from 0 to 1.
    """
    if not ((score >= 0) & (score <= 1)).all():
        raise InputError(
            f"expected scores from 0 to 1, got {score.min():g} to {score.max():g}; the model may have "
            "diverged: train it again with a lower `lr`"
        )
    auroc, average = area_estimates(label, score, [molecule] if clusters is None else clusters, seed)
    return {
        "auroc": auroc._asdict(),
        "auprc": average._asdict(),
        "prevalence": _mean(label.astype(np.float64)),
        "auroc_per_gene": grouped_auroc(label, score, gene),
        "auroc_per_molecule": grouped_auroc(label, score, molecule),
        "ef1": enrichment(label, score),
        "brier": _mean(np.square(score - label)),
        "ece": calibration_error(label, score),
        "reliability": reliability(label, score),
        "rows": len(label),
        "positives": int(label.sum()),
    }


def grouped_auroc(label: Labels, score: Numbers, group: Rows) -> dict[str, Any]:
    """Return the mean AUROC within groups that have both classes, and their number; all arrays [N]."""
    order = np.lexsort((score, group))
    groups, scores, hit = group[order], score[order], label[order].astype(np.float64)
    if not len(order):
        return {"value": float("nan"), "groups": 0}
    first = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    size = np.diff(np.r_[first, len(groups)])
    tied = np.flatnonzero(np.r_[True, (groups[1:] != groups[:-1]) | (scores[1:] != scores[:-1])])
    length = np.diff(np.r_[tied, len(groups)])
    # Ranks begin at 1 in every group; tied rows have the mean of their ranks (Mann and Whitney 1947).
    rank = np.repeat(tied + (length + 1) / 2, length) - np.repeat(first, size)
    positives = np.add.reduceat(hit, first)
    negatives = size - positives
    ranks = np.add.reduceat(rank * hit, first)
    both = (positives > 0) & (negatives > 0)
    won = ranks[both] - positives[both] * (positives[both] + 1) / 2
    return {"value": _mean(won / (positives[both] * negatives[both])), "groups": int(both.sum())}


def auroc_by_count(label: Labels, score: Numbers, count: Rows) -> list[dict[str, Any]]:
    """Return the AUROC of pairs by how many training pairs their gene, or molecule, has; all arrays [N].

    Returns:
        One entry a bin of counts, JSON values of `results.CountBin`; empty bins are left out.
    """
    found = []
    bin_of = np.searchsorted(COUNTS, count, side="right") - 1
    for row, first in enumerate(COUNTS):
        if (inside := bin_of == row).any():
            last = COUNTS[row + 1] - 1 if row + 1 < len(COUNTS) else None
            area = auroc(label[inside], score[inside])
            found.append({"first": first, "last": last, "rows": int(inside.sum()), "auroc": area})
    return found


def enrichment(label: Labels, score: Numbers, top: float = TOP) -> float:
    """Return the fraction of positives in the first `top` of the ranking over their fraction in all.

    At least one pair is first. Pairs tied at the end of the first `top` count by the fraction of positives
    among them, so that the order of the rows does not matter.
    """
    if not label.any() or label.all():
        return float("nan")
    count = max(1, int(np.ceil(top * len(score) - 1e-9)))
    last = np.partition(score, len(score) - count)[len(score) - count]
    above, tied = score > last, score == last
    hits = label[above].sum() + (count - above.sum()) * label[tied].mean()
    return float(hits / count / label.mean())


def reliability(label: Labels, score: Numbers) -> dict[str, list[float]]:
    """Return the data of a reliability diagram, as of `results.Reliability`; NaN in an empty bin."""
    bin_of = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(bin_of, minlength=BINS)
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(bin_of, weights=score, minlength=BINS) / count
        observed = np.bincount(bin_of, weights=label, minlength=BINS) / count
    columns = {"edges": np.linspace(0.0, 1.0, BINS + 1), "predicted": predicted, "observed": observed}
    return {name: column.tolist() for name, column in (columns | {"count": count}).items()}


def cross_entropy(label: Labels, logits: Numbers) -> float:
    """Return the mean cross-entropy of logits, in nats a pair."""
    return float((np.logaddexp(0.0, logits) - label * logits).mean())


def calibration_error(label: Labels, score: Numbers) -> float:
    """Return the expected calibration error (Guo et al. 2017, equation 3), in bins of equally many pairs.

    Bins of equal width would hold next to no pairs where predictions are close together, as they mostly are.
    """
    if not len(score):
        return float("nan")
    bins = np.array_split(np.argsort(score, kind="stable"), min(BINS, len(score)))
    return float(sum(len(b) * abs(score[b].mean() - label[b].mean()) for b in bins) / len(score))


def fit_temperature(logits: Numbers, label: Labels) -> float:
    """Return the temperature T, 0.05 to 100, for which sigmoid(logits / T) fits the labels [N] best.

    It is 1, which changes nothing, without both classes. The method is that of Guo et al. 2017, section 4.2;
    the pairs did not train the model. The likelihood is concave in 1 / T, so that the zero of its slope is
    found by bisection.
    """
    if not label.any() or label.all():
        return 1.0
    low, high = np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)
    for _ in range(60):
        middle = (low + high) / 2
        slope = float(((probability(logits, float(np.exp(middle))) - label) * logits).mean())
        low, high = (low, middle) if slope < 0 else (middle, high)
    return float(np.exp((low + high) / 2))


def probability(logits: Numbers, temperature: float = 1.0) -> Numbers:
    """Return sigmoid(logits / temperature), [N]."""
    scaled = logits / temperature
    small = np.exp(-np.abs(scaled))
    sigmoid: Numbers = np.where(scaled >= 0, 1.0, small) / (1.0 + small)
    return sigmoid


def _mean(values: Numbers) -> float:
    return float(values.mean()) if len(values) else float("nan")
