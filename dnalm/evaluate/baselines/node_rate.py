"""The baseline without any feature: how often a pair's gene and molecule interacted in training.

Shapes: N pairs; V nodes: all genes, or all molecules.
"""

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import Numbers
from dnalm.data.pairs import PairSet, Rows

PRIOR = 20.0
"""Pairs at the prevalence added to each node's own; the best of 0.5 to 100 in validation of shared pairs."""
MIN_RATE = 1e-6
"""Rates are clipped to this distance from 0 and 1, so that their log-odds are finite."""


def node_rate(pairs: PairSet, train: Rows, rows: Rows, _seed: int = 0) -> Numbers:
    """Return probabilities, [N]: log-odds of the gene's rate plus the molecule's, minus the prevalence's.

    A node without training pairs has the training prevalence as its rate, and so changes nothing.
    """
    label = pairs.label[train].astype(np.float64)
    gene = smoothed_rates(pairs.gene[train], label, len(pairs.gene_ids))
    molecule = smoothed_rates(pairs.molecule[train], label, len(pairs.smiles))
    odds = log_odds(gene[pairs.gene[rows]]) + log_odds(molecule[pairs.molecule[rows]])
    scores: Numbers = 1.0 / (1.0 + np.exp(log_odds(label.mean()) - odds))
    return scores


def smoothed_rates(node: Rows, label: Numbers, nodes: int, prior: float = PRIOR) -> Numbers:
    """Return the positive rate of each node, [V], smoothed towards the prevalence by `prior` pairs.

    `node` and `label`, 0 or 1, are of each pair, [N]; a node without pairs has the prevalence.
    """
    count = np.bincount(node, minlength=nodes)
    positives = np.bincount(node, weights=label, minlength=nodes)
    rates = (positives + prior * label.mean()) / (count + prior)
    smoothed: Numbers = np.where(count > 0, rates, label.mean())
    return smoothed


def log_odds(rate: npt.ArrayLike) -> Numbers:
    """Return ln(p / (1 - p)) of rates, in nats."""
    clipped = np.clip(rate, MIN_RATE, 1 - MIN_RATE)
    odds: Numbers = np.log(clipped / (1 - clipped))
    return odds
