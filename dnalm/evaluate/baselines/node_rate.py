"""The baseline without any feature: how often a pair's gene and molecule interacted in training.

Shapes: N pairs.
"""

import numpy as np

from dnalm.bootstrap import Numbers
from dnalm.data.pairs import PairSet, Rows
from dnalm.models.pair_knowledge import log_odds, smoothed_rates


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
