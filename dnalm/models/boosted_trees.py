"""Boosted trees on a fingerprint and k-mer counts, as arrays: they are saved and read without a pickle.

Shapes: n pairs; M molecules; G genes; T trees; E nodes of all trees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import Numbers
from dnalm.data.epochs import Rows
from dnalm.data.molecules import Bits
from dnalm.dna import encode

BITS = 512
"""Bits that the fingerprint of 2,048 is folded to: equally good, in a third of time and memory."""
K = 4
BATCH = 20_000
"""Pairs predicted at a time; no result depends on it."""


@dataclass(frozen=True)
class BoostedTrees:
    """An ensemble of binary trees whose leaves add up to log-odds."""

    feature: npt.NDArray[np.int64]  # that a node asks for, [E]; -1 in a leaf
    threshold: Numbers  # values up to it go left, [E]
    left: npt.NDArray[np.int64]  # node that follows, [E]; of a leaf itself
    right: npt.NDArray[np.int64]  # [E]
    value: Numbers  # log-odds of a leaf, [E]
    root: npt.NDArray[np.int64]  # first node of each tree, [T]
    baseline: Numbers  # log-odds before the first tree, [1]

    @classmethod
    def of_sklearn(cls, model: Any) -> "BoostedTrees":
        """Return the trees of a fitted binary `HistGradientBoostingClassifier`, which are not public."""
        trees = [stage[0].nodes for stage in model._predictors]
        nodes = np.concatenate(trees)
        root = np.cumsum([0, *map(len, trees)])[:-1]
        own = np.arange(len(nodes))
        begins, leaf = np.repeat(root, [*map(len, trees)]), nodes["is_leaf"].astype(bool)
        left, right = (
            np.where(leaf, own, begins + nodes[side].astype(np.int64)) for side in ("left", "right")
        )
        feature = np.where(leaf, -1, nodes["feature_idx"].astype(np.int64))
        baseline = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(1)
        return cls(feature, nodes["num_threshold"], left, right, nodes["value"], root, baseline)

    def log_odds(self, bits: Bits, kmers: Numbers, molecule: Rows, gene: Rows) -> Numbers:
        """Return the log-odds of pairs, [n], of the rows [n] of `bits` [M, BITS] and `kmers` [G, 4^K]."""
        found = np.empty(len(gene))
        for at in range(0, len(gene), BATCH):
            some = slice(at, at + BATCH)
            found[some] = self._raw(joined(bits, kmers, molecule[some], gene[some]))
        return found

    def _raw(self, features: Numbers) -> Numbers:
        total, rows = np.full(len(features), self.baseline[0]), np.arange(len(features))
        for root in self.root:
            node = np.full(len(features), root)
            while (self.feature[node] >= 0).any():
                lower = features[rows, np.maximum(self.feature[node], 0)] <= self.threshold[node]
                node = np.where(lower, self.left[node], self.right[node])
            total += self.value[node]
        return total


def joined(bits: Bits, kmers: Numbers, molecule: Rows, gene: Rows) -> Numbers:
    """Return folded fingerprint and k-mer frequencies of pairs, [n, BITS + 4^K].

    In float64, to which scikit-learn would copy any other type.
    """
    values = np.empty((len(gene), BITS + 4**K))
    values[:, :BITS] = bits[molecule]
    values[:, BITS:] = kmers[gene]
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
