"""How many labels pretraining saves: scores of models by the number of labels they were trained on.

Shapes: F numbers of labels, ascending; S seeds; N test windows; G stretches of them; R bootstrap resamples.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import RESAMPLES, Estimate, Numbers, pearson, resamples
from dnalm.formats.binding import parse_name
from dnalm.results.labels import PRETRAINED, RULE, STRETCH


def sum_stretches(sums: Numbers, names: Sequence[str]) -> Numbers:
    """Return moments of windows, [N, 6], summed over those that begin in the same `STRETCH`, [G, 6]."""
    places = [parse_name(name) for name in names]
    keys = [f"{contig}:{start // STRETCH}" for contig, start, _ in places]
    found, group = np.unique(keys, return_inverse=True)
    total: Numbers = np.zeros((len(found), sums.shape[1]))
    np.add.at(total, group, sums)
    return total


def curve_statistics(sums: Mapping[str, Numbers], bases: Sequence[int]) -> dict[str, Any]:
    """Return scores, paired differences and the labels that pretraining saves.

    A score is the mean over seeds of Pearson's R over all test bases, 0 for a constant prediction. Intervals
    resample stretches of the test part and seeds together, the same for all models.

    Args:
        sums: moments [F, S, G, 6] of each model, `PRETRAINED` among them, of the same test bases; those of
            `RULE`, which saving leaves out, are all alike.
        bases: labelled bases of each number of labels, [F].

    Returns:
        `scores`: an estimate for each of F, by model. `runs`: R of each seed, [F, S], by model. `minus`: the
        pretrained model's score minus that of each other one, [F]. `saving`: of each of F, how many times its
        labels the best of the others needs for the score of the pretrained model (interpolated between the
        logarithms of bases), and whether the largest number of labels is not enough for it (`at_least`).
    """
    runs = {name: _score(each.sum(2)) for name, each in sums.items()}  # [F, S]
    means = {name: each.mean(1) for name, each in runs.items()}  # [F]
    resampled = _resampled(sums)  # [F, R] each
    others = [name for name in sums if name != PRETRAINED]
    scores = {name: _estimates(means[name], resampled[name]) for name in sums}
    ahead = {
        name: _estimates(means[PRETRAINED] - means[name], resampled[PRETRAINED] - resampled[name])
        for name in others
    }
    trained = [name for name in others if not name.startswith(RULE)]
    best = np.maximum.accumulate(np.max([means[name] for name in trained], axis=0))
    factors = _factors(means[PRETRAINED][:, None], best[:, None], bases)
    best_resampled = np.maximum.accumulate(np.max([resampled[name] for name in trained], axis=0))
    saved = _estimates(factors[:, 0], _factors(resampled[PRETRAINED], best_resampled, bases))
    return {
        "scores": {name: [each._asdict() for each in list_] for name, list_ in scores.items()},
        "runs": {name: each.tolist() for name, each in runs.items()},
        "minus": {name: [each._asdict() for each in list_] for name, list_ in ahead.items()},
        "saving": [
            factor._asdict() | {"at_least": bool(score > best[-1])}
            for factor, score in zip(saved, means[PRETRAINED], strict=True)
        ],
    }


def _score(sums: Numbers) -> Numbers:
    """Return R of moments [..., 6]; a constant prediction has the score 0."""
    return np.nan_to_num(pearson(sums), nan=0.0)


def _resampled(sums: Mapping[str, Numbers], seed: int = 0) -> dict[str, Numbers]:
    """Return the score of each resample of stretches and seeds, [F, R], by model."""
    seeds, stretches = next(iter(sums.values())).shape[1:3]
    draws = np.random.default_rng(seed + 1)
    found: dict[str, list[Numbers]] = {name: [] for name in sums}
    for picks in resamples(stretches, seed):
        weights = draws.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(picks)) / seeds  # [B, S]
        for name, each in sums.items():
            scores = _score(np.einsum("bg,fsgk->fbsk", picks, each, optimize=True))  # [F, B, S]
            found[name].append((scores * weights).sum(-1))
    return {name: np.concatenate(parts, axis=1) for name, parts in found.items()}


def _factors(score: Numbers, best: Numbers, bases: Sequence[int]) -> Numbers:
    """Return labels that the others need for a score over those that it took, [F, R]; both are [F, R]."""
    log_bases = np.log(bases)
    needed = [np.interp(score[:, at], best[:, at], log_bases) for at in range(score.shape[1])]
    return np.exp(np.stack(needed, axis=1) - log_bases[:, None])


def _estimates(values: Numbers, resampled: npt.NDArray[np.float64]) -> list[Estimate]:
    assert resampled.shape == (len(values), RESAMPLES)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=1)
    return [Estimate(*map(float, each)) for each in zip(values, low, high, strict=True)]
