"""The baseline of chemistry and the gene's name: did similar molecules interact with this gene in training?

Shapes: N pairs; Q pairs of one cluster of genes to score, T to learn from; M molecules; F bits.
"""

import numpy as np
import numpy.typing as npt

from dnalm.bootstrap import Numbers
from dnalm.data.molecules import fingerprints, tanimoto
from dnalm.data.pairs import PairSet, Rows
from dnalm.models.pair_knowledge import similarity_rate


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
        scores[group] = similarity_rate(similarity, label[start:end], prevalence)
    return scores


def _fingerprints_of(pairs: PairSet, rows: Rows) -> tuple[npt.NDArray[np.uint8], Rows]:
    """Return fingerprints of the molecules of some pairs, [M, F], and which of them is each pair's, [N]."""
    molecules, row = np.unique(pairs.molecule[rows], return_inverse=True)
    return fingerprints([pairs.smiles[each] for each in molecules]), row
