"""Negatives drawn where only positives are known: pairs of a part's genes and molecules that no source names.

Shapes used below
    N  pairs of a part               K  negatives drawn
    P  pairs of all parts            G  genes
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
NegativeKind = Literal["degree-matched", "uniform", "none"]
ROUNDS = 100
"""Draws that are tried, each for all that is missing, before the pairs that are left are counted out."""


def known_keys(gene: Indices, molecule: Indices, clusters: Indices, molecules: int) -> Indices:
    """Return keys gene * `molecules` + molecule of positives, and of their molecules with genes like theirs.

    A model cannot tell two genes of one sequence apart: a positive of one, drawn as a negative of the other,
    would contradict itself.

    Args:
        gene: [P] genes of all positives.
        molecule: [P] their molecules.
        clusters: [G] see `gene_clusters`.
        molecules: number of molecules of the whole set.
    """
    members = np.argsort(clusters, kind="stable")  # genes, cluster by cluster
    sizes = np.bincount(clusters)
    begins = np.cumsum(sizes) - sizes
    often = sizes[clusters[gene]]  # for each pair, the genes of its cluster
    place = np.arange(often.sum()) - np.repeat(np.cumsum(often) - often, often)
    alike = members[np.repeat(begins[clusters[gene]], often) + place]
    keys: Indices = np.unique(alike * molecules + np.repeat(molecule, often))
    return keys


def draw_negatives(
    gene: Indices,
    molecule: Indices,
    known: Indices,
    molecules: int,
    *,
    kind: NegativeKind,
    ratio: float,
    draws: np.random.Generator,
) -> tuple[Indices, Indices]:
    """Draw negatives among the genes and molecules of a part's own positives.

    Args:
        gene: [N] genes of the part's positives.
        molecule: [N] their molecules.
        known: keys gene * `molecules` + molecule that must not be drawn: `known_keys` of all parts, and what
            was drawn for another part.
        molecules: number of molecules of the whole set.
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
    wanted = round(ratio * len(gene))
    found = np.empty(0, dtype=np.int64)
    for _ in range(ROUNDS):
        missing = wanted - len(found)
        if missing <= 0:
            break
        keys = draws.choice(genes, missing) * molecules + draws.choice(others, missing)
        keys = keys[~np.isin(keys, known) & ~np.isin(keys, found)]
        found = np.concatenate([found, draws.permutation(np.unique(keys))])
    if len(found) < wanted:
        every = (np.unique(gene)[:, None] * molecules + np.unique(molecule)).ravel()
        left = np.setdiff1d(every, np.concatenate([known, found]))
        found = np.concatenate([found, draws.permutation(left)[: wanted - len(found)]])
    return found // molecules, found % molecules
