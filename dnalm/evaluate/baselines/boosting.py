"""The baseline of features without a network: boosted trees on a fingerprint and k-mer counts.

Shapes: N pairs.
"""

import numpy as np

from dnalm.bootstrap import Numbers
from dnalm.data.molecules import Bits, fingerprints
from dnalm.data.pairs import PairSet, Rows
from dnalm.errors import import_extra
from dnalm.evaluate.pair_scores import probability
from dnalm.models.boosted_trees import BITS, BoostedTrees, joined, kmer_frequencies


def boosting(pairs: PairSet, train: Rows, rows: Rows, seed: int = 0, trees: int = 100) -> Numbers:
    """Return the probability of an interaction, [N], by boosted trees on histograms (scikit-learn).

    `train` and `rows` are rows of pairs; `seed` is scikit-learn's, which subsamples more than 200,000 rows
    for its bins.

    Raises:
        InputError: if scikit-learn is not installed.
    """
    return probability(fit_trees(pairs, train, seed, trees).log_odds(*features(pairs, rows)))


def fit_trees(pairs: PairSet, train: Rows, seed: int = 0, trees: int = 100) -> BoostedTrees:
    """Fit boosted trees to the training pairs `train`; see `boosting`."""
    ensemble = import_extra("sklearn.ensemble", "interaction", "gradient boosting")
    # Early stopping would hold out a tenth of the rows, and copy all of them.
    model = ensemble.HistGradientBoostingClassifier(max_iter=trees, early_stopping=False, random_state=seed)
    model.fit(joined(*features(pairs, train)), pairs.label[train])
    return BoostedTrees.of_sklearn(model)


def features(pairs: PairSet, rows: Rows) -> tuple[Bits, Numbers, Rows, Rows]:
    """Return folded fingerprints, 4-mer frequencies, and the rows of both of each pair, [N]."""
    molecules, molecule = np.unique(pairs.molecule[rows], return_inverse=True)
    genes, gene = np.unique(pairs.gene[rows], return_inverse=True)
    bits = fingerprints([pairs.smiles[row] for row in molecules], BITS)
    return bits, kmer_frequencies([pairs.sequences[row] for row in genes]), molecule, gene
