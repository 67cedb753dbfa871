"""Chemistry and the gene's name alone: did molecules like this one interact with this gene in training?

Shapes used below
    N  pairs                         Q  pairs of one cluster of genes to predict, T to learn from
    M  molecules                     F  bits of a fingerprint
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dnalm.data.molecules import BITS, morgan_bits
from dnalm.data.pairs import PairSet

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

PRIOR = 3.0
"""Weight of the prevalence, in molecules identical to the one asked about; from 1 to 10 it hardly matters."""


class NearestMolecules:
    """Mean label of the gene's training molecules, weighted by similarity and shrunk to the prevalence.

    Similarity is Tanimoto's, on Morgan fingerprints of radius 2. Genes of one cluster (identical or nearly
    so) count as one gene; one that training has not seen gives the prevalence.
    """

    name = "nearest molecules"

    def fit(self, pairs: PairSet, rows: Rows) -> None:
        """Keep the pairs of `rows`, sorted by cluster."""
        rows = rows[np.argsort(pairs.clusters[pairs.gene[rows]], kind="stable")]
        self.cluster = pairs.clusters[pairs.gene[rows]]
        self.label = pairs.label[rows].astype(np.float64)
        self.prevalence = float(self.label.mean())
        kept, self.molecule = np.unique(pairs.molecule[rows], return_inverse=True)
        self.known = fingerprints([pairs.smiles[row] for row in kept])

    def predict(self, pairs: PairSet, rows: Rows) -> Numbers:
        """Return a probability of an interaction, [N], for the pairs of `rows`."""
        found = np.full(len(rows), self.prevalence)
        asked, molecule = np.unique(pairs.molecule[rows], return_inverse=True)
        bits = fingerprints([pairs.smiles[row] for row in asked])
        cluster = pairs.clusters[pairs.gene[rows]]
        order = np.argsort(cluster, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1):
            if not len(group):
                continue
            start, end = np.searchsorted(self.cluster, [cluster[group[0]], cluster[group[0]] + 1])
            likeness = tanimoto(bits[molecule[group]], self.known[self.molecule[start:end]])  # [Q, T]
            hits = (likeness * self.label[start:end]).sum(axis=1)
            found[group] = (hits + PRIOR * self.prevalence) / (likeness.sum(axis=1) + PRIOR)
        return found


def tanimoto(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> Numbers:
    """Return the share of bits in common among those set in either, [Q, T]; 0 where neither has any.

    Args:
        one: 0 or 1, [Q, F].
        other: 0 or 1, [T, F].
    """
    common = (one.astype(np.float32) @ other.astype(np.float32).T).astype(np.float64)  # whole numbers, exact
    either = one.sum(axis=1, dtype=np.float64)[:, None] + other.sum(axis=1, dtype=np.float64) - common
    share: Numbers = np.divide(common, either, out=np.zeros_like(common), where=either > 0)
    return share


def fingerprints(smiles: Sequence[str], bits: int = BITS) -> npt.NDArray[np.uint8]:
    """Return Morgan fingerprints, [M, F] of 0 and 1; fewer than 2,048 bits are folded, by the remainder.

    Raises:
        InputError: if rdkit is not installed.
    """
    found = np.zeros((len(smiles), bits), dtype=np.uint8)
    for row, each in enumerate(smiles):
        found[row, np.asarray(morgan_bits(each), dtype=np.int64) % bits] = 1
    return found
