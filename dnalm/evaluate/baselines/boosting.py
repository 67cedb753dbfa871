"""The baseline of features without a network: boosted trees on a fingerprint and k-mer counts.

Shapes: N pairs; G genes.
"""

from collections.abc import Sequence

import numpy as np

from dnalm.bootstrap import Numbers
from dnalm.data.pairs import PairSet, Rows
from dnalm.dna import encode
from dnalm.errors import import_extra
from dnalm.evaluate.baselines.neighbours import fingerprints

BITS = 512
"""Bits that the fingerprint of 2,048 is folded to: equally good, in a third of time and memory."""
K = 4
BATCH = 20_000
"""Pairs predicted at a time; no result depends on it."""


def boosting(pairs: PairSet, train: Rows, rows: Rows, seed: int = 0, trees: int = 100) -> Numbers:
    """Return the probability of an interaction, [N], by boosted trees on histograms (scikit-learn).

    `train` and `rows` are rows of pairs; `seed` is scikit-learn's, which subsamples more than 200,000 rows
    for its bins.

    Raises:
        InputError: if scikit-learn is not installed.
    """
    ensemble = import_extra("sklearn.ensemble", "interaction", "gradient boosting")
    # Early stopping would hold out a tenth of the rows, and copy all of them.
    model = ensemble.HistGradientBoostingClassifier(max_iter=trees, early_stopping=False, random_state=seed)
    model.fit(features(pairs, train), pairs.label[train])
    batches = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
    scores = [model.predict_proba(features(pairs, batch))[:, 1] for batch in batches]
    return np.concatenate([np.zeros(0), *scores])


def features(pairs: PairSet, rows: Rows) -> Numbers:
    """Return folded fingerprint and 4-mer frequencies of the pairs of `rows`, [N, BITS + 4^K].

    In float64, to which scikit-learn would copy any other type.
    """
    molecules, molecule = np.unique(pairs.molecule[rows], return_inverse=True)
    genes, gene = np.unique(pairs.gene[rows], return_inverse=True)
    values = np.empty((len(rows), BITS + 4**K))
    values[:, :BITS] = fingerprints([pairs.smiles[row] for row in molecules], BITS)[molecule]
    values[:, BITS:] = kmer_frequencies([pairs.sequences[row] for row in genes])[gene]
    return values


def kmer_frequencies(sequences: Sequence[str], k: int = K) -> Numbers:
    """Return the frequency of each k-mer in each sequence, [G, 4^k]; each row adds up to 1.

    k-mers are in alphabetical order; those with another letter than A, C, G and T do not count, and the
    frequencies of a sequence without any are 0.
    """
    counts = np.zeros((len(sequences), 4**k))
    for row, sequence in enumerate(sequences):
        codes = encode(sequence).astype(np.int64)
        if len(codes) < k:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(codes, k)
        windows = windows[(windows < 4).all(axis=1)]
        counts[row] = np.bincount(windows @ 4 ** np.arange(k)[::-1], minlength=4**k)
    counts /= np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return counts
