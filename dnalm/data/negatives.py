"""Sampled negatives, where only positives are known, and the leakage report of a split set.

Shapes: N pairs of a part; K negatives; P pairs of all parts; G genes; M molecules.
"""

from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.random import Generator

from dnalm.data.epochs import PARTS, Rows
from dnalm.data.pairs import PairSet

NegativeKind = Literal["degree-matched", "uniform", "none"]
ROUNDS = 100  # attempts at sampling what is missing, before the remaining pairs are enumerated


class Clusters(NamedTuple):
    """Which genes and molecules are similar: those with one number.

    A model cannot distinguish two genes of one sequence, nor two stereoisomers by their fingerprints: a
    positive of one must not be a negative of the other.
    """

    genes: Rows  # [G], of `similarity.gene_clusters`
    molecules: Rows  # [M], of `molecules.molecule_clusters`

    def keys(self, gene: Rows, molecule: Rows) -> Rows:
        """Return a number for each pair, [P], that is equal for similar genes with similar molecules."""
        keys: Rows = self.genes[gene] * len(self.molecules) + self.molecules[molecule]
        return keys


def with_negatives(
    given: Rows, split: dict[str, Rows], clusters: Clusters, kind: NegativeKind, ratio: float, seed: int
) -> tuple[Rows, dict[str, Rows], dict[str, int]]:
    """Add `ratio` negatives per positive to each part of a set.

    `given` are gene, molecule and label of all pairs, [3, P]; `split` the rows of each part.

    Returns:
        All pairs in the order of their parts, [3, all]; the rows of each part; how many negatives fewer than
        requested each has.
    """
    known, draws = clusters.keys(given[0], given[1]), np.random.default_rng([seed, 1])
    columns, parts, missing, begin, matched = [], {}, {}, 0, kind == "degree-matched"
    for name, rows in split.items():
        wanted = 0 if kind == "none" else round(ratio * len(rows))
        negatives = sample_negatives(given[:2, rows], known, clusters, wanted, matched, draws)
        # No pair is a negative in two parts.
        known = np.concatenate([known, clusters.keys(negatives[0], negatives[1])])
        columns += [given[:, rows], np.pad(negatives, ((0, 1), (0, 0)))]
        end = begin + len(rows) + negatives.shape[1]
        parts[name], begin = np.arange(begin, end, dtype=np.int64), end
        missing[name] = wanted - negatives.shape[1]
    return np.concatenate(columns, axis=1), parts, missing


def sample_negatives(
    positives: Rows, known: Rows, clusters: Clusters, wanted: int, degree_matched: bool, draws: Generator
) -> Rows:
    """Sample negatives among the genes and molecules of a part's own positives.

    Args:
        positives: [2, N] their genes and molecules.
        known: keys of `clusters` that must not be sampled: positives of all parts, negatives of other parts.
        clusters: of genes and molecules.
        wanted: how many.
        degree_matched: genes and molecules as often as in positives (as published); else all as often.
        draws: random numbers.

    Returns:
        Genes and molecules of the negatives, [2, K], all different; fewer where too few pairs are left.
    """
    every_gene, every_molecule = np.unique(positives[0]), np.unique(positives[1])
    genes, others = positives if degree_matched else (every_gene, every_molecule)
    molecules = len(clusters.molecules)

    def unknown(keys: Rows) -> Rows:
        return keys[~np.isin(clusters.keys(*divmod(keys, molecules)), known)]

    sampled = np.empty(0, dtype=np.int64)
    for _ in range(ROUNDS):
        if (lack := wanted - len(sampled)) <= 0:
            break
        keys = draws.choice(genes, lack) * molecules + draws.choice(others, lack)
        keys = unknown(keys[~np.isin(keys, sampled)])
        sampled = np.concatenate([sampled, draws.permutation(np.unique(keys))])
    if len(sampled) < wanted:
        every = (every_gene[:, None] * molecules + every_molecule).ravel()
        left = draws.permutation(unknown(np.setdiff1d(every, sampled)))
        sampled = np.concatenate([sampled, left[: wanted - len(sampled)]])
    return np.stack(divmod(sampled, molecules))


def leakage_report(pairs: PairSet, molecule_cluster: Rows) -> dict[str, Any]:
    """Return what each two parts have in common, and how often genes and molecules occur in each.

    `molecule_cluster`, [M], is as in `Clusters`.

    Returns:
        `shared`: for "train, test" and so on, how many pairs, genes, gene clusters, molecules, molecule
        clusters and scaffolds are in both, and the fraction of the second part's rows (`..._rows`) whose
        gene, cluster, molecule or scaffold is in the first. `degrees`: by part, rows per gene and rows per
        molecule: minimum, median, 90th percentile, maximum.
    """
    scaffold = np.unique(["", *pairs.scaffolds], return_inverse=True)[1][1:] - 1
    keys = {  # -1: no ring, nothing that could be in common
        "pairs": pairs.gene * len(pairs.smiles) + pairs.molecule,
        "genes": pairs.gene,
        "clusters": pairs.clusters[pairs.gene],
        "molecules": pairs.molecule,
        "molecule_clusters": molecule_cluster[pairs.molecule],
        "scaffolds": scaffold[pairs.molecule],
    }
    shared: dict[str, dict[str, float]] = {}
    for one, other in combinations(PARTS, 2):
        entry = shared[f"{one}, {other}"] = {}
        for name, column in keys.items():
            known, tested = (column[pairs.parts[part]] for part in (one, other))
            known, tested = known[known >= 0], tested[tested >= 0]
            entry[name] = len(np.intersect1d(known, tested))
            entry[f"{name}_rows"] = float(np.isin(tested, known).sum() / max(1, len(pairs.parts[other])))
    degrees: dict[str, dict[str, list[float]]] = {part: {} for part in PARTS}
    for part, degree in degrees.items():
        for name, column in (("rows_a_gene", pairs.gene), ("rows_a_molecule", pairs.molecule)):
            counts = np.unique(column[pairs.parts[part]], return_counts=True)[1]
            degree[name] = np.quantile(counts, [0, 0.5, 0.9, 1]).tolist() if len(counts) else []
    return {"shared": shared, "degrees": degrees}
