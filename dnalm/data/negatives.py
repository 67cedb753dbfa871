"""Negatives drawn where only positives are known: pairs of a part's genes and molecules that no source names.

Shapes used below
    N  pairs of a part               K  negatives drawn
    P  pairs of all parts            G  genes
    M  molecules
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
NegativeKind = Literal["degree-matched", "uniform", "none"]
ROUNDS = 100
"""Draws that are tried, each for all that is missing, before the pairs that are left are counted out."""


def pair_keys(gene: Indices, molecule: Indices, clusters: Indices, molecule_cluster: Indices) -> Indices:
    """Return a number for each pair, [P], that pairs of like genes and like molecules share.

    A model cannot tell two genes of one sequence apart, nor two stereoisomers by their fingerprints: a
    positive of one, drawn as a negative of the other, would contradict itself.

    Args:
        gene: [P].
        molecule: [P].
        clusters: [G] see `gene_clusters`.
        molecule_cluster: [M] see `dnalm.molecules.molecule_clusters`.
    """
    keys: Indices = clusters[gene] * len(molecule_cluster) + molecule_cluster[molecule]
    return keys


def draw_negatives(
    gene: Indices,
    molecule: Indices,
    known: Indices,
    clusters: Indices,
    molecule_cluster: Indices,
    *,
    kind: NegativeKind,
    ratio: float,
    draws: np.random.Generator,
) -> tuple[Indices, Indices]:
    """Draw negatives among the genes and molecules of a part's own positives.

    Args:
        gene: [N] genes of the part's positives.
        molecule: [N] their molecules.
        known: `pair_keys` that must not be drawn: of the positives of all parts, and of what was drawn for
            another part.
        clusters: [G] see `gene_clusters`.
        molecule_cluster: [M] see `dnalm.molecules.molecule_clusters`.
        kind: degree-matched: both ends from the positives, so that a gene that is often in a positive is as
            often in a negative (as published). uniform: each gene and each molecule alike.
        ratio: negatives a positive.
        draws: of the randomness.

    Returns:
        Genes and molecules of the negatives, each [K], all different. K is less than asked for where the part
        has too few pairs left.
    """
    if kind == "none":
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    genes, others = (gene, molecule) if kind == "degree-matched" else (np.unique(gene), np.unique(molecule))
    molecules = len(molecule_cluster)

    def unknown(keys: Indices) -> Indices:
        return keys[
            ~np.isin(pair_keys(keys // molecules, keys % molecules, clusters, molecule_cluster), known)
        ]

    wanted = round(ratio * len(gene))
    found = np.empty(0, dtype=np.int64)
    for _ in range(ROUNDS):
        missing = wanted - len(found)
        if missing <= 0:
            break
        keys = draws.choice(genes, missing) * molecules + draws.choice(others, missing)
        keys = unknown(keys[~np.isin(keys, found)])
        found = np.concatenate([found, draws.permutation(np.unique(keys))])
    if len(found) < wanted:
        every = (np.unique(gene)[:, None] * molecules + np.unique(molecule)).ravel()
        left = unknown(np.setdiff1d(every, found))
        found = np.concatenate([found, draws.permutation(left)[: wanted - len(found)]])
    return found // molecules, found % molecules
