"""Gradient boosting on what a chemist and a k-mer count would say of a pair: the features without a network.

Shapes used below
    N  pairs                         G  genes
    M  molecules
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dnalm.data.pairs import PairSet
from dnalm.dna import encode
from dnalm.errors import InputError
from dnalm.evaluate.baselines.neighbours import fingerprints

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

BITS = 512
"""Bits that the fingerprint of 2,048 is folded to: as good as all of them, in a third of time and memory."""
K = 4
AT_ONCE = 20_000
"""Pairs predicted at a time: no result depends on it."""


class Boosting:
    """Boosted trees on histograms (scikit-learn) of a Morgan fingerprint and of 4-mer frequencies.

    Args:
        seed: of scikit-learn, which draws rows to place its bins by where there are over 200,000.
        trees: how many.
    """

    name = "gradient boosting"

    def __init__(self, seed: int = 0, trees: int = 100) -> None:
        self.seed, self.trees = seed, trees

    def fit(self, pairs: PairSet, rows: Rows) -> None:
        """Grow the trees on the pairs of `rows`.

        Raises:
            InputError: if scikit-learn is not installed.
        """
        try:
            from sklearn.ensemble import HistGradientBoostingClassifier
        except ImportError as error:
            raise InputError(
                "gradient boosting needs scikit-learn, which is not installed; run: "
                'pip install "dnalm[interaction]"'
            ) from error
        # Stopping early would keep a tenth of the rows, and a copy of all of them, aside.
        self._trees: Any = HistGradientBoostingClassifier(
            max_iter=self.trees, early_stopping=False, random_state=self.seed
        )
        self._trees.fit(features(pairs, rows), pairs.label[rows])

    def predict(self, pairs: PairSet, rows: Rows) -> Numbers:
        """Return the probability of an interaction, [N], for the pairs of `rows`."""
        found = np.zeros(len(rows))
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            found[start : start + AT_ONCE] = self._trees.predict_proba(features(pairs, some))[:, 1]
        return found


def features(pairs: PairSet, rows: Rows) -> Numbers:
    """Return folded fingerprint and 4-mer frequencies of the pairs of `rows`, [N, BITS + 4^K].

    In float64, into which scikit-learn would copy anything else.
    """
    molecules, molecule = np.unique(pairs.molecule[rows], return_inverse=True)
    genes, gene = np.unique(pairs.gene[rows], return_inverse=True)
    bits = fingerprints([pairs.smiles[row] for row in molecules], BITS)
    words = kmer_frequencies([pairs.sequences[row] for row in genes])
    found = np.empty((len(rows), BITS + 4**K))
    found[:, :BITS] = bits[molecule]
    found[:, BITS:] = words[gene]
    return found


def kmer_frequencies(sequences: Sequence[str], k: int = K) -> Numbers:
    """Return how often each k-mer stands in each sequence, [G, 4^k], as shares that add up to 1.

    k-mers are in alphabetical order, AAAA first; those with another letter than A, C, G and T do not count,
    and a sequence without any has shares of 0.
    """
    found = np.zeros((len(sequences), 4**k))
    for row, sequence in enumerate(sequences):
        codes = encode(sequence).astype(np.int64)
        if len(codes) < k:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(codes, k)
        windows = windows[(windows < 4).all(axis=1)]
        found[row] = np.bincount(windows @ 4 ** np.arange(k)[::-1], minlength=4**k)
    found /= np.maximum(found.sum(axis=1, keepdims=True), 1)
    return found
