"""What is known of a pair without any feature: how often its gene and its molecule interacted in training.

Shapes used below
    N  pairs                         V  nodes: all genes, or all molecules
"""

import numpy as np
import numpy.typing as npt

from dnalm.data.pairs import PairSet

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

PRIOR = 20.0
"""Pairs at the prevalence added to each node's own; of 0.5 to 100 the best in validation of shared pairs."""
SUREST = 1e-6
"""No rate is nearer to 0 or 1, so that its log-odds are finite."""


class NodeRate:
    """Log-odds of the gene's rate and of the molecule's, added, less those of the prevalence.

    A node that training has not seen has the training prevalence as its rate, and so changes nothing.
    """

    name = "node rate"

    def fit(self, pairs: PairSet, rows: Rows) -> None:
        """Count the pairs of `rows`."""
        label = pairs.label[rows].astype(np.float64)
        self.prevalence = float(label.mean())
        self.gene = smoothed_rates(pairs.gene[rows], label, len(pairs.gene_ids))
        self.molecule = smoothed_rates(pairs.molecule[rows], label, len(pairs.smiles))

    def predict(self, pairs: PairSet, rows: Rows) -> Numbers:
        """Return the probability of an interaction, [N], for the pairs of `rows`."""
        odds = log_odds(self.gene[pairs.gene[rows]]) + log_odds(self.molecule[pairs.molecule[rows]])
        found: Numbers = 1.0 / (1.0 + np.exp(log_odds(np.float64(self.prevalence)) - odds))
        return found


def smoothed_rates(node: Rows, label: Numbers, nodes: int, prior: float = PRIOR) -> Numbers:
    """Return the positive rate of each node, drawn towards the prevalence by `prior` pairs.

    Args:
        node: of each pair, [N].
        label: 0 or 1, [N].
        nodes: V.
        prior: how many pairs at the prevalence are added to each node's own.

    Returns:
        [V]; the prevalence itself where a node has no pair.
    """
    count = np.bincount(node, minlength=nodes)
    hits = np.bincount(node, weights=label, minlength=nodes)
    rates = (hits + prior * label.mean()) / (count + prior)
    found: Numbers = np.where(count > 0, rates, label.mean())
    return found


def log_odds(rate: npt.NDArray[np.float64] | np.float64) -> Numbers:
    """Return ln(p / (1 - p)) of rates, in nats."""
    kept = np.clip(rate, SUREST, 1 - SUREST)
    found: Numbers = np.log(kept / (1 - kept))
    return found
