"""Sampled negatives, where only positives are known, and the leakage report of a split set.

A negative is a pair of a gene and a molecule of the same part that is positive in no source.

Shapes: N pairs of a part; K negatives; P pairs of all parts; G genes; M molecules.
"""

from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dnalm.data.pairs import PARTS, PairSet

Indices = npt.NDArray[np.int64]
NegativeKind = Literal["degree-matched", "uniform", "none"]
ROUNDS = 100
"""Attempts at sampling what is missing, before the remaining pairs are enumerated."""


def pair_keys(gene: Indices, molecule: Indices, clusters: Indices, molecule_cluster: Indices) -> Indices:
    """Return a number for each pair, [P], that is equal for similar genes with similar molecules.

    A model cannot distinguish two genes of one sequence, nor two stereoisomers by their fingerprints: a
    positive of one must not be a negative of the other. `clusters`, [G], are of `similarity.gene_clusters`,
    `molecule_cluster`, [M], of `molecules.molecule_clusters`.
    """
    keys: Indices = clusters[gene] * len(molecule_cluster) + molecule_cluster[molecule]
    return keys


def sample_negatives(
    gene: Indices,
    molecule: Indices,
    known: Indices,
    clusters: Indices,
    molecule_cluster: Indices,
    *,
    kind: NegativeKind,
    ratio: float,
    generator: np.random.Generator,
) -> tuple[Indices, Indices]:
    """Sample negatives among the genes and molecules of a part's own positives.

    Args:
        gene: [N] genes of the part's positives.
        molecule: [N] their molecules.
        known: `pair_keys` that must not be sampled: of the positives of all parts, and of the negatives of
            other parts.
        clusters: [G] as in `pair_keys`.
        molecule_cluster: [M] as in `pair_keys`.
        kind: degree-matched: genes and molecules as often as they are in positives (as published). uniform:
            each gene and each molecule with the same probability.
        ratio: negatives per positive.
        generator: of the random numbers.

    Returns:
        Genes and molecules of the negatives, each [K], all different. K is less than requested where the part
        has too few pairs left.
    """
    if kind == "none":
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    genes, others = (gene, molecule) if kind == "degree-matched" else (np.unique(gene), np.unique(molecule))
    molecules = len(molecule_cluster)

    def unknown(keys: Indices) -> Indices:
        similar = pair_keys(keys // molecules, keys % molecules, clusters, molecule_cluster)
        return keys[~np.isin(similar, known)]

    wanted = round(ratio * len(gene))
    sampled = np.empty(0, dtype=np.int64)
    for _ in range(ROUNDS):
        missing = wanted - len(sampled)
        if missing <= 0:
            break
        keys = generator.choice(genes, missing) * molecules + generator.choice(others, missing)
        keys = unknown(keys[~np.isin(keys, sampled)])
        sampled = np.concatenate([sampled, generator.permutation(np.unique(keys))])
    if len(sampled) < wanted:
        every = (np.unique(gene)[:, None] * molecules + np.unique(molecule)).ravel()
        left = unknown(np.setdiff1d(every, sampled))
        sampled = np.concatenate([sampled, generator.permutation(left)[: wanted - len(sampled)]])
    return sampled // molecules, sampled % molecules


def leakage_report(pairs: PairSet, molecule_cluster: Indices) -> dict[str, Any]:
    """Return what each two parts have in common, and how often genes and molecules occur in each.

    Args:
        pairs: the set.
        molecule_cluster: of each molecule, see `dnalm.data.molecules.molecule_clusters`.

    Returns:
        `shared`: for "train, test" and so on, how many pairs, genes, gene clusters (near-identical
        sequences), molecules, molecule clusters (stereoisomers, charge forms) and scaffolds are in both, and
        the fraction of the second part's rows (`..._rows`) whose gene, cluster, molecule or scaffold is in
        the first. `degrees`: by part, rows per gene and rows per molecule: minimum, median, 90th percentile,
        maximum.
    """
    numbers = {each: number for number, each in enumerate(dict.fromkeys(pairs.scaffolds))}
    scaffold = np.array([numbers[each] if each else -1 for each in pairs.scaffolds], dtype=np.int64)
    keys = {  # -1: nothing that could be in common
        "pairs": pairs.gene * len(pairs.smiles) + pairs.molecule,
        "genes": pairs.gene,
        "clusters": pairs.clusters[pairs.gene],
        "molecules": pairs.molecule,
        "molecule_clusters": molecule_cluster[pairs.molecule],
        "scaffolds": scaffold[pairs.molecule],
    }
    shared = {}
    for one, other in combinations(PARTS, 2):
        first, second = pairs.parts[one], pairs.parts[other]
        entry: dict[str, Any] = {}
        for name, column in keys.items():
            known, tested = (column[rows][column[rows] >= 0] for rows in (first, second))
            entry[name] = len(np.intersect1d(known, tested))
            entry[f"{name}_rows"] = float(np.isin(tested, known).sum() / max(1, len(second)))
        shared[f"{one}, {other}"] = entry
    degrees = {
        part: {
            name: _quantiles(np.unique(column[pairs.parts[part]], return_counts=True)[1])
            for name, column in (("rows_a_gene", pairs.gene), ("rows_a_molecule", pairs.molecule))
        }
        for part in PARTS
    }
    return {"shared": shared, "degrees": degrees}


def _quantiles(counts: Indices) -> list[float]:
    return [float(value) for value in np.quantile(counts, [0, 0.5, 0.9, 1])] if len(counts) else []
