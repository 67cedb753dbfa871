"""Is a score of variants good for anything? Rare ones against common ones.

Selection keeps harmful alleles rare, so a score of harm should be higher in them. Only SNVs are compared:
what the scores of insertions and deletions are worth is another question. Intervals are over blocks of the
genome.

Shapes: N SNVs; C columns of a scorer; B blocks; R resamples.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import Estimate, Numbers, resamples
from dnalm.dna import BASES
from dnalm.evaluate.auroc import area_estimates, paired_auroc
from dnalm.results.use import Contrast, VariantScore

BLOCK = 100_000
"""Bases of a block of the genome; variants of one block are resampled together."""
MOST = 200_000
"""SNVs in memory, at most: from there on every second one is left out, then every fourth, and so on."""
TAILS = (0.001, 0.01, 0.1)
TAIL_SNVS = 10
"""SNVs in such a tail, at least: the odds of fewer say nothing."""
TRANSITIONS = {"AG", "GA", "CT", "TC"}
HARM = {"LLR": -1.0, "MARKOV": -1.0, "DEP": 1.0, "DMAX": 0.0, "DSUM": 0.0}
"""Which sign of a score means harm; 0: either."""
TRANSVERSION = "transversion"
BASELINES = ("MARKOV", TRANSVERSION)


class Frequency(NamedTuple):
    """How common the rarer allele of a variant is."""

    seen: float  # Carriers or chromosomes of it; NaN if only its frequency is known
    share: float


def frequency_of(info: Mapping[str, str], field: str, alt: int) -> Frequency | None:
    """Return the frequency of the rarer allele by INFO; None if it is not there, or 0.

    Args:
        info: of the record.
        field: that holds the frequency of each ALT; for AF its AC and AN are used where they are given.
        alt: index of the ALT.
    """
    try:
        if field == "AF" and "AC" in info and "AN" in info:
            count, total = int(info["AC"].split(",")[alt]), int(info["AN"])
            count = min(count, total - count)
            return Frequency(count, count / total) if count > 0 else None
        share = float(info[field].split(",")[alt])
    except (KeyError, ValueError, IndexError):
        return None
    share = min(share, 1 - share)
    return Frequency(float("nan"), share) if share > 0 else None


class SnvSample:
    """Scored SNVs with their frequencies; when there are many, a part of them, evenly along the genome."""

    def __init__(self, columns: Sequence[str], rare: str = "") -> None:
        self.rare = rare  # What is rare, in words, if the minor count does not say it
        self._columns, self._rows, self._step, self._seen = list(columns), list[list[float]](), 1, 0
        self._blocks: dict[tuple[str, int], int] = {}

    def add(self, contig: str, start: int, change: str, frequency: Frequency, values: Numbers) -> None:
        """Add an allele of REF and ALT `change`, if it is an SNV; `values` are its scores, [C]."""
        if len(change) != 2 or set(change) - set(BASES):
            return
        self._seen += 1
        if self._seen % self._step:
            return
        block = self._blocks.setdefault((contig, start // BLOCK), len(self._blocks))
        self._rows.append([block, *frequency, float(change not in TRANSITIONS), *values])
        if len(self._rows) > MOST:
            self._rows, self._step = self._rows[1::2], 2 * self._step

    def contrasts(self, rare_count: int, common_share: float) -> list[Contrast]:
        """Compare rare with common SNVs by each score.

        Args:
            rare_count: the rarer allele is seen at most so often; where only
                shares are known, the lowest is taken for one.
            common_share: the rarer allele has at least this share.
        """
        if not self._rows:
            return []
        rows = np.array(self._rows)
        count, share = rows[:, 1], rows[:, 2]
        lowest = share[share > 0].min(initial=1.0)
        count = np.where(np.isnan(count), np.round(share / lowest), count)
        is_common = share >= common_share
        at_most = self.rare or f"minor count {'1' if rare_count == 1 else f'1 to {rare_count}'}"
        groups = {at_most: count <= rare_count}
        if rare_count < 9:
            groups[f"minor count {rare_count + 1} to 9"] = (count > rare_count) & (count <= 9)
        return [
            self._contrast(name, rows[(is_rare & ~is_common) | is_common], common_share)
            for name, is_rare in groups.items()
            if (is_rare & ~is_common).any() and is_common.any()
        ]

    def _contrast(self, name: str, rows: Numbers, common_share: float) -> Contrast:
        label = (rows[:, 2] < common_share).astype(np.uint8)
        blocks = rows[:, 0].astype(np.int64)
        harm = {
            column: np.abs(each) if not HARM[column] else HARM[column] * each
            for column, each in zip(self._columns, rows[:, 4:].T, strict=True)
            if column in HARM
        }
        harm[TRANSVERSION] = rows[:, 3]
        known = np.isfinite(np.array(list(harm.values()))).all(axis=0)
        label, blocks = label[known], blocks[known]
        harm = {column: each[known] for column, each in harm.items()}
        scores = {}
        for column, each in harm.items():
            gain = Estimate(float("nan"), float("nan"), float("nan"))
            if column not in BASELINES and "MARKOV" in harm:
                gain = paired_auroc(label, each, harm["MARKOV"], [blocks])
            odds = {f"{100 * tail:g} %": odds_ratio(label, each, blocks, tail) for tail in TAILS}
            scores[column] = VariantScore(area_estimates(label, each, [blocks])[0], gain, odds)
        return Contrast(name, int(label.sum()), int((1 - label).sum()), len(np.unique(blocks)), scores)


def odds_ratio(
    label: npt.NDArray[np.uint8], harm: Numbers, blocks: npt.NDArray[np.int64], tail: float
) -> Estimate:
    """Return the odds of being rare in the most harmful share `tail`, divided by those of all others.

    `label` is 1 for a rare SNV, `harm` its score, `blocks` its block, each [N]. NaN where the tail has fewer
    than `TAIL_SNVS`, ties make it twice as large as it should be, or a cell is empty; 95 % interval over
    blocks.
    """
    in_tail = harm >= np.quantile(harm, 1 - tail)
    none = Estimate(float("nan"), float("nan"), float("nan"))
    if not TAIL_SNVS <= in_tail.sum() <= 2 * tail * len(harm):
        return none
    names, row = np.unique(blocks, return_inverse=True)
    cell = 2 * in_tail + label  # rest and common, rest and rare, tail and common, tail and rare
    counts = np.bincount(4 * row + cell, minlength=4 * len(names)).reshape(-1, 4).astype(np.float64)
    sampled = np.concatenate([_ratio(picks @ counts) for picks in resamples(len(names), 0)])
    value, finite = float(_ratio(counts.sum(0)[None])[0]), sampled[np.isfinite(sampled)]
    if not np.isfinite(value):
        return none
    if not len(finite) or len(names) < 2:
        return none._replace(value=value)
    low, high = np.quantile(finite, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def _ratio(counts: Numbers) -> Numbers:
    """Return the odds ratio of counts of four cells, [R, 4]; NaN where one that divides is empty."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Numbers = counts[:, 3] * counts[:, 0] / (counts[:, 2] * counts[:, 1])
    return ratio
