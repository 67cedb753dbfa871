"""The baseline of chemistry and the gene's name: did similar molecules interact with this gene in training?

Shapes: N pairs; Q pairs of one cluster of genes to score, T to learn from; M molecules; F bits of a
fingerprint.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import Numbers
from dnalm.data.molecules import BITS, morgan_bits
from dnalm.data.pairs import PairSet, Rows

PRIOR = 3.0
"""Weight of the prevalence, in molecules identical to the scored one; results differ little from 1 to 10."""


def nearest_molecules(pairs: PairSet, train: Rows, rows: Rows, _seed: int = 0) -> Numbers:
    """Return the mean label of the gene's training molecules, weighted by similarity, as a probability, [N].

    It is smoothed towards the prevalence. Similarity is Tanimoto's, on Morgan fingerprints of radius 2. Genes
    of one cluster (identical or nearly so) count as one gene; one without training pairs has the prevalence.
    """
    train = train[np.argsort(pairs.clusters[pairs.gene[train]], kind="stable")]
    train_cluster, label = pairs.clusters[pairs.gene[train]], pairs.label[train].astype(np.float64)
    prevalence = label.mean()
    known, known_row = _fingerprints_of(pairs, train)
    scored, scored_row = _fingerprints_of(pairs, rows)
    scores = np.full(len(rows), prevalence)
    cluster = pairs.clusters[pairs.gene[rows]]
    order = np.argsort(cluster, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1):
        if not len(group):
            continue
        start, end = np.searchsorted(train_cluster, [cluster[group[0]], cluster[group[0]] + 1])
        similarity = tanimoto(scored[scored_row[group]], known[known_row[start:end]])  # [Q, T]
        positives = (similarity * label[start:end]).sum(axis=1)
        scores[group] = (positives + PRIOR * prevalence) / (similarity.sum(axis=1) + PRIOR)
    return scores


def tanimoto(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> Numbers:
    """Return the fraction of bits in common among those set in either, [Q, T], of [Q, F] and [T, F]; or 0."""
    common = (one.astype(np.float32) @ other.astype(np.float32).T).astype(np.float64)  # integers, exact
    either = one.sum(axis=1, dtype=np.float64)[:, None] + other.sum(axis=1, dtype=np.float64) - common
    similarity: Numbers = np.divide(common, either, out=np.zeros_like(common), where=either > 0)
    return similarity


def fingerprints(smiles: Sequence[str], bits: int = BITS) -> npt.NDArray[np.uint8]:
    """Return Morgan fingerprints, [M, F] of 0 and 1; fewer than 2,048 bits are folded, by the remainder.

    Raises:
        InputError: if rdkit is not installed.
    """
    made = np.zeros((len(smiles), bits), dtype=np.uint8)
    for row, each in enumerate(smiles):
        made[row, morgan_bits(each) % bits] = 1
    return made


def _fingerprints_of(pairs: PairSet, rows: Rows) -> tuple[npt.NDArray[np.uint8], Rows]:
    """Return fingerprints of the molecules of some pairs, [M, F], and which of them is each pair's, [N]."""
    molecules, row = np.unique(pairs.molecule[rows], return_inverse=True)
    return fingerprints([pairs.smiles[each] for each in molecules]), row
