"""How well scores tell pairs of gene and molecule that interact from those that do not.

Every figure but Brier's and the calibration error depends on the order of the scores alone. Whatever needs
both classes is NaN where there is one.

Shapes used below
    N  pairs
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dnalm.errors import InputError
from dnalm.evaluate.auroc import areas, estimate, resampled_areas

Labels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

BINS = 15
"""Bins of equal width for the calibration error (Guo et al. 2017, section 5)."""
TOP = 0.01
"""Share of the list that a screen would follow up, for the enrichment factor."""
COLDEST, HOTTEST = 0.05, 100.0
"""Bounds of the temperature: separated pairs would have one of 0, wrongly ordered ones of infinity."""


def interaction_scores(
    label: Labels,
    score: Numbers,
    gene: Rows,
    molecule: Rows,
    drawn: Sequence[Rows] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Score predicted interactions.

    Args:
        label: 1 where gene and molecule interact, 0 where not, [N].
        score: from 0 to 1; a probability, for Brier's score and the calibration error to mean anything, [N].
        gene: of each pair, [N].
        molecule: of each pair, [N].
        drawn: what the bootstrap draws, each [N], see `resampled_areas`; molecules unless given.
        seed: of the bootstrap.

    Returns:
        JSON values. `auroc` and `auprc` with their 95 % bootstrap intervals;
        `prevalence`, which is the AUPRC of guessing; `auroc_per_gene` and `auroc_per_molecule`, means over
        those with pairs of both classes, and how many `groups` these are; `ef1`, the share of positives in
        the first 1 % of the list over their share in all; `brier`; `ece` and the bins behind it under
        `reliability`; `rows` and `positives`. NaN where a figure is not defined.

    Raises:
        InputError: if a score is not from 0 to 1.
    """
    if not ((score >= 0) & (score <= 1)).all():
        raise InputError(
            f"expected scores from 0 to 1, got {score.min():g} to {score.max():g}; the model may have "
            "diverged: train it again with a lower --lr"
        )
    units = [molecule] if drawn is None else drawn
    if len(score):
        (auroc, average), (resampled,) = (
            areas(label, score),
            resampled_areas(label, [score], units, seed=seed),
        )
        auroc_found = estimate(auroc, resampled.auroc, _fewest(units))
        average_found = estimate(average, resampled.average_precision, _fewest(units))
    else:
        auroc_found = average_found = estimate(np.nan, np.zeros(0), 0)
    bins = reliability(label, score)
    return {
        "auroc": auroc_found._asdict(),
        "auprc": average_found._asdict(),
        "prevalence": _mean(label.astype(np.float64)),
        "auroc_per_gene": grouped_auroc(label, score, gene),
        "auroc_per_molecule": grouped_auroc(label, score, molecule),
        "ef1": enrichment(label, score),
        "brier": _mean(np.square(score - label)),
        "ece": calibration_error(bins),
        "reliability": bins,
        "rows": len(label),
        "positives": int(label.sum()),
    }


def paired_auroc(
    label: Labels, one: Numbers, other: Numbers, drawn: Sequence[Rows], seed: int = 0
) -> dict[str, float]:
    """Return AUROC of `one` less AUROC of `other` on the same pairs, with its 95 % paired interval.

    Args:
        label: 0 or 1, [N].
        one: scores, [N].
        other: scores, [N].
        drawn: what the bootstrap draws, the same for both, each [N], see `resampled_areas`.
        seed: of the bootstrap.
    """
    if not len(label):
        return estimate(np.nan, np.zeros(0), 0)._asdict()
    value = areas(label, one)[0] - areas(label, other)[0]
    first, second = resampled_areas(label, [one, other], drawn, seed=seed)
    return estimate(value, first.auroc - second.auroc, _fewest(drawn))._asdict()


def grouped_auroc(label: Labels, score: Numbers, group: Rows) -> dict[str, Any]:
    """Return the mean AUROC within groups that hold both classes, and how many these are; all arrays [N]."""
    order = np.lexsort((score, group))
    groups, scores, hit = group[order], score[order], label[order].astype(np.float64)
    if not len(order):
        return {"value": float("nan"), "groups": 0}
    first = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    size = np.diff(np.r_[first, len(groups)])
    tied = np.flatnonzero(np.r_[True, (groups[1:] != groups[:-1]) | (scores[1:] != scores[:-1])])
    length = np.diff(np.r_[tied, len(groups)])
    # Ranks begin at 1 in every group; tied rows share the mean of theirs (Mann and Whitney 1947).
    rank = np.repeat(tied + (length + 1) / 2, length) - np.repeat(first, size)
    positives = np.add.reduceat(hit, first)
    negatives = size - positives
    ranks = np.add.reduceat(rank * hit, first)
    both = (positives > 0) & (negatives > 0)
    won = ranks[both] - positives[both] * (positives[both] + 1) / 2
    return {"value": _mean(won / (positives[both] * negatives[both])), "groups": int(both.sum())}


def enrichment(label: Labels, score: Numbers, share: float = TOP) -> float:
    """Return the share of positives in the first `share` of the list over their share in all.

    Pairs tied at the end of the first `share` count by the share of positives among them, so that the order
    of the rows decides nothing.

    Args:
        label: 0 or 1, [N].
        score: [N].
        share: of the list, at least one pair.
    """
    if not label.any() or label.all():
        return float("nan")
    taken = max(1, int(np.ceil(share * len(score) - 1e-9)))
    last = np.partition(score, len(score) - taken)[len(score) - taken]
    above, tied = score > last, score == last
    hits = label[above].sum() + (taken - above.sum()) * label[tied].mean()
    return float(hits / taken / label.mean())


def reliability(label: Labels, score: Numbers) -> dict[str, list[float]]:
    """Return what a reliability diagram draws, [N] pairs in `BINS` bins of equal width.

    Returns:
        `edges`, one more than bins; `predicted`, the mean score of each bin; `observed`, its share of
        positives; `count`. NaN in an empty bin.
    """
    place = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(place, weights=score, minlength=BINS) / count
        observed = np.bincount(place, weights=label, minlength=BINS) / count
    return {
        "edges": np.linspace(0.0, 1.0, BINS + 1).tolist(),
        "predicted": predicted.tolist(),
        "observed": observed.tolist(),
        "count": count.tolist(),
    }


def calibration_error(bins: dict[str, list[float]]) -> float:
    """Return the expected calibration error of reliability bins (Guo et al. 2017, equation 3)."""
    count = np.array(bins["count"], dtype=np.float64)
    gap = np.abs(np.array(bins["predicted"]) - np.array(bins["observed"]))
    return float(np.nansum(count * gap) / count.sum()) if count.sum() else float("nan")


def fit_temperature(logits: Numbers, label: Labels) -> float:
    """Return the temperature T for which sigmoid(logits / T) fits the labels best.

    The method is that of Guo et al. 2017, section 4.2. The likelihood is concave in 1 / T, so that the zero
    of its slope is found by halving.

    Args:
        logits: of pairs that did not train the model, [N].
        label: 0 or 1, [N].

    Returns:
        From 0.05 to 100; 1, which changes nothing, where there are not both classes.
    """
    if not label.any() or label.all():
        return 1.0
    cold, hot = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(60):
        middle = (cold + hot) / 2
        slope = float(((probability(logits, float(np.exp(middle))) - label) * logits).mean())
        cold, hot = (cold, middle) if slope < 0 else (middle, hot)  # below 0: surer would be better
    return float(np.exp((cold + hot) / 2))


def probability(logits: Numbers, temperature: float = 1.0) -> Numbers:
    """Return sigmoid(logits / temperature), [N]."""
    scaled = logits / temperature
    small = np.exp(-np.abs(scaled))
    found: Numbers = np.where(scaled >= 0, 1.0, small) / (1.0 + small)
    return found


def _fewest(drawn: Sequence[Rows]) -> int:
    """Return how many there are to be drawn of the kind that has the fewest."""
    return min(len(np.unique(each)) for each in drawn)


def _mean(values: Numbers) -> float:
    return float(values.mean()) if len(values) else float("nan")
